"""What a user of the deployed stacks does, with plain AWS clients and the AWS command line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facetrain.client import Deployment
from training.jobs.request import job_name
from training.jobs.uri import S3Uri

AWS = Path(sys.executable).with_name("aws")
DEADLINE_SECONDS = 150
# The least that exercises every step of the trainer.
QUICK = {
    "network": "mbf",
    "epochs": 1,
    "max_steps": 2,
    "batch_size": 4,
    "holdout_fraction": 0.5,
    "workers": 0,
}


@dataclass(frozen=True)
class Account:
    """One deployment, and the environment that points the AWS command line at it."""

    deployment: Deployment
    environment: Mapping[str, str]

    def aws(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment, "AWS_PAGER": ""}
        command = [str(AWS), *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def aws_json(self, *arguments: str) -> dict[str, Any]:
        done = self.aws(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "{}")  # type: ignore[no-any-return]

    def manifest_uri(self, dataset: str) -> S3Uri:
        return self.deployment.dataset_folder(dataset).join("manifest.json")

    def drop(self, dataset: str, document: Mapping[str, Any] | bytes) -> str:
        """Puts the manifest and gives the name that its job must have."""
        uri = self.manifest_uri(dataset)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        answer = self.deployment.s3.put_object(Bucket=uri.bucket, Key=uri.key, Body=body)
        return job_name(self.deployment.platform, uri, dataset, answer["VersionId"])

    def upload(self, dataset: str, folder: Path) -> None:
        done = self.aws(
            "s3", "cp", "--recursive", "--quiet", str(folder), str(self.deployment.dataset_folder(dataset))
        )
        assert done.returncode == 0, done.stderr

    def names(self) -> list[str]:
        pages = self.deployment.sagemaker.get_paginator("list_training_jobs").paginate()
        return [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]

    def describe(self, name: str) -> dict[str, Any]:
        return self.deployment.sagemaker.describe_training_job(TrainingJobName=name)  # type: ignore[no-any-return]

    def stop_all(self) -> None:
        """Ends the jobs that a test has no more use for, so that the next test's run at once."""
        running = self.deployment.sagemaker.list_training_jobs(StatusEquals="InProgress")
        for job in running["TrainingJobSummaries"]:
            self.deployment.sagemaker.stop_training_job(TrainingJobName=job["TrainingJobName"])

    def wait_for_start(self, name: str) -> None:
        until(lambda: name in self.names(), f"job {name} to start")

    def wait_for_end(self, name: str) -> dict[str, Any]:
        ended = ("Completed", "Failed", "Stopped")
        self.wait_for_start(name)
        until(lambda: self.describe(name)["TrainingJobStatus"] in ended, f"job {name} to end")
        return self.describe(name)

    def exists(self, uri: S3Uri) -> bool:
        listed = self.deployment.s3.list_objects_v2(Bucket=uri.bucket, Prefix=uri.key)
        return any(entry["Key"] == uri.key for entry in listed.get("Contents", ()))

    def read(self, uri: S3Uri) -> bytes:
        return self.deployment.s3.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read()  # type: ignore[no-any-return]


def until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.2)


def manifest(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": 1,
        "algorithm": "arcface",
        "channels": {"images": "images/"},
        "hyperparameters": QUICK,
        "resources": {"instance_type": "ml.m5.xlarge"},
    }
    return document | changes


def write_faces(
    folder: Path, identities: int = 4, images: int = 4, *, name: str = "id", seed: int = 0
) -> None:
    """Random pictures, a folder for each identity: enough for a job to run, with nothing to learn.

    The same seed gives the same bytes: who is to be told from people of other tests has another, and a name.
    """
    random = np.random.default_rng(seed)
    for identity in range(identities):
        target = folder / "images" / f"{name}{identity}"
        target.mkdir(parents=True)
        for index in range(images):
            pixels = random.integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(target / f"{index}.jpg")
