"""Every change of an image, ours on the device's whole batch beside Pillow's one image after the other.

First the changes alone, each image meeting all six: ours, and the same six done by Pillow. Then what they
cost in training with AdaFace's chances, and less for the rest: what feeding a batch takes more, as a share of
a step of r18 and of mbf. One thread, and seconds of processor time, so that what else runs counts little; all
take turns, and the medians are compared.
"""

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from training.arcface.augment.augmenter import ORDER, Augmenter
from training.arcface.distributed import World
from training.arcface.learner import Learner, fresh_backbone, to_input
from training.arcface.settings import Settings

CPU = torch.device("cpu")
BATCH, ROUNDS, STEP_ROUNDS, FED = 32, 7, 5, 8
CHANCES = {"crop": 0.2, "low_res": 0.2, "colour": 0.2, "blur": 0.1, "jpeg": 0.1, "mask": 0.05}
Pixels = NDArray[np.uint8]


def main() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pixels = smooth(np.random.default_rng(0))
    alone(pixels)
    for network in ("r18", "mbf"):
        in_a_step(network, pixels)
    torch.set_num_threads(threads)


def smooth(rng: np.random.Generator) -> Pixels:
    """Pictures that compress as photographs do; noise would not."""
    coarse = rng.integers(0, 256, (BATCH, 14, 14, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((112, 112))) for one in coarse])


# -- Alone -------------------------------------------------------------------------------------------------


def alone(pixels: Pixels) -> None:
    drawn = Augmenter(Settings(**dict.fromkeys(ORDER, 1.0)), CPU).draw(0, BATCH)  # type: ignore[arg-type]
    images = torch.from_numpy(pixels)
    rng = np.random.default_rng(1)
    medians = _medians(
        {
            "ours": lambda: drawn.apply(images),
            "Pillow": lambda: [pillow(image, rng) for image in pixels],
        },
        ROUNDS,
    )
    for name, seconds in medians.items():
        ratio = medians["Pillow"] / seconds
        print(f"  all six  {name:8} {BATCH / seconds:8.0f} images/s  {ratio:5.2f} x")


def pillow(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The six changes in their order, as a data loader does them."""
    image = Image.fromarray(pixels)
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    ImageDraw.Draw(image).polygon([(20, 70), (56, 60), (92, 70), (85, 108), (27, 108)], fill=colour)
    zoom, across, down = rng.uniform(0.8, 1.25), *rng.uniform(-10, 10, 2)
    matrix = (zoom, 0, 56 - 56 * zoom + across, 0, zoom, 56 - 56 * zoom + down)
    image = image.transform((112, 112), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 2.4)))
    side = int(rng.integers(20, 92))
    image = image.resize((side, side), Image.Resampling.BOX).resize((112, 112), Image.Resampling.BILINEAR)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(rng.uniform(0.5, 1.5))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(20, 91)))
    return np.asarray(Image.open(file))


# -- In a step ---------------------------------------------------------------------------------------------


def in_a_step(network: str, pixels: Pixels) -> None:
    settings = Settings(network=network)
    learner = Learner(fresh_backbone(settings), 1000, settings, World(), compiled=False)
    labels = torch.arange(BATCH)
    changed, plain = Augmenter(Settings(**CHANCES), CPU), Augmenter(Settings(), CPU)  # type: ignore[arg-type]
    flips = np.arange(BATCH) % 2 == 0
    images = to_input(pixels, CPU, flips)

    def feed(augmenter: Augmenter) -> None:
        for step in range(FED):
            to_input(pixels, CPU, flips, augmenter.draw(step, BATCH))

    medians = _medians(
        {
            "step": lambda: learner.step([(images, labels)], 0, settings.lr),
            "off": lambda: feed(plain),
            "on": lambda: feed(changed),
        },
        STEP_ROUNDS,
    )
    step = medians["step"] / BATCH * 1000
    off, on = (medians[name] / BATCH / FED * 1000 for name in ("off", "on"))
    print(
        f"  {network:4} step {step:6.1f} ms an image; feeding it {off:5.2f} ms, with changes {on:5.2f} ms: "
        f"{(on - off) / (step + off):6.1%} more",
        flush=True,
    )


def _medians(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each way, after a round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if turn:
                seconds[name].append(time.process_time() - started)
    return {name: statistics.median(taken) for name, taken in seconds.items()}
