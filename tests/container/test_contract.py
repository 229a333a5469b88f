"""The image's contract with the service: folders in, folders out, exit status, and one sentence why not."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.container.containers import Containers
from tests.container.jobs import FACETRAIN, STEPS, faces_at, job
from training.jobs import contract
from training.jobs.algorithms import ARCFACE_METRICS
from training.jobs.contract import ContainerPaths

pytestmark = pytest.mark.container

Trained = tuple[ContainerPaths, str]


# -- A job that goes well ----------------------------------------------------------------------------------


def test_a_job_leaves_a_model_and_a_report(trained: Trained) -> None:
    paths, _ = trained
    assert {path.name for path in paths.model.iterdir()} >= {"model.onnx", "backbone.pth", "metrics.json"}
    assert json.loads((paths.model / "metrics.json").read_text())["steps"] == STEPS
    assert (paths.output_data / "report.html").is_file()
    assert not paths.failure.exists()


def test_what_a_job_leaves_is_the_images_users_and_what_it_was_given_is_not(trained: Trained) -> None:
    paths, log = trained
    left = [
        path
        for folder in (paths.model, paths.output, paths.checkpoints)
        for path in (folder, *folder.rglob("*"))
    ]
    assert {path.stat().st_uid for path in left} == {FACETRAIN}
    assert paths.hyperparameters.stat().st_uid == os.getuid()
    assert f"user=facetrain uid={FACETRAIN}\n" in log


def test_the_log_says_what_there_is_to_compute_with(trained: Trained) -> None:
    assert re.search(
        r"^hardware gpus=\d+ gpu=\S+ driver=\S+ cuda=\S+ processors=\d+ torch=\S+$", trained[1], re.M
    )


@pytest.mark.parametrize("metric", ARCFACE_METRICS, ids=lambda metric: metric.name)
def test_the_service_reads_each_metric_from_the_log(trained: Trained, metric: object) -> None:
    name, regex = vars(metric)["name"], vars(metric)["regex"]
    found = [match[1] for line in trained[1].splitlines() if (match := re.search(regex, line))]
    needs_more_pairs = name.endswith(("1e-2", "1e-3"))  # 36 impostor pairs here
    assert bool(found) != needs_more_pairs


# -- Called wrongly ----------------------------------------------------------------------------------------


def failure(
    containers: Containers, paths: ContainerPaths, *options: str, status: int = 1, told: bool = True
) -> str:
    """Why a container of a job ends with this status; the log says the same, and has no traceback."""
    done = containers.run("train", options=options, base=paths.base)
    log = done.stdout + done.stderr
    assert done.returncode == status, log
    assert "Traceback" not in log
    found = re.search(r"^failed: (.*)$", log, re.M)
    assert found, log
    if told:
        assert paths.failure.read_text(encoding="utf-8") == found[1]
        assert len(found[1]) < contract.FAILURE_REASON_LIMIT
    return found[1]


def test_without_folders_it_explains_what_they_are_and_how_to_give_them(containers: Containers) -> None:
    done = containers.run()
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("there is no /opt/ml, where a training job finds its data and leaves its model")
    assert "docker run -v FOLDER:/opt/ml IMAGE" in line


def test_another_argument_than_train_is_refused(containers: Containers) -> None:
    done = containers.run("serve")
    assert done.returncode == 2
    assert "invalid choice: 'serve'" in done.stderr


def test_an_unknown_channel_is_refused_with_the_nearest_one(
    containers: Containers, faces: Path, tmp_path: Path
) -> None:
    reason = failure(containers, job(tmp_path / "ml"), *faces_at(faces, "image"), *faces_at(faces))
    assert reason == 'channels.image: arcface has no such channel (did you mean "images"?)'


def test_broken_hyperparameters_are_refused(containers: Containers, tmp_path: Path) -> None:
    paths = job(tmp_path / "ml")
    paths.hyperparameters.write_text("{epochs: 3}")
    assert failure(containers, paths).startswith("hyperparameters.json: is not JSON")


def test_without_images_there_is_nothing_to_train_on(containers: Containers, tmp_path: Path) -> None:
    paths = job(tmp_path / "ml")
    paths.channel("images").rmdir()
    paths.hyperparameters.unlink()
    assert failure(containers, paths).startswith("channels.images: /opt/ml/input/data/images does not exist")


# -- Folders that cannot be written ------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["model", "checkpoints", "output"])
def test_a_read_only_folder_is_refused_before_training(
    containers: Containers, tmp_path: Path, folder: str
) -> None:
    paths = job(tmp_path / "ml")
    (tmp_path / "closed").mkdir()
    closed = ("--volume", f"{tmp_path / 'closed'}:/opt/ml/{folder}:ro")
    reason = failure(containers, paths, *closed, told=folder != "output")
    assert reason.startswith(f"/opt/ml/{folder} cannot be written (Read-only file system)")
    assert ":ro" in reason


def test_a_volume_without_room_for_the_model_is_refused_before_training(
    containers: Containers, faces: Path, tmp_path: Path
) -> None:
    full = ("--tmpfs", "/opt/ml/model:size=9m,mode=1777")
    reason = failure(containers, job(tmp_path / "ml"), *faces_at(faces), *full)
    assert reason.startswith("/opt/ml/model: the model takes 24 MiB, and 9 are free: free some space")


def test_full_volumes_for_checkpoints_and_report_do_not_keep_a_job_from_its_model(
    containers: Containers, faces: Path, tmp_path: Path
) -> None:
    """As a user that nobody knows, too."""
    paths, somebody = job(tmp_path / "ml", max_steps=3), 1234
    for folder in (paths.model, paths.output, paths.checkpoints):
        folder.mkdir()
        os.chown(folder, somebody, somebody)
    options = [*faces_at(faces), "--user", f"{somebody}:{somebody}"]
    for name, size in (("checkpoints", "2m"), ("output/data", "64k")):
        options += ["--tmpfs", f"/opt/ml/{name}:size={size},uid={somebody}"]
    done = containers.run(options=tuple(options), base=paths.base)
    assert done.returncode == 0, done.stderr
    assert f"user={somebody}\n" in done.stderr
    assert re.search(r"^checkpoint step=3 failed: .*free some space.*training goes on", done.stderr, re.M)
    assert re.search(r"^report.html not written: /opt/ml/output/data: No space left", done.stderr, re.M)
    assert {path.stat().st_uid for path in paths.model.iterdir()} == {somebody}
    assert (paths.model / "model.onnx").is_file()


def test_a_container_without_a_folder_for_temporary_files_says_so(
    containers: Containers, tmp_path: Path
) -> None:
    reason = failure(containers, job(tmp_path / "ml"), "--read-only")
    assert reason == "no folder for temporary files can be written: add --tmpfs /tmp:exec"


# -- Who trains --------------------------------------------------------------------------------------------


def test_folders_of_somebody_else_than_root_stay_theirs(containers: Containers, tmp_path: Path) -> None:
    paths, somebody = job(tmp_path / "ml", epochs=0), 1001
    for folder in (paths.base, *paths.base.rglob("*")):
        os.chown(folder, somebody, somebody)
    failure(containers, paths)
    assert {path.stat().st_uid for path in (paths.failure, paths.model)} == {somebody}


def test_where_root_cannot_be_given_up_the_log_says_why(containers: Containers, tmp_path: Path) -> None:
    paths = job(tmp_path / "ml", epochs=0)
    done = containers.run("train", options=("--cap-drop", "ALL"), base=paths.base)
    assert re.search(r"^user=root: .*not permitted", done.stderr, re.M)
    assert paths.failure.stat().st_uid == 0


def test_channels_that_only_root_may_read_are_read_by_root(containers: Containers, tmp_path: Path) -> None:
    paths = job(tmp_path / "ml", epochs=0)
    paths.hyperparameters.chmod(0o600)
    done = containers.run("train", base=paths.base)
    assert (
        "user=root: /opt/ml/input/config/hyperparameters.json can be read by its owner alone" in done.stderr
    )
    assert "hyperparameters.epochs: 0 is out of range" in paths.failure.read_text()


def test_a_trainer_that_the_kernel_ends_for_want_of_memory_is_explained(
    containers: Containers, faces: Path, tmp_path: Path
) -> None:
    little = ("--memory", "96m", "--memory-swap", "96m")  # torch alone takes more
    reason = failure(containers, job(tmp_path / "ml"), *faces_at(faces), *little)
    assert reason.startswith("training was killed, most likely because memory ran out: lower batch_size")
