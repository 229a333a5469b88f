"""`python -m facetrain.local.sagemaker`: the SageMaker endpoint as a process.

Reads FACETRAIN_BRIDGE_TOKEN, AWS_ENDPOINT_URL (MiniStack), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (its
root), AWS_REGION and AWS_CA_BUNDLE. Prints one JSON line on stdout when it accepts connections; logs to
stderr. SIGTERM or SIGINT ends it and its jobs; a second one ends them at once.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import botocore.session

from facetrain.image.engine import ImageError, find_engine
from facetrain.local.routes import EVENTS_PATH
from facetrain.local.sagemaker import aws, operations, server
from facetrain.local.sagemaker.authorize import BridgeAuthority
from facetrain.local.sagemaker.containers import ContainerRunner
from facetrain.local.sagemaker.execution import Grace
from facetrain.local.sagemaker.images import Registry as ImageRegistry
from facetrain.local.sagemaker.jobs import Jobs
from facetrain.local.sagemaker.lifecycle import Workshop
from facetrain.local.sagemaker.processes import ProcessRunner
from facetrain.local.sagemaker.registry import Publisher, Registry
from facetrain.local.sagemaker.runner import Runner
from facetrain.local.sagemaker.service import Service
from facetrain.local.sagemaker.store import Store
from training.jobs.contract import STOP_GRACE_SECONDS

VARIABLES = ("FACETRAIN_BRIDGE_TOKEN", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
MINISTACK_SECONDS = 120.0
RUNNERS = ("process", "docker")
log = logging.getLogger(__name__)


class UsageError(Exception):
    """Flags, environment or machine are not as they must be; the text is for the person who started us."""


@dataclass(frozen=True)
class Endpoint:
    """The parts that the process must start and stop."""

    service: Service
    jobs: Jobs
    runner: Runner
    publisher: Publisher
    store: Store


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m facetrain.local.sagemaker")
    parser.add_argument("--state", type=Path, required=True, help="folder of job records and job folders")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--certificate", type=Path, required=True, help="TLS certificate, PEM")
    parser.add_argument("--key", type=Path, required=True, help="its key, PEM")
    parser.add_argument("--runner", choices=RUNNERS, default="process", help="what jobs run as (process)")
    parser.add_argument("--process-image", action="append", default=[], metavar="URI=PROGRAM")
    parser.add_argument("--account", default="000000000000", help="whose images the cloud's registry holds")
    parser.add_argument("--quota", action="append", default=[], metavar="INSTANCE_TYPE=COUNT")
    parser.add_argument("--parallel", type=_positive, default=2, help="jobs that run at once (2)")
    parser.add_argument(
        "--stop-grace", type=float, default=STOP_GRACE_SECONDS, help="seconds from SIGTERM to SIGKILL (120)"
    )
    parser.add_argument("--shutdown-grace", type=float, default=10.0, help="the same at our own end (10)")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def programs(pairs: Sequence[str]) -> dict[str, Path]:
    """`URI=PROGRAM` flags. The program is a file; the URI may hold `*`."""
    found = {}
    for pair in pairs:
        uri, separator, program = pair.rpartition("=")
        if not separator or not Path(program).is_file():
            raise UsageError(f"--process-image {pair}: write URI=PROGRAM, where PROGRAM is a file")
        found[uri] = Path(program).resolve()
    return found


def quotas(pairs: Sequence[str]) -> dict[str, int]:
    """`INSTANCE_TYPE=COUNT` flags."""
    found = {}
    for pair in pairs:
        kind, _, count = pair.rpartition("=")
        if not kind or not count.isdigit():
            raise UsageError(f"--quota {pair}: write INSTANCE_TYPE=COUNT")
        found[kind] = int(count)
    return found


def settings(environment: Mapping[str, str]) -> aws.Environment:
    missing = [name for name in VARIABLES if not environment.get(name)]
    if missing:
        raise UsageError(f"these environment variables are not set: {', '.join(missing)}")
    return aws.Environment(
        endpoint=environment["AWS_ENDPOINT_URL"],
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        ca_bundle=environment.get("AWS_CA_BUNDLE"),
    )


def build(flags: argparse.Namespace, environment: Mapping[str, str]) -> Endpoint:
    """All parts, connected; nothing runs yet but the thread that sends events."""
    here = settings(environment)
    cloud = aws.Cloud(here)
    authority = BridgeAuthority(here.endpoint, environment["FACETRAIN_BRIDGE_TOKEN"], here.ca_bundle)
    publisher = Publisher(partial(authority.post, EVENTS_PATH))
    store = Store(flags.state / "jobs.sqlite3")
    registry = Registry(store, publisher, time.time)
    runner = make_runner(flags, here, environment)
    shop = Workshop(
        registry=registry,
        runner=runner,
        cloud=cloud,
        jobs=flags.state / "jobs",
        region=here.region,
        grace=Grace(flags.stop_grace, flags.shutdown_grace),
    )
    jobs = Jobs(shop, flags.parallel)
    acts = operations.Operations(registry, jobs, runner, authority, cloud, here.region, quotas(flags.quota))
    model = botocore.session.get_session().get_service_model("sagemaker")
    return Endpoint(Service(model, acts, authority), jobs, runner, publisher, store)


def make_runner(flags: argparse.Namespace, here: aws.Environment, environment: Mapping[str, str]) -> Runner:
    if flags.runner == "process":
        return ProcessRunner(programs(flags.process_image), environment)
    try:
        engine = find_engine()
    except ImageError as error:
        raise UsageError(f"--runner docker: {error}") from error
    registry = ImageRegistry(urlsplit(here.endpoint).netloc, flags.account, here.region)
    return ContainerRunner(engine, registry, flags.state.resolve())


def sweep(runner: Runner) -> None:
    """Remove what earlier jobs left; an engine that cannot now is asked again at the next start or end."""
    try:
        runner.sweep()
    except ImageError as error:
        log.warning("what jobs left behind stays: %s", error)


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    flags = arguments(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        flags.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_tls(flags.certificate, flags.key)
        with _only_one(flags.state), _listener(flags.port) as listener:
            endpoint = build(flags, environment)
            asyncio.run(_serve(endpoint, flags, listener, environment["AWS_ENDPOINT_URL"]))
    except UsageError as error:
        print(f"facetrain.local.sagemaker: {error}", file=sys.stderr)
        return 2
    return 0


async def _serve(
    endpoint: Endpoint, flags: argparse.Namespace, listener: socket.socket, ministack: str
) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if told.is_set():
            os._exit(1)  # asked twice: the jobs' guards see our end and kill them
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    starting = threading.Thread(target=_start_jobs, args=(endpoint, ministack, told), daemon=True)
    starting.start()
    app = server.App(endpoint.service.handle, lambda: {"status": "ready", "running": endpoint.jobs.running()})
    port = listener.getsockname()[1]
    ready = {"ready": True, "endpoint": f"https://localhost:{port}", "port": port, "pid": os.getpid()}
    serving = asyncio.create_task(server.serve(app, listener, flags.certificate, flags.key, told))
    serving.add_done_callback(lambda _task: told.set())  # should it fail, that is our end too
    print(json.dumps(ready), flush=True)
    await told.wait()
    await asyncio.to_thread(endpoint.jobs.shutdown)
    await asyncio.to_thread(sweep, endpoint.runner)
    endpoint.publisher.close()
    # Clients keep connections open, and TLS waits up to 30 s for the other end to say that it closes too.
    await asyncio.wait({serving}, timeout=server.DRAIN_SECONDS)
    if serving.done():
        serving.result()
    endpoint.store.close()
    os._exit(0)


def _start_jobs(endpoint: Endpoint, ministack: str, told: asyncio.Event) -> None:
    """Take up earlier jobs once MiniStack, which may start beside us, accepts connections."""
    sweep(endpoint.runner)
    place = urlsplit(ministack)
    until = time.monotonic() + MINISTACK_SECONDS
    while time.monotonic() < until and not told.is_set():
        with contextlib.suppress(OSError):
            socket.create_connection((place.hostname or "localhost", place.port or 443), timeout=1).close()
            break
        time.sleep(0.1)
    endpoint.jobs.start()


def _check_tls(certificate: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"--certificate {certificate}, --key {key}: {error}") from error


@contextlib.contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """One endpoint per state folder: two would run the same jobs."""
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another endpoint uses {state}") from error
        yield


@contextlib.contextmanager
def _listener(port: int) -> Iterator[socket.socket]:
    try:
        listener = server.listen(port)
    except OSError as error:
        raise UsageError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from error
    with listener:
        yield listener


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
