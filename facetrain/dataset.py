"""Puts a dataset into S3: what is new of its data first, then the manifest, because that starts training."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Event

from botocore.exceptions import BotoCoreError, ClientError

from facetrain.client import explain
from facetrain.datasets.index import Index
from facetrain.errors import InputError, OperationError
from facetrain.folder import File, Folder
from facetrain.forgetting import deletion_list
from facetrain.forgetting.pushing import Kept, without_forgotten
from facetrain.packed import check_packed
from facetrain.patience import Patience
from facetrain.storage import Store
from facetrain.uploads import Uploads
from training.formats.words import many
from training.jobs import contract, manifest
from training.jobs.algorithms import ALGORITHMS
from training.jobs.images import IMAGE_SUFFIXES, RECORD_SUFFIX, SHARD_SUFFIX, without_images
from training.jobs.platform import Platform
from training.jobs.request import job_name, model_artifact
from training.jobs.uri import S3Uri


@dataclass(frozen=True)
class Plan:
    """Everything that a push will do, checked before anything is sent."""

    location: S3Uri  # of the manifest
    folder: Folder
    manifest: manifest.Manifest
    held: Mapping[str, int]  # key and size of what S3 holds in the dataset's folder
    people: Mapping[str, int]  # pictures of each identity; empty where a table or shards name them
    packed: Index | None = None  # what `dataset pack` wrote of the shards
    forgotten: str | None = None  # what to say of pictures that stay behind

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.folder.files)

    @cached_property
    def strays(self) -> list[str]:
        """Keys that S3 holds in a channel and the folder does not: they would be trained on, too."""
        base = self.location.folder
        mine = {file.key for file in self.folder.files} | {contract.MANIFEST_NAME, contract.REJECTION_NAME}
        channels = tuple(uri.key for uri in self.manifest.channels.values() if uri.bucket == base.bucket)
        others = [key for key in self.held if key.removeprefix(base.key) not in mine]
        return sorted(key for key in others if key.startswith(channels))

    @property
    def is_streamed(self) -> bool:
        return self.manifest.input_mode == contract.FAST_FILE_MODE

    @property
    def training(self) -> str:
        """What will train, and on what: in a few words."""
        resources, named = self.manifest.resources, self.manifest.hyperparameters
        settings = "".join(f"{name}={value} " for name, value in named.items())
        machines = f"{resources.instance_count} x " if resources.instance_count > 1 else ""
        spare = "spot, " if resources.spot else ""
        how = "read from S3" if self.is_streamed else "copied to its disk first"
        return (
            f"{self.manifest.algorithm} {settings}on {machines}{resources.instance_type} "
            f"({spare}{resources.max_runtime_hours:g} h at the most), images {how}"
        )

    def uri(self, file: File) -> S3Uri:
        return S3Uri(self.location.bucket, self.location.folder.key + file.key)


@dataclass(frozen=True)
class Pushed:
    """What a push did."""

    dataset: str
    manifest: str
    job_name: str
    model: str  # where it will lie
    uploaded: int  # files
    unchanged: int  # files
    bytes: int  # that were sent
    resumed: int  # bytes that an earlier upload, which was cut off, had sent already


def plan(folder: Folder, name: str, platform: Platform, store: Store | None) -> Plan:
    """Checks a folder against the deployment. Raises InputError or ManifestError, with every problem.

    store: S3; None where there is no cloud to ask, and then channels must lie in the folder.
    """
    location = S3Uri(platform.inputs_bucket, f"{contract.INPUTS_PREFIX}{name}/{contract.MANIFEST_NAME}")
    parsed = manifest.parse(folder.document, location, platform, time.time())
    held = dict(store.sizes(location.folder)) if store else {}
    identities = ALGORITHMS[parsed.algorithm].identities
    kept = _without_forgotten(folder, name, parsed, store) if store and identities else Kept(folder)
    folder = kept.folder
    prefix = parsed.channels["images"].key.removeprefix(location.folder.key)
    packed = check_packed(folder, prefix)
    _check_channels(parsed, location.folder, folder, store)
    if "labels" not in parsed.channels:  # a table may name files of any suffix
        _refuse_no_images([file.key for file in folder.below(prefix)])
    people = folder.people(prefix) if identities and "labels" not in parsed.channels else {}
    if len(people) == 1 or (packed and packed.identities == 1):
        named = f' ("{next(iter(people))}")' if people else ""
        problem = f"holds one identity{named}: telling people apart takes at least 2"
        raise InputError.because("channels.images", problem)
    return Plan(location, folder, parsed, held, people, packed, kept.note)


def push(
    planned: Plan,
    platform: Platform,
    store: Store,
    sent: Callable[[int], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Uploads what S3 does not hold yet, then the manifest.

    sent: called with numbers of bytes as they are sent or found to be there already, from many threads.
    note: is told of what takes long. Raises OperationError where S3 refuses; then no job is started.
    """
    stopped, found = Event(), list[int]()

    def is_there(count: int) -> None:
        found.append(count)
        sent(count)

    uploads = Uploads(store.s3, Patience(note, stopped), stopped, sent, is_there)
    try:
        files = [(planned.uri(file), file) for file in planned.folder.files]
        new = uploads.new_among(files, planned.held, store)
        uploads.send(planned.location.folder, new)
        revision = uploads.patience(
            lambda: store.put_manifest(planned.location, planned.folder.document),
            once=True,  # each time that it arrives it starts a job
        )
    except (BotoCoreError, ClientError) as error:
        again = "no job was started, and the same command again sends only what is missing"
        raise OperationError(f"{explain(error)}; {again}") from None
    dataset = planned.manifest.dataset
    name = job_name(platform, planned.location, dataset, revision)
    return Pushed(
        dataset,
        str(planned.location),
        name,
        str(model_artifact(platform, dataset, name)),
        len(new),
        len(planned.folder.files) - len(new),
        sum(file.size for _, file in new) - sum(found),
        sum(found),
    )


def _without_forgotten(folder: Folder, name: str, parsed: manifest.Manifest, store: Store) -> Kept:
    """What of the folder may be put into S3. Raises InputError where people must be taken out by hand."""
    base = parsed.location.folder
    listed, _ = deletion_list.read(store.s3, base.bucket)
    if listed is None:
        return Kept(folder)
    here = {channel: uri.key for channel, uri in parsed.channels.items() if uri.bucket == base.bucket}
    prefixes = {
        channel: key.removeprefix(base.key) for channel, key in here.items() if key.startswith(base.key)
    }
    return without_forgotten(folder, name, prefixes, listed)


def _refuse_no_images(keys: Sequence[str]) -> None:
    """What is in S3 already is not looked at."""
    known = (*IMAGE_SUFFIXES, SHARD_SUFFIX, RECORD_SUFFIX)
    if keys and not any(key.lower().endswith(known) for key in keys):
        raise InputError.because(
            "channels.images", f"no images among {many(len(keys), 'file')}{without_images(keys)}"
        )


def _check_channels(parsed: manifest.Manifest, base: S3Uri, folder: Folder, store: Store | None) -> None:
    """Raises ManifestError for each channel that is neither in the folder nor in S3."""

    def exists(uri: S3Uri) -> bool:
        if uri.bucket == base.bucket and uri.key.startswith(base.key):
            here = folder.below(uri.key.removeprefix(base.key))
            if any(file.size for file in here) or (here and not uri.is_folder):
                return True
        return store.holds(uri) if store else not uri.key.startswith(base.key)

    def names_in(uri: S3Uri) -> list[str]:
        inside = [file.key for file in folder.files if uri == base]
        return sorted({first + slash for first, slash, _ in (key.partition("/") for key in inside)})

    if problems := manifest.check_channels(parsed, exists, names_in):
        raise manifest.ManifestError(problems)
