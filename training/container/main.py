"""The command line of the container, and what becomes of a failure: one sentence in output/failure.

Nothing heavy is imported before the configuration is known to be right, so that a misspelt hyperparameter is
told at once.
"""

import argparse
import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from training.container import first_process, given, user
from training.container.errors import StoppedError
from training.formats.errors import DataError
from training.jobs import contract
from training.jobs.contract import ContainerPaths

DESCRIPTION = """Trains a model on the images in /opt/ml/input/data/images and leaves it in /opt/ml/model.
SageMaker fills and collects these folders; SAGEMAKER_BASE_DIR names another place than /opt/ml."""


# Errors that say what the machine lacks, not what the trainer did wrong.
THE_MACHINES = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit status: 0 trained, 1 failed (output/failure says why), 2 called wrongly, 143 stopped."""
    resume = parse(arguments)
    paths = paths_of(environment)
    return guarded(paths, lambda: _train(paths, environment, resume=resume)) if paths else 1


def parse(arguments: Sequence[str]) -> bool:
    """Whether to resume. Ends the process with a message where it was called otherwise."""
    parser = argparse.ArgumentParser(prog="train", description=DESCRIPTION)
    parser.add_argument("command", nargs="?", choices=["train"], default="train", help="the only one: train")
    parser.add_argument(
        "--resume",
        choices=["auto", "never"],
        default="auto",
        help="auto: go on from the newest whole checkpoint, if any; never: move those aside and begin anew",
    )
    return bool(parser.parse_args(arguments).resume == "auto")


def paths_of(environment: Mapping[str, str]) -> ContainerPaths | None:
    """The job's folders; None, and a word on what is missing, where there are none."""
    base = Path(environment.get(contract.BASE_DIR_VARIABLE, contract.BASE_DIR))
    if base.is_dir():
        return ContainerPaths(base)
    tell(
        f"there is no {base}, where a training job finds its data and leaves its model: mount a folder "
        f"whose input/data/images holds photographs (docker run -v FOLDER:{contract.BASE_DIR} IMAGE), or "
        f"name one laid out so in {contract.BASE_DIR_VARIABLE}"
    )
    return None


def guarded(paths: ContainerPaths, work: Callable[[], int]) -> int:
    """Runs `work`; turns what it raises into an exit status and, where it failed, the failure file."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  (the last place where anything can be said)
        return _explain(paths, error)


def _explain(paths: ContainerPaths, error: Exception) -> int:
    if isinstance(error, StoppedError):
        tell(f"stopped {error}")
        return contract.EXIT_STOPPED
    sentence, ours = describe(error)
    if ours:
        tell("".join(traceback.format_exception(error)))
    return fail(paths, sentence)


def fail(paths: ContainerPaths, sentence: str) -> int:
    """Says why the job fails: in the log, and for the service in a file."""
    tell(f"failed: {sentence}")
    try:
        paths.output.mkdir(parents=True, exist_ok=True)
        with paths.failure.open("x", encoding="utf-8") as file:  # the first rank to fail knows the cause
            file.write(sentence)
    except FileExistsError:
        pass
    except OSError as unwritable:
        tell(f"{paths.failure} could not be written: {unwritable.strerror}")
        with contextlib.suppress(OSError):
            paths.failure.unlink()
    return 1


def describe(error: Exception) -> tuple[str, bool]:
    """One sentence under the service's limit, and whether the fault is the trainer's own."""
    kind, text = type(error).__name__, str(error)
    ours = False
    if isinstance(error, DataError) or kind == "ConfigError":
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


def _train(paths: ContainerPaths, environment: Mapping[str, str], *, resume: bool) -> int:
    with contextlib.suppress(OSError):
        paths.failure.unlink()  # of an earlier run in the same folder
    for note in given.check_folders(paths):
        tell(note)
    algorithm, config = given.read_algorithm(paths), given.read_config(paths)
    given.check_channels(paths)
    resources = given.read_resources(paths)
    if not paths.hyperparameters.is_file():
        tell(
            f"there is no {paths.hyperparameters}: defaults, but for cfg/{contract.TRAIN_ARGS_NAME} if there"
        )
    program = import_module(f"training.{algorithm.name}.launch")  # torch takes seconds to import
    return int(program.launch(paths, config, resources, environment, resume=resume))


def tell(line: str) -> None:
    """To the log: SageMaker collects both streams. In one piece, for several threads tell."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def run() -> NoReturn:
    """The process's whole life."""
    # Read when torch is imported. By default threads that wait for others spin; beside other busy processes
    # that made a step four times slower (MobileFaceNet on two shared processors: 5 images a second, not 20).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parse(sys.argv[1:])
    paths = paths_of(os.environ)
    if paths is None:
        leave(1)
    if name := os.environ.get(user.VARIABLE):
        tell(user.settle(paths, name))
    if os.getpid() == 1:
        first_process.divide(lambda number: fail(paths, killed_by(number)))
    leave(main(sys.argv[1:], os.environ))


def killed_by(number: int) -> str:
    """Why a process was ended by a signal that it had no part in."""
    if number == signal.SIGKILL:
        return (
            "training was killed, most likely because memory ran out: lower batch_size or workers, or choose "
            "a larger instance"
        )
    return f"training was ended by {signal.Signals(number).name}: please report it with the log"


def leave(status: int) -> NoReturn:
    """Ends the process here and now; everything worth keeping is on the disk by then.

    An ordinary exit first takes down the libraries' threads, and now and then one of those aborts in it
    ("terminate called without an active exception"): a job that is done would count as failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
