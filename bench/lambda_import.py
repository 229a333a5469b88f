"""What the launcher adds to a cold start: import and clients against boto3 alone, and the size of its zip.

Measured on the bundle that the stacks deploy, in fresh processes that may not write bytecode, as in the
function, whose folder is read-only. One process of each in turn, so that a busy machine slows both alike;
processor time is compared, for the wall clock also counts the neighbours.
"""

import io
import os
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from training.jobs.platform import Platform

ROOT = Path(__file__).resolve().parent.parent
RUNS = 15
RATIO_LIMIT = 1.15
ZIP_LIMIT = 20 * 1024
BOTO3 = """
import boto3
boto3.client("s3")
boto3.client("sagemaker")
"""
LAUNCHER = """
import launcher
from launch_training import handler
platform, aws = handler.bootstrap()
aws.clients.s3
aws.clients.sagemaker
"""


@dataclass(frozen=True)
class Run:
    """One process, in seconds."""

    processor: float
    wall: float


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # By its path: nothing imports infra, and this module of it needs only the standard library.
        runpy.run_path(str(ROOT / "infra" / "bundle.py"))["write"](Path(folder))
        baseline, launcher = alternately(BOTO3, LAUNCHER, environment(folder))
        size = zip_size(Path(folder))
    show("boto3, its S3 and SageMaker clients", baseline)
    show("the handler and the same clients", launcher)
    ratio = median_processor(launcher) / median_processor(baseline)
    print(f"  ratio of the processor times         {ratio:7.3f}     (limit {RATIO_LIMIT})")
    print(f"  zip                                  {size / 1024:7.1f} KB  (limit {ZIP_LIMIT // 1024})")


def alternately(first: str, second: str, variables: dict[str, str]) -> tuple[list[Run], list[Run]]:
    """`RUNS` runs of each program, in turn, after one of each that fills the disk's cache."""
    runs: dict[str, list[Run]] = {first: [], second: []}
    for number in range(RUNS + 1):
        for program, done in runs.items():
            run = fresh_process(program, variables)
            if number:
                done.append(run)
    return runs[first], runs[second]


def fresh_process(program: str, variables: dict[str, str]) -> Run:
    used, start = _processor_seconds(), time.perf_counter()
    subprocess.run([sys.executable, "-c", program], env=variables, check=True)
    return Run(_processor_seconds() - used, time.perf_counter() - start)


def _processor_seconds() -> float:
    """Of all child processes so far."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def environment(folder: str) -> dict[str, str]:
    """A function's, and nothing that this machine adds: no profile, no endpoints, no certificates."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": folder,
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nobody",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FACETRAIN_PLATFORM": Platform.example().to_json(),
        "FACETRAIN_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/launch",
    }


def zip_size(folder: Path) -> int:
    """In bytes, compressed as well as zip can."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return len(memory.getvalue())


def median_processor(runs: list[Run]) -> float:
    return statistics.median(run.processor for run in runs)


def show(what: str, runs: list[Run]) -> None:
    wall = statistics.median(run.wall for run in runs)
    milliseconds = (
        f"{median_processor(runs) * 1000:7.0f} ms of a processor, {wall * 1000:5.0f} ms by the clock"
    )
    print(f"  {what:36} {milliseconds} (medians of {len(runs)} processes)")
