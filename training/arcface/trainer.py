"""One rank's job from top to bottom: find, decode, split, train, verify, write the model."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from training.arcface import finetune, hardware, lineage, outputs, trouble, weights
from training.arcface.augment.augmenter import described
from training.arcface.best import LAST
from training.arcface.channels import Data, load_data
from training.arcface.distributed import World
from training.arcface.learner import Learner, fresh_backbone
from training.arcface.loop import Loop, Plan, Progress
from training.arcface.margins import Margin
from training.arcface.saving import Saver, fingerprint, prepare
from training.arcface.settings import Settings
from training.arcface.verifier import Verifier, digest, embedded, settle_statistics
from training.container import tracking
from training.container.about import About
from training.container.forgotten import DeletionList
from training.container.stopping import Stop
from training.container.tracking import Trackers
from training.jobs.contract import FORGOTTEN_CHANNEL, ContainerPaths

Log = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What every rank is told."""

    paths: ContainerPaths
    settings: Settings
    hosts: int
    scratch: Path  # a folder that the ranks of one host share
    resume: bool = True  # or begin anew beside the checkpoints that are there
    about: About = field(default_factory=About)


def train(job: Job, world: World, stop: Stop, log: Log, say: Log) -> None:
    """Runs the job to its end. log: of the first rank alone; say: of every rank.

    Raises TrainingError for what the user can mend, StoppedError when told to stop.
    """
    with _trackers(job, world, log) as trackers:
        _train(job, world, stop, log, say, trackers=trackers)
    world.barrier()


def _trackers(job: Job, world: World, log: Log) -> Trackers:
    if world.rank != 0:
        return Trackers()
    return tracking.open_trackers(job.paths.output_data / "tensorboard", job.about, asdict(job.settings), log)


def _train(job: Job, world: World, stop: Stop, log: Log, say: Log, *, trackers: Trackers) -> None:
    started = time.monotonic()
    settings = job.settings
    Margin.from_settings(settings)  # what it refuses, it refuses before images are read
    weights.check(job.paths.channel("weights"), settings.pretrained, settings.detector)
    forgotten = DeletionList.of_channel(job.paths.channel(FORGOTTEN_CHANNEL), job.about.dataset)
    data = load_data(job.paths, settings, job.scratch, world, stop=stop, log=log, forgotten=forgotten)
    marks = fingerprint(settings, data.train.listing, data.aligned)
    batch = prepare(job.paths.checkpoints, marks, world, log, resume=job.resume)
    plan = Plan.make(len(data.train.listing), settings, world, embedded=embedded(data), batch=batch)
    classes = len(data.train.listing.identities)
    machine = hardware.describe(settings, world, job.hosts, plan, classes)
    log(machine)
    for line in data.lines():
        log(line)
    pretrained = weights.from_channel(job.paths.channel("weights"), settings.pretrained, settings.detector)
    if pretrained:
        pretrained = weights.without(pretrained, forgotten.among(pretrained.identities), log)
    made = _lineage(job) if world.rank == 0 else {}
    if note := lineage.note_of(made):
        log(f"weights {made['from']['name']} {note}")
    learner = _learner(job, pretrained, plan, world, log, classes=classes)
    if world.rank == 0:
        outputs.refuse_if_full(job.paths.model, learner)
    with Saver(job.paths.checkpoints, learner, plan, marks, log) as saver:
        progress = saver.resume()
        tracking.replay(trackers, progress.curve, progress.verifications)
        verifier = Verifier(learner, data, plan, progress, log, pretrained=pretrained is not None)
        if pretrained and not progress.step:
            settle = partial(settle_statistics, learner, data.train, plan)
            finetune.start_centres(learner, data.train, pretrained, stop, log, settle=settle)
        Loop(
            learner,
            data.train,
            plan,
            progress,
            stop=stop,
            save=saver.save,
            verify=verifier.verify,
            log=log,
            keep_best=saver.keep_best,
            reload=saver.reload,
            trackers=trackers,
        ).run()
        step = _take_shown(learner, saver, progress)
    if world.size > 1:  # the same on every rank, or they did not train one network
        loss, weights_of_rank = progress.epochs[-1]["loss"], digest(learner.backbone)
        say(f"rank={world.rank} ranks={world.size} loss={loss:.6f} weights={weights_of_rank}")
    sets = verifier.scores(step)
    figures = _figures(data, progress, step, time.monotonic() - started)
    outcome = outputs.Outcome(figures, sets, machine, made) if world.rank == 0 else None
    outputs.write(job.paths, job.about, learner, data, outcome, log=log)
    trackers.finished(progress.step, figures)
    log(f"model written to {job.paths.model} seconds={time.monotonic() - started:.1f}")


def _lineage(job: Job) -> dict[str, Any]:
    settings = job.settings
    start = weights.choose(job.paths.channel("weights"), settings.pretrained, settings.detector)
    return lineage.describe(job.about, start)


# -- Learner -----------------------------------------------------------------------------------------------


def _learner(
    job: Job, pretrained: weights.Pretrained | None, plan: Plan, world: World, log: Log, *, classes: int
) -> Learner:
    settings = job.settings
    backbone = fresh_backbone(settings)
    if pretrained:
        weights.load_into(backbone, pretrained, settings.network)
        log(f"weights loaded from {pretrained.name}")
    images = plan.total * plan.batch // world.size
    compiled = hardware.compiles(settings.compile, world.device, images, settings.network)
    log(
        f"plan steps={plan.total} steps_per_epoch={plan.per_epoch} batch={plan.batch} parts={plan.parts} "
        f"compile={compiled} augment={described(settings)}"
    )
    if note := trouble.warning(settings.optimizer, settings.lr, plan.batch):
        log(note)
    return Learner(backbone, classes, settings, world, compiled=compiled)


def _take_shown(learner: Learner, saver: Saver, progress: Progress) -> int:
    """Puts what is to be exported into `backbone`: the best weights, or the last; gives their step."""
    best = progress.best if learner.settings.best_metric != LAST else None
    if best and saver.load_best(progress):
        return int(best["step"])
    learner.load_evaluated(learner.evaluated())
    return progress.step


# -- Figures -----------------------------------------------------------------------------------------------


def _figures(data: Data, progress: Progress, step: int, seconds: float) -> dict[str, Any]:
    """metrics.json: the figures of the weights of `step`, and what the network got untrained."""
    verifications = progress.verifications
    of_step = [figures for figures in verifications if figures["step"] == step]
    shown: dict[str, Any] = of_step[-1] if of_step else {"accuracy": None, "reason": data.reason}
    before = verifications[0] if verifications and verifications[0]["step"] == 0 else {}
    return {
        **{name: value for name, value in shown.items() if name not in ("step", "epoch")},
        "accuracy_before": before.get("accuracy"),
        "eer_before": before.get("eer"),
        "loss": progress.epochs[-1]["loss"],
        "epochs": len(progress.epochs),
        "steps": progress.step,
        "best_step": step,
        "images": len(data.train.listing),
        "identities": len(data.train.listing.identities),
        "held_out_images": len(data.held_out.listing) if data.held_out else 0,
        "held_out_identities": len(data.held_out.listing.identities) if data.held_out else 0,
        "seconds": round(seconds, 1),
        "history": {
            "epochs": progress.epochs,
            "verifications": verifications,
            "curve": progress.curve,
        },
    }
