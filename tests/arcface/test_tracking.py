"""What TensorBoard and MLflow are told, and that neither can end a run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from training.arcface.settings import Settings
from training.container.about import About
from training.container.errors import StoppedError
from training.container.tracking import MLflow, TensorBoard, Trackers, numbers_of, open_trackers, replay

FIGURES: dict[str, Any] = {
    "step": 20,
    "accuracy": 0.9,
    "tar_at_far": {"1e-2": 0.7},
    "refused": {"tar_at_far_1e-6": "too few"},
    "groups": {"anna": {"accuracy": 1.0}},
    "sets": {"lfw": {"accuracy": 0.9}},
    "reason": "anna",
}


class Told:
    """A tracker that shows what it was told."""

    def __init__(self, forgets: bool = True) -> None:
        self.forgets = forgets
        self.numbers: list[tuple[dict[str, float], int]] = []
        self.outcome = ""

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.numbers.append((numbers, step))

    def close(self, outcome: str) -> None:
        self.outcome = outcome


def run_of(folder: Path, uri: str) -> Any:
    """The only run of an MLflow store."""
    from mlflow.tracking import MlflowClient  # noqa: PLC0415  (two seconds)

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("facetrain")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_only_numbers_leave_never_the_names_of_groups_or_people() -> None:
    assert dict(numbers_of(FIGURES)) == {"accuracy": 0.9, "tar_at_far_1e-2": 0.7}


@pytest.mark.parametrize(
    ("error", "outcome"), [(None, "FINISHED"), (StoppedError("x"), "STOPPED"), (ValueError("x"), "FAILED")]
)
def test_trackers_are_told_how_a_run_ended(error: Exception | None, outcome: str) -> None:
    told = Told()
    try:
        with Trackers([told]):
            if error:
                raise error
    except type(error or ValueError()):
        pass
    assert told.outcome == outcome


def test_a_run_that_is_taken_up_again_tells_what_was_before() -> None:
    told, knowing = Told(), Told(forgets=False)
    replay(
        Trackers([told, knowing]), [{"step": 10, "loss": 2.0, "lr": 0.1, "images_per_second": 5.0}], [FIGURES]
    )
    assert told.numbers == [
        ({"train/loss": 2.0, "train/lr": 0.1, "train/images_per_second": 5.0}, 10),
        ({"verification/accuracy": 0.9, "verification/tar_at_far_1e-2": 0.7}, 20),
    ]
    assert knowing.numbers == []


def test_tensorboard_gets_an_event_file_of_the_run(tmp_path: Path) -> None:
    with open_trackers(tmp_path / "tensorboard", About(), asdict(Settings()), print):
        pass  # an earlier part of the same run
    with open_trackers(tmp_path / "tensorboard", About(), asdict(Settings()), print) as trackers:
        trackers.train({"step": 1, "loss": 2.0, "lr": 0.1, "images_per_second": 5.0})
        trackers.verification(1, FIGURES)
    (file,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    written = file.read_bytes()
    assert all(name in written for name in (b"train/loss", b"train/lr", b"verification/tar_at_far_1e-2"))
    assert b"anna" not in written


def test_a_folder_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lines: list[str] = []
    tracker = TensorBoard(tmp_path / "file" / "tensorboard", lines.append)
    for step in range(3):
        tracker.log({"train/loss": 1.0}, step)
    tracker.close("FINISHED")
    (line,) = lines
    assert "tracking tensorboard failed" in line


def test_mlflow_gets_one_run_of_a_job_however_often_it_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server needs a database, the test does not
    uri = (tmp_path / "runs").as_uri()
    lines: list[str] = []
    settings, about = Settings(tracking_uri=uri, network="mbf"), About("job-1", "staff")
    for outcome in ("STOPPED", "FINISHED"):
        tracker = MLflow(asdict(settings), about, lines.append)
        tracker.log({"train/loss": 2.0 if outcome == "STOPPED" else 1.0}, 10)
        tracker.close(outcome)
    run = run_of(tmp_path, uri)
    assert lines == []
    assert run.data.metrics == {"train/loss": 1.0}
    assert run.data.params["network"] == "mbf"
    assert (run.info.run_name, run.info.status) == ("job-1", "FINISHED")


def test_a_server_that_does_not_answer_is_told_once_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    lines: list[str] = []
    tracker = MLflow(asdict(Settings(tracking_uri="http://me:secret@127.0.0.1:9")), About(), lines.append)
    for step in range(3):
        tracker.log({"train/loss": 1.0}, step)
    tracker.close("FINISHED")
    (line,) = lines
    assert line.startswith("tracking mlflow failed: http://127.0.0.1:9: ")
    assert line.endswith(": training goes on without it")
    assert "secret" not in line
