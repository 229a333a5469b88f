"""Tables of landmarks in the layouts that people have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.formats.errors import DataError
from training.formats.labels import read_labels
from training.formats.landmarks import Landmarks, read_landmarks

CELEBA_HEADER = (
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y "
    "leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
)
POINTS = [[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]]
FLAT = " ".join(str(value) for point in POINTS for value in point)
BY_COMMAS = FLAT.replace(" ", ",")


def read(folder: Path, text: str, name: str = "landmarks.txt") -> Landmarks:
    path = folder / name
    path.write_bytes(text.encode())
    return read_landmarks(path)


def points(table: Landmarks, photo: str) -> list[list[float]] | None:
    name = table.name_of(photo)
    assert name is not None
    found = table.faces[name].points
    return None if found is None else np.asarray(found).tolist()


def test_celebas_list_has_a_count_a_header_and_ten_numbers_a_line(tmp_path: Path) -> None:
    table = read(tmp_path, f"2\n{CELEBA_HEADER}\n000001.jpg  {FLAT}\n000002.jpg  {FLAT}\n")
    assert points(table, "000001.jpg") == POINTS
    assert len(table) == 2


def test_celebas_list_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="promises 2 faces, and 1 follow"):
        read(tmp_path, f"2\n{CELEBA_HEADER}\n000001.jpg  {FLAT}\n")


@pytest.mark.parametrize(
    "header",
    [
        "image_id," + CELEBA_HEADER.replace(" ", ","),
        "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
        "mouth_left_x,mouth_left_y,mouth_right_x,mouth_right_y",
        "NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y",
        "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5",
        "filename,kps_0_x,kps_0_y,kps_1_x,kps_1_y,kps_2_x,kps_2_y,kps_3_x,kps_3_y,kps_4_x,kps_4_y",
    ],
)
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_columns_of_a_table_are_found_by_their_names(tmp_path: Path, header: str, mark: str) -> None:
    text = f"{header}\nanna lee/1.jpg,{BY_COMMAS}\n".replace(",", mark)
    assert points(read(tmp_path, text), "anna lee/1.jpg") == POINTS


def test_columns_may_stand_in_another_order_among_others(tmp_path: Path) -> None:
    header = "score,y5,x5,y4,x4,y3,x3,y2,x2,y1,x1,file"
    backwards = ",".join(reversed(BY_COMMAS.split(",")))
    assert points(read(tmp_path, f"{header}\n0.9,{backwards},a.jpg\n"), "a.jpg") == POINTS


def test_a_table_without_a_header_is_a_file_and_ten_numbers(tmp_path: Path) -> None:
    assert points(read(tmp_path, f"a/1.jpg,{BY_COMMAS}\n"), "a/1.jpg") == POINTS


def test_insightfaces_list_gives_all_x_before_all_y(tmp_path: Path) -> None:
    numbers = "\t".join(str(point[axis]) for axis in (0, 1) for point in POINTS)
    text = f"0\t/data/faces/anna/1.jpg\t7\t60\t80\t120\t170\t{numbers}\n1\t/data/faces/ben/1.jpg\t8\n"
    table = read(tmp_path, text, "faces.lst")
    assert points(table, "anna/1.jpg") == POINTS
    assert points(table, "ben/1.jpg") is None


def test_a_photo_is_found_by_the_end_of_its_path_where_only_one_ends_so(tmp_path: Path) -> None:
    table = read(tmp_path, f"/a/anna/1.jpg,{BY_COMMAS}\n/b/ben/1.jpg,{BY_COMMAS}\n/c/only,{BY_COMMAS}\n")
    assert table.name_of("photos/anna/1.jpg") == "a/anna/1.jpg"
    assert table.name_of("cyd/1.jpg") is None
    assert table.name_of("cyd/only.jpg") == "c/only"
    assert table.missing(["anna/1.jpg", "x/only.png"]) == ["b/ben/1.jpg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("file,identity\na.jpg,anna\n", "line 1: no columns for a file and five landmarks"),
        (f"a.jpg,{BY_COMMAS}\nb.jpg,{BY_COMMAS.replace('109', 'nan')}\n", "line 2: 9 numbers where 10"),
        (f"a.jpg,{BY_COMMAS}\nb.jpg,1,2\n", "line 2: 3 columns, fewer"),
        (f"a.jpg,{BY_COMMAS}\n./a.jpg,{BY_COMMAS}\n", 'line 2: "a.jpg" already has landmarks above'),
        ("1\ta.jpg\t7\n0\tb.jpg\n", "line 2: not an InsightFace line"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused_with_its_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        read(tmp_path, text)


@pytest.mark.parametrize("read", [read_landmarks, read_labels])
def test_a_cell_without_end_is_named_with_its_line(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a" * 200_000 + ",b\n")
    with pytest.raises(DataError, match=r"table.csv line 1 is no line of a table \(field larger"):
        read(path)
