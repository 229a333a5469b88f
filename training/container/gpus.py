"""The machine's GPUs as CUDA finds them, and what to do where it finds none that should be there."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.container.errors import TrainingError, first_line
from training.jobs import instance_types

# Where the driver of NVIDIA's GPUs says which it is; containers see it too.
DRIVER_FILE = Path("/proc/driver/nvidia/version")
# The oldest driver for each CUDA: "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version
# Compatibility", https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/
OLDEST_DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
HIDING = "CUDA_VISIBLE_DEVICES"
# Of a job in the cloud. One on this machine, whose account is 000000000000, names instances that it has not.
CLOUDS_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[^:]*:(?!0{12}:)\d{12}:")


@dataclass(frozen=True)
class Stack:
    """Driver, CUDA, torch and GPUs of one host."""

    driver: str  # its version; empty where there is none
    cuda: str  # what torch was built with; empty for processors alone
    gpus: tuple[str, ...]  # their names; empty where CUDA cannot start
    trouble: str  # what CUDA said, where it could not
    torch: str

    @classmethod
    def found(cls) -> "Stack":
        import torch  # noqa: PLC0415  (it takes seconds)

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        names = tuple(torch.cuda.get_device_name(number).replace(" ", "-") for number in range(count))
        return cls(
            driver_here(), torch.version.cuda or "", names, "" if count else _trouble(), torch.__version__
        )

    def line(self) -> str:
        """The health of all, for the log."""
        names = ",".join(sorted(set(self.gpus))) or "none"
        return (
            f"hardware gpus={len(self.gpus)} gpu={names} driver={self.driver or 'none'} "
            f"cuda={self.cuda or 'none'} processors={os.cpu_count()} torch={self.torch}"
        )

    def problem(self, environment: Mapping[str, str], instance_type: str) -> str:
        """Why training would run on processors though a GPU is there; empty where all is well.

        instance_type: what the service says it gave; empty where nothing does.
        """
        if self.gpus or environment.get(HIDING, "0") in ("", "-1"):
            return ""
        paid = _is_paid_for(instance_type, environment)
        if not self.driver and not paid:
            return ""
        where = f"{instance_type} has a GPU" if paid else f"this machine has a GPU (driver {self.driver})"
        return f"{where}, but {self._cause()}; to train on processors all the same, set {HIDING} to nothing"

    def _cause(self) -> str:
        if not self.cuda:
            return f"torch {self.torch} computes on processors alone: take the image for GPUs"
        oldest = OLDEST_DRIVERS.get(int(self.cuda.split(".")[0]), "")
        if self.driver and oldest and _numbers(self.driver) < _numbers(oldest):
            return (
                f"driver {self.driver} is too old for CUDA {self.cuda}, which needs {oldest} or newer: "
                f"update the driver"
            )
        return (
            f"CUDA {self.cuda} finds none ({self.trouble}): start the container with --gpus all, or see "
            f"what nvidia-smi says"
        )


def check(stack: Stack, environment: Mapping[str, str], instance_type: str, *, refuses: bool) -> str:
    """A note where a GPU lies idle; empty where all is well.

    Raises TrainingError instead of the note where `refuses`, or where the idle GPU is paid for.
    """
    problem = stack.problem(environment, instance_type)
    if problem and (refuses or _is_paid_for(instance_type, environment)):
        raise TrainingError(problem)
    return f"note: {problem}" if problem else ""


def driver_here(file: Path = DRIVER_FILE) -> str:
    """The version of this machine's driver; empty where there is none."""
    return driver_version(file.read_text()) if file.is_file() else ""


def driver_version(text: str) -> str:
    """From what the driver's file says: NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Thu …"""
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else "unknown"


def _is_paid_for(instance_type: str, environment: Mapping[str, str]) -> bool:
    in_the_cloud = CLOUDS_ARN.match(environment.get("TRAINING_JOB_ARN", ""))
    return bool(in_the_cloud) and instance_type.startswith("ml.") and instance_types.has_gpu(instance_type)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]


def _trouble() -> str:
    """What CUDA says when it is told to start."""
    import torch  # noqa: PLC0415  (it takes seconds)

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # the second: torch was built without CUDA
        return first_line(error)
    return "no device"
