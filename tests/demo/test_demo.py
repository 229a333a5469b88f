"""The demo's decisions: which faces will do, what the cloud is left like, what the job's end means."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from facetrain import demo, pretrain
from facetrain.client import Connection, Deployment
from facetrain.dataset import Pushed
from facetrain.errors import InputError, OperationError
from facetrain.folder import read_folder
from tests.cli.fake_aws import FakeAws, Object, ServiceError, serving
from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import resolve
from training.jobs.platform import Platform

PLATFORM = Platform.example("local")
PUSHED = Pushed(
    dataset="demo",
    manifest=f"s3://{PLATFORM.inputs_bucket}/inputs/demo/manifest.json",
    job_name="facetrain-local-demo-1",
    model="s3://out/model.tar.gz",
    uploaded=1,
    unchanged=0,
    bytes=1,
    resumed=0,
)
JOB = {"TrainingJobName": PUSHED.job_name, "ModelArtifacts": {"S3ModelArtifacts": "s3://out/model.tar.gz"}}


@dataclass
class FakeStatus:
    running: bool
    home: str


@dataclass
class FakeCloud:
    """The cloud on this machine, as far as the demo decides about it."""

    home: Path
    running: bool = False
    downs: list[tuple[str, bool]] = field(default_factory=list)

    def status(self, name: str) -> FakeStatus:
        return FakeStatus(self.running, str(self.home / name))

    def up(self, name: str, progress: Callable[[str], None], runner: str | None) -> None:
        raise OperationError(f"{name} is asked to run jobs as {runner}")

    def down(self, name: str, delete: bool = False) -> bool:
        self.downs.append((name, delete))
        return True


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCloud:
    fake = FakeCloud(tmp_path)
    monkeypatch.setattr(demo, "cloud", fake)
    return fake


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    yield from serving(FakeAws())


@pytest.fixture
def deployment(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    return Deployment(Connection(), PLATFORM)


def people(tmp_path: Path, pictures: dict[str, int]) -> Path:
    for person, count in pictures.items():
        (tmp_path / person).mkdir(parents=True)
        for number in range(count):
            (tmp_path / person / f"{number}.jpg").write_bytes(b"x")
    return tmp_path


def use(cloud: FakeCloud, keep: bool = False, fails: BaseException | None = None) -> None:
    with demo.left_as_found("demo", keep, progress=lambda line: None):
        (cloud.home / "demo").mkdir(exist_ok=True)
        if fails:
            raise fails


def test_what_the_job_is_to_run_as_reaches_the_cloud(cloud: FakeCloud, tmp_path: Path) -> None:
    faces = people(tmp_path / "faces", dict.fromkeys("abcd", 2))
    with pytest.raises(OperationError, match="demo is asked to run jobs as docker"):
        demo.run(faces, "demo", False, lambda _line: None, lambda _event: None, runner="docker")


def test_a_new_cloud_leaves_nothing(cloud: FakeCloud) -> None:
    use(cloud)
    assert cloud.downs == [("demo", True)]


def test_a_cloud_that_ran_before_goes_on_running(cloud: FakeCloud) -> None:
    cloud.running = True
    use(cloud)
    assert cloud.downs == []


def test_a_cloud_that_was_stopped_is_stopped_again_and_loses_nothing(cloud: FakeCloud) -> None:
    (cloud.home / "demo").mkdir()
    use(cloud)
    assert cloud.downs == [("demo", False)]


def test_keep_leaves_it_running(cloud: FakeCloud) -> None:
    use(cloud, keep=True)
    assert cloud.downs == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(143), OperationError("no job")])
def test_ctrl_c_and_failures_take_the_cloud_down_too(cloud: FakeCloud, failure: BaseException) -> None:
    with pytest.raises(type(failure)):
        use(cloud, fails=failure)
    assert cloud.downs == [("demo", True)]


def test_too_few_people_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    folder = read_folder(people(tmp_path, {"ada": 2, "grace": 2, "mary": 3, "once": 1}))
    with pytest.raises(InputError, match="--faces: 3 folders hold two or more pictures of one person, 4 are"):
        demo.require_enough(folder)


def test_four_people_with_two_pictures_will_do(tmp_path: Path) -> None:
    demo.require_enough(read_folder(people(tmp_path, dict.fromkeys("abcd", 2))))


@pytest.mark.parametrize(
    "own",
    [demo.FOR_DRAWN_FACES, demo.FOR_PHOTOGRAPHS, pretrain.FOR_PRETRAINING, pretrain.FOR_FINE_TUNING],
)
def test_the_demos_hyperparameters_are_known(tmp_path: Path, own: tuple[str, ...]) -> None:
    settings = demo.HYPERPARAMETERS + own
    document = json.loads(read_folder(people(tmp_path, {"ada": 1}), settings).document)
    assert set(document["hyperparameters"]) == {setting.partition("=")[0] for setting in settings}
    resolve(ALGORITHMS["arcface"], {}, document["hyperparameters"])


def test_the_accuracies_are_what_the_metric_definition_finds_in_the_log() -> None:
    outcome = demo.Outcome()
    lines = [
        "verification accuracy=0.7083 tar_at_far_1e-2=0.2667 eer=0.2960",
        "epoch=1 step=11/33 loss=35.7893 lr=0.013939",
        "verification accuracy=0.9276 tar_at_far_1e-2=0.5636 eer=0.0690",
    ]
    demo.conclude(outcome, JOB | {"TrainingJobStatus": "Completed"}, lines)
    assert (outcome.accuracy_before_training, outcome.accuracy) == (0.7083, 0.9276)
    assert (outcome.eer, outcome.tar_at_far_1e_2) == (0.0690, 0.5636)
    assert outcome.model == "s3://out/model.tar.gz"


def test_a_failed_job_has_a_reason_and_no_model() -> None:
    outcome = demo.Outcome()
    demo.conclude(outcome, JOB | {"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: x"}, [])
    assert (outcome.status, outcome.failure_reason) == ("Failed", "AlgorithmError: x")
    assert (outcome.model, outcome.accuracy) == (None, None)


@pytest.mark.parametrize(
    ("images", "named"), [([{"imageId": {"imageDigest": "sha256:1"}}], True), ([], False)]
)
def test_a_container_jobs_image_is_named_by_its_digest(
    aws: FakeAws, deployment: Deployment, images: list[Any], named: bool
) -> None:
    asked = list[Any]()

    def held(query: dict[str, Any]) -> dict[str, Any]:
        asked.append((query["repositoryName"], query["imageIds"]))
        return {"images": images}

    aws.handlers["AmazonEC2ContainerRegistry.BatchGetImage"] = held
    job = {"AlgorithmSpecification": {"TrainingImage": "1.dkr.ecr.x/team/arcface:abc"}}
    found = demo.image_of(deployment, job)
    assert found == ("1.dkr.ecr.x/team/arcface@sha256:1" if named else None)
    assert asked == [("team/arcface", [{"imageTag": "abc"}])]


def answering(aws: FakeAws, describe: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    aws.handlers["SageMaker.DescribeTrainingJob"] = describe


def not_yet(query: dict[str, Any]) -> dict[str, Any]:
    raise ServiceError("ValidationException", "Requested resource not found.")


def test_the_job_is_awaited_until_it_is_there(aws: FakeAws, deployment: Deployment) -> None:
    def third_time(query: dict[str, Any]) -> dict[str, Any]:
        return JOB if aws.requests.count("SageMaker.DescribeTrainingJob") == 3 else not_yet(query)

    answering(aws, third_time)
    demo.await_start(deployment, PUSHED, sleep=lambda seconds: None)
    assert aws.requests.count("SageMaker.DescribeTrainingJob") == 3


def test_a_rejected_manifest_ends_the_waiting_with_its_errors(aws: FakeAws, deployment: Deployment) -> None:
    answering(aws, not_yet)
    rejection = json.dumps({"errors": [{"path": "channels.images", "message": "holds no objects"}]})
    place = f"{PLATFORM.inputs_bucket}/inputs/demo/manifest.rejected.json"
    aws.objects[place] = Object(rejection.encode(), "v1", None)
    with pytest.raises(OperationError, match=r"refused the manifest: channels\.images: holds no objects"):
        demo.await_start(deployment, PUSHED, sleep=lambda seconds: None)


def test_a_launcher_that_never_comes_is_said_with_where_to_look(
    aws: FakeAws, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(aws, not_yet)
    monkeypatch.setattr(demo, "START_SECONDS", 0.05)
    with pytest.raises(OperationError, match="/aws/lambda/facetrain-local-launch-training"):
        demo.await_start(deployment, PUSHED, sleep=lambda seconds: None)


def test_each_phase_is_timed() -> None:
    outcome = demo.Outcome()
    with outcome.phase("faces"):
        pass
    assert list(outcome.seconds) == ["faces"]
