"""ONNX networks that the user names, on the CPU. Nothing is downloaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from facetrain.errors import InputError
from training.formats.detector import Detector
from training.formats.errors import DataError

_ERRORS = 3  # what ONNX Runtime says below that is for its developers


def session(path: Path, threads: int) -> Any:
    """threads: 0 for all cores."""
    import onnxruntime  # noqa: PLC0415 - half a second, and not there without the extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextmanager
def refusing(option: str, path: Path, what: str) -> Iterator[None]:
    """Raises InputError for whatever a reader in the block says of a file that is no such network."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - onnx, ONNX Runtime, protobuf and insightface have their own
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError.because(option, f"{path} {what} ({reason})") from None


def open_detector(path: Path) -> Detector:
    """On one thread, for there is a process for each core. Raises InputError."""
    try:
        return Detector(path, partial(session, threads=1))
    except DataError as error:
        raise InputError.because("--detector", str(error)) from None
