"""The paths, names and limits that SageMaker, the stacks, the launcher, the trainer and the user share.

Said here once. Sources: the SageMaker developer guide ("How Amazon SageMaker runs your training image"), the
CreateTrainingJob API reference, and botocore's service model (a test compares the limits with it).
"""

from dataclasses import dataclass
from pathlib import Path

# -- S3 layout ---------------------------------------------------------------------------------------------
INPUTS_PREFIX = "inputs/"  # in the inputs bucket: inputs/<dataset>/...
OUTPUTS_PREFIX = "outputs/"  # in the outputs bucket: outputs/<dataset>/<job>/...
CHECKPOINTS_PREFIX = "checkpoints/"  # in the outputs bucket: checkpoints/<dataset>/<job>/
MANIFEST_NAME = "manifest.json"
REJECTION_NAME = "manifest.rejected.json"
FORGOTTEN_PREFIX = "governance/forgotten/"  # in the inputs bucket, apart: inputs/ may expire
FORGOTTEN_NAME = "forgotten.json"
FORGOTTEN_KEY = FORGOTTEN_PREFIX + FORGOTTEN_NAME  # the deletion list
JOB_RECORD_NAME = "job.json"
OUTPUT_ARCHIVE_NAME = "output.tar.gz"  # of output/data, in <job>/output/
REPORT_NAME = "report.html"  # in output/data
LINEAGE_NAME = "lineage.json"  # in model: the job, and those that its weights came from
VERIFIED_NAME = "verified.csv"  # in output/data: whose faces the report may show
MANIFEST_KEY_PATTERN = f"{INPUTS_PREFIX}*/{MANIFEST_NAME}"  # as EventBridge's wildcard filter writes it

# -- Channels ----------------------------------------------------------------------------------------------
CHANNELS = ("images", "labels", "landmarks", "cfg", "weights", "validation")
REQUIRED_CHANNELS = ("images",)
# Copied to the disk before the job starts, or read from S3 as it runs.
FILE_MODE, FAST_FILE_MODE = INPUT_MODES = ("File", "FastFile")
STREAMED_CHANNELS = ("images", "validation")  # folders of data: what FastFile is for, the rest being small
TRAIN_ARGS_NAME = "train-args.json"  # in the cfg channel
FORGOTTEN_CHANNEL = "forgotten"  # ours to add: no manifest names it

# -- The container's folders -------------------------------------------------------------------------------
# SAGEMAKER_BASE_DIR is the training toolkit's own name for moving /opt/ml elsewhere; process jobs use it.
BASE_DIR_VARIABLE = "SAGEMAKER_BASE_DIR"
BASE_DIR = "/opt/ml"
CHECKPOINT_DIR = f"{BASE_DIR}/checkpoints"
FAILURE_REASON_LIMIT = 1024  # characters of output/failure that become FailureReason
STOP_GRACE_SECONDS = 120  # between SIGTERM and SIGKILL
EXIT_STOPPED = 143  # 128 + SIGTERM: interrupted after saving, not failed
JOB_NAME_VARIABLE = "TRAINING_JOB_NAME"  # set by the service
# Ours, in the job's environment, for the model card: FACETRAIN_ABOUT_DATASET, FACETRAIN_ABOUT_LEGAL_BASIS, …
ABOUT_PREFIX = "FACETRAIN_ABOUT_"


@dataclass(frozen=True)
class ContainerPaths:
    """The folders below /opt/ml, or below another base where a job runs as a plain process."""

    base: Path

    @property
    def config(self) -> Path:
        return self.base / "input" / "config"

    @property
    def hyperparameters(self) -> Path:
        return self.config / "hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        return self.config / "inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        return self.config / "resourceconfig.json"

    def channel(self, name: str) -> Path:
        return self.base / "input" / "data" / name

    @property
    def model(self) -> Path:
        return self.base / "model"

    @property
    def output(self) -> Path:
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        return self.output / "data"

    @property
    def failure(self) -> Path:
        return self.output / "failure"

    @property
    def checkpoints(self) -> Path:
        return self.base / "checkpoints"


# -- Limits of CreateTrainingJob ---------------------------------------------------------------------------
JOB_NAME_LIMIT = 63
JOB_NAME_PATTERN = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
HYPERPARAMETERS_LIMIT = 100
HYPERPARAMETER_KEY_LIMIT = 256
HYPERPARAMETER_VALUE_LIMIT = 256  # the service's documented limit; botocore's model admits 2,500
CHANNELS_LIMIT = 20
CHANNEL_NAME_PATTERN = r"[A-Za-z0-9.\-_]{1,64}"
ENVIRONMENT_VALUE_LIMIT = 512
TAGS_LIMIT = 50
TAG_KEY_LIMIT = 128
TAG_VALUE_LIMIT = 256
IMAGE_URI_LIMIT = 255
METRICS_LIMIT = 40
METRIC_NAME_LIMIT = 255
METRIC_REGEX_LIMIT = 500
S3_URI_LIMIT = 1024
INSTANCE_COUNT_LIMIT = 100
VOLUME_GB_LIMIT = 16384
MAX_RUNTIME_SECONDS_LIMIT = 28 * 24 * 3600
MIN_RUNTIME_SECONDS = 60
MANIFEST_BYTES_LIMIT = 256 * 1024  # ours: a manifest is a page, not a dataset

# -- Where a job can be watched ----------------------------------------------------------------------------
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
METRICS_NAMESPACE = "/aws/sagemaker/TrainingJobs"
OWN_METRICS_NAMESPACE = "Facetrain"

# -- What one deployment writes down for those who use it --------------------------------------------------


def platform_parameter(stage: str) -> str:
    """The SSM parameter that holds the deployment's `Platform` as JSON."""
    return f"/facetrain/{stage}/platform"


def image_parameter(stage: str, algorithm: str) -> str:
    """The SSM parameter that holds the immutable image URI of one algorithm."""
    return f"/facetrain/{stage}/images/{algorithm}"


def job_prefix(stage: str) -> str:
    """What every job name of a deployment begins with, and what its policies are limited to."""
    return f"facetrain-{stage}"
