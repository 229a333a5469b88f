"""Whole jobs as processes, forked from one that has torch loaded already: a start takes no seconds."""

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from tests.arcface.examples import TinyNetwork
from training.arcface import trainer
from training.arcface.settings import Settings
from training.container import main
from training.jobs import contract

FORKS = multiprocessing.get_context("forkserver")
# torch loads _dynamo with the first optimizer: seconds, in each process.
FORKS.set_forkserver_preload(
    ["tests.arcface.processes", "training.arcface.launch", "torch._dynamo", "pytest"]
)


def start(
    base: Path,
    log: Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    writes: bool = False,
) -> BaseProcess:
    """`train` on the job in `base`, with the tiny network in place of the one it names, telling `log`.

    writes: the model and its papers, which takes seconds.
    """
    given = {contract.BASE_DIR_VARIABLE: str(base), **(environment or {})}
    process = FORKS.Process(target=_train, args=(log, list(arguments), given, writes))
    process.start()
    return process


def wait_for(log: Path, text: str, times: int, process: BaseProcess) -> None:
    """Until `text` was told so often, or the process has ended."""
    while process.is_alive() and (not log.exists() or log.read_text().count(text) < times):
        time.sleep(0.01)


def _train(log: Path, arguments: list[str], environment: dict[str, str], writes: bool) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    torch.set_num_threads(1)
    vars(trainer).update(fresh_backbone=_tiny)
    if not writes:
        vars(trainer).update(outputs=_NoOutputs())
    main.leave(main.main(arguments, environment))


def _tiny(settings: Settings) -> TinyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return TinyNetwork()


class _NoOutputs:
    """In place of all that writes the model."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None
