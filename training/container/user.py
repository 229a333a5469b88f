"""Whose the files of a job are: in the image, training gives up root wherever the folders allow it.

The service mounts /opt/ml as root's, so the image starts as root; what decodes strangers' images should not
run as it. Started as somebody else (`docker run --user`), it stays that user.
"""

import os
import pwd
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from training.jobs.contract import ContainerPaths

VARIABLE = "FACETRAIN_USER"  # set by the image: who is there to train as
TRIED = 1000  # files of a channel that are tried: there may be millions, and S3 may be behind them
WHOLE_RANGE = ["0", "0", str(2**32 - 1)]  # of /proc/self/uid_map, where root is the machine's root


@dataclass(frozen=True)
class User:
    name: str
    uid: int
    gid: int


class _StaysError(Exception):
    """Why root has to stay."""


def settle(paths: ContainerPaths, name: str, devices: Path = Path("/dev")) -> str:
    """Becomes the image's user if that can be; a line for the log: who trains, and why if it is root."""
    if os.geteuid() != 0:
        _settle_home(os.environ)
        return f"user={os.geteuid()}"
    try:
        user = _chosen(paths, name)
        with _tried_as(user):
            _try_to_read(paths, devices)
        _hand_over(paths, user)
        with _tried_as(user):
            for folder in written(paths):
                try_to_write(folder)
        os.setgroups([])
        os.setgid(user.gid)
        os.setuid(user.uid)
    except _StaysError as reason:
        return f"user=root: {reason}"
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return f"user=root: {place}{error.strerror}"
    _settle_home(os.environ)
    return f"user={user.name} uid={user.uid}"


def written(paths: ContainerPaths) -> tuple[Path, ...]:
    """The folders that training writes."""
    return (paths.model, paths.output, paths.output_data, paths.checkpoints)


def try_to_write(folder: Path) -> None:
    """Raises OSError where this process cannot, or where there is no room for a byte."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0")


def _chosen(paths: ContainerPaths, name: str) -> User:
    """The folders' owner, where that is not root: on somebody's own machine. Else the image's user."""
    identity_map = Path("/proc/self/uid_map")
    if identity_map.exists() and identity_map.read_text().split() != WHOLE_RANGE:
        raise _StaysError("it is an ordinary user outside this container already")
    there = [folder.stat() for folder in (paths.base, *written(paths)) if folder.is_dir()]
    owners = {(entry.st_uid, entry.st_gid) for entry in there if entry.st_uid != 0}
    if len({uid for uid, _ in owners}) > 1:
        raise _StaysError(f"the folders below {paths.base} belong to several users")
    if owners:
        uid, gid = max(owners)
        return User(_name_of(uid), uid, gid)
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise _StaysError(f'the image has no user "{name}"') from None
    return User(name, entry.pw_uid, entry.pw_gid)


@contextmanager
def _tried_as(user: User) -> Iterator[None]:
    """Within it this process is the user, and can come back."""
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(user.gid, user.gid, 0)
    os.setresuid(user.uid, user.uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


def _try_to_read(paths: ContainerPaths, devices: Path) -> None:
    inputs = paths.base / "input"
    if inputs.is_dir():
        for path in (inputs, paths.config, *_channels(paths)):
            _refuse_closed(path)
    for device in sorted(devices.glob("nvidia[0-9]*")) + sorted(devices.glob("nvidiactl")):
        if not os.access(device, os.R_OK | os.W_OK):
            raise _StaysError(f"{device} is root's alone")


def _channels(paths: ContainerPaths) -> Iterator[Path]:
    data = paths.channel("images").parent
    if data.is_dir():
        yield from data.iterdir()


def _refuse_closed(root: Path) -> None:
    """Raises OSError or _StaysError at the first entry that cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    entries = (
        Path(folder, name) for folder, _, names in os.walk(root, onerror=fail) for name in names or [""]
    )
    for path in islice(entries, TRIED):
        if path.exists() and not os.access(path, os.R_OK):
            raise _StaysError(f"{path} can be read by its owner alone")


def _hand_over(paths: ContainerPaths, user: User) -> None:
    """Makes the folders and all in them the user's, what root left there before included."""
    for folder in written(paths):
        folder.mkdir(parents=True, exist_ok=True)
        _give(folder, user)
    for folder in (paths.model, paths.output, paths.checkpoints):
        for below, folders, files in os.walk(folder):
            for name in (*folders, *files):
                _give(Path(below, name), user)


def _give(path: Path, user: User) -> None:
    if path.lstat().st_uid != user.uid:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _settle_home(environment: MutableMapping[str, str]) -> None:
    """A home that can be written, and a name: libraries keep caches there and ask who they work for."""
    environment["USER"] = environment["LOGNAME"] = _name_of(os.geteuid())
    if not os.access(home := _home_of(os.geteuid()), os.W_OK):
        with suppress(FileNotFoundError):  # no folder can be written; `given` says so
            home = tempfile.gettempdir()
    environment["HOME"] = home


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
