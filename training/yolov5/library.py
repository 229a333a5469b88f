"""The package ultralytics, kept from the network and to what a job may write.

On its own it tells its maker's servers of each run, looks for newer versions, installs packages and fetches
fonts and weights. Imported by way of this module it does none of that: it believes to be offline, and its
settings lie in a folder that goes with the container.
"""

import logging
import os
import tempfile
from typing import Any

from training.container.errors import TrainingError

SWITCHES = {
    "YOLO_OFFLINE": "true",  # no look whether there is a network, and no usage figures
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}


def prepare() -> None:
    """Before the first import of ultralytics. torch comes first: ultralytics leaves it a single thread.

    Raises TrainingError where it is not installed.
    """
    import torch  # noqa: F401, PLC0415  (it reads OMP_NUM_THREADS, which ultralytics sets)

    os.environ.update(SWITCHES)
    if "YOLO_CONFIG_DIR" not in os.environ:
        os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="facetrain-ultralytics-")
    try:
        from ultralytics import utils  # noqa: PLC0415  (only now: it makes its folder)
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"{error.name} is not installed here: a detector's jobs run in their image, on the cloud on this "
            "machine after `facetrain local up --runner docker --algorithm yolov5`"
        ) from None

    settings: Any = utils.SETTINGS
    dict.update(settings, sync=False)
    logging.getLogger("ultralytics").setLevel(logging.WARNING)
    utils.ONLINE = False
