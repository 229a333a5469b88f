"""What lies in the inputs bucket and how jobs read it: which folders are identities, which tables label them.

All versions count: what was deleted or written over holds a person as well as what is there.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from facetrain.datasets.index import INDEX_NAME
from facetrain.datasets.unpack import BIN_SUFFIX
from facetrain.forgetting import tables
from facetrain.forgetting.versions import Version, by_key
from training.formats import records, shards
from training.formats.files import is_image, is_litter, suffix_of
from training.formats.labels import GROUPS_NAME, LABELS_NAME, TABLE_SUFFIXES
from training.formats.listing import common_depth
from training.jobs import contract, manifest
from training.jobs.forgotten import normal
from training.jobs.images import ARCHIVE_SUFFIXES
from training.jobs.uri import S3Uri

_INDEX_SUFFIX = ".idx"
_ARCHIVES = ARCHIVE_SUFFIXES - {_INDEX_SUFFIX}
_READ = (".tar.gz", ".tgz")  # those that `scan` looks into
_PACKED = (shards.SUFFIX, records.SUFFIX, _INDEX_SUFFIX)


@dataclass
class Survey:
    """What is in the bucket's inputs: all that is no picture, and the folders that pictures lie in.

    folders: whether a picture lies there now, or only did; beside: folders of what no job reads, such as
    films, or of nothing but their own name; bins: verification files, which name nobody; archives: that
    nobody looks into; hidden: what no job reads, such as the .prepare/ of `dataset prepare`.
    """

    objects: dict[str, list[Version]] = field(default_factory=dict)
    folders: dict[str, bool] = field(default_factory=dict)
    beside: set[str] = field(default_factory=set)
    bins: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    """Pictures as a job reads them: those below a prefix, labelled by tables or else by their folders.

    dataset: whose folder it lies in, or else one that reads it; readers: the datasets whose jobs read it.
    folders: of pictures, relative to the prefix, and whether one lies there now; none belongs to two views.
    beside: folders of other things.
    """

    dataset: str
    prefix: str
    labels: tuple[str, ...] = ()
    folders: Mapping[str, bool] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    readers: frozenset[str] = frozenset()

    @cached_property
    def wrapping(self) -> list[str]:
        """Folders that all pictures lie in, or did: tables may leave them out (training.formats.files)."""
        now = [_plain(folder) for folder, there in self.folders.items() if there]
        every = [*map(_plain, self.folders)]
        wraps = {os.path.commonpath(folders) for folders in (now, every) if folders}
        return [f"{folder}/" for folder in sorted(wraps) if folder]

    def folders_of(self, identity: str) -> list[str]:
        """The prefixes that are this identity's, by the level on which the trainer looks for identities.

        Of pictures that were deleted, on any level: how the folders lay in their time, nobody knows. So of
        what is no picture.
        """
        depths = set()
        for only_current in (True, False):
            if there := [folder for folder, now in self.folders.items() if now or not only_current]:
                depths.add(common_depth([f"{_plain(folder)}/1.jpg" for folder in there]))
        found = set()
        for folder, now in {**dict.fromkeys(self.beside, False), **self.folders}.items():
            parts = _parts(folder)
            for depth in depths if now else range(len(parts)):
                if depth >= len(parts) or normal(parts[depth]) != normal(identity):
                    continue
                whose = _until(folder, depth)
                if depth in depths or not self._holds_now(whose):
                    found.add(self.prefix + whose)
        return sorted(found)

    def _holds_now(self, folder: str) -> bool:
        return any(now and f"{other}/".startswith(folder) for other, now in self.folders.items())

    def namesakes(self, identity: str) -> list[str]:
        """Folders of this name on another level, which the trainer takes for no identity."""
        theirs = tuple(self.folders_of(identity))
        whole = [f"{self.prefix}{folder}/" for folder in self.folders]
        return sorted(
            folder
            for folder in whole
            if not folder.startswith(theirs)
            and normal(identity) in map(normal, folder.removeprefix(self.prefix).split("/"))
        )


def survey(s3: Any, bucket: str) -> Survey:
    """One walk through all versions; keeps nothing of a picture but its folder."""
    found = Survey()
    for versions in by_key(s3, bucket, contract.INPUTS_PREFIX):
        key = versions[0].key
        folder, _, name = key.rpartition("/")
        suffix = suffix_of(key)
        if any(map(is_litter, key.split("/"))):
            found.hidden.append(key)
        elif is_image(key):
            now = not versions[0].marker
            found.folders[folder] = found.folders.get(folder, False) or now
        elif suffix in (*_PACKED, *tables.SUFFIXES) or name in (contract.MANIFEST_NAME, INDEX_NAME):
            found.objects[key] = versions
        elif suffix == BIN_SUFFIX:
            found.bins.append(key)
        else:
            found.beside.add(folder)
            if suffix in _ARCHIVES and not key.lower().endswith(_READ):
                found.archives.append(key)
    return found


def views(s3: Any, bucket: str, found: Survey) -> tuple[list[View], list[str]]:
    """How jobs read what was found, by every manifest that ever was there; and channels in other buckets."""
    asked: defaultdict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    # By prefix: the datasets whose jobs read what lies below, and the tables that label it.
    elsewhere: set[str] = set()
    validation: set[str] = set()
    for key, versions in found.objects.items():
        if not key.endswith(f"/{contract.MANIFEST_NAME}"):
            continue
        dataset = manifest.dataset_of(S3Uri(bucket, key))
        if not dataset:
            continue  # inputs/manifest.json starts nothing
        for channels in _channels(s3, versions):
            elsewhere |= {str(uri) for uri in channels.values() if uri.bucket != bucket}
            here = {name: uri.key for name, uri in channels.items() if uri.bucket == bucket}
            for channel in ("images", "validation"):
                if channel in here:
                    validation |= {here[channel]} if channel == "validation" else set()
                    readers, labels = asked[here[channel]]
                    readers.add(dataset)
                    labels |= {here["labels"]} if channel == "images" and "labels" in here else set()
    known = {dataset for readers, _ in asked.values() for dataset in readers}
    datasets = _datasets(found)
    for dataset in datasets - known:
        folder = f"{contract.INPUTS_PREFIX}{dataset}/"
        asked[f"{folder}images/"][1].update((f"{folder}labels", f"{folder}{LABELS_NAME}"))
        asked[f"{folder}validation/"][0].add(dataset)
        asked[f"{folder}images/"][0].add(dataset)
        validation.add(f"{folder}validation/")
    for key in found.objects:  # a list of pairs is of the pictures below its own folder
        folder, _, name = key.rpartition("/")
        is_list = "pairs" in name.lower() and suffix_of(key) in TABLE_SUFFIXES
        if is_list and (view := _of(key, asked)) and view.startswith(tuple(validation)):
            asked[f"{folder}/"][0].update(asked[view][0])
    homes = {f"{contract.INPUTS_PREFIX}{dataset}/": dataset for dataset in datasets}
    made = {
        prefix: View(
            homes.get(_of(prefix, homes) or "", min(readers)),
            prefix,
            tuple(_tables(prefix, labels, found)),
            readers=frozenset(readers),
        )
        for prefix, (readers, labels) in asked.items()
    }
    for dataset in datasets:  # for what no manifest names: half an upload, or a folder of old
        prefix = f"{contract.INPUTS_PREFIX}{dataset}/"
        taken = {key for view in made.values() for key in view.labels}
        free = tuple(key for key in _tables(prefix, set(), found) if key not in taken)
        made.setdefault(prefix, View(dataset, prefix, free))
    return _with_folders(made, found), sorted(elsewhere)


def view_of(key: str, among: list[View]) -> View | None:
    """The view that an object is read in: that of the longest prefix."""
    return max(
        (view for view in among if key.startswith(view.prefix)),
        key=lambda view: len(view.prefix),
        default=None,
    )


def _with_folders(made: Mapping[str, View], found: Survey) -> list[View]:
    folders: dict[str, dict[str, bool]] = {prefix: {} for prefix in made}
    beside: dict[str, list[str]] = {prefix: [] for prefix in made}
    for folder, now in found.folders.items():
        if prefix := _of(f"{folder}/", made):
            folders[prefix][f"{folder}/".removeprefix(prefix).rstrip("/")] = now
    for folder in found.beside:
        if prefix := _of(f"{folder}/", made):
            beside[prefix].append(f"{folder}/".removeprefix(prefix).rstrip("/"))
    return [
        replace(view, folders=folders[prefix], beside=tuple(beside[prefix])) for prefix, view in made.items()
    ]


def _parts(folder: str) -> list[str]:
    """Of a key with `//` in it, as a disk would have them."""
    return [part for part in folder.split("/") if part]


def _plain(folder: str) -> str:
    return "/".join(_parts(folder))


def _until(folder: str, depth: int) -> str:
    """The key, as it is, up to the part of this number: `a//b/` of a//b/c and 1."""
    match = re.match(rf"(/*[^/]+){{{depth + 1}}}", folder)
    assert match is not None, "it has that many parts"
    return f"{match[0]}/"


def _of(key: str, prefixes: Mapping[str, object]) -> str | None:
    """The longest of the prefixes that a key begins with."""
    end = len(key)
    while (end := key.rfind("/", 0, end)) >= 0:
        if key[: end + 1] in prefixes:
            return key[: end + 1]
    return None


def _datasets(found: Survey) -> set[str]:
    """Folders with a manifest, and folders at the top for what lies below none of these."""
    marked = {
        key.removesuffix(contract.MANIFEST_NAME): None
        for key in found.objects
        if key.endswith(f"/{contract.MANIFEST_NAME}")
        and key != contract.INPUTS_PREFIX + contract.MANIFEST_NAME
    }
    names = {folder.removeprefix(contract.INPUTS_PREFIX).strip("/") for folder in marked}
    for key in (*found.objects, *(f"{folder}/" for folder in (*found.folders, *found.beside))):
        first = re.match(r"/*[^/]+(?=/)", key.removeprefix(contract.INPUTS_PREFIX))
        if first and _of(key, marked) is None:
            names.add(first[0])
    return names - {""}


def _channels(s3: Any, versions: list[Version]) -> Iterator[dict[str, S3Uri]]:
    """What each version of a manifest names; those that cannot be understood started nothing."""
    for version in versions:
        if version.marker or version.size > contract.MANIFEST_BYTES_LIMIT:
            continue
        answer = s3.get_object(Bucket=version.bucket, Key=version.key, VersionId=version.id)
        try:
            document = json.loads(answer["Body"].read().decode("utf-8-sig"))
            named = document["channels"].items()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        location = S3Uri(version.bucket, version.key)
        yield {name: uri for name, value in named if (uri := _address(value, location)) is not None}


def _address(value: object, location: S3Uri) -> S3Uri | None:
    if not isinstance(value, str) or not value.strip("./"):
        return location.folder if isinstance(value, str) and value else None
    path = manifest.as_folder(value.removeprefix("./"))
    try:
        return S3Uri.parse(path) if "://" in path else location.join(path)
    except ValueError:
        return None


def _tables(prefix: str, labels: set[str], found: Survey) -> Iterator[str]:
    """The tables that label a view: of the labels channel, a file or a folder, or labels.csv beside them."""
    for key in found.objects:
        name = PurePosixPath(key).name
        if suffix_of(key) not in TABLE_SUFFIXES or name == GROUPS_NAME:
            continue
        below = tuple(f"{label.rstrip('/')}/" for label in labels)
        if key == prefix + LABELS_NAME or key in labels or key.startswith(below):
            yield key
