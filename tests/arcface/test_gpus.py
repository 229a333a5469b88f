"""What is made of a machine's GPUs, driver and torch: a line, and a word where a GPU lies idle."""

import re
from dataclasses import replace

import pytest

from training.container import gpus
from training.container.errors import TrainingError
from training.container.gpus import Stack, check

OLD = Stack(
    driver="470.256.02", cuda="12.8", gpus=(), trouble="The NVIDIA driver is too old", torch="2.13.0+cu128"
)
NONE = Stack(driver="", cuda="12.8", gpus=(), trouble="Found no NVIDIA driver", torch="2.13.0+cu128")
WELL = replace(OLD, driver="570.86.10", gpus=("NVIDIA-L4", "NVIDIA-L4"), trouble="")
IN_THE_CLOUD = {"TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/a"}
ON_THIS_MACHINE = {"TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:000000000000:training-job/a"}


def test_the_health_of_the_gpus_is_one_line() -> None:
    assert re.fullmatch(
        r"hardware gpus=2 gpu=NVIDIA-L4 driver=570.86.10 cuda=12.8 processors=\d+ torch=2.13.0\+cu128",
        WELL.line(),
    )
    assert NONE.line().startswith("hardware gpus=0 gpu=none driver=none cuda=12.8 ")


def test_this_machine_has_a_health() -> None:
    assert Stack.found().torch


def test_the_drivers_version_is_found_in_what_its_file_says() -> None:
    closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n"
    opened = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n"
    assert gpus.driver_version(closed) == "550.54.15"
    assert gpus.driver_version(opened) == "580.95.05"
    assert gpus.driver_version("") == "unknown"


@pytest.mark.parametrize(
    ("driver", "cuda", "needed"),
    [
        ("470.256.02", "12.8", "525.60.13"),
        ("525.60.12", "12.1", "525.60.13"),
        ("570.86.10", "13.0", "580.65.06"),
    ],
)
def test_of_a_driver_that_is_too_old_both_versions_are_said(driver: str, cuda: str, needed: str) -> None:
    with pytest.raises(TrainingError) as refused:
        check(replace(OLD, driver=driver, cuda=cuda), {}, "", refuses=True)
    assert f"driver {driver} is too old for CUDA {cuda}, which needs {needed} or newer" in str(refused.value)


def test_a_driver_that_is_new_enough_is_not_blamed() -> None:
    started_without = replace(OLD, driver="525.60.13", trouble="No CUDA GPUs are available")
    with pytest.raises(TrainingError) as refused:
        check(started_without, {}, "", refuses=True)
    assert "CUDA 12.8 finds none (No CUDA GPUs are available)" in str(refused.value)
    assert "--gpus all" in str(refused.value)


def test_a_torch_for_processors_beside_a_driver_is_refused_with_the_other_image() -> None:
    with pytest.raises(
        TrainingError, match=r"driver 470.*torch 2\.13\.0\+cu128 computes on .*image for GPUs"
    ):
        check(replace(OLD, cuda=""), {}, "", refuses=True)


def test_on_ones_own_machine_an_idle_gpu_is_only_noted() -> None:
    assert check(OLD, {}, "", refuses=False).startswith("note: this machine has a GPU (driver 470.256.02)")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_who_hides_the_gpus_trains_on_processors(hidden: str) -> None:
    assert check(OLD, {gpus.HIDING: hidden}, "ml.g5.xlarge", refuses=True) == ""


@pytest.mark.parametrize("stack", [WELL, NONE])
def test_gpus_in_use_and_a_machine_without_any_need_no_word(stack: Stack) -> None:
    assert check(stack, IN_THE_CLOUD, "ml.m5.large", refuses=True) == ""


def test_a_gpu_that_is_paid_for_does_not_lie_idle() -> None:
    with pytest.raises(
        TrainingError, match=r"^ml\.g6\.xlarge has a GPU, but .* computes on processors alone"
    ):
        check(replace(NONE, cuda=""), IN_THE_CLOUD, "ml.g6.xlarge", refuses=False)


def test_a_local_cloud_names_instances_that_it_has_not() -> None:
    assert check(NONE, ON_THIS_MACHINE, "ml.g6.xlarge", refuses=True) == ""
    assert check(NONE, {"TRAINING_JOB_ARN": "arn:local:a"}, "ml.g6.xlarge", refuses=True) == ""
    assert check(NONE, {}, "ml.g6.xlarge", refuses=True) == ""
