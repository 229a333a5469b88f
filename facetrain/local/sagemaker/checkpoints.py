"""Checkpoints: S3 → folder before the program starts; folder → S3 while it runs, and once more at its end.

Files travel whole and unchanged. What the program deletes stays in S3: the service's own documented role has
no s3:DeleteObject. A file is sent once it has kept its size and time for one look, so that one being written
is left alone; at the end everything is sent.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.local.sagemaker.aws import Client, error_text
from facetrain.local.sagemaker.channels import items
from facetrain.local.sagemaker.errors import JobFailed
from training.jobs.uri import S3Uri

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
UPLOAD_FAILED = "ClientError: Checkpoint upload failed:"
Stamp = tuple[int, int]  # size in bytes, modification time in ns


class Sync:
    """Keeps one host's checkpoint folder and an S3 prefix together."""

    def __init__(self, s3: Client, uri: S3Uri, folder: Path, extra: Mapping[str, str]) -> None:
        self._s3, self._folder, self._extra = s3, folder, dict(extra)
        self._prefix = S3Uri(uri.bucket, uri.key.rstrip("/") + "/" if uri.key.strip("/") else "")
        self._sent: dict[Path, Stamp] = {}
        self._seen: dict[Path, Stamp] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure: str | None = None

    def download(self, check: Callable[[], None]) -> None:
        """Bring what earlier attempts saved."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            for item in items(self._s3, {"S3Uri": str(self._prefix), "S3DataType": "S3Prefix"}):
                check()
                target = self._folder / item.path
                if not target.resolve().is_relative_to(self._folder.resolve()):
                    raise JobFailed(f"ClientError: Checkpoint download failed:{item.uri} leaves the folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._s3.download_file(item.uri.bucket, item.uri.key, str(target))
        except ClientError as error:
            raise JobFailed(f"ClientError: Checkpoint download failed:{error_text(error)}") from error
        self._sent = self._look()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what has not been sent. Raises JobFailed where S3 refuses it."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._send(self._look())
        if self.failure is not None:
            raise JobFailed(self.failure)

    def _run(self) -> None:
        while not self._closing.wait(LOOK_SECONDS):
            now = self._look()
            self._send({path: stamp for path, stamp in now.items() if self._seen.get(path) == stamp})
            self._seen = now

    def _look(self) -> dict[Path, Stamp]:
        found = {}
        for path in sorted(self._folder.rglob("*")):
            try:
                if path.is_file():
                    status = path.stat()
                    found[path] = (status.st_size, status.st_mtime_ns)
            except FileNotFoundError:
                continue  # gone since it was listed
        return found

    def _send(self, files: Mapping[Path, Stamp]) -> None:
        for path, stamp in files.items():
            if self._sent.get(path) == stamp:
                continue
            key = self._prefix.key + path.relative_to(self._folder).as_posix()
            try:
                with path.open("rb") as body:
                    self._s3.upload_fileobj(body, self._prefix.bucket, key, ExtraArgs=self._extra)
            except FileNotFoundError:
                continue
            except ClientError as error:
                self.failure = f"{UPLOAD_FAILED}{error_text(error)} for s3://{self._prefix.bucket}/{key}"
                return
            except BotoCoreError as error:  # S3 cannot be reached: the next look tries again
                log.warning("checkpoint %s is not in S3 yet: %s", path, error)
                continue
            self._sent[path] = stamp
            self.failure = None
