"""Root gives itself up for the user that a job's folders allow; tried where root runs the tests."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.arcface.examples import write_job, write_pictures
from training.container import user
from training.jobs.contract import ContainerPaths

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")

NAME, UID = "nobody", 65534  # in place of the image's user


@pytest.fixture
def paths() -> Iterator[ContainerPaths]:
    """A job's folders where any user comes to: those of pytest are their owner's alone."""
    with tempfile.TemporaryDirectory(prefix="facetrain-test-") as base:
        Path(base).chmod(0o755)
        yield write_job(Path(base), {})


def settled(paths: ContainerPaths, then: Callable[[], str] = str, name: str = NAME) -> tuple[str, str]:
    """What `settle` says, and what `then` does, in a process that does not come back from it."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.write(there, f"{user.settle(paths, name)}\n{then()}".encode())
        os._exit(0)
    os.close(there)
    with os.fdopen(here) as told:
        line, done = told.read().split("\n", 1)
    os.waitpid(child, 0)
    return line, done


def test_root_becomes_the_images_user_and_its_folders_with_it(paths: ContainerPaths) -> None:
    write_pictures(paths.channel("images"), 1, 1)
    earlier = paths.checkpoints / "step-000000001" / "state.pt"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    earlier.chmod(0o600)  # as root wrote it, once

    def work() -> str:
        for folder in user.written(paths):
            (folder / "new").touch()
        earlier.read_bytes()
        return f"{os.getuid()} {os.geteuid()} {os.getgroups()}"

    assert settled(paths, work) == (f"user={NAME} uid={UID}", f"{UID} {UID} []")
    assert {folder.stat().st_uid for folder in user.written(paths)} == {UID}
    assert paths.channel("images").stat().st_uid == 0


def test_there_is_no_way_back_to_root(paths: ContainerPaths) -> None:
    def work() -> str:
        try:
            os.setuid(0)
        except PermissionError:
            return "refused"
        return "back"

    assert settled(paths, work)[1] == "refused"


def test_a_home_is_there_for_the_caches_of_libraries(paths: ContainerPaths) -> None:
    _, home = settled(paths, lambda: os.environ["HOME"] + " " + os.environ["USER"])
    assert home == f"{tempfile.gettempdir()} {NAME}"  # nobody's own does not exist


def test_folders_of_somebody_else_make_root_that_user(paths: ContainerPaths) -> None:
    paths.model.mkdir()
    os.chown(paths.model, 1234, 4321)
    line, ids = settled(paths, lambda: f"{os.getuid()} {os.getgid()}")
    assert (line, ids) == ("user=1234 uid=1234", "1234 4321")
    assert paths.checkpoints.stat().st_uid == 1234


def test_a_link_is_given_away_and_not_what_it_leads_to(paths: ContainerPaths, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    paths.model.mkdir()
    (paths.model / "link").symlink_to(tmp_path / "elsewhere")
    settled(paths)
    assert (paths.model / "link").lstat().st_uid == UID
    assert (tmp_path / "elsewhere").stat().st_uid == 0


def closed_channel(paths: ContainerPaths) -> str:
    write_pictures(paths.channel("images"), 1, 1)
    paths.channel("images").chmod(0o700)
    return f"{paths.channel('images')}: Permission denied"


def closed_file(paths: ContainerPaths) -> str:
    file = write_pictures(paths.channel("images"), 2, 2) / "1" / "0.png"
    file.chmod(0o600)
    return f"{file} can be read by its owner alone"


def closed_base(paths: ContainerPaths) -> str:
    paths.base.chmod(0o700)
    return f"{paths.config.parent}: Permission denied"


def several_owners(paths: ContainerPaths) -> str:
    for number, folder in enumerate((paths.model, paths.checkpoints), start=1001):
        folder.mkdir()
        os.chown(folder, number, number)
    return f"the folders below {paths.base} belong to several users"


@pytest.mark.parametrize("case", [closed_channel, closed_file, closed_base, several_owners])
def test_root_stays_where_it_has_to_and_says_why(
    paths: ContainerPaths, case: Callable[[ContainerPaths], str]
) -> None:
    reason = case(paths)
    assert settled(paths, lambda: f"{os.getuid()} {os.geteuid()}") == (f"user=root: {reason}", "0 0")


def test_root_that_is_an_ordinary_user_outside_its_container_stays(
    paths: ContainerPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What facetrain's user would leave, that one could hardly remove."""
    monkeypatch.setattr(user, "WHOLE_RANGE", ["0", "100000", "65536"])  # as if /proc had said otherwise
    assert settled(paths)[0] == "user=root: it is an ordinary user outside this container already"


def test_root_stays_where_the_image_has_no_other_user(paths: ContainerPaths) -> None:
    assert settled(paths, name="unheard-of")[0] == 'user=root: the image has no user "unheard-of"'


def test_root_stays_for_a_gpu_that_is_its_own(paths: ContainerPaths) -> None:
    gpu = paths.base / "nvidia0"
    gpu.touch(mode=0o600)
    assert user.settle(paths, NAME, devices=paths.base) == f"user=root: {gpu} is root's alone"
    assert os.geteuid() == 0
