"""The command line of the container, and what becomes of a failure: one sentence in output/failure.

Nothing heavy is imported before the configuration is known to be right, so that a misspelt hyperparameter is
told at once.
"""

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from training.jobs import contract
from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import parse_train_args, resolve
from training.jobs.contract import ContainerPaths

DESCRIPTION = """Trains face recognition on the images in /opt/ml/input/data/images and leaves
the model in /opt/ml/model. SageMaker fills and collects these folders; SAGEMAKER_BASE_DIR names another
place than /opt/ml."""


# Errors that say what the machine lacks, not what the trainer did wrong.
THE_MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status: 0 trained, 1 failed (output/failure says why), 2 called wrongly, 143 stopped."""
    parser = argparse.ArgumentParser(prog="train", description=DESCRIPTION)
    parser.add_argument("command", nargs="?", choices=["train"], default="train", help="the only one: train")
    parser.add_argument(
        "--resume",
        choices=["auto", "never"],
        default="auto",
        help="auto: go on from the newest whole checkpoint, if any; never: move those aside and begin anew",
    )
    chosen = parser.parse_args(arguments)
    base = Path(environment.get(contract.BASE_DIR_VARIABLE, contract.BASE_DIR))
    if not base.is_dir():
        tell(
            f"there is no {base}: run this in a training job, or name a folder laid out like /opt/ml "
            f"in {contract.BASE_DIR_VARIABLE}"
        )
        return 1
    paths = ContainerPaths(base)
    return guarded(paths, lambda: _train(paths, environment, resume=chosen.resume == "auto"))


def guarded(paths: ContainerPaths, work: Callable[[], int]) -> int:
    """Runs `work`; turns what it raises into an exit status and, where it failed, the failure file."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  (the last place where anything can be said)
        return _explain(paths, error)


def _explain(paths: ContainerPaths, error: Exception) -> int:
    from training.arcface.errors import StoppedError  # noqa: PLC0415

    if isinstance(error, StoppedError):
        tell(f"stopped {error}")
        return contract.EXIT_STOPPED
    sentence, ours = describe(error)
    if ours:
        tell("".join(traceback.format_exception(error)))
    tell(f"failed: {sentence}")
    try:
        paths.output.mkdir(parents=True, exist_ok=True)
        with paths.failure.open("x", encoding="utf-8") as file:  # the first rank to fail knows the cause
            file.write(sentence)
    except FileExistsError:
        pass
    except OSError as unwritable:
        tell(f"{paths.failure} could not be written: {unwritable}")
    return 1


def describe(error: Exception) -> tuple[str, bool]:
    """One sentence under the service's limit, and whether the fault is the trainer's own."""
    kind, text = type(error).__name__, str(error)
    ours = False
    if kind in ("TrainingError", "ConfigError"):
        sentence = "; ".join(text.splitlines())
    elif kind in ("OutOfMemoryError", "MemoryError") or "can't allocate memory" in text:
        sentence = "out of memory: lower batch_size, choose a smaller network or a larger instance"
    elif isinstance(error, OSError) and error.errno in THE_MACHINES:
        place = f"{error.filename}: " if error.filename else ""
        sentence = f"{place}{error.strerror}: check the volume's free space and the folder's rights"
    else:
        ours = True
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        sentence = f"the trainer itself failed at {where}, please report it with the log: {kind}: {text}"
    limit = contract.FAILURE_REASON_LIMIT - 1
    return (sentence if len(sentence) <= limit else sentence[: limit - 1] + "…"), ours


def read_config(paths: ContainerPaths) -> dict[str, Any]:
    """The whole configuration. Raises ConfigError with every problem at once."""
    given = _read_json(paths.hyperparameters)
    name = str(given.get("algorithm", "arcface"))
    if name != "arcface":
        raise _config_error("hyperparameters.algorithm", f'this image trains arcface, not "{name}"')
    train_args = paths.channel("cfg") / contract.TRAIN_ARGS_NAME
    from_file = parse_train_args(train_args.read_text(encoding="utf-8")) if train_args.is_file() else {}
    return resolve(ALGORITHMS[name], from_file, given)


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file of the service; empty where there is none, as when run by hand."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _config_error(path.name, f"is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _config_error(path.name, "must hold a JSON object")
    return value


def _config_error(path: str, message: str) -> Exception:
    from training.jobs.config import ConfigError  # noqa: PLC0415
    from training.jobs.problems import Problem  # noqa: PLC0415

    return ConfigError([Problem(path, message)])


def _train(paths: ContainerPaths, environment: Mapping[str, str], *, resume: bool) -> int:
    config = read_config(paths)
    resources = _read_json(paths.resource_config)
    if paths.channel("landmarks").exists():
        tell("the landmarks channel is not read: images are taken as aligned faces and scaled to 112x112")
    from training.arcface.launch import launch  # noqa: PLC0415  (torch takes seconds to import)

    return launch(paths, config, resources, environment, resume=resume)


def tell(line: str) -> None:
    """To the log: SageMaker collects both streams. In one piece, for several threads tell."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def run() -> NoReturn:
    """The process's whole life."""
    # Read when torch is imported. By default threads that wait for others spin; beside other busy processes
    # that made a step four times slower (MobileFaceNet on two shared processors: 5 images a second, not 20).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    leave(main(sys.argv[1:], os.environ))


def leave(status: int) -> NoReturn:
    """Ends the process here and now; everything worth keeping is on the disk by then.

    An ordinary exit first takes down the libraries' threads, and now and then one of those aborts in it
    ("terminate called without an active exception"): a job that is done would count as failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
