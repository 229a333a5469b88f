"""One file of any kind to 112x112 RGB, or the reason why not."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from tests.arcface.examples import picture
from training.formats.decode import PIXEL_LIMIT, Pixels, decode, read_bytes
from training.formats.errors import UnreadableError


def read_image(path: Path, pixel_limit: int = PIXEL_LIMIT) -> tuple[Pixels, bool]:
    return decode(read_bytes(path), pixel_limit)


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "png"), ("L", "pgm"), ("P", "gif"), ("CMYK", "tif")])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(np.full((112, 112, 3), 153, np.uint8)).convert(mode)
    image.save(tmp_path / f"x.{suffix}")
    pixels, resized = read_image(tmp_path / f"x.{suffix}")
    assert pixels.shape == (112, 112, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - 153).max() <= 1
    assert not resized


def test_transparency_is_laid_over_black(tmp_path: Path) -> None:
    rgba = np.full((112, 112, 4), 200, np.uint8)
    rgba[:, :, 3] = 0
    rgba[:56, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "x.png")
    pixels, _ = read_image(tmp_path / "x.png")
    assert (pixels[:56] == 200).all()
    assert (pixels[56:] == 0).all()


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((112, 112), 32896, np.uint16)).save(tmp_path / "x.png")
    assert (read_image(tmp_path / "x.png")[0] == 128).all()


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    upright = np.zeros((112, 112, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter to the left
    Image.fromarray(np.rot90(upright)).save(tmp_path / "x.png", exif=exif)
    assert (read_image(tmp_path / "x.png")[0] == upright).all()


@pytest.mark.parametrize(("height", "width"), [(112, 92), (56, 46), (2000, 3000), (1, 400)])
def test_another_size_keeps_its_aspect_and_is_centred(tmp_path: Path, height: int, width: int) -> None:
    Image.fromarray(np.full((height, width, 3), 255, np.uint8)).save(tmp_path / "x.jpg", quality=100)
    pixels, resized = read_image(tmp_path / "x.jpg")
    bright = pixels[:, :, 0] > 127
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    scale = 112 / max(height, width)
    assert resized
    assert len(rows) == max(1, round(height * scale))
    assert len(columns) == max(1, round(width * scale))
    assert abs(rows.mean() - 55.5) <= 0.5
    assert abs(columns.mean() - 55.5) <= 0.5


def broken_files(folder: Path) -> dict[str, bytes]:
    Image.fromarray(picture(0, 0)).save(folder / "good.png")
    good = (folder / "good.png").read_bytes()
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 40_000, 40_000, 8, 2, 0, 0, 0)
    return {
        "empty.png": b"",
        "cut.png": good[: len(good) // 2],
        "text.jpg": b"this is not a picture",
        "page.jpg": b"<html><body>404</body></html>",
        "bomb.png": header + b"\x00" * 64,
        "changed.png": good[:60] + bytes(200) + good[260:],
    }


@pytest.mark.parametrize("name", ["empty.png", "cut.png", "text.jpg", "page.jpg", "bomb.png", "changed.png"])
def test_a_file_that_is_no_picture_is_unreadable_not_fatal(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(broken_files(tmp_path)[name])
    with pytest.raises(UnreadableError):
        read_image(tmp_path / name)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    with pytest.raises(UnreadableError, match="is empty"):
        read_image(tmp_path / "x.jpg")


def test_a_huge_image_is_refused_by_its_size_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "x.png")
    with pytest.raises(UnreadableError, match="300x200 pixels, above the limit of 50,000"):
        read_image(tmp_path / "x.png", pixel_limit=50_000)


# -- Plain JPEG, decoded without Pillow --------------------------------------------------------------------


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    memory = io.BytesIO()
    Image.fromarray(picture(3, 1)).convert(mode).save(memory, "JPEG", **options)
    return memory.getvalue()


KINDS = {
    "4:4:4": jpeg(quality=95, subsampling=0),
    "4:2:2": jpeg(quality=75, subsampling=1),
    "4:2:0": jpeg(quality=95, subsampling=2),
    "progressive": jpeg(progressive=True, quality=100),
    "grey": jpeg("L"),
    "cmyk": jpeg("CMYK"),
    "with comment": jpeg(comment="taken in 2026"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_jpeg_has_pillows_pixels_bit_for_bit(kind: str) -> None:
    expected = np.asarray(Image.open(io.BytesIO(KINDS[kind])).convert("RGB"))
    assert (decode(KINDS[kind])[0] == expected).all()


def test_plain_jpeg_is_decoded_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", None)
    assert decode(KINDS["4:2:0"])[0].shape == (112, 112, 3)


def test_a_turned_jpeg_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    upside_down = decode(jpeg(exif=exif))[0]
    assert (upside_down == decode(jpeg())[0][::-1, ::-1]).all()


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_jpeg_that_is_cut_short_is_unreadable(kept: float) -> None:
    data = KINDS["4:2:0"]
    with pytest.raises(UnreadableError, match="is damaged or cut short"):
        decode(data[: int(len(data) * kept)])


def test_what_libjpeg_merely_warns_of_pillow_judges() -> None:
    data = KINDS["4:4:4"]
    damaged = data[:9000] + b"\xff\xd0" + data[9000:]
    with pytest.raises(ValueError, match="Corrupt JPEG data"):
        simplejpeg.decode_jpeg(damaged, strict=True)
    assert (decode(damaged)[0] == np.asarray(Image.open(io.BytesIO(damaged)))).all()


# -- What is no file of pixels at all ----------------------------------------------------------------------


def test_a_pipe_named_like_a_picture_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(UnreadableError, match="is no ordinary file"):
        read_image(tmp_path / "x.jpg")


def test_a_link_that_leads_in_a_circle_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").symlink_to(tmp_path / "x.jpg")
    with pytest.raises(UnreadableError, match="cannot be opened"):
        read_image(tmp_path / "x.jpg")


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.jpg").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(UnreadableError, match="is larger than 512 MB"):
        read_image(tmp_path / "x.jpg")


def test_a_page_to_be_printed_is_no_picture_and_starts_no_program() -> None:
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(page)).format == "EPS"
    with pytest.raises(UnreadableError, match="is not an image that can be read"):
        decode(page)
