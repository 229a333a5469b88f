"""CelebA as it is unpacked: a folder of photos, and tables beside it that name their files alone."""

import json
from pathlib import Path

import pytest

from facetrain.cli.entry import run
from facetrain.datasets.pack import pack
from facetrain.datasets.prepare.command import Wanted, prepare
from facetrain.folder import read_folder
from tests.datasets.faces import encoded, put
from training.formats.listing import find

PEOPLE = {"000001.jpg": "2880", "000002.jpg": "2937", "000003.jpg": "2880", "000004.jpg": "2937"}
POINTS = "69  109  106  113   77  142   73  152  108  154"  # of 000001.jpg in the original
NAMES = (
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
    "leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
)


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("celeba")
    for number, name in enumerate(PEOPLE):
        put(folder / "img_align_celeba" / name, encoded(number, "JPEG", (218, 178)))
    (folder / "identity_CelebA.txt").write_text("".join(f"{name} {who}\n" for name, who in PEOPLE.items()))
    (folder / "list_landmarks_align_celeba.txt").write_text(
        f"{len(PEOPLE)}\n{NAMES} \n" + "".join(f"{name}  {POINTS}\n" for name in PEOPLE)
    )
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} 0\n" for name in PEOPLE))
    return folder


def whose(folder: Path, labels: Path | None = None) -> dict[str, str]:
    found = find(folder, labels)
    return {
        Path(file).with_suffix(".jpg").name: found.identities[label]
        for file, label in zip(found.files, found.labels, strict=True)
    }


def test_its_photos_are_prepared_by_both_its_lists(celeba: Path, tmp_path: Path) -> None:
    landmarks = celeba / "list_landmarks_align_celeba.txt"
    prepare(Wanted(celeba, tmp_path / "faces", landmarks=landmarks, processes=1))
    assert whose(tmp_path / "faces") == PEOPLE


def test_it_is_checked_as_it_is(celeba: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["dataset", "check", str(celeba), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["identities"], report["unreadable"]) == (4, 2, 0)


def test_it_is_packed_as_it_is(celeba: Path, tmp_path: Path) -> None:
    pack(celeba, tmp_path / "packed")
    assert whose(tmp_path / "packed") == PEOPLE


def test_it_is_pushed_as_it_is(celeba: Path) -> None:
    folder = read_folder(celeba)
    assert json.loads(folder.document)["channels"] == {
        "images": "images/",
        "labels": "identity_CelebA.txt",
        "landmarks": "list_landmarks_align_celeba.txt",
    }
    assert {file.key for file in folder.files} == {
        *(f"images/img_align_celeba/{name}" for name in PEOPLE),
        "images/list_eval_partition.txt",
        "identity_CelebA.txt",
        "list_landmarks_align_celeba.txt",
    }
