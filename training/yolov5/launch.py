"""One job from top to bottom: find, train, measure, write the detector."""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from training.container import gpus, main, unreadable, user
from training.container.about import About
from training.container.errors import StoppedError, TrainingError
from training.container.stopping import Stop
from training.jobs.contract import ContainerPaths
from training.yolov5 import cfg, dataset, library, weights
from training.yolov5.settings import Settings

MOST_WORKERS = 8  # processes that make batches; on processors the trainer makes them itself


@dataclass(frozen=True)
class Job:
    """What is told of one."""

    paths: ContainerPaths
    settings: Settings
    resume: bool  # or begin anew beside the checkpoints that are there
    about: About
    device: torch.device


def launch(
    paths: ContainerPaths,
    config: Mapping[str, Any],
    resources: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    resume: bool = True,
) -> int:
    """Trains on this host's first GPU, or on its processors; gives the exit status. Raises what ends it."""
    if len(resources.get("hosts") or []) > 1:
        raise TrainingError("yolov5 trains on one machine: set instance_count to 1")
    stack, kind = gpus.Stack.found(), str(resources.get("current_instance_type", ""))
    main.tell(stack.line())
    if note := gpus.check(stack, environment, kind, refuses=user.VARIABLE in environment):
        main.tell(note)
    if len(stack.gpus) > 1:
        main.tell(f"note: yolov5 trains on one GPU: {len(stack.gpus) - 1} of {len(stack.gpus)} lie idle")
    settings, about = Settings.from_config(config), About.from_environment(environment)
    device = torch.device("cuda", 0) if stack.gpus else torch.device("cpu")
    stop = Stop().listen()
    with tempfile.TemporaryDirectory(prefix="facetrain-", ignore_cleanup_errors=True) as scratch:
        os.environ["YOLO_CONFIG_DIR"] = scratch
        try:
            train(Job(paths, settings, resume, about, device), stop)
        except StoppedError:
            raise
        except Exception:
            if not stop.waits:
                stop.check()  # what a stop brings about
            raise
    return 0


def train(job: Job, stop: Stop) -> None:
    """Raises TrainingError for what the user can mend, StoppedError when told to stop."""
    started, log = time.monotonic(), main.tell
    paths, settings = job.paths, job.settings
    found = cfg.read(paths.channel("cfg"))
    if not found.names:
        raise TrainingError(
            "the cfg channel has no dataset YAML: put one there with nc and names, such as `nc: 1` and "
            "`names: [face]`"
        )
    network = cfg.choose(found, settings.model, settings.pretrained)
    for line in (*network.unused, *found.unused):
        log(f"not used: {line}")
    if file := weights.choose(paths.channel("weights"), settings.pretrained):
        weights.read(file)  # what cannot be used is said before all the pictures are read
    data = dataset.load(
        paths,
        found.names,
        found.paths,
        val_fraction=settings.val_fraction,
        max_unreadable=settings.max_unreadable,
        seed=settings.seed,
        check_stop=stop.check,
    )
    unreadable.write_table(paths.output_data, "images", data.unreadable)
    for line in data.lines:
        log(line)
    library.prepare()
    from training.yolov5.run import Run  # noqa: PLC0415  (ultralytics takes seconds to import)

    Run(job, network, data, stop, log).train(started)


def workers(wanted: int, device: torch.device) -> int:
    """Processes that make batches. -1: as many as there are processors, or none where those train."""
    if wanted >= 0:
        return wanted
    return min(MOST_WORKERS, os.cpu_count() or 1) if device.type == "cuda" else 0
