"""`facetrain dataset check` as it is typed: exit codes, JSON, the table, Ctrl-C, memory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facetrain.cli import dataset_check
from facetrain.cli.entry import run
from facetrain.datasets.check import looks
from facetrain.datasets.check.scan import Scanned, scan
from tests.datasets.faces import encoded, people, put
from tests.formats.test_shards import shard
from training.formats.places import Indices

Said = pytest.CaptureFixture[str]


def command(*arguments: str | Path) -> int:
    return run(["dataset", "check", *map(str, arguments)])


def test_a_dataset_without_findings_exits_with_0(tmp_path: Path, capsys: Said) -> None:
    assert command(people(tmp_path, {"anna": 2, "ben": 3})) == 0
    said = capsys.readouterr()
    assert "images           5\nidentities       2\n" in said.out
    assert said.out.endswith("nothing that would harm training\n")
    assert said.err == ""


def test_findings_that_harm_exit_with_1(tmp_path: Path, capsys: Said) -> None:
    people(tmp_path, {"anna": 2, "ben": 3})
    put(tmp_path / "ben" / "hers.png", encoded(0))
    put(tmp_path / "ben" / "bad.png", b"bad")
    assert command(tmp_path) == 1
    out = capsys.readouterr().out
    assert "\nthe same image\n  images/anna/0.png = images/ben/hers.png\n" in out
    assert "\nunreadable\n  images/ben/bad.png is not an image that can be read" in out
    assert "\nharm\n  1 image that cannot be read: left out of training\n" in out


def test_what_cannot_be_checked_exits_with_2(tmp_path: Path, capsys: Said) -> None:
    assert command(tmp_path) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"{tmp_path}: channels.images: no images among 0 files")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_json_holds_the_numbers_and_the_details(tmp_path: Path, capsys: Said) -> None:
    people(tmp_path, {"anna": 2, "ben": 3})
    put(tmp_path / "ben" / "again.png", encoded(2))
    assert command(tmp_path, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert {name: report[name] for name in ("images", "identities", "unreadable", "duplicates")} == {
        "images": 6,
        "identities": 2,
        "unreadable": 0,
        "duplicates": 1,
    }
    assert report["duplicate_groups"]["listed"][0]["files"] == ["images/ben/0.png", "images/ben/again.png"]


def test_a_refusal_is_json_too(tmp_path: Path, capsys: Said) -> None:
    assert command(tmp_path / "none", "--json") == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert error == {"path": str(tmp_path / "none"), "message": "there is no such folder"}


def test_names_cannot_steer_the_terminal(tmp_path: Path, capsys: Said) -> None:
    shard(
        tmp_path / "0.tar",
        {"a.png": encoded(1), "a.cls": b"\x1b[2Janna", "b.png": encoded(2), "b.cls": b"ben"},
    )
    command(tmp_path)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r'"\x1b[2Janna" has characters that cannot be seen' in out


def test_nor_can_those_that_a_refusal_names(tmp_path: Path, capsys: Said) -> None:
    shard(tmp_path / "0.tar", {"\x1b[2Ja.png": encoded(1), "\x1b[2Ja.jpg": encoded(2)})
    assert command(tmp_path) == 2
    assert r'two images have the key "\x1b[2Ja"' in capsys.readouterr().err


def test_long_lists_are_cut_with_their_number(tmp_path: Path, capsys: Said) -> None:
    people(tmp_path, {"anna": 2, "ben": 3})
    for number in range(25):
        put(tmp_path / "ben" / f"bad{number:02}.png", b"")
    command(tmp_path)
    out = capsys.readouterr().out
    assert "bad09.png is empty\n  … 15 more (--json lists up to 1,000)\n" in out


@pytest.mark.parametrize("columns", ["40", "300"])
def test_the_table_is_as_wide_in_any_terminal(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    command(people(tmp_path, {"anna": 2, "ben": 3}))
    histogram = capsys.readouterr().out.partition("images of one identity\n")[2].splitlines()
    assert histogram[0] == f"{2:>9}  {1:>9}  {'█' * 40}"


def test_what_is_not_installed_is_named(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_check, "NEEDED", ("numpy", "no_such_package"))
    assert command(tmp_path) == 1
    assert "checking takes no_such_package, not installed here: `pip install" in capsys.readouterr().err


BEGINS = """
import sys
from facetrain.cli import main
from facetrain.datasets.check import report

scan = report.scan
report.scan = lambda *rest: print("begins", file=sys.stderr, flush=True) or scan(*rest)
main()
"""


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    for number in range(1500):  # seconds of work: each is scaled down from 3 megapixels
        path = put(tmp_path / f"{number % 5}" / f"{number}.pgm", b"P5 2000 1500 255\n")
        os.truncate(path, 3_000_017)
    process = subprocess.Popen(
        [sys.executable, "-c", BEGINS, "dataset", "check", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "begins\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


class OneImage:
    """The same file again and again."""

    data = encoded(0, "JPEG")

    def read(self, index: int) -> bytes:
        return self.data

    def in_reading_order(self) -> Indices:
        return np.arange(300)


def test_an_image_takes_fifty_bytes() -> None:
    arrays = [value for value in vars(Scanned.empty(1000)).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) / 1000 <= 50
    found = scan(OneImage(), 300, lambda _: None)
    assert (found.width == 112).all()
    assert len(np.unique(found.digest, axis=0)) == 1


def test_near_hashes_are_found_among_many() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (100_000, 2), dtype=np.uint64)
    for number in range(50):  # three bits apart, in any of the four parts
        bits = rng.choice(128, 3, replace=False)
        hashes[2 * number + 1] = hashes[2 * number]
        for bit in bits.tolist():
            hashes[2 * number + 1, bit // 64] ^= np.uint64(1 << (bit % 64))
    assert looks.proposals(hashes).tolist() == [[2 * number, 2 * number + 1] for number in range(50)]
