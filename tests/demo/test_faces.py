"""The drawn faces: the same on every machine, different between people, like the crops a trainer expects."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facetrain.faces import identity, render, shot, write_folders

PEOPLE, PICTURES = 12, 5


@pytest.fixture(scope="module")
def population() -> NDArray[np.float64]:
    """Unit vectors of grey pixels, shape (people, pictures, pixels), without what all faces share."""
    pictures = [
        [
            render(identity(3, person), shot(3, person, picture)).mean(-1).ravel()
            for picture in range(PICTURES)
        ]
        for person in range(PEOPLE)
    ]
    vectors = np.array(pictures)
    vectors -= vectors.mean(-1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors -= vectors.mean((0, 1))
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def test_a_face_is_an_rgb_crop_of_112_pixels() -> None:
    face = render(identity(0, 0), shot(0, 0, 0))
    assert face.shape == (112, 112, 3)
    assert face.dtype == np.uint8


def test_the_same_numbers_draw_the_same_face() -> None:
    first = render(identity(7, 3), shot(7, 3, 2))
    again = render(identity(7, 3), shot(7, 3, 2))
    assert np.array_equal(first, again)


def test_another_seed_is_another_population() -> None:
    assert identity(1, 0) != identity(2, 0)


def test_the_first_picture_owes_nothing_to_the_identity() -> None:
    """NumPy pads short seeds with zeros, so (seed, person) and (seed, person, 0) would be one stream."""
    people = [identity(0, person).head_width for person in range(200)]
    turns = [shot(0, person, 0).yaw for person in range(200)]
    assert abs(np.corrcoef(people, turns)[0, 1]) < 0.25


def test_eyes_lie_where_the_alignment_template_has_them() -> None:
    """The mean face is darker at both eyes of ArcFace's template than on the cheeks below them."""
    mean = np.mean([render(identity(0, n), shot(0, n, 0)).mean(-1) for n in range(60)], axis=0)
    for x in (38, 73):
        assert mean[49:54, x - 2 : x + 3].mean() < mean[64:69, x - 2 : x + 3].mean() - 10


def test_people_differ_more_than_pictures_of_one_person(population: NDArray[np.float64]) -> None:
    scores = np.einsum("aip,bjp->abij", population, population)
    same = np.mean([scores[n, n][~np.eye(PICTURES, dtype=bool)].mean() for n in range(PEOPLE)])
    different = scores[~np.eye(PEOPLE, dtype=bool)].mean()
    assert same > different + 0.2


def test_pixels_alone_do_not_tell_people_apart(population: NDArray[np.float64]) -> None:
    """Otherwise the demo had nothing to learn: many a stranger looks nearer than the next own picture."""
    scores = np.einsum("aip,bjp->abij", population, population)
    genuine = np.concatenate([scores[n, n][np.triu_indices(PICTURES, 1)] for n in range(PEOPLE)])
    impostor = scores[np.triu_indices(PEOPLE, 1)].ravel()
    best = max(((genuine > at).mean() + (impostor <= at).mean()) / 2 for at in np.linspace(-1, 1, 200))
    assert 0.6 < best < 0.9


def test_a_hundred_faces_take_less_than_a_second() -> None:
    def seconds() -> float:
        started = time.process_time()
        for person in range(20):
            render(identity(0, person), shot(0, person, 0))
        return time.process_time() - started

    assert min(seconds() for _ in range(3)) < 0.2


def test_folders_hold_one_person_each(tmp_path: Path) -> None:
    seen: list[int] = []
    write_folders(tmp_path / "faces", identities=2, images=3, seed=1, drawn=seen.append)
    names = sorted(path.relative_to(tmp_path / "faces").as_posix() for path in tmp_path.rglob("*.jpg"))
    assert names == [f"person-{person:04d}/{picture:04d}.jpg" for person in (1, 2) for picture in (1, 2, 3)]
    assert seen == [3, 3]
    with Image.open(tmp_path / "faces" / names[0]) as picture:
        assert picture.size == (112, 112)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.jpg").touch()
    with pytest.raises(FileExistsError, match="name a new folder"):
        write_folders(tmp_path, identities=1, images=1)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.jpg"]


@pytest.mark.parametrize(("identities", "images"), [(0, 3), (3, 0)])
def test_a_population_of_nobody_is_refused(tmp_path: Path, identities: int, images: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        write_folders(tmp_path, identities, images)
