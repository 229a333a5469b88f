"""Photos to aligned faces."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from PIL import Image

from facetrain.cli.entry import run
from facetrain.datasets.prepare.command import Wanted, prepare
from facetrain.folder import read_folder
from tests.datasets.photos import POINTS, Album, picture
from training.formats import listing
from training.formats.alignment import TEMPLATE, crop, fit
from training.formats.faces import REASONS

SHARED = Path(__file__).parents[3] / "shared" / "data"
DETECTOR = SHARED / "models" / "scrfd_500m_kps.onnx"
real_faces = pytest.mark.skipif(
    not DETECTOR.is_file(), reason="../shared/data (real faces and a detector) is not here"
)


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


def turned(image: Image.Image) -> bytes:
    """As cameras write it that are held upside down: the pixels turned, and a note to turn them back."""
    import io  # noqa: PLC0415

    exif = Image.Exif()
    exif[0x0112] = 3
    out = io.BytesIO()
    image.rotate(180).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


FORMATS: dict[str, tuple[str, Callable[[Image.Image, Path], None]]] = {
    "JPEG": ("1.jpg", lambda image, path: image.save(path, quality=95)),
    "PNG": ("1.png", lambda image, path: image.save(path)),
    "GIF": ("1.gif", lambda image, path: image.save(path)),
    "BMP": ("1.bmp", lambda image, path: image.save(path)),
    "WebP": ("1.webp", lambda image, path: image.save(path, quality=95)),
    "TIFF": ("1.tif", lambda image, path: image.save(path)),
    "PGM": ("1.pgm", lambda image, path: image.convert("L").save(path)),
    "palette": ("1.png", lambda image, path: image.quantize(200).save(path)),
    "CMYK": ("1.jpg", lambda image, path: image.convert("CMYK").save(path, quality=95)),
    "alpha": ("1.png", lambda image, path: image.convert("RGBA").save(path)),
    "16 bit": (
        "1.png",
        lambda image, path: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(
            path
        ),
    ),
    "EXIF": ("1.jpg", lambda image, path: _put(path, turned(image))),
    "another suffix": ("1.jpg", lambda image, path: image.save(path, "PNG")),
    "no suffix": ("photo one", lambda image, path: image.save(path, "WEBP", quality=95)),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_common_format_becomes_the_same_face(album: Album, kind: str) -> None:
    name, write = FORMATS[kind]
    write(picture(), album.add(f"anna/{name}", b""))
    prepared = album.prepare(form="png")
    assert (prepared.kept, prepared.dropped) == (1, {})
    (face,) = album.faces()
    with Image.open(album.destination / face) as image:
        assert (image.size, image.mode) == ((112, 112), "RGB")
        found = np.asarray(image.convert("L")).astype(int)
    expected = np.asarray(crop(picture(), fit(POINTS)).convert("L"))
    assert np.abs(found - expected).mean() < 8  # 256 colours differ by more than JPEG does


def test_faces_lie_in_the_folders_of_their_photos_ready_to_train_on_and_to_push(album: Album) -> None:
    for seed, file in enumerate(("Ánna Ö/1.jpg", "Ánna Ö/1.png", "Ánna Ö/best of/x.y.jpg", "ben/1")):
        album.add(file, b"" if file == "ben/1" else picture(seed))
    picture(9).save(album.source / "ben/1", "JPEG")
    album.prepare()
    assert album.faces() == ["ben/1.jpg", "Ánna Ö/1-2.jpg", "Ánna Ö/1.jpg", "Ánna Ö/best of/x.y.jpg"]
    found = listing.find(album.destination, None)
    assert (found.identities, found.counts().tolist()) == (("ben", "Ánna Ö"), [1, 3])
    pushed = read_folder(album.destination)
    assert sorted(file.key for file in pushed.files) == [f"images/{face}" for face in album.faces()]


def test_jpeg_faces_keep_all_their_colours(album: Album) -> None:
    album.add("anna/1.png")
    album.prepare()
    with Image.open(album.destination / "anna/1.jpg") as face:
        assert {layer[1:3] for layer in face.layer} == {(1, 1)}  # type: ignore[attr-defined]


def dropped(album: Album) -> dict[str, tuple[str, str]]:
    with (album.destination / ".prepare/prepare.csv").open() as table:
        return {row["file"]: (row["reason"], row["detail"]) for row in csv.DictReader(table)}


def test_every_photo_that_is_dropped_has_its_reason(album: Album) -> None:
    album.add("anna/good.jpg")
    album.add("anna/cut.jpg", (album.source / "anna/good.jpg").read_bytes()[:900])
    album.add("anna/empty.jpg", b"")
    album.add("anna/text.jpg", b"no picture at all")
    album.add("anna/unnamed.jpg", points=None)
    album.add("anna/small.jpg", points=TEMPLATE * 0.2 + 50)
    album.add("anna/beside.jpg", points=POINTS + 900)
    album.add("anna/mixed.jpg", points=POINTS[[1, 0, 2, 4, 3]])
    album.add("anna/one place.jpg", points=POINTS * 0 + 9)
    album.add("loose.jpg")
    (album.source / "anna/notes.txt").write_text("not a photo")
    with album.table.open("a") as table:
        table.write("anna/gone.jpg" + ",5" * 10 + "\n")
    prepared = album.prepare()
    reasons = dropped(album)
    assert reasons.pop("anna/good.jpg") == ("", "")
    assert reasons == {
        "anna/beside.jpg": ("outside", "a landmark lies 860 pixels out of the picture"),
        "anna/cut.jpg": ("unreadable", "is damaged or cut short"),
        "anna/empty.jpg": ("unreadable", "is empty"),
        "anna/mixed.jpg": ("no_shape_of_a_face", REASONS["no_shape_of_a_face"]),
        "anna/one place.jpg": ("no_shape_of_a_face", "has its five landmarks at one place"),
        "anna/small.jpg": ("too_small", "7.0 pixels between the eyes"),
        "anna/text.jpg": (
            "unreadable",
            "is not an image that can be read (JPEG, PNG, BMP, PGM, TIFF and WebP can)",
        ),
        "anna/unnamed.jpg": ("no_landmarks", REASONS["no_landmarks"]),
        "loose.jpg": ("no_identity", REASONS["no_identity"]),
    }
    assert (prepared.kept, prepared.others) == (1, 1)
    assert prepared.landmarks_without_photo == ("anna/gone.jpg",)
    assert sum(prepared.dropped.values()) == len(reasons)


def test_the_table_of_a_run_is_a_table_of_landmarks(album: Album, tmp_path: Path) -> None:
    album.add("anna/1.png")
    table = album.prepare(form="png").table
    again = Wanted(album.source, tmp_path / "again", landmarks=table, form="png", processes=1)
    assert prepare(again).kept == 1
    first, second = (Image.open(folder / "anna/1.png") for folder in (album.destination, tmp_path / "again"))
    # Landmarks stand in the table with two decimals.
    assert np.abs(np.asarray(first).astype(int) - np.asarray(second)).max() <= 1


def test_a_picture_that_a_list_calls_aligned_is_taken_whole(album: Album) -> None:
    album.add("anna/1.png", picture(size=(224, 224)), points=None)
    album.table.write_text("1\tanna/1.png\t0\n")
    assert album.prepare(form="png").kept == 1
    with Image.open(album.destination / "anna/1.png") as face:
        expected = picture(size=(224, 224)).resize((112, 112), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(face).astype(int) - np.asarray(expected)).max() <= 1


def test_a_table_says_whose_loose_photos_are(album: Album, tmp_path: Path) -> None:
    for number in (1, 2):
        album.add(f"00000{number}.jpg", picture(number))
    labels = tmp_path / "identity_CelebA.txt"
    labels.write_text("000001.jpg 2880\n000002.jpg 2937\n")
    album.prepare(labels=labels)
    assert album.faces() == ["2880/000001.jpg", "2937/000002.jpg"]


def test_near_duplicates_of_one_person_are_named(album: Album) -> None:
    album.add("anna/1.jpg")
    album.add("anna/2.png", picture().resize((110, 100)), points=POINTS / 2)
    album.add("anna/3.png", picture(3))
    album.add("ben/1.jpg")
    (suspect,) = album.prepare().suspects
    assert (suspect.file, suspect.kind, suspect.other) == ("anna/2.png", "near_duplicate", "anna/1.jpg")
    assert "anna/2.png,near_duplicate,anna/1.jpg" in (album.destination / ".prepare/suspects.csv").read_text()


def test_photos_that_look_like_someone_else_are_named_where_a_model_can_tell(
    album: Album, tmp_path: Path
) -> None:
    colours = {"anna": (220, 30, 30), "ben": (30, 30, 220)}
    for person, own in colours.items():
        for number in range(4):
            colour = colours["ben"] if (person, number) == ("anna", 2) else own
            noise = np.random.default_rng(number).integers(-25, 25, (200, 220, 3))
            album.add(f"{person}/{number}.png", Image.fromarray((noise + colour).astype(np.uint8)))
    model = tmp_path / "colours.onnx"
    tell_colours(model)
    found = [one for one in album.prepare(model=model).suspects if one.kind == "mislabel"]
    assert [(one.file, one.other) for one in found] == [("anna/2.png", "ben")]
    assert "cosine 1.00 to that identity" in found[0].detail


def tell_colours(path: Path) -> None:
    """A recognition network that embeds a face as its mean colour."""
    face = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["embedding"]),
    ]
    graph = helper.make_graph(nodes, "colours", [face], [embedding])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def test_a_sheet_shows_a_sample_and_is_not_trained_on(album: Album) -> None:
    for number in range(12):
        album.add(f"anna/{number}.jpg", picture(number))
    sheet = album.prepare().sheet
    assert sheet is not None
    with Image.open(sheet) as image:
        assert image.size == (1120, 224)
    assert len(listing.find(album.destination, None)) == 12


# -- real faces ----------------------------------------------------------------------------------------------


@real_faces
def test_the_detector_finds_real_faces_in_small_tight_and_large_photos(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for person in ("s1", "s2", "s40"):
        (source / person).mkdir(parents=True)
        for number in (1, 5, 7):
            with Image.open(SHARED / "att_faces" / person / f"{number}.pgm") as image:
                image.save(source / person / f"{number}.png")
    (source / "group").mkdir()
    with Image.open(SHARED / "group_photo.jpg") as image:
        image.save(source / "group" / "all.png")
        image.crop((720, 300, 880, 520)).resize((1600, 2200)).save(source / "group" / "one.png")
    Image.new("RGB", (1, 2000)).save(source / "group" / "sliver.png")
    Image.new("L", (1, 1)).save(source / "group" / "dot.png")
    prepared = prepare(Wanted(source, tmp_path / "out", detector=DETECTOR, processes=1))
    assert (prepared.kept, prepared.dropped) == (10, {"no_face": 2, "several_faces": 1})
    rows = [json.loads(line) for line in (tmp_path / "out/.prepare/journal.jsonl").read_text().splitlines()]
    one = next(row for row in rows if row.get("file") == "group/one.png")
    assert 400 < one["eyes"] < 520


@real_faces
def test_photos_without_a_face_and_with_several_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "s1").mkdir(parents=True)
    picture().save(tmp_path / "in/s1/none.jpg")
    (tmp_path / "in/s1/several.jpg").write_bytes((SHARED / "group_photo.jpg").read_bytes())
    command = ["dataset", "prepare", str(tmp_path / "in"), str(tmp_path / "out"), "--detector", str(DETECTOR)]
    assert run([*command, "--processes", "1"]) == 1
    said = capsys.readouterr().out
    for reason in ("no_face", "several_faces"):
        assert re.search(rf"^1 +{reason} +{REASONS[reason]}", said, re.MULTILINE)


@real_faces
def test_the_command_answers_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in" / "s1"
    source.mkdir(parents=True)
    for number in (1, 2, 3):
        with Image.open(SHARED / "att_faces/s1" / f"{number}.pgm") as image:
            image.save(source / f"{number}.jpg")
    command = ["dataset", "prepare", str(tmp_path / "in"), str(tmp_path / "out"), "--detector", str(DETECTOR)]
    assert run([*command, "--processes", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["photos"], answer["kept"], answer["dropped"]) == (3, 3, {})
