"""Verification sets as InsightFace's tools wrote them, and pickles that nobody should open."""

import io
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.arcface.examples import picture
from training.arcface.verification import read_bin
from training.formats.errors import DataError

SAME = [True, False]


def encoded(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number, 0)).save(file, kind, quality=95)
    return file.getvalue()


def pixels() -> NDArray[np.uint8]:
    return np.stack([picture(number, 0) for number in range(4)])


def written(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


FORMS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "array as imencode gives it": lambda data: np.frombuffer(data, np.uint8),
    "array as older OpenCV gave it": lambda data: np.frombuffer(data, np.uint8)[:, None],
    "array of pixels, RGB": lambda data: np.asarray(Image.open(io.BytesIO(data))),
    "the same by columns": lambda data: np.asfortranarray(Image.open(io.BytesIO(data))),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("form", FORMS)
def test_images_come_as_files_or_arrays_in_any_protocol(tmp_path: Path, form: str, protocol: int) -> None:
    images = [FORMS[form](encoded(number)) for number in range(4)]
    found, same = read_bin(written(tmp_path / "lfw.bin", (images, SAME), protocol))
    assert (found == pixels()).all()
    assert found.dtype == np.uint8
    assert same.dtype == bool
    assert same.tolist() == SAME


def test_jpeg_gives_what_pillow_decodes(tmp_path: Path) -> None:
    images = [encoded(number, "JPEG") for number in range(2)]
    found, _ = read_bin(written(tmp_path / "lfw.bin", (images, [True])))
    assert (found[1] == np.asarray(Image.open(io.BytesIO(images[1])))).all()


@pytest.mark.parametrize(
    "answers",
    [
        (True, False),
        [1, 0],
        np.array(SAME),
        np.array([1, 0]),
        [np.bool_(True), np.bool_(False)],
        [np.int64(1), 0],
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_answers_come_as_bools_and_numbers(tmp_path: Path, answers: Any, protocol: int) -> None:
    images = tuple(encoded(number) for number in range(4))
    assert read_bin(written(tmp_path / "x.bin", [images, answers], protocol))[1].tolist() == SAME


def test_all_images_may_be_one_array(tmp_path: Path) -> None:
    assert (read_bin(written(tmp_path / "x.bin", (pixels(), SAME), 5))[0] == pixels()).all()


def test_an_image_of_another_size_is_scaled(tmp_path: Path) -> None:
    images = [np.full((96, 112, 3), 9, np.uint8), np.full((224, 224), 9, np.uint8)]
    found, _ = read_bin(written(tmp_path / "x.bin", (images, [True])))
    assert found.shape == (2, 112, 112, 3)
    assert (found[1] == 9).all()


# -- Python 2 ----------------------------------------------------------------------------------------------


def python_2(images: list[bytes], same: list[bool]) -> bytes:
    """As cPickle.dumps((images, same), 2) of Python 2 wrote it: str as BINSTRING, without memo."""
    strings = b"".join(b"T" + len(image).to_bytes(4, "little") + image for image in images)
    answers = b"".join(b"\x88" if answer else b"\x89" for answer in same)
    return b"\x80\x02(" + b"](" + strings + b"e" + b"](" + answers + b"e" + b"t."


def test_a_python_2_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "agedb_30.bin"
    path.write_bytes(python_2([encoded(number) for number in range(4)], SAME))
    found, same = read_bin(path)
    assert (found == pixels()).all()
    assert same.tolist() == SAME


def test_an_array_that_python_2_wrote_is_read(tmp_path: Path) -> None:
    """numpy 1.x under Python 2: text is bytes, and the module is numpy.core."""
    data = encoded(1)
    short = b"U" + bytes([1])
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + short + b"btR"
        b"(K\x01(J" + len(data).to_bytes(4, "little") + b"tcnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        b"(K\x03" + short + b"|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + len(data).to_bytes(4, "little") + data + b"tb"
    )
    path = tmp_path / "cfp_fp.bin"
    path.write_bytes(b"\x80\x02(](" + array + array + b"e](\x88et.")
    assert (read_bin(path)[0] == pixels()[1]).all()


# -- What must not be opened -------------------------------------------------------------------------------


class Calls:
    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def forbidden(canary: Path) -> dict[str, Any]:
    touch = f"touch {canary}"
    return {
        "os.system": Calls(os.system, touch),
        "eval": Calls(eval, f"open({str(canary)!r}, 'w')"),
        "exec": Calls(exec, f"open({str(canary)!r}, 'w')"),
        "open": Calls(open, str(canary), "w"),
        "subprocess": Calls(subprocess.call, ["touch", str(canary)]),
        "numpy.load": Calls(np.load, str(canary), None, True),
        "numpy.save": Calls(np.save, str(canary), 1),
        "getattr": Calls(getattr, "", "format"),
        "an import": Calls(__import__, "os"),
        "an array of objects": np.array([Calls(os.system, touch)], dtype=object),
        "another class": Path("x"),
        "a number with a point": np.float64(1.5),
    }


@pytest.mark.parametrize("what", forbidden(Path("x")))
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_asks_for_code_is_refused_and_runs_nothing(
    tmp_path: Path, what: str, protocol: int
) -> None:
    canary = tmp_path / "canary"
    path = written(tmp_path / "x.bin", ([encoded(0), forbidden(canary)[what]], [True]), protocol)
    with pytest.raises(DataError, match=r"asks for .*nothing was run") as refusal:
        read_bin(path)
    assert not canary.exists()
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    "code",
    [
        b"c_codecs\nencode\n(N}X\x05\x00\x00\x00_callK\x01st\x94b.",  # sets an attribute of a function
        b"cbuiltins\nbytes\n(J\xff\xff\xff\x7ftR.",  # bytes(2 ** 31 - 1)
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.",
        b"cbuiltins\nbytes\n)\x81.",  # an object made past __init__
        b"K\x00r\xff\xff\xff\xef.",  # a memo of 32 GB
        b"Pother\n.",  # an object outside the file
        b"\x82\x01.",  # one of the interpreter's registered extensions
        b"(i__builtin__\neval\n.",
        b"(cbuiltins\neval\no.",
    ],
)
def test_no_trick_of_the_format_gets_past_the_names(tmp_path: Path, code: bytes) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"\x80\x04" + code)
    with pytest.raises(DataError, match=r"x\.bin (asks for|is damaged)"):
        read_bin(path)


# -- What is no set ----------------------------------------------------------------------------------------

WRONG = {
    "holds 3 images and 2 answers": ([b"", b"", b""], SAME),
    "holds 0 images": ([], []),
    "does not hold": {"images": []},
    r"does not hold \(images": (b"images", [True]),
    "must hold True or False": ([b"", b""], ["yes"]),
    "must hold True or False for": ([b"", b""], [2]),
    "image 1 of 2 is empty": ([b"", b""], [True]),
    "image 1 of 2 is not an image": ([b"text", b"text"], [True]),
    "image 1 of 2 is damaged or cut short": ([encoded(0)[:-2000], b"text"], [True]),
    "image 1 of 2 is neither": ([1, 2], [True]),
    "not of": ([np.zeros((112, 112, 4), np.uint8)] * 2, [True]),
}


@pytest.mark.parametrize("reason", WRONG)
def test_what_is_no_set_is_refused_with_the_reason(tmp_path: Path, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as refusal:
        read_bin(written(tmp_path / "lfw.bin", WRONG[reason]))
    assert str(refusal.value).startswith("lfw.bin")


@pytest.mark.parametrize("size", [0, 1, 100, 3000, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "lfw.bin", ([encoded(0), encoded(1)], [True]))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"lfw\.bin is damaged, cut short or no pickle"):
        read_bin(path)


def test_a_flipped_bit_anywhere_ends_in_a_sentence_or_in_images(tmp_path: Path) -> None:
    good = pickle.dumps(([np.zeros((2, 2, 3), np.uint8)] * 2, [True]), 2)
    path = tmp_path / "x.bin"
    read, refused = set(), []
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        try:
            images, same = read_bin(path)
            read.add((images.shape, same.shape))
        except DataError as refusal:
            refused.append(str(refusal))
    assert read == {((2, 112, 112, 3), (1,))}
    assert refused
    assert all("x.bin" in sentence for sentence in refused)
