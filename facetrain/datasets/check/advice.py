"""What a report means: what would harm training, what to do, and how long things take, as far as is known."""

from collections.abc import Mapping
from typing import Any

from training.formats.listing import Listing
from training.jobs.algorithms import ALGORITHMS

# 1.53 million files in File mode (sagemaker-bencher's README); there is no such figure for other sizes.
FILE_MODE_FILES, FILE_MODE_SECONDS = 1_530_000, 10_955
FILE_MODE_BASIS = "1.53 million small files took 10,955 s in File mode (sagemaker-bencher)"
# r50 on eight V100s (arcface_torch's README).
PUBLISHED_SPEED, PUBLISHED_BASIS = 5552.0, "r50 on 8 V100 trained 5,552 images/s (arcface_torch)"
FEW_IMAGES = 10_000  # loose files that are quick to download in any case
SMALL_SHARD = 16 * 2**20
LARGE_SHARE, LARGE_TIMES = 0.1, 50  # of all images, and of the median: one identity that outweighs others

Report = dict[str, Any]
Read = Mapping[str, Any]


def estimates(listing: Listing, report: Read, images_per_second: float | None) -> Report:
    """Only what a measured figure carries; each says its basis."""
    epochs = int(ALGORITHMS["arcface"].knobs["epochs"].default)
    speeds = [(PUBLISHED_SPEED, PUBLISHED_BASIS)]
    if images_per_second:
        speeds.insert(0, (images_per_second, f"{images_per_second:g} images/s, as given"))
    training = [
        {"epochs": epochs, "seconds": round(report["images"] * epochs / speed), "basis": basis}
        for speed, basis in speeds
    ]
    return {"download": _download(listing, report["files"]), "training": training}


def _download(listing: Listing, files: int) -> Report:
    """requests: one GET for each file."""
    if listing.spans is not None:
        return {"requests": files, "seconds": None, "basis": "shards: as fast as S3 gives their bytes"}
    seconds = round(files * FILE_MODE_SECONDS / FILE_MODE_FILES)
    return {"requests": files, "seconds": seconds, "basis": FILE_MODE_BASIS}


def harm(report: Read) -> list[str]:
    """What would spoil the training or its figures."""
    across, leaks = report["duplicate_groups"]["across_identities"], report["leaks"]
    found = [
        (report["identities"] < 2, f"{report['identities']} identity: training needs two and more"),
        (report["unreadable"], f"{report['unreadable']:,} images cannot be read, and will be left out"),
        (across, f"{across:,} images lie in several identities: at most one of the labels is right"),
        (leaks["images"], f"{leaks['images']:,} images are in training and in validation"),
        (leaks["identities"], f"{leaks['identities']:,} identities are in training and in validation"),
    ]
    return [sentence for is_so, sentence in found if is_so]


def advice(report: Read) -> list[str]:
    """One line each."""
    each, sizes, listing = report["images_per_identity"], report["sizes"], report["listing"]
    within = report["duplicate_groups"]["within_identities"]
    near, odd = report["near_duplicates"], sizes["smaller"] + sizes["larger"]
    missing = report["class_gaps"]["missing"] if report["class_gaps"] else 0
    found = [
        (report["unreadable"], "copy unreadable images once more, or delete them"),
        (within, f"delete further copies within identities ({within:,} images are there twice or more)"),
        (near["across_identities"], f"look at {near['across_identities']:,} near-copies across identities"),
        (
            near["pairs"] - near["across_identities"],
            f"{near['pairs'] - near['across_identities']:,} near-copies within identities teach little",
        ),
        (report["leaks"]["near"], f"look at {report['leaks']['near']:,} near-copies in validation"),
        (
            each["with_one_image"],
            f"{each['with_one_image']:,} identities have one image, which teaches little: add more",
        ),
        (_outweighs(report), f"one identity has {each['max']:,} images: keep some of them"),
        (
            odd,
            f"{odd:,} images are not 112x112: align them (facetrain dataset prepare), or they are scaled",
        ),
        (report["empty_folders"]["count"], f"{report['empty_folders']['count']:,} folders hold no image"),
        (report["names"]["count"], f"{report['names']['count']:,} names may cause trouble"),
        (missing, f"{missing:,} class numbers have no image: fine, if nobody was lost"),
        *((count, _NOTES[name].format(count)) for name, count in listing.items() if name in _NOTES),
        (_loose(report), "pack the images (facetrain dataset pack): small files are slow to download"),
        (_small_shards(report), "shards are small: pack again, 128 to 256 MB each"),
    ]
    return [sentence for is_so, sentence in found if is_so]


_NOTES = {
    "folder_links_not_followed": "{:,} links to folders are not followed: put the folders there",
    "images_outside_folders": "{:,} images lie outside folders of identities, and are left out",
    "images_in_deeper_folders": "{:,} images lie in folders within identities: see that the level is right",
    "labels_without_image": "{:,} lines of the table name files that are not there",
    "images_without_label": "{:,} images have no line in the table, and are left out",
}


def _outweighs(report: Read) -> bool:
    each = report["images_per_identity"]
    return bool(each["max"] > max(LARGE_SHARE * report["images"], LARGE_TIMES * each["median"]))


def _loose(report: Read) -> bool:
    return bool(report["download"]["seconds"] is not None and report["images"] > FEW_IMAGES)


def _small_shards(report: Read) -> bool:
    packed = report["download"]["seconds"] is None
    return bool(packed and report["files"] > 8 and report["bytes"] < SMALL_SHARD * report["files"])
