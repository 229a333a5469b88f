"""Faces of people who do not exist, for trying Facetrain without a photograph of anybody.

A small parametric generator, not a neural one: what makes a person (geometry, skin, hair, glasses, beard) and
what makes a picture (pose, light, expression, noise) are drawn from two seeds, so a dataset is the same on
every machine and can be measured: people differ, and so do pictures of one person.
"""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from facetrain.faces.drawing import render
from facetrain.faces.parameters import Identity, Shot, identity, shot

__all__ = ["Identity", "Shot", "identity", "render", "shot", "write_folders"]


def write_folders(
    destination: Path,
    identities: int,
    images: int,
    seed: int = 0,
    drawn: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes `identities` folders of `images` JPEG pictures each: person-0001/0001.jpg and so on.

    `drawn` is called with the number of pictures each time a person is finished. Raises ValueError where the
    counts are below 1, FileExistsError where the destination already holds something.
    """
    if identities < 1 or images < 1:
        raise ValueError(f"identities and images must be at least 1, not {identities} and {images}")
    if destination.exists() and any(destination.iterdir()):
        raise FileExistsError(f"{destination} is not empty: name a new folder")
    for number in range(identities):
        folder = destination / f"person-{number + 1:04d}"
        folder.mkdir(parents=True)
        who = identity(seed, number)
        for picture in range(images):
            photograph = Image.fromarray(render(who, shot(seed, number, picture)))
            photograph.save(folder / f"{picture + 1:04d}.jpg", quality=95)
        drawn(images)
