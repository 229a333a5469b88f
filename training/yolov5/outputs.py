"""Everything that a finished job leaves: the detector, its figures, and the report."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from training.container import room, tracking
from training.container.aside import write_json, written_aside
from training.jobs.contract import REPORT_NAME
from training.yolov5.dataset import Data
from training.yolov5.detection import Detection
from training.yolov5.export import write_checkpoint, write_onnx
from training.yolov5.launch import Job
from training.yolov5.network import Network
from training.yolov5.report.page import Facts, render
from training.yolov5.saving import Log, Progress

COPIES = 2  # of the network in fp32: the checkpoint in half precision, ONNX, and room


@dataclass(frozen=True)
class Outcome:
    """What training came to. step: of the weights that are kept; machine: the run's first log line."""

    progress: Progress
    step: int
    detection: Detection | None
    machine: str
    seconds: float


def write(job: Job, network: Network, data: Data, model: nn.Module, outcome: Outcome, *, log: Log) -> None:
    """Raises TrainingError where the model cannot be written; a report that cannot is told."""
    folder, settings = job.paths.model, tracking.public(asdict(job.settings))
    figures = _figures(data, outcome)
    with room.whole(folder, _bytes_of(model)):
        write_checkpoint(model, folder / "best.pt", settings, outcome.step)
        write_onnx(model, folder / "best.onnx", data.classes, job.settings.image_size)
        write_json(folder / "metrics.json", figures)
        described = {"algorithm": "yolov5", "network": network.name, "names": list(data.classes), **settings}
        write_json(folder / "config.json", described)
    facts = Facts(job.about, network.name, settings, data, figures, outcome.detection, outcome.machine)
    path = job.paths.output_data / REPORT_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            aside.write_text(render(facts), encoding="utf-8")
    except OSError as error:
        log(f"{REPORT_NAME} not written: {path.parent}: {error.strerror}")


def _figures(data: Data, outcome: Outcome) -> dict[str, Any]:
    progress, detection = outcome.progress, outcome.detection
    return {
        **(detection.figures if detection else {}),
        "steps": progress.step,
        "best_step": outcome.step,
        "seconds": round(outcome.seconds, 1),
        "train": {"pictures": len(data.train), "objects": data.train.objects()},
        "val": {"pictures": len(data.val), "objects": data.val.objects(), "reason": data.reason},
        "history": {"curve": progress.curve, "measured": progress.measured},
    }


def refuse_if_full(folder: Path, model: nn.Module) -> None:
    """Raises TrainingError where the model will not fit, before hours are spent on it."""
    room.refuse_if_full(folder, _bytes_of(model))


def _bytes_of(model: nn.Module) -> int:
    return COPIES * sum(int(value.nbytes) for value in model.state_dict().values())
