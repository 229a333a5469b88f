"""What is found wrong with a job's folders before anything heavy is imported, in one sentence each."""

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.arcface.examples import write_job
from training.container import given, main
from training.container.errors import TrainingError
from training.jobs.config import ConfigError
from training.jobs.contract import ContainerPaths


@pytest.fixture
def paths(tmp_path: Path) -> ContainerPaths:
    """A job with an empty images channel."""
    paths = write_job(tmp_path, {})
    paths.channel("images").mkdir()
    return paths


def read_all(paths: ContainerPaths) -> None:
    given.read_config(paths)
    given.check_channels(paths)
    given.read_resources(paths)


def configured(paths: ContainerPaths, *channels: str) -> None:
    document = {name: {"TrainingInputMode": "File"} for name in channels}
    paths.input_data_config.write_text(json.dumps(document))


def test_the_known_channels_are_taken(paths: ContainerPaths) -> None:
    configured(paths, "images", "labels", "cfg", "weights", "validation", "landmarks", "forgotten")
    given.check_channels(paths)


def test_a_folder_that_is_no_channel_is_refused_with_the_nearest_one(paths: ContainerPaths) -> None:
    paths.channel("label").mkdir()
    with pytest.raises(
        ConfigError, match=r'^channels.label: arcface has no such channel \(did you mean "labels"'
    ):
        given.check_channels(paths)


def test_a_channel_of_the_services_file_is_refused_too_and_all_are_told_at_once(
    paths: ContainerPaths,
) -> None:
    configured(paths, "image", "train")
    paths.channel("images").rmdir()
    with pytest.raises(ConfigError) as refused:
        given.check_channels(paths)
    places = [problem.path for problem in refused.value.problems]
    assert places == ["channels.image", "channels.train", "channels.images"]


@pytest.mark.parametrize("name", ["lost+found", ".snapshot", "images-manifest"])
def test_what_else_may_lie_beside_channels_is_none(paths: ContainerPaths, name: str) -> None:
    place = paths.channel(name)
    place.touch() if "manifest" in name else place.mkdir()
    given.check_channels(paths)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{epochs: 3}", "is not JSON"),
        ("[1, 2]", "must hold a JSON object"),
        ("", "is not JSON"),
        ("\xff", "is not UTF-8 text"),
    ],
)
@pytest.mark.parametrize("name", ["hyperparameters", "input_data_config", "resource_config"])
def test_a_broken_file_of_the_service_is_named(
    paths: ContainerPaths, name: str, text: str, said: str
) -> None:
    file: Path = getattr(paths, name)
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=rf"^{file.name}: {said}"):
        read_all(paths)


@pytest.mark.parametrize("hosts", ["algo-1", {"algo-1": 1}, ["algo-1", 2]])
def test_hosts_that_are_no_list_of_names_are_refused(paths: ContainerPaths, hosts: Any) -> None:
    paths.resource_config.write_text(json.dumps({"hosts": hosts, "current_host": "algo-1"}))
    with pytest.raises(ConfigError, match=r"^resourceconfig.json: hosts must be a list such as"):
        given.read_resources(paths)


def test_a_channel_that_is_no_object_is_refused(paths: ContainerPaths) -> None:
    paths.input_data_config.write_text(json.dumps({"images": "s3://…"}))
    with pytest.raises(ConfigError, match=r"^inputdataconfig.json: images must be an object"):
        given.check_channels(paths)


# -- Folders -----------------------------------------------------------------------------------------------


def test_the_folders_are_made(paths: ContainerPaths) -> None:
    assert given.check_folders(paths) == []
    assert paths.model.is_dir()
    assert paths.output_data.is_dir()
    assert not list(paths.model.iterdir())


def test_a_file_where_a_folder_belongs_is_refused(paths: ContainerPaths) -> None:
    paths.model.touch()
    with pytest.raises(TrainingError, match=rf"^{paths.model} cannot be written \(File exists\)"):
        given.check_folders(paths)


def refuses_to_write(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    really = tempfile.TemporaryFile

    def open_file(**options: Any) -> Any:
        if options["dir"] == folder:
            raise OSError(number, os.strerror(number))
        return really(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EROFS, "mount it without read-only"), (errno.EACCES, f"let user {os.geteuid()} write there")],
)
def test_a_folder_that_cannot_be_written_is_refused_with_the_remedy(
    paths: ContainerPaths, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    refuses_to_write(monkeypatch, paths.checkpoints, number)
    with pytest.raises(TrainingError, match=rf"^{paths.checkpoints} cannot be written .*: {remedy}"):
        given.check_folders(paths)


def test_a_full_volume_for_the_model_is_refused_and_others_are_noted(
    paths: ContainerPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses_to_write(monkeypatch, paths.checkpoints, errno.ENOSPC)
    assert given.check_folders(paths) == [
        f"note: {paths.checkpoints} is full: what belongs there will be missing"
    ]
    refuses_to_write(monkeypatch, paths.model, errno.ENOSPC)
    with pytest.raises(TrainingError, match=rf"^{paths.model} is full: free some space"):
        given.check_folders(paths)


def test_without_hyperparameters_the_defaults_are_taken_and_said(
    paths: ContainerPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.hyperparameters.unlink()
    assert main.main(["train"], {"SAGEMAKER_BASE_DIR": str(paths.base)}) == 1  # there are no images
    assert f"there is no {paths.hyperparameters}: defaults" in capsys.readouterr().err


def test_the_failure_of_an_earlier_run_is_not_this_ones(paths: ContainerPaths) -> None:
    paths.output.mkdir()
    paths.failure.write_text("of yesterday")
    assert main.main(["train"], {"SAGEMAKER_BASE_DIR": str(paths.base)}) == 1
    assert paths.failure.read_text().startswith("channels.images: no images among 0 files")


def test_a_failure_that_does_not_fit_leaves_no_half_of_it(
    paths: ContainerPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really = Path.open

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode != "x":
            return really(path, mode, **options)
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", open_full)
    assert main.fail(paths, "why") == 1
    assert not paths.failure.exists()
    assert f"{paths.failure} could not be written: No space left" in capsys.readouterr().err
