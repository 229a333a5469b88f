import socket
from collections.abc import Iterator

import pytest

from facetrain.local import ports
from facetrain.local.errors import LocalCloudError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_remembered_ports_are_taken_again_where_they_are_free() -> None:
    before = ports.choose(2, [])
    assert ports.choose(2, before) == before


def test_a_remembered_port_that_is_taken_is_left(taken: int) -> None:
    chosen = ports.choose(2, [taken, ports.choose(1, [])[0]])
    assert taken not in chosen
    assert len(set(chosen)) == 2


def test_a_taken_port_that_was_asked_for_is_one_clear_message(taken: int) -> None:
    with pytest.raises(LocalCloudError, match=f"port {taken} .* is taken .* name another with --port"):
        ports.require_free(taken)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(LocalCloudError, match="is not a port"):
        ports.require_free(port)
