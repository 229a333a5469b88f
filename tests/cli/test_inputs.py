"""`inputs push`: an inputs folder is checked, sent as it is, and kept as one archive."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import PLATFORM, Facetrain
from tests.cli.fake_aws import FakeAws, Object

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TARGET = "s3://team/sagemaker_training_jobs/yolo-inputs"
PLACE = "team/sagemaker_training_jobs/yolo-inputs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "yolo-inputs"
    shutil.copytree(EXAMPLES / "yolo-inputs", copied)
    return copied


def test_files_arrive_with_an_archive_of_them(facetrain: Facetrain, aws: FakeAws, folder: Path) -> None:
    ran = facetrain("inputs", "push", folder, TARGET, "--json")
    assert ran.code == 0, ran.err
    sent = json.loads(ran.out)
    assert (sent["inputs"], sent["algorithm"], sent["unchanged"]) == (f"{TARGET}/", "yolov5", 0)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {f"{PLACE}/{file}" for file in files} < set(aws.objects)
    packed = aws.objects[sent["archive"].removeprefix("s3://")].data
    assert sent["archive"].endswith(f"/archive/yolo-inputs-{sent['sha256'][:12]}.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {member.name for member in archive} == files


def test_a_second_push_sends_the_archive_alone_and_it_is_the_same(
    facetrain: Facetrain, aws: FakeAws, folder: Path
) -> None:
    first = json.loads(facetrain("inputs", "push", folder, TARGET, "--json").out)
    for path in folder.rglob("*"):
        path.touch()
    again = json.loads(facetrain("inputs", "push", folder, TARGET, "--json").out)
    assert again == first | {"uploaded": 0, "unchanged": first["uploaded"]}


def test_without_an_address_it_goes_to_the_deployments_inputs(
    facetrain: Facetrain, aws: FakeAws, folder: Path
) -> None:
    ran = facetrain("inputs", "push", folder)
    place = f"s3://{PLATFORM.inputs_bucket}/inputs/sagemaker_training_jobs/yolo-inputs/"
    assert f"inputs   {place}\n" in ran.out
    assert f"training_job.py --algorithm yolov5 --inputs {place} --images" in ran.err


def test_the_face_inputs_are_arcfaces(facetrain: Facetrain, aws: FakeAws) -> None:
    ran = facetrain("inputs", "push", EXAMPLES / "face-inputs", "s3://team/face-inputs", "--dry-run")
    assert (ran.code, ran.err) == (0, "face-inputs: inputs of arcface, 2 files\n")
    assert not aws.puts()


def test_what_s3_holds_besides_is_noted(facetrain: Facetrain, aws: FakeAws, folder: Path) -> None:
    aws.objects[f"{PLACE}/input/data/cfg/old.yaml"] = Object(b"old", "v1", None)
    assert "S3 holds 1 more object there" in facetrain("inputs", "push", folder, TARGET).err


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "cfg/train-args.json",
            '{"epoch": 3}',
            "cfg/train-args.json.epoch: yolov5 has no such hyperparameter",
        ),
        ("cfg/train-args.json", "{", "cfg/train-args.json: is not JSON"),
        ("cfg/notes.docx", "text", "input/data/cfg/notes.docx: is not read by yolov5, which takes .json"),
        (
            "weigths/yolov5s.pt",
            "weights",
            'input/data/weigths: yolov5 has no such channel (did you mean "weights"?)',
        ),
        ("weights/yolov5s.pt", "", "input/data/weights/yolov5s.pt: is empty"),
        ("cfg/dataset.yaml", "nc: 2\nnames: [face]\n", "nc is 2, but names has 1"),
        ("cfg/data/other.yaml", "nc: 1\nnames: [face]\n", "holds several YAMLs of datasets"),
        (
            "cfg/cfg.tar.gz",
            "archive",
            "cfg.tar.gz: is not read by yolov5, which takes .json, .yaml, .yml: unpack it there",
        ),
    ],
)
def test_what_no_job_could_use_is_refused_before_anything_is_sent(
    facetrain: Facetrain, aws: FakeAws, folder: Path, file: str, content: str, said: str
) -> None:
    path = folder / "input/data" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    ran = facetrain("inputs", "push", folder, TARGET)
    assert ran.code == 2
    assert said in ran.err
    assert not aws.puts()


def test_a_byte_order_mark_and_what_notebooks_leave_behind_do_no_harm(
    facetrain: Facetrain, aws: FakeAws, folder: Path
) -> None:
    cfg = folder / "input/data/cfg"
    (cfg / "train-args.json").write_text('{"epochs": 3}', encoding="utf-8-sig")
    (cfg / ".ipynb_checkpoints").mkdir()
    (cfg / ".ipynb_checkpoints/dataset-checkpoint.yaml").write_text("nc: 1\nnames: [face]\n")
    assert facetrain("inputs", "push", folder, TARGET, "--dry-run").code == 0


def test_a_folder_of_another_shape_says_what_goes_where(facetrain: Facetrain, tmp_path: Path) -> None:
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg/train-args.json").write_text("{}")
    assert facetrain("inputs", "push", tmp_path, TARGET).err == (
        f"{tmp_path}: holds no input/data/: put cfg/ and weights/ there, as docs/by-hand.md shows\n"
    )


def test_a_wrong_address_or_algorithm_is_refused(facetrain: Facetrain, folder: Path) -> None:
    assert "s3://bucket/key" in facetrain("inputs", "push", folder, "team/yolo").err
    ran = facetrain("inputs", "push", folder, TARGET, "--algorithm", "yolo5")
    assert ran.err == '--algorithm: "yolo5" is not known (did you mean "yolov5"?)\n'
