import json
import stat
import threading
from pathlib import Path

import pytest

from facetrain.local.credentials import credentials
from facetrain.local.errors import LocalCloudError
from facetrain.local.home import Home, read_json, state_root, write_private


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FACETRAIN_HOME": "/a", "XDG_STATE_HOME": "/b"}, "/a"),
        ({"XDG_STATE_HOME": "/b"}, "/b/facetrain"),
        ({"FACETRAIN_HOME": ""}, str(Path("~/.local/state/facetrain").expanduser())),
    ],
)
def test_the_state_folder_follows_the_environment(environment: dict[str, str], expected: str) -> None:
    assert str(state_root(environment)) == str(Path(expected).resolve())


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a-", "x" * 33, "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(LocalCloudError, match="cannot name a cloud"):
        Home.of(name, {"FACETRAIN_HOME": "/nowhere"})


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path, "default")
    home.create()
    first = credentials(home)
    assert stat.S_IMODE(home.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert credentials(home) == first, "made once and kept"
    assert first.secret_access_key not in repr(first)


def test_each_cloud_has_keys_of_its_own(tmp_path: Path) -> None:
    homes = [Home(tmp_path, name) for name in ("one", "two")]
    for home in homes:
        home.create()
    one, two = (credentials(home) for home in homes)
    assert one.access_key_id != two.access_key_id
    assert one.secret_access_key != two.secret_access_key


def test_a_torn_file_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"port": 1')
    (tmp_path / "b.json").write_text("[1]")
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "b.json") is None
    assert read_json(tmp_path / "c.json") is None


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "cloud.json"
    for number in (1, 2):
        write_private(path, json.dumps({"port": number}))
    assert read_json(path) == {"port": 2}
    assert [found.name for found in tmp_path.iterdir()] == ["cloud.json"]


def test_two_commands_on_one_cloud_take_turns(tmp_path: Path) -> None:
    home = Home(tmp_path, "default")
    waits, order = threading.Event(), []

    def second() -> None:
        with home.locked(waits.set):
            order.append("second")

    with home.locked(lambda: pytest.fail("nobody else holds it")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_forgetting_keeps_the_keys_and_deleting_keeps_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, "default")
    home.create()
    kept = credentials(home)
    (home.ministack / "state").mkdir()
    write_private(home.deployed, "{}")
    home.forget_contents()
    assert not home.ministack.exists()
    assert not home.deployed.exists()
    assert credentials(home) == kept
    home.delete()
    assert not home.path.exists()
