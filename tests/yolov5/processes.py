"""Whole jobs, as the service starts them."""

import os
import subprocess
import sys
from pathlib import Path

from training.jobs import contract
from training.jobs.contract import ContainerPaths

ROOT = Path(__file__).resolve().parents[2]


def command(paths: ContainerPaths, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, contract.BASE_DIR_VARIABLE: str(paths.base), "OMP_NUM_THREADS": "1"}
    return [sys.executable, str(ROOT / "training" / "train"), *arguments], environment


def train(paths: ContainerPaths, *arguments: str) -> subprocess.CompletedProcess[str]:
    program, environment = command(paths, *arguments)
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)


def failure(paths: ContainerPaths, *arguments: str) -> str:
    """What the failure file says after a run that must fail, without a traceback in its log."""
    done = train(paths, *arguments)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    text = paths.failure.read_text(encoding="utf-8")
    assert "\n" not in text
    return text
