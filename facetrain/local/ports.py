"""Free ports on loopback, remembered from one start to the next."""

import socket

from facetrain.local.errors import LocalCloudError

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback right now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, past TIME_WAIT
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(count: int, remembered: list[int]) -> list[int]:
    """`count` different free ports: the remembered ones where they are still free, else any."""
    chosen = [port for port in remembered[:count] if is_free(port)]
    if len(chosen) == count:
        return chosen
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def require_free(port: int) -> None:
    """LocalCloudError where the port that was asked for is taken or no port at all."""
    if not 1 <= port <= 65535:
        raise LocalCloudError(f"port {port} is not a port: take one of 1024 to 65535, or leave --port out")
    if not is_free(port):
        raise LocalCloudError(
            f"port {port} on {LOOPBACK} is taken or not permitted: name another with --port, or leave it out"
        )
