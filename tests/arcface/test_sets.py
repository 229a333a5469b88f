"""What a validation channel is made into."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.arcface.examples import dataset, picture, write_job, write_pictures
from training.arcface.channels import Data, load_data
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.arcface.verification.sets import EvaluationSet, of_bin, of_identities
from training.container.errors import TrainingError
from training.container.stopping import Stop
from training.jobs.contract import ContainerPaths


def png(identity: int, number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(identity, number)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def put_lfw(folder: Path, identities: int = 3) -> None:
    """Pairs of each with oneself and with the next, two pictures each."""
    names = [f"Person {number}" for number in range(identities)]
    for number, name in enumerate(names):
        for picture_of in (1, 2):
            put(folder / name / f"{name}_{picture_of:04}.png", png(100 + number, picture_of))
    same = "".join(f"{name}\t1\t2\n" for name in names)
    other = "".join(f"{name}\t1\t{names[number - 1]}\t2\n" for number, name in enumerate(names))
    put(folder / "pairs.txt", f"{identities}\n{same}{other}".encode())


def put_bin(path: Path) -> None:
    images = [png(1, 0), png(1, 1), png(1, 0), png(2, 0)]
    put(path, pickle.dumps((images, [True, False]), 2))


def load(paths: ContainerPaths, **settings: float) -> tuple[Data, list[str]]:
    log: list[str] = []
    chosen = Settings(**settings)  # type: ignore[arg-type]
    return load_data(paths, chosen, paths.base, World(), stop=Stop(), log=log.append), log


@pytest.fixture
def job(tmp_path: Path) -> ContainerPaths:
    paths = write_job(tmp_path, {})
    write_pictures(paths.channel("images"), 2, 2)
    return paths


def sets(data: Data) -> dict[str, EvaluationSet]:
    return {one.name: one for one in data.sets}


def shown(one: EvaluationSet, pair: int) -> list[np.ndarray]:
    return list(one.images.take(np.array([one.first[pair], one.second[pair]]))[0])


def test_bins_lists_and_identities_lie_side_by_side(job: ContainerPaths) -> None:
    validation = job.channel("validation")
    put_bin(validation / "cfp_fp.bin")
    put_lfw(validation / "lfw")
    write_pictures(validation / "staff" / "team", 1, 3)
    write_pictures(validation / "staff" / "more", 1, 3)
    data, log = load(job)
    assert {name: len(one.same) for name, one in sets(data).items()} == {
        "cfp_fp": 2,
        "lfw": 6,
        "identities": 15,
    }
    assert data.held_out is not None
    assert data.held_out.listing.identities == ("more", "team")
    assert "verification_set name=lfw pairs=6 images=6" in list(data.lines())
    assert not any("missing" in line for line in log)


def test_a_bins_pairs_are_its_images_two_by_two_each_kept_once(tmp_path: Path) -> None:
    put_bin(tmp_path / "lfw.bin")
    one = of_bin("lfw", tmp_path / "lfw.bin")
    assert one.count == 3
    assert (shown(one, 1)[0] == picture(1, 0)).all()
    assert (shown(one, 1)[1] == picture(2, 0)).all()
    assert one.same.tolist() == [True, False]


def test_a_bins_folds_are_tenths_in_the_order_of_its_pairs(tmp_path: Path) -> None:
    same = [True, False] * 13
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(([b""] * 52, same)))
    folds = of_bin("x", path).folds
    assert folds is not None
    assert np.bincount(folds).tolist() == [3] * 6 + [2] * 4
    assert (np.diff(folds) >= 0).all()


def test_pairs_txt_finds_its_images_and_knows_whose_they_are(job: ContainerPaths) -> None:
    put_lfw(job.channel("validation"))
    one = sets(load(job)[0])["pairs"]
    assert (shown(one, 0)[1] == picture(100, 2)).all()
    assert (shown(one, 3)[1] == picture(102, 2)).all()
    assert one.labels is not None
    assert sorted(one.labels) == [0, 0, 1, 1, 2, 2]


def test_a_table_of_pairs_names_files_relative_to_itself(job: ContainerPaths) -> None:
    put(
        job.channel("validation") / "mine" / "pairs.csv",
        b"file1,file2,same\na.png,b.png,1\na.png,sub/c.png,0\n",
    )
    for number, name in enumerate(("a", "b", "sub/c")):
        put(job.channel("validation") / "mine" / f"{name}.png", png(7, number))
    one = sets(load(job)[0])["mine"]
    assert (shown(one, 1)[1] == picture(7, 2)).all()
    assert one.labels is None


def test_missing_and_unreadable_images_take_their_pairs_with_them(job: ContainerPaths) -> None:
    folder = job.channel("validation")
    put_lfw(folder, identities=5)
    (folder / "Person 0" / "Person 0_0001.png").unlink()
    (folder / "Person 2" / "Person 2_0002.png").write_bytes(b"no image")
    data, log = load(job, max_unreadable=0.15)
    one = sets(data)["pairs"]
    assert one.count == 8
    assert len(one.same) == 6
    assert "missing_images set=pairs missing=1 of=10" in log


def test_more_missing_images_than_allowed_are_refused(job: ContainerPaths) -> None:
    folder = job.channel("validation")
    put_lfw(folder)
    for path in (folder / "Person 0").iterdir():
        path.unlink()
    with pytest.raises(TrainingError, match=r"pairs\.txt: 2 of its 6 images are not in validation/"):
        load(job)


def test_a_set_with_one_kind_of_pairs_is_refused(job: ContainerPaths) -> None:
    put(job.channel("validation") / "x.bin", pickle.dumps(([png(0, 0), png(0, 1)], [True])))
    with pytest.raises(TrainingError, match="x has 1 pairs of one person and 0 of two: it needs both"):
        load(job)


def test_someone_in_training_and_in_pairs_txt_is_refused(job: ContainerPaths) -> None:
    put_lfw(job.channel("validation"))
    put(job.channel("images") / "Person 1" / "x.png", png(101, 9))
    with pytest.raises(TrainingError, match=r"channels\.validation: 1 of its 3 identities are in"):
        load(job)


def test_bins_among_the_training_images_are_told_of(job: ContainerPaths) -> None:
    put_bin(job.channel("images") / "lfw.bin")
    data, log = load(job)
    assert not data.sets
    assert log[-1].startswith("bin_files=1 in the images channel are not read")


def test_lists_of_the_same_name_make_sets_of_different_names(job: ContainerPaths) -> None:
    for folder in ("one", "two"):
        put_bin(job.channel("validation") / folder / "lfw.bin")
    assert [one.name for one in load(job)[0].sets] == ["lfw", "lfw_2"]


def test_groups_come_from_a_column_of_the_labels(tmp_path: Path) -> None:
    paths = write_job(tmp_path, {})
    write_pictures(paths.channel("images"), 4, 2)
    rows = "".join(
        f"{who}/{n}.png,{who},{'old' if who % 2 else 'young'}\n" for who in range(4) for n in (0, 1)
    )
    put(paths.channel("labels") / "whose.csv", f"file,identity,group\n{rows}".encode())
    data, _ = load(paths, holdout_fraction=0.5, seed=1)
    assert data.held_out is not None
    (one,) = data.sets
    assert one.groups is not None
    for file, group in zip(data.held_out.listing.files, one.groups.of, strict=True):
        assert one.groups.names[group] == ("old" if int(file[0]) % 2 else "young")


def test_groups_come_from_groups_csv_by_identity_or_file(job: ContainerPaths) -> None:
    put_lfw(job.channel("validation"))
    put(
        job.channel("validation") / "groups.csv",
        b"identity,group\nPerson 0,x\nPerson 1,y\nPerson 2/Person 2_0001.png,y\n",
    )
    one = sets(load(job)[0])["pairs"]
    assert one.groups is not None
    assert one.groups.names == ("x", "y")
    assert one.groups.of.tolist() == [0, 0, 1, 1, 1, -1]


def test_without_groups_there_are_none() -> None:
    assert of_identities("held_out", dataset(2, 2), 0).groups is None
