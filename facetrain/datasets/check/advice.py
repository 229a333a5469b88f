"""What a report means: what would harm training, what to do, and how long things take, as far as is known."""

from collections.abc import Mapping
from typing import Any

from training.formats.listing import Listing
from training.formats.words import many
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
    broken = report["index"]["damaged"] if report["index"] else 0
    found = [
        (report["identities"] < 2, f"{many(report['identities'], 'identity')}: training needs two and more"),
        (report["unreadable"], f"{many(report['unreadable'])} that cannot be read: left out of training"),
        (broken, f"{many(broken, 'file')} not as the index says: copy again, or pack the dataset anew"),
        (across, f"{many(across)} in several identities: at most one of the labels is right"),
        (
            leaks["images"],
            f"{many(leaks['images'])} in training and in validation: the figures would flatter",
        ),
        (leaks["identities"], f"{many(leaks['identities'], 'identity')} in training and in validation"),
    ]
    return [sentence for is_so, sentence in found if is_so]


def advice(report: Read) -> list[str]:
    """One line each."""
    each, sizes, listing = report["images_per_identity"], report["sizes"], report["listing"]
    within, near = report["duplicate_groups"]["within_identities"], report["near_duplicates"]
    across, odd = near["across_identities"], sizes["smaller"] + sizes["larger"]
    missing = report["class_gaps"]["missing"] if report["class_gaps"] else 0
    empty = report["empty_folders"]["count"]
    found = [
        (report["unreadable"], "unreadable images: copy them once more, or delete them"),
        (within, f"{many(within)} twice or more in an identity: delete the further copies"),
        (across, f"{many(across, 'pair')} of near-copies across identities: look whose they are"),
        (near["pairs"] - across, f"{many(near['pairs'] - across, 'pair')} of near-copies: they teach little"),
        (
            report["leaks"]["near"],
            f"{many(report['leaks']['near'])} nearly the same in validation: look at them",
        ),
        (
            each["with_one_image"],
            f"{many(each['with_one_image'], 'identity')} with one image, which teaches little: add more",
        ),
        (_outweighs(report), f"one identity has {each['max']:,} images: keep some of them"),
        (
            odd,
            f"{many(odd)} not 112x112: align them (facetrain dataset prepare), or let the job do it "
            "(landmarks or a detector), or they are only scaled",
        ),
        (empty, f"{many(empty, 'folder')} without an image"),
        (report["names"]["count"], f"{many(report['names']['count'], 'name')} that may cause trouble"),
        (missing, f"{many(missing, 'class number')} without an image: fine, if nobody was lost"),
        *(
            (count, f"{many(count, _NOTES[name][0])} {_NOTES[name][1]}")
            for name, count in listing.items()
            if name in _NOTES
        ),
        (_loose(report), "small files are slow to download: pack them (facetrain dataset pack)"),
        (_small_shards(report), "shards are small: pack again, 128 to 256 MB each"),
    ]
    return [sentence for is_so, sentence in found if is_so]


_NOTES = {  # of the listing
    "folder_links_not_followed": ("link", "to folders, not followed: put the folders themselves there"),
    "images_outside_folders": ("image", "outside folders of identities: left out of training"),
    "images_in_deeper_folders": ("image", "in folders within identities: see that the level is right"),
    "labels_without_image": ("line", "of the table for files that are not there"),
    "labels_table_not_read": (
        "table",
        "beside .rec files, which is not read: the records say whose they are",
    ),
    "images_without_label": ("image", "without a line in the table: left out of training"),
}


def _outweighs(report: Read) -> bool:
    each = report["images_per_identity"]
    return bool(each["max"] > max(LARGE_SHARE * report["images"], LARGE_TIMES * each["median"]))


def _loose(report: Read) -> bool:
    return bool(report["download"]["seconds"] is not None and report["images"] > FEW_IMAGES)


def _small_shards(report: Read) -> bool:
    packed = report["download"]["seconds"] is None
    return bool(packed and report["files"] > 8 and report["bytes"] < SMALL_SHARD * report["files"])
