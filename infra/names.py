"""The physical names that are fixed, so that people can type them and policies can hold them.

CloudFormation names everything else. A stage is one deployment of an account: IAM's names know no regions.
"""

from training.jobs.algorithms import ALGORITHMS
from training.jobs.contract import job_prefix

# What a deployment builds and offers: the algorithms that training/Dockerfile's image knows.
IMAGE_ALGORITHMS = tuple(ALGORITHMS)


def stack(stage: str, room: str) -> str:
    return f"Facetrain-{stage}-{room}"


def repository(stage: str, algorithm: str) -> str:
    return f"{job_prefix(stage)}/{algorithm}"


def training_role(stage: str) -> str:
    return f"{job_prefix(stage)}-training"


def launcher_role(stage: str) -> str:
    return f"{job_prefix(stage)}-launcher"


def launcher(stage: str) -> str:
    """The function."""
    return f"{job_prefix(stage)}-launch-training"


def launcher_log_group(stage: str) -> str:
    return f"/aws/lambda/{launcher(stage)}"


def queue(stage: str) -> str:
    return f"{job_prefix(stage)}-launch"


def dead_letter_queue(stage: str) -> str:
    return f"{job_prefix(stage)}-launch-dead"


def topic(stage: str) -> str:
    return f"{job_prefix(stage)}-notifications"


def manifest_rule(stage: str) -> str:
    return f"{job_prefix(stage)}-manifest-dropped"


def ended_jobs_rule(stage: str) -> str:
    return f"{job_prefix(stage)}-job-ended"


def failed_jobs_rule(stage: str) -> str:
    return f"{job_prefix(stage)}-job-failed"


def dashboard(stage: str) -> str:
    return job_prefix(stage)
