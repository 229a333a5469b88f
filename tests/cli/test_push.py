"""`dataset push`: everything is checked first, what is there stays, and the manifest comes last."""

import json
import os
import signal
from pathlib import Path

import pytest

from facetrain.storage import sha256_of
from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, Object
from training.jobs.request import job_name, model_artifact
from training.jobs.uri import S3Uri

BUCKET = PLATFORM.inputs_bucket
LOCATION = S3Uri(BUCKET, "inputs/staff/manifest.json")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people with two pictures each, as folders."""
    folder = tmp_path / "photos"
    for person in ("ada", "grace"):
        (folder / person).mkdir(parents=True)
        for number in (1, 2):
            (folder / person / f"{number}.jpg").write_bytes(f"{person}{number}".encode())
    return folder


def keys(aws: FakeAws) -> list[str]:
    return [place.removeprefix(f"{BUCKET}/inputs/staff/") for place in aws.puts()]


def manifest_in(aws: FakeAws) -> dict[str, object]:
    found: dict[str, object] = json.loads(aws.objects[f"{BUCKET}/{LOCATION.key}"].data)
    return found


def test_a_folder_per_person_becomes_a_dataset_with_its_manifest_last(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 0
    assert sorted(keys(aws)[:-1]) == [f"images/{who}/{n}.jpg" for who in ("ada", "grace") for n in (1, 2)]
    assert keys(aws)[-1] == "manifest.json"
    assert manifest_in(aws) == {"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}


def test_the_job_that_the_drop_starts_is_named(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    ran = facetrain("dataset", "push", photos, "staff", "--json")
    version = aws.objects[f"{BUCKET}/{LOCATION.key}"].version
    assert json.loads(ran.out) == {
        "dataset": "staff",
        "manifest": str(LOCATION),
        "job_name": job_name(PLATFORM, LOCATION, "staff", version),
        "model": str(model_artifact(PLATFORM, "staff", job_name(PLATFORM, LOCATION, "staff", version))),
        "uploaded": 4,
        "unchanged": 0,
        "bytes": 20,
        "resumed": 0,
    }


def test_every_object_arrives_with_a_checksum_that_s3_verified(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    facetrain("dataset", "push", photos, "staff")
    assert {stored.checksum is not None for stored in aws.objects.values()} == {True}


def test_what_is_there_is_not_sent_again(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    facetrain("dataset", "push", photos, "staff")
    (photos / "ada" / "1.jpg").write_bytes(b"Ada1.")  # another size
    (photos / "ada" / "2.jpg").write_bytes(b"ADA2")  # the same size, another content
    aws.requests.clear()
    ran = facetrain("dataset", "push", photos, "staff")
    assert sorted(keys(aws)[:-1]) == ["images/ada/1.jpg", "images/ada/2.jpg"]
    assert keys(aws)[-1] == "manifest.json"
    assert "2 files uploaded (9 B), 2 unchanged" in ran.err


def test_an_object_that_others_put_without_a_checksum_is_sent_again(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    aws.objects[f"{BUCKET}/inputs/staff/images/ada/1.jpg"] = Object(b"ada1", "v0", None)
    facetrain("dataset", "push", photos, "staff")
    assert "images/ada/1.jpg" in keys(aws)


def test_other_channels_and_hyperparameters_enter_the_built_manifest(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    (photos / "cfg").mkdir()
    (photos / "cfg" / "train-args.json").write_text("{}")
    (photos / "labels.csv").write_text("file,identity\n")
    ran = facetrain(
        "dataset", "push", photos, "staff", "--set", "epochs=3", "--set", "network=mbf", "--set", "lr=.1"
    )
    assert ran.code == 0
    assert manifest_in(aws) == {
        "schema": 1,
        "algorithm": "arcface",
        "channels": {"cfg": "cfg/", "images": "images/", "labels": "labels.csv"},
        "hyperparameters": {"epochs": 3, "network": "mbf", "lr": 0.1},
    }


def test_a_mode_that_there_is_not_is_refused(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    ran = facetrain("dataset", "push", photos, "staff", "--input-mode", "fastfile")
    assert (ran.code, aws.puts()) == (2, [])
    assert ran.err == 'input_mode: "fastfile" is not known (did you mean "FastFile"?)\n'


def test_the_folders_own_manifest_is_put_byte_for_byte(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    text = '{"schema":1,   "algorithm":"arcface", "channels":{"images":"./"}}'.replace("./", "people/")
    (photos / "people").mkdir()
    for person in ("ada", "grace"):
        (photos / person).rename(photos / "people" / person)
    (photos / "manifest.json").write_text(text)
    assert facetrain("dataset", "push", photos, "staff").code == 0
    assert aws.objects[f"{BUCKET}/{LOCATION.key}"].data.decode() == text


def test_a_wrong_manifest_is_refused_before_anything_is_sent(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    (photos / "manifest.json").write_text(
        '{"schema": 1, "algorithm": "arcfase", "channels": {"images": "image/"}}'
    )
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    assert 'algorithm: "arcfase" is not known (did you mean "arcface"?)' in ran.err
    assert aws.puts() == []


def test_a_channel_that_lies_nowhere_is_refused_with_the_nearest_name(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    (photos / "images").mkdir()
    for person in ("ada", "grace"):
        (photos / person).rename(photos / "images" / person)
    (photos / "manifest.json").write_text(
        '{"schema": 1, "algorithm": "arcface", "channels": {"images": "image/"}}'
    )
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    assert 'channels.images: "image/" holds no objects' in ran.err
    assert 'did you mean "images/"?' in ran.err


def test_a_channel_may_lie_in_s3_already(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    aws.objects[f"{BUCKET}/inputs/staff/images/ada/1.jpg"] = Object(b"ada1", "v0", None)
    (photos / "manifest.json").write_text(
        '{"schema": 1, "algorithm": "arcface", "channels": {"images": "images/"}}'
    )
    assert facetrain("dataset", "push", photos, "staff").code == 0


def test_several_wrong_settings_are_refused_together(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    ran = facetrain(
        "dataset", "push", photos, "staff", "--set", "epoch=3", "--set", "lr=fast", "--set", "seed"
    )
    assert ran.code == 2
    assert ran.err.splitlines() == [
        '--set epoch=3: no such hyperparameter (did you mean "epochs"?)',
        "--set lr=fast: 'fast' is not a number",
        "--set seed: is not of the form key=value",
    ]
    assert aws.puts() == []


@pytest.mark.parametrize("name", ["My staff", "../staff", "", "-staff", "personal/álbum", "a" * 101])
def test_a_name_that_s3_or_a_job_would_choke_on_is_refused(
    facetrain: Facetrain, aws: FakeAws, photos: Path, name: str
) -> None:
    ran = facetrain("dataset", "push", "--", photos, name)
    assert ran.code == 2
    assert "cannot name a dataset: use up to 100 letters" in ran.err
    assert aws.puts() == []


def test_an_empty_folder_says_what_to_put_in_it(facetrain: Facetrain, tmp_path: Path) -> None:
    ran = facetrain("dataset", "push", tmp_path, "staff")
    assert ran.code == 2
    assert "holds no files: put one folder of photographs per person in it" in ran.err


def test_a_folder_that_is_not_there_is_refused(facetrain: Facetrain, tmp_path: Path) -> None:
    ran = facetrain("dataset", "push", tmp_path / "none", "staff")
    assert (ran.code, ran.err) == (2, f"{tmp_path}/none: there is no such folder\n")


def test_one_identity_is_refused_before_it_costs_anything(
    facetrain: Facetrain, aws: FakeAws, photos: Path
) -> None:
    for path in (photos / "grace").iterdir():
        path.unlink()
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    assert 'channels.images: holds one identity ("ada")' in ran.err
    assert aws.puts() == []


def test_single_pictures_and_empty_files_are_noted(facetrain: Facetrain, photos: Path) -> None:
    (photos / "ada" / "2.jpg").unlink()
    (photos / "grace" / "1.jpg").write_bytes(b"")
    ran = facetrain("dataset", "push", photos, "staff", "--dry-run")
    assert "note: 1 identity of 2 with one picture" in ran.err
    assert "note: 1 empty file will be passed over" in ran.err


def test_a_dry_run_sends_nothing(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    ran = facetrain("dataset", "push", photos, "staff", "--dry-run")
    assert (ran.code, aws.puts()) == (0, [])
    assert ran.err.splitlines() == [
        "staff: 2 identities, 4 files, 20 B",
        "trains: arcface on ml.g6.xlarge (spot, 24 h at the most), images copied to its disk first",
    ]


def test_hidden_files_stay_here(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    (photos / ".git").mkdir()
    (photos / ".git" / "config").touch()
    (photos / "ada" / ".DS_Store").touch()
    facetrain("dataset", "push", photos, "staff")
    assert not [key for key in keys(aws) if "/." in f"/{key}"]


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_link_out_of_the_folder_is_refused(
    facetrain: Facetrain, aws: FakeAws, photos: Path, tmp_path: Path, where: str
) -> None:
    secret = tmp_path / "secret"
    secret.touch() if where == "file" else secret.mkdir()
    (photos / "ada" / "3.jpg").symlink_to(secret)
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    assert f"{photos}/ada/3.jpg: is a link" in ran.err
    assert aws.puts() == []


def test_a_link_within_the_folder_is_followed(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    (photos / "ada" / "3.jpg").symlink_to(photos / "ada" / "1.jpg")
    facetrain("dataset", "push", photos, "staff")
    assert aws.objects[f"{BUCKET}/inputs/staff/images/ada/3.jpg"].data == b"ada1"


def test_all_unusable_files_are_named_at_once(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    (photos / "ada" / "3.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "ada" / "new\nline.jpg").touch()
    Path(os.fsdecode(bytes(photos / "grace") + b"/\xff.jpg")).touch()
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 2
    for said in ("a link to nothing", "a control character in its name", "a name that is not UTF-8"):
        assert said in ran.err
    assert aws.puts() == []


def test_what_s3_holds_besides_is_noted(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    aws.objects[f"{BUCKET}/inputs/staff/images/mallory/1.jpg"] = Object(b"x", "v0", None)
    aws.objects[f"{BUCKET}/inputs/staff/notes.txt"] = Object(b"x", "v0", None)
    ran = facetrain("dataset", "push", photos, "staff")
    assert "S3 holds 1 more object in this dataset's channels" in ran.err
    assert "inputs/staff/images/mallory/1.jpg" in ran.err


def test_a_failed_upload_leaves_no_manifest(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    aws.refuse_put = lambda place: place.endswith("grace/2.jpg")
    ran = facetrain("dataset", "push", photos, "staff")
    assert ran.code == 1
    assert "PutObject: AccessDenied" in ran.err
    assert "manifest.json" not in keys(aws)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_no_manifest(facetrain: Facetrain, aws: FakeAws, photos: Path) -> None:
    def interrupt(place: str) -> bool:
        if len(aws.puts()) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    aws.refuse_put = interrupt
    assert facetrain("dataset", "push", photos, "staff").code == 130
    assert "manifest.json" not in keys(aws)


def test_large_files_are_known_by_the_digest_of_their_parts(tmp_path: Path) -> None:
    """As S3 documents it for multipart uploads. The value: `openssl dgst -sha256 -binary` of abcd, efgh and
    ij, one after the other, through the same command again and `base64`."""
    path = tmp_path / "shard"
    path.write_bytes(b"abcdefghij")
    assert sha256_of(path, part=4) == "Obym+jYZ9n7k1vjfUUkVWFYPQpkgWT9/ZJEZuj8oXtk=-3"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Pictures with YOLO's label files, and the dataset's YAML."""
    for name in ("images/train/1.jpg", "labels/train/1.txt", "cfg/faces.yaml"):
        file = tmp_path / "boxes" / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"0 0.5 0.5 0.2 0.2\n")
    return tmp_path / "boxes"


def test_a_detectors_folder_gets_a_manifest_for_it(facetrain: Facetrain, aws: FakeAws, boxes: Path) -> None:
    """Its one folder below images is no identity."""
    ran = facetrain("dataset", "push", boxes, "staff", "--algorithm", "yolov5", "--set", "image_size=320")
    assert ran.code == 0, ran.err
    assert manifest_in(aws) == {
        "schema": 1,
        "algorithm": "yolov5",
        "channels": {"cfg": "cfg/", "images": "images/", "labels": "labels/"},
        "hyperparameters": {"image_size": 320},
    }


def test_an_algorithm_that_the_folder_is_not_for_is_refused(facetrain: Facetrain, boxes: Path) -> None:
    ran = facetrain("dataset", "push", boxes, "staff", "--algorithm", "yolo5")
    assert ran.err == '--algorithm: "yolo5" is not known (did you mean "yolov5"?)\n'
    (boxes / "manifest.json").write_text('{"schema": 1, "algorithm": "arcface"}')
    ran = facetrain("dataset", "push", boxes, "staff", "--algorithm", "yolov5")
    assert (ran.code, ran.err) == (
        2,
        "--algorithm: the folder's manifest.json names another: change it there\n",
    )
