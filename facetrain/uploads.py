"""Sends files to S3, large ones in parts; what an earlier run left there half-way is not sent again.

Every request carries a SHA-256, which S3 compares with what arrives.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import Any

from botocore.exceptions import ClientError
from s3transfer.utils import ReadFileChunk

from facetrain.client import code
from facetrain.errors import OperationError
from facetrain.folder import File
from facetrain.patience import Patience
from facetrain.storage import Store, digest_of, part_bytes, written
from training.jobs.uri import S3Uri

AT_ONCE = 16
_AHEAD = 4 * AT_ONCE  # requests that wait for a thread: a million files are not all queued at once
_COMPARED = 1024  # files, likewise
_MAY_NOT_LOOK = ("AccessDenied", "NoSuchUpload", "NotImplemented")


@dataclass(frozen=True)
class Uploads:
    """One run. sent, found: called from many threads with numbers of bytes, as they arrive or are there."""

    s3: Any
    patience: Patience
    stopped: Event  # ends requests that are under way
    sent: Callable[[int], None]
    found: Callable[[int], None]

    def new_among(
        self, files: Sequence[tuple[S3Uri, File]], held: Mapping[str, int], store: Store
    ) -> list[tuple[S3Uri, File]]:
        """Those that S3 does not hold with the same size and SHA-256; the others count as sent.

        held: sizes by key.
        """

        def is_new(pair: tuple[S3Uri, File]) -> bool:
            uri, file = pair
            return held.get(uri.key) != file.size or not self.patience(lambda: store.is_same(uri, file.path))

        new = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(files), _COMPARED):
                some = files[start : start + _COMPARED]
                answers = pool.map(is_new, some)
                new += [pair for pair, answer in zip(some, answers, strict=True) if answer]
        self.sent(sum(file.size for _, file in files) - sum(file.size for _, file in new))
        return new

    def send(self, folder: S3Uri, files: Sequence[tuple[S3Uri, File]]) -> None:
        """Uploads the files, all of which lie below `folder`.

        Raises ClientError or BotoCoreError where S3 refuses or stays away, OperationError where a file
        changes meanwhile. Then, as after Ctrl-C, what has arrived stays: the next run goes on from there.
        """
        pool = ThreadPoolExecutor(AT_ONCE)
        waiting: deque[Future[None]] = deque()
        try:
            large = any(_is_large(file) for _, file in files)
            for request in self._requests(files, self._unfinished(folder) if large else {}):
                waiting.append(pool.submit(request))
                if len(waiting) > _AHEAD:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
        except BaseException:
            self.stopped.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _requests(
        self, files: Iterable[tuple[S3Uri, File]], unfinished: dict[str, list[str]]
    ) -> Iterator[Callable[[], None]]:
        for uri, file in files:
            if not _is_large(file):
                yield partial(self._put, uri, file)
            else:
                upload = self._begun(uri, file, unfinished.get(uri.key, ()))
                yield from (partial(self._part, upload, number) for number in range(1, upload.parts + 1))

    def _put(self, uri: S3Uri, file: File) -> None:
        whole = _Slice(file, 0, file.size)
        self._request(self.s3.put_object, whole, whole.checksum(), Bucket=uri.bucket, Key=uri.key)
        self.sent(file.size)

    def _request(self, operation: Any, part: "_Slice", checksum: str, **named: Any) -> dict[str, Any]:
        def once() -> dict[str, Any]:
            with part.body(self._check) as body:
                return operation(Body=body, ChecksumSHA256=checksum, **named)  # type: ignore[no-any-return]

        return self.patience(once)

    def _unfinished(self, folder: S3Uri) -> dict[str, list[str]]:
        """The uploads below the folder that were never completed, by key, the newest first."""
        found = defaultdict(list)
        pages = self.s3.get_paginator("list_multipart_uploads")
        try:
            for page in self.patience(lambda: list(pages.paginate(Bucket=folder.bucket, Prefix=folder.key))):
                for upload in page.get("Uploads", ()):
                    found[upload["Key"]].append((upload["Initiated"], upload["UploadId"]))
        except ClientError as error:
            if code(error) not in _MAY_NOT_LOOK:
                raise
        return {key: [name for _, name in sorted(uploads, reverse=True)] for key, uploads in found.items()}

    def _begun(self, uri: S3Uri, file: File, unfinished: Iterable[str]) -> "_Upload":
        """An earlier upload of this very file, or a new one; those of other files under its key are ended."""
        mine = None
        for name in unfinished:
            upload = _Upload(uri, file, name, self._parts_of(uri, name))
            if mine is None and upload.is_of_this_file():
                mine = upload
            else:
                self._abort(uri, name)
        if mine is None:
            answer = self.patience(
                lambda: self.s3.create_multipart_upload(
                    Bucket=uri.bucket, Key=uri.key, ChecksumAlgorithm="SHA256"
                )
            )
            mine = _Upload(uri, file, answer["UploadId"], {})
        return mine

    def _parts_of(self, uri: S3Uri, name: str) -> dict[int, dict[str, Any]]:
        pages = self.s3.get_paginator("list_parts")
        try:
            return {
                part["PartNumber"]: part
                for page in pages.paginate(Bucket=uri.bucket, Key=uri.key, UploadId=name)
                for part in page.get("Parts", ())
            }
        except ClientError as error:
            if code(error) not in _MAY_NOT_LOOK:
                raise
            return {}

    def _abort(self, uri: S3Uri, name: str) -> None:
        """Its parts are billed and seen by nobody. Where we may not end it, the bucket's own rule does."""
        try:
            self.s3.abort_multipart_upload(Bucket=uri.bucket, Key=uri.key, UploadId=name)
        except ClientError as error:
            if code(error) not in _MAY_NOT_LOOK:
                raise

    def _part(self, upload: "_Upload", number: int) -> None:
        part = upload.slice(number)
        checksum = part.checksum()
        where = {"Bucket": upload.uri.bucket, "Key": upload.uri.key, "UploadId": upload.name}
        etag = upload.arrived(number, checksum)
        told = self.sent if etag is None else self.found
        if etag is None:
            etag = self._request(self.s3.upload_part, part, checksum, PartNumber=number, **where)["ETag"]
        if parts := upload.all_parts({"PartNumber": number, "ETag": etag, "ChecksumSHA256": checksum}):
            self.patience(
                lambda: self.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
            )
        told(part.size)

    def _check(self, bytes_transferred: int) -> None:  # noqa: ARG002 (s3transfer names it)
        if self.stopped.is_set():
            raise _Stopped


def _is_large(file: File) -> bool:
    """Whether it goes in parts."""
    return file.size >= part_bytes(file.size)


class _Stopped(BaseException):
    """No Exception: boto3 would take it for a fault of the network, and try again."""


@dataclass
class _Upload:
    """One file in parts. here: the parts that S3 has from an earlier run."""

    uri: S3Uri
    file: File
    name: str
    here: dict[int, dict[str, Any]]
    done: list[dict[str, Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def parts(self) -> int:
        return -(-self.file.size // part_bytes(self.file.size))

    def slice(self, number: int) -> "_Slice":
        size = part_bytes(self.file.size)
        start = (number - 1) * size
        return _Slice(self.file, start, min(size, self.file.size - start))

    def is_of_this_file(self) -> bool:
        """By its first part: of those that differ, each is sent again anyway."""
        first = min(self.here, default=0)
        return 0 < first <= self.parts and self.arrived(first, self.slice(first).checksum()) is not None

    def arrived(self, number: int, checksum: str) -> str | None:
        """The ETag of a part that is there already with this content."""
        part = self.here.get(number, {})
        return part["ETag"] if part.get("ChecksumSHA256") == checksum else None

    def all_parts(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        """Every part, for whoever brings the last one; nothing for all others."""
        with self.lock:
            self.done.append(part)
            if len(self.done) < self.parts:
                return []
            return sorted(self.done, key=lambda one: one["PartNumber"])


@dataclass(frozen=True)
class _Slice:
    """`size` bytes of a file from `start`."""

    file: File
    start: int
    size: int

    def body(self, read: Callable[[int], None]) -> ReadFileChunk:
        return ReadFileChunk.from_filename(str(self.file.path), self.start, self.size, [read])

    def checksum(self) -> str:
        """Its SHA-256 as S3 writes it. Raises OperationError where the file is not as long as it was."""
        path = self.file.path
        if path.stat().st_size != self.file.size:
            raise OperationError(f"{path}: changed meanwhile: run the same command again")
        return written(digest_of(path, self.start, self.size))
