"""Where a cloud on this machine keeps its files, and who may touch them at the same time.

$FACETRAIN_HOME (or $XDG_STATE_HOME/facetrain, or ~/.local/state/facetrain)
├── <name>.lock           held while `up` or `down` work on the cloud
└── <name>/               mode 0700
    ├── cloud.json        ports, runner
    ├── credentials.json  mode 0600: root keys and the bridge token
    ├── deployed.json     digest of the sources that are deployed
    ├── tls/              ca.pem, server.pem, server.key (mode 0600)
    ├── run/              one locked pid file per process
    ├── logs/             ministack.log, sagemaker.log, deploy.log
    ├── ministack/        state, S3 objects, images' layers
    └── sagemaker/        job records and job folders
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facetrain.local.errors import LocalCloudError

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def state_root(environment: Mapping[str, str]) -> Path:
    """The folder that holds every cloud of this user."""
    if environment.get("FACETRAIN_HOME"):
        return Path(environment["FACETRAIN_HOME"]).expanduser().resolve()
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser().resolve() / "facetrain"


@dataclass(frozen=True)
class Home:
    """The files of one cloud. Creating the object touches no disk."""

    root: Path
    name: str

    @classmethod
    def of(cls, name: str, environment: Mapping[str, str] | None = None) -> "Home":
        """The home of the cloud `name`; LocalCloudError where the name cannot be a folder's."""
        if not NAME_PATTERN.fullmatch(name):
            raise LocalCloudError(
                f"{name!r} cannot name a cloud: take 1 to 32 of a-z, 0-9 and '-', with no '-' at the ends"
            )
        return cls(state_root(os.environ if environment is None else environment), name)

    @property
    def path(self) -> Path:
        return self.root / self.name

    @property
    def settings(self) -> Path:
        return self.path / "cloud.json"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials.json"

    @property
    def deployed(self) -> Path:
        return self.path / "deployed.json"

    @property
    def tls(self) -> Path:
        return self.path / "tls"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def scratch(self) -> Path:
        """Temporary files of MiniStack, gone when it is stopped."""
        return self.run / "tmp"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def ministack(self) -> Path:
        return self.path / "ministack"

    @property
    def images(self) -> Path:
        """The layers in the cloud's image registry."""
        return self.ministack / "images"

    @property
    def sagemaker(self) -> Path:
        return self.path / "sagemaker"

    def create(self) -> None:
        """Make the folders, readable by their owner alone."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.tls, self.run, self.logs, self.ministack, self.sagemaker):
            folder.mkdir(mode=0o700, exist_ok=True)

    def forget_contents(self) -> None:
        """Remove what the cloud holds, but keep its logs, ports and credentials."""
        self.deployed.unlink(missing_ok=True)
        for folder in (self.ministack, self.sagemaker):
            shutil.rmtree(folder, ignore_errors=True)

    def delete(self) -> None:
        """Remove everything but the lock, which another process may be waiting for."""
        if self.path.exists():
            shutil.rmtree(self.path)

    @contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the cloud for one `up` or `down`; calls `waiting` once where another one has it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / f"{self.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield  # closing the file lets the lock go, and so does the end of the process


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    aside.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is none, or only half of one."""
    try:
        document = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
