"""A job with a deletion list learns from nobody on it, wherever the person turns up."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facetrain.datasets.pack import pack
from tests.arcface.examples import write_job, write_pictures
from tests.arcface.test_sets import put_bin, put_lfw
from training.arcface import weights
from training.arcface.channels import Data, load_data
from training.arcface.distributed import World
from training.arcface.settings import Settings
from training.arcface.trainer import Job, train
from training.container.about import About
from training.container.errors import TrainingError
from training.container.forgotten import DeletionList
from training.container.stopping import Stop
from training.jobs.contract import ContainerPaths
from training.jobs.forgotten import Forgotten

EMPTY = Forgotten("0123456789abcdef" * 2)


def forgetting(*identities: str) -> DeletionList:
    listed = EMPTY
    for identity in identities:
        listed = listed.with_(listed.digest(identity), "2026-11-22")
    return DeletionList(listed, "staff")


def load(paths: ContainerPaths, forgotten: DeletionList, **settings: float) -> tuple[Data, list[str]]:
    log: list[str] = []
    chosen = Settings(**settings)  # type: ignore[arg-type]
    data = load_data(paths, chosen, paths.base, World(), stop=Stop(), log=log.append, forgotten=forgotten)
    return data, log


@pytest.fixture
def job(tmp_path: Path) -> ContainerPaths:
    paths = write_job(tmp_path, {})
    write_pictures(paths.channel("images"), 4, 2)
    return paths


def test_nobody_on_the_list_is_trained_on_and_the_log_says_how_many_and_not_who(job: ContainerPaths) -> None:
    (job.channel("images") / "1").rename(job.channel("images") / "zoe")
    data, log = load(job, forgetting("zoe", "bob"), holdout_fraction=0)
    assert data.train.listing.identities == ("0", "2", "3")
    assert "forgotten channel=images identities=1 images=2" in log
    assert not [line for line in log if "zoe" in line]


def test_who_is_forgotten_in_shards_is_known_by_their_table_of_names(tmp_path: Path) -> None:
    paths = write_job(tmp_path, {})
    pack(write_pictures(tmp_path / "loose", 3, 2), paths.channel("images"))
    data, log = load(paths, forgetting("1"), holdout_fraction=0)
    assert data.train.listing.identities == ("0", "2")
    assert "forgotten channel=images identities=1 images=2" in log


def test_who_is_forgotten_in_another_dataset_stays(job: ContainerPaths) -> None:
    listed = EMPTY.with_(EMPTY.digest("1", "guests"), "2026-11-22")
    data, _ = load(job, DeletionList(listed, "staff"), holdout_fraction=0)
    assert len(data.train.listing.identities) == 4


def test_nobody_on_the_list_is_held_out_or_verified_on(job: ContainerPaths) -> None:
    write_pictures(job.channel("validation") / "more", 7, 2)
    for number in range(4):  # those of the images channel
        for picture in (job.channel("validation") / "more" / str(number)).iterdir():
            picture.unlink()
    data, log = load(job, forgetting("5"))
    assert data.held_out is not None
    assert data.held_out.listing.identities == ("4", "6")
    assert "forgotten channel=validation identities=1 images=2" in log


def test_pairs_with_somebody_on_the_list_are_left_out(job: ContainerPaths) -> None:
    put_lfw(job.channel("validation") / "lfw", identities=4)
    whole, _ = load(job, DeletionList())
    data, _ = load(job, forgetting("Person 1"))
    assert (len(whole.sets[0].same), len(data.sets[0].same)) == (8, 5)


def test_a_table_of_pairs_says_nobodys_name_and_the_folders_do(job: ContainerPaths) -> None:
    folder = job.channel("validation")
    put_lfw(folder, identities=4)
    (folder / "pairs.txt").unlink()
    who = [f"Person {number}/Person {number}_000" for number in range(4)]
    rows = [f"{one}1.png,{one}2.png,1" for one in who] + [f"{who[0]}1.png,{one}1.png,0" for one in who[1:]]
    (folder / "pairs.csv").write_text("first,second,same\n" + "\n".join(rows) + "\n")
    data, _ = load(job, forgetting("Person 1"))
    assert len(data.sets[0].same) == 5
    assert data.verified == tuple(("validation", f"Person {number}") for number in (0, 2, 3))


def test_a_set_without_names_is_among_those_verified_on(job: ContainerPaths) -> None:
    put_lfw(job.channel("validation") / "lfw")
    put_bin(job.channel("validation") / "cfp.bin")
    data, _ = load(job, DeletionList())
    names = ["", "Person 0", "Person 1", "Person 2"]
    assert data.verified == tuple(("validation", name) for name in names)


def test_where_everybody_is_forgotten_there_is_nothing_to_train_on(job: ContainerPaths) -> None:
    with pytest.raises(TrainingError, match="all 8 images are of people on the deletion list"):
        load(job, forgetting("0", "1", "2", "3"))


@pytest.mark.parametrize("content", [None, b"", b'{"schema": 1}'])
def test_a_list_that_cannot_be_read_fails_the_job_before_anything_is_read(
    tmp_path: Path, content: bytes | None
) -> None:
    paths = write_job(tmp_path, {})  # without any image: the list comes first
    paths.channel("forgotten").mkdir()
    if content is not None:
        (paths.channel("forgotten") / "forgotten.json").write_bytes(content)
    job = Job(paths, Settings(), hosts=1, scratch=tmp_path, about=About(dataset="staff"))
    with pytest.raises(TrainingError, match=r"channels\.forgotten: forgotten\.json cannot be read"):
        train(job, World(), Stop(), print, print)


def test_a_job_reads_the_list_of_its_channel_for_its_dataset(tmp_path: Path) -> None:
    listed = EMPTY.with_(EMPTY.digest("zoe", "staff"), "2026-11-22")
    (tmp_path / "forgotten.json").write_text(listed.to_json())
    assert DeletionList.of_channel(tmp_path, "staff").among(["zoe", "bob"]).tolist() == [True, False]
    assert not DeletionList.of_channel(tmp_path, "guests").among(["zoe"]).any()
    assert DeletionList.of_channel(tmp_path / "none", "staff") == DeletionList()


def test_no_centre_of_anybody_on_the_list_is_started_from() -> None:
    centres = torch.arange(3.0)[:, None].expand(3, 512)
    earlier = weights.Pretrained("model.tar.gz", {}, centres, ("zoe", "bob", "eve"))
    log: list[str] = []
    found = weights.without(earlier, forgetting("bob").among(earlier.identities), log.append)
    assert found.identities == ("zoe", "eve")
    assert found.centres is not None
    assert found.centres[:, 0].tolist() == [0.0, 2.0]
    assert log[0].startswith("forgotten channel=weights identities=1: their centres are not used")
    assert weights.without(earlier, np.zeros(3, dtype=bool), log.append) is earlier
