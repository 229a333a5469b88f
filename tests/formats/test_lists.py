"""Lists of pairs in the layouts that people have."""

from pathlib import Path

import pytest

from training.formats.errors import DataError
from training.formats.lists import PairList, read_pairs_table, read_pairs_txt


def txt(folder: Path, text: str) -> PairList:
    path = folder / "pairs.txt"
    path.write_bytes(text.encode())
    return read_pairs_txt(path)


def table(folder: Path, text: str, name: str = "pairs.csv") -> PairList:
    path = folder / name
    path.write_bytes(text.encode())
    return read_pairs_table(path)


def test_lfws_layout_has_folds_of_genuine_then_impostor_pairs(tmp_path: Path) -> None:
    found = txt(tmp_path, "2\t1\nAnn\t1\t4\nAnn\t1\tBo\t2\nCy\t2\t3\nCy\t1\tBo\t1\n")
    assert found.first == (("Ann", 1), ("Ann", 1), ("Cy", 2), ("Cy", 1))
    assert found.second == (("Ann", 4), ("Bo", 2), ("Cy", 3), ("Bo", 1))
    assert found.same.tolist() == [True, False, True, False]
    assert found.folds is not None
    assert found.folds.tolist() == [0, 0, 1, 1]
    assert len(found.pictures()) == 7


def test_all_six_thousand_pairs_of_lfws_layout_are_read_line_for_line(tmp_path: Path) -> None:
    """Ten folds, each of 300 genuine and then 300 impostor pairs."""
    lines, pairs = ["10\t300"], []
    for number in range(6000):
        one, other = number % 5 + 1, number % 7 + 1
        if number // 300 % 2 == 0:
            lines.append(f"Ann_{number}_Lee\t{one}\t{other}")
            pairs.append(((f"Ann_{number}_Lee", one), (f"Ann_{number}_Lee", other)))
        else:
            lines.append(f"Bo_{number}\t{one}\tCy_de_la_{number}\t{other}")
            pairs.append(((f"Bo_{number}", one), (f"Cy_de_la_{number}", other)))
    found = txt(tmp_path, "\n".join(lines) + "\n")
    assert list(zip(found.first, found.second, strict=True)) == pairs
    assert found.same.tolist() == [number // 300 % 2 == 0 for number in range(6000)]
    assert found.folds is not None
    assert found.folds.tolist() == [number // 600 for number in range(6000)]


@pytest.mark.parametrize("first", ["1\n", ""])
def test_a_development_file_has_one_count_and_no_folds(tmp_path: Path, first: str) -> None:
    found = txt(tmp_path, f"{first}Ann\t1\t4\nAnn\t1\tBo\t2\n")
    assert found.same.tolist() == [True, False]
    assert found.folds is None


@pytest.mark.parametrize("name", ["Ann Lee", "O'Neil-Øster_2", "张伟", "12", "Ann 3", "n.\u00a0b"])
def test_names_hold_any_characters_between_tabs(tmp_path: Path, name: str) -> None:
    found = txt(tmp_path, f"{name}\t1\t2\r\n{name}\t1\t{name} x\t02\r\n")
    assert found.first == ((name, 1), (name, 1))
    assert found.second == ((name, 2), (f"{name} x", 2))


def test_without_tabs_names_may_still_hold_blanks(tmp_path: Path) -> None:
    found = txt(tmp_path, "Ann 1 2\nAnn Lee 1 2\nAnn Lee 1 Bo Ek 2\n7 1 8 2\n")
    assert found.first == (("Ann", 1), ("Ann Lee", 1), ("Ann Lee", 1), ("7", 1))
    assert found.second == (("Ann", 2), ("Ann Lee", 2), ("Bo Ek", 2), ("8", 2))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"pairs\.txt is empty"),
        ("10\t300\n", r"promises 10 x 2 x 300 = 6000 pairs, and 0 follow"),
        ("2 1\nAnn 1 2\nAnn 1 Bo 2\n", "= 4 pairs, and 2 follow: the file is cut short"),
        ("1\nAnn 1 2\nAnn Bo\n", r"pairs\.txt line 3: not a name and two numbers"),
        ("Ann\tx\t2\n", "line 1: not a name"),
        ("0\n", "names no pairs"),
    ],
)
def test_what_is_no_pairs_txt_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        txt(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "file1,file2,same\na/1.png,a/2.png,1\na/1.png,b/1.png,0\n",
        "a/1.png,a/2.png,True\na/1.png,b/1.png,False\n",
        "same;second;first\nyes;./a/2.png;a\\1.png\nno;b/1.png;a/1.png\n",
        "path1\tpath2\tissame\textra\na/1.png\ta/2.png\t1\tx\na/1.png\tb/1.png\t0\tx\n",
        "\ufeffFile1,File2,Label\r\na/1.png,a/2.png,1\r\na/1.png,b/1.png,-1\r\n",
    ],
)
def test_tables_come_with_many_headers_or_none(tmp_path: Path, text: str) -> None:
    found = table(tmp_path, text)
    assert found.first == ("a/1.png", "a/1.png")
    assert found.second == ("a/2.png", "b/1.png")
    assert found.same.tolist() == [True, False]
    assert found.folds is None


def test_a_table_may_give_folds(tmp_path: Path) -> None:
    found = table(tmp_path, "file1,file2,same,fold\na,b,1,x\na,c,0,y\na,d,0,x\n")
    assert found.folds is not None
    assert found.folds.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"pairs\.csv is empty: it needs lines of file1,file2,same"),
        ("file1,file2,same\n", "a header and nothing else"),
        ("one,two\na,b\n", "line 1: no columns for two files"),
        ("a,b,1\na,b,maybe\n", 'line 2: "maybe" says neither 1'),
        ("a,b,1\na,b\n", "line 2: 2 columns, fewer than"),
        ("a,b,1\na,,1\n", "line 2: a file is missing"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        table(tmp_path, text)
