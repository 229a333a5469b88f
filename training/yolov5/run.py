"""A run, once ultralytics may be imported: learner, loop, and what they leave."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import torch
from torch import nn

from training.container import tracking
from training.container.errors import StoppedError
from training.container.stopping import Stop
from training.yolov5 import outputs, weights
from training.yolov5.dataset import Data
from training.yolov5.detection import Detection, measure
from training.yolov5.launch import Job, workers
from training.yolov5.learner import TYPES, Learner, build
from training.yolov5.loop import MEASURED, Loop
from training.yolov5.network import Network
from training.yolov5.samples import Samples
from training.yolov5.saving import Log, Saver, fingerprint, prepare
from training.yolov5.schedule import Plan
from training.yolov5.settings import Settings


class Run:
    """One job's training."""

    def __init__(self, job: Job, network: Network, data: Data, stop: Stop, log: Log):
        self.job, self.network, self.classes, self.data = job, network, data.classes, data
        self.stop, self.log = stop, log
        self.device, self.workers = job.device, workers(job.settings.workers, job.device)
        self.model = build(network, data.classes, job.settings)
        self.settings = settings = self._fitting()
        self.plan = Plan.make(
            len(data.train), settings.batch_size, settings.epochs, settings.warmup_epochs, settings.max_steps
        )

    def train(self, started: float) -> None:
        """started: time.monotonic() at the job's start."""
        paths, settings, log = self.job.paths, self.settings, self.log
        marks = fingerprint(self.network, self.classes, settings, self.data)
        prepare(paths.checkpoints, marks, log, resume=self.job.resume)
        self._take_weights()
        learner = Learner(self.model, settings, self.plan, self.device)
        machine = self._describe(learner)
        log(machine)
        log(self._data_line())
        outputs.refuse_if_full(paths.model, learner.average.ema)
        samples = Samples(self.data.train, self.classes, settings, changed=True)
        measuring = partial(self._measure, learner.average.ema)
        folder, about = paths.output_data / "tensorboard", self.job.about
        with (
            tracking.open_trackers(folder, about, asdict(settings), log) as trackers,
            Saver(paths.checkpoints, learner, marks, self.plan.end, log) as saver,
        ):
            progress = saver.resume()
            tracking.replay(trackers, progress.curve, progress.measured, MEASURED)
            loop = Loop(
                learner,
                samples,
                self.plan,
                progress,
                saver,
                stop=self.stop,
                measure=None if self.data.reason else measuring,
                log=log,
                workers=self.workers,
                trackers=trackers,
            )
            loop.run()
            step = saver.take_best(progress)
            detection = loop.last if step == progress.step else None
            if detection is None and not self.data.reason:
                detection = measuring(self._stop_if_asked)
            outcome = outputs.Outcome(progress, step, detection, machine, time.monotonic() - started)
            job = replace(self.job, settings=settings)
            outputs.write(job, self.network, self.data, learner.average.ema, outcome, log=log)
            if detection:
                trackers.finished(progress.step, detection.figures)
        log(f"model written to {paths.model} seconds={time.monotonic() - started:.1f}")

    def _fitting(self) -> Settings:
        """With a size that the network's coarsest step divides, as YOLOv5 rounds it."""
        stride, wanted = int(self.model.stride.max()), self.job.settings.image_size
        size = -(-wanted // stride) * stride
        if size != wanted:
            self.log(f"note: image_size={size}, for {wanted} is no multiple of {stride}")
        return replace(self.job.settings, image_size=size)

    def _take_weights(self) -> None:
        if file := weights.choose(self.job.paths.channel("weights"), self.settings.pretrained):
            self.log(weights.load_into(self.model, weights.read(file), self.classes))

    def _measure(self, network: nn.Module, check: Callable[[], None]) -> Detection:
        samples = Samples(self.data.val, self.classes, self.settings, changed=False)
        return measure(network, samples, self.classes, workers=self.workers, check=check)

    def _stop_if_asked(self) -> None:
        """All is saved by then; a resumed run comes here at once."""
        if self.stop.requested:
            raise StoppedError(f"after step {self.plan.end} of {self.plan.end}, before the model was written")

    def _describe(self, learner: Learner) -> str:
        names = {dtype: name for name, dtype in TYPES.items()}
        kind = (
            torch.cuda.get_device_name(self.device).replace(" ", "-")
            if self.device.type == "cuda"
            else f"cpu threads={torch.get_num_threads()}"
        )
        parameters = sum(value.numel() for value in learner.model.parameters())
        return (
            f"start network={self.network.name} device={kind} precision={names[learner.dtype]} "
            f"optimizer={self.settings.optimizer} batch={self.plan.batch} accumulate={self.plan.accumulate} "
            f"image_size={self.settings.image_size} parameters={parameters} workers={self.workers} "
            f"torch={torch.__version__}"
        )

    def _data_line(self) -> str:
        train, val = self.data.train, self.data.val
        told = f"train pictures={len(train)} objects={train.objects()} val pictures={len(val)} "
        told += f"objects={val.objects()} classes={len(self.classes)}"
        return told + (f": nothing is measured: {self.data.reason}" if self.data.reason else "")
