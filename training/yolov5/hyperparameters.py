"""The hyperparameter YAML of YOLOv5 v6.2 (data/hyps/hyp.*.yaml), as this trainer's knobs."""

from collections.abc import Iterator, Mapping
from typing import Any

from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import ConfigError, check
from training.jobs.problems import Problem

# Those that are called otherwise here; the others of COUNTERPARTS have the same name.
RENAMED = {"lr0": "lr", "lrf": "lr_final"}
COUNTERPARTS = frozenset(
    (
        *("lr0", "lrf", "momentum", "weight_decay", "warmup_epochs", "warmup_momentum", "warmup_bias_lr"),
        *("hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective", "flipud"),
        *("fliplr", "mosaic", "mixup"),
    )
)
# v6.2's that mean nothing here, and why. Its gains weigh another loss, and would unbalance this one.
_LOSS = "the loss is another, with gains of its own"
_ANCHORS = "boxes are predicted without anchors"
WITHOUT = {
    **dict.fromkeys(("box", "cls", "cls_pw", "obj", "obj_pw", "fl_gamma"), _LOSS),
    **dict.fromkeys(("iou_t", "anchor_t", "anchors"), _ANCHORS),
    "copy_paste": "it needs outlines, and boxes are trained on",
}
NEEDED = 3  # of v6.2's names, for a file to be taken for one


def is_file_of(document: object) -> bool:
    return isinstance(document, Mapping) and len(document.keys() & (COUNTERPARTS | WITHOUT.keys())) >= NEEDED


def mapped(document: Mapping[str, Any], place: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The knobs that the file sets, and a line for each reason why others have no counterpart.

    place: the file, for messages. Raises ConfigError with every problem at once.
    """
    values = {
        RENAMED.get(name, name): _plain(value) for name, value in document.items() if name in COUNTERPARTS
    }
    good, problems = check(ALGORITHMS["yolov5"], values, place)
    theirs = {f"{place}.{ours}": f"{place}.{name}" for name, ours in RENAMED.items()}
    problems = [Problem(theirs.get(problem.path, problem.path), problem.message) for problem in problems]
    unknown = [str(name) for name in document if name not in COUNTERPARTS and name not in WITHOUT]
    problems += [
        Problem(f"{place}.{name}", "YOLOv5 v6.2 has no such hyperparameter: take it out") for name in unknown
    ]
    if problems:
        raise ConfigError(problems)
    return good, tuple(_unused(document))


def _plain(value: object) -> object:
    """What YAML has and JSON has not, such as a date, as a text."""
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _unused(document: Mapping[str, Any]) -> Iterator[str]:
    for reason in dict.fromkeys(WITHOUT.values()):
        if names := [name for name, why in WITHOUT.items() if why == reason and name in document]:
            yield f"{', '.join(names)}: {reason}"
