"""What a rank makes of the channels before it trains, and of a failure afterwards."""

import errno
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.arcface.examples import write_job, write_pictures
from training.arcface import hardware
from training.arcface.channels import Data, load_data
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.container.errors import StoppedError, TrainingError
from training.container.main import describe, guarded
from training.container.stopping import Stop
from training.jobs import contract
from training.jobs.contract import ContainerPaths


def load(paths: ContainerPaths, settings: Settings | None = None) -> tuple[Data, list[str]]:
    log: list[str] = []
    settings = settings or Settings()
    return load_data(paths, settings, paths.base, World(), stop=Stop(), log=log.append), log


def job_with(base: Path, identities: int, images: int) -> ContainerPaths:
    paths = write_job(base, {})
    write_pictures(paths.channel("images"), identities, images)
    return paths


def test_held_out_identities_are_not_trained_on(tmp_path: Path) -> None:
    data, _ = load(job_with(tmp_path, 6, 2), Settings(holdout_fraction=0.5))
    assert data.held_out is not None
    trained, held_out = set(data.train.listing.identities), set(data.held_out.listing.identities)
    assert len(trained) == len(held_out) == 3
    assert not trained & held_out


def test_a_validation_channel_takes_the_place_of_holding_out(tmp_path: Path) -> None:
    paths = job_with(tmp_path, 3, 2)
    for who in range(2):
        write_pictures(paths.channel("validation") / f"other-{who}", 1, 2)
    data, _ = load(paths)
    assert len(data.train.listing.identities) == 3
    assert data.held_out is not None
    assert data.held_out.listing.identities == ("other-0", "other-1")


def test_someone_in_both_channels_is_refused(tmp_path: Path) -> None:
    paths = job_with(tmp_path, 3, 2)
    write_pictures(paths.channel("validation"), 2, 2)
    with pytest.raises(TrainingError, match=r"channels\.validation: 2 of its 2 identities are in"):
        load(paths)


def test_one_picture_each_is_trained_on_without_verification_and_the_reason_is_said(tmp_path: Path) -> None:
    data, _ = load(job_with(tmp_path, 4, 1))
    assert data.held_out is None
    assert data.reason.startswith("0 of 4 identities have two images or more")
    assert len(data.train.listing) == 4


def test_pictures_of_another_size_are_counted(tmp_path: Path) -> None:
    paths = job_with(tmp_path, 2, 3)
    Image.new("L", (92, 112)).save(paths.channel("images") / "0" / "x.pgm")
    _, log = load(paths)
    assert log == ["decoded channel=images images=7 resized=1 unreadable=0"]


def test_a_stop_while_decoding_ends_at_once(tmp_path: Path) -> None:
    stop = Stop()
    stop.requested = True
    paths = job_with(tmp_path, 2, 2)
    with pytest.raises(StoppedError):
        load_data(paths, Settings(), tmp_path, World(), stop=stop, log=print)


def test_one_identity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="it needs two identities or more"):
        load(job_with(tmp_path, 1, 3))


# -- Failures ----------------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_called_that_with_its_place() -> None:
    nothing: dict[str, int] = {}
    try:
        nothing["key"]
    except KeyError as error:
        sentence, ours = describe(error)
    assert ours
    assert sentence.startswith("the trainer itself failed at test_trainer.py:")
    assert sentence.endswith("please report it with the log: KeyError: 'key'")


def test_a_full_disk_is_said_with_its_place_and_is_no_fault_of_ours() -> None:
    sentence, ours = describe(OSError(errno.ENOSPC, "No space left on device", "/opt/ml/model/model.onnx"))
    assert sentence.startswith(
        "/opt/ml/model/model.onnx: No space left on device: check the volume's free space"
    )
    assert not ours


def test_want_of_memory_is_said_with_what_helps() -> None:
    text = "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to"
    for error in (MemoryError(), RuntimeError(text), torch.OutOfMemoryError("CUDA out of memory")):
        sentence, ours = describe(error)
        assert sentence.startswith("out of memory: lower batch_size")
        assert not ours


def test_a_long_message_is_cut_below_the_services_limit() -> None:
    assert len(describe(TrainingError("x" * 5000))[0]) < contract.FAILURE_REASON_LIMIT


def test_the_first_failure_is_the_one_that_is_kept(tmp_path: Path) -> None:
    paths = ContainerPaths(tmp_path)

    def fail(message: str) -> int:
        raise TrainingError(message)

    assert guarded(paths, lambda: fail("the cause")) == 1
    assert guarded(paths, lambda: fail("what followed from it")) == 1
    assert paths.failure.read_text() == "the cause"


def test_being_stopped_is_no_failure(tmp_path: Path) -> None:
    def stopped() -> int:
        raise StoppedError("after step 3 of 9")

    assert guarded(ContainerPaths(tmp_path), stopped) == contract.EXIT_STOPPED
    assert not ContainerPaths(tmp_path).failure.exists()


# -- Hardware ----------------------------------------------------------------------------------------------


def test_compiling_waits_for_runs_that_are_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    device = World().device
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert not hardware.compiles("auto", device, 1000)
    assert hardware.compiles("auto", device, 10**9)
    assert hardware.compiles("on", device, 1)
    assert not hardware.compiles("off", device, 10**9)


def test_on_a_cpu_mobilefacenet_is_compiled_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    cpu = torch.device("cpu")
    assert not hardware.compiles("auto", cpu, 10**9, "mbf")
    assert hardware.compiles("auto", cpu, 10**9, "r18")
    assert hardware.compiles("on", cpu, 1, "mbf")


def test_without_a_compiler_nothing_is_compiled_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert not hardware.compiles("auto", World().device, 10**9)
