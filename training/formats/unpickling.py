"""Pickles of lists, bytes, numbers and numpy arrays, read without running anything that they ask for.

A pickle names functions to call. Here a name leads to a stand-in of ours, or is refused: neither numpy's
functions nor any other's are ever called with what a file says.
"""

import pickle
import pickletools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from training.formats.errors import DataError

_KINDS = {"b", "u", "i"}  # of numpy's dtypes: bool, unsigned, signed
# What the unpickler and the stand-ins raise on files that are cut short or are no pickle.
_DAMAGED = (
    *(pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(OverflowError, MemoryError, ImportError, RecursionError),
)


class ForbiddenError(Exception):
    """The pickle names something that no image or number needs."""


def load(path: Path, place: str) -> Any:
    """What a pickle of any protocol holds; strings of Python 2 are bytes, arrays and their scalars numpy's.

    Raises DataError, calling the file `place`, where it asks for more than data, is damaged or is none.
    """
    try:
        with path.open("rb") as file:
            _refuse_far_memos(file)
            file.seek(0)
            return plain(_Unpickler(file, encoding="bytes").load())
    except ForbiddenError as error:
        raise DataError(
            f"{place} asks for {error}, which no verification set needs and which could run code: nothing "
            f"was run; take the file from where it was first published, or give pairs.csv and images"
        ) from None
    except _DAMAGED:
        raise DataError(
            f"{place} is damaged, cut short or no pickle of (images, issame): copy it once more"
        ) from None


def _refuse_far_memos(file: IO[bytes]) -> None:
    """Raises ValueError for a number of a remembered value that no pickler would give.

    The unpickler makes a table as long as the highest number, so five bytes could fill the memory.
    """
    for count, (code, argument, _) in enumerate(pickletools.genops(file)):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count + 1:
            raise ValueError(f"remembers value {argument} after {count} steps")


def plain(value: Any) -> Any:
    """Arrays as numpy has them, also within lists and tuples."""
    if isinstance(value, _Array):
        return value.made()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if found := _ALLOWED.get((module, name)):
            return found
        raise ForbiddenError(f"{module[:60]}.{name[:60]}")

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        raise ForbiddenError("an object outside itself")


class _Stand:
    """A function of ours that a pickle may call. It has no attributes that the pickle could set."""

    __slots__ = ("_call",)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]):
        object.__setattr__(self, "_call", call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ForbiddenError(f"a change of {name[:60]}")


class _DType:
    """A numpy dtype of one number, as text such as "|u1"."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: str):
        self.kind, self.order = kind.lstrip("<>=|"), "<" if sys.byteorder == "little" else ">"

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        self.order = "<" if order in "|=" else order

    def made(self) -> np.dtype[Any]:
        if self.kind[:1] not in _KINDS or self.kind[1:] not in ("1", "2", "4", "8"):
            raise ForbiddenError(f"numbers of the kind {self.kind[:20]}")
        return np.dtype(self.order + self.kind)


class _Array:
    """A numpy array: made empty, then told what it holds."""

    __slots__ = ("state",)

    def __init__(self, state: tuple[Any, ...] = ()):
        self.state = state

    def __setstate__(self, state: Any) -> None:
        version, *rest = state
        self.state = tuple(rest) if isinstance(version, int) else tuple(state)

    def made(self) -> NDArray[Any]:
        shape, dtype, by_columns, data = self.state
        if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
            raise ForbiddenError("an array of objects")
        shape = tuple(_count(size) for size in shape)
        return np.frombuffer(data, dtype.made()).reshape(shape, order="F" if by_columns else "C")


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("no size of an array")
    return value


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _dtype(kind: Any, *_: Any) -> _DType:
    return _DType(_text(kind))


def _empty(*_: Any) -> _Array:
    return _Array()


def _of_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    return _Array((shape, dtype, order == "F", buffer))


def _scalar(dtype: _DType, data: Any) -> int:
    return int(np.frombuffer(data, dtype.made())[0])


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
        raise ForbiddenError("a text in another encoding")
    return text.encode("latin-1")


def _bytes(value: Any = b"", encoding: Any = "latin1") -> bytes:
    """bytes() and bytearray() of bytes or such a text; of a number they would fill the memory."""
    if isinstance(value, str):
        return _encoded(value, encoding)
    if not isinstance(value, bytes | bytearray):
        raise ForbiddenError("bytes made of something else")
    return bytes(value)


def _names() -> Mapping[tuple[str, str], _Stand]:
    found = {
        ("_codecs", "encode"): _Stand(_encoded),
        ("numpy", "ndarray"): _Stand(_empty),
        ("numpy", "dtype"): _Stand(_dtype),
    }
    for builtins in ("builtins", "__builtin__"):  # Python 2's name
        found |= {(builtins, "bytes"): _Stand(_bytes), (builtins, "bytearray"): _Stand(_bytes)}
    for core in ("numpy.core", "numpy._core"):  # before numpy 2, and since
        found[core + ".multiarray", "_reconstruct"] = _Stand(_empty)
        found[core + ".multiarray", "scalar"] = _Stand(_scalar)
        found[core + ".numeric", "_frombuffer"] = _Stand(_of_buffer)
    return found


_ALLOWED = _names()
