"""What a training image may meet: each change alone, all together, on any ranks, and in training alone."""

import io
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tests.arcface.examples import dataset, picture
from tests.arcface.test_loop import loop_of
from tests.arcface.test_resume import SETTINGS, assert_equal_states, run_part
from tests.arcface.test_verifier import verifier
from training.arcface.augment.augmenter import ORDER, Augmenter, described
from training.arcface.augment.bytes import whole_parts
from training.arcface.augment.colour import Colour
from training.arcface.augment.jpeg import QUALITIES, Jpeg
from training.arcface.augment.masks import Masks
from training.arcface.augment.resample import SIDES, SIGMAS, STREAKS, Blur, Crop, LowRes
from training.arcface.distributed import World
from training.arcface.learner import to_input
from training.arcface.loop import Loop
from training.arcface.settings import Settings
from training.jobs.algorithms import ALGORITHMS
from training.jobs.config import ConfigError, resolve

CPU = torch.device("cpu")
NEVER: Mapping[str, Any] = dict.fromkeys(ORDER, 0.0)
ALWAYS: Mapping[str, Any] = dict.fromkeys(ORDER, 1.0)
OFTEN: Mapping[str, Any] = dict.fromkeys(ORDER, 0.5)


def pictures(count: int) -> Tensor:
    """Smooth colours with a bright square on them and a little noise: what photographs have."""
    rng = np.random.default_rng(count)
    y, x = np.mgrid[:112, :112][..., None]
    colours = rng.uniform(40, 200, (count, 1, 1, 3)) + 40 * np.sin((x * (1, 2, 3) + y) / 25)
    colours[:, 40:60, 30:70] += 50
    return torch.from_numpy((colours + rng.normal(0, 3, colours.shape)).clip(0, 255).astype(np.uint8))


def draws(count: int, *columns: float) -> NDArray[np.float64]:
    """These for every image, then 0.5."""
    return np.tile(np.array([*columns, *[0.5] * (6 - len(columns))]), (count, 1))


def mean_difference(one: Tensor, other: Tensor) -> float:
    return (one.float() - other.float()).abs().mean().item()


# -- All of them -------------------------------------------------------------------------------------------


def test_by_default_images_are_only_mirrored() -> None:
    assert described(Settings()) == "flip:0.5"
    assert described(Settings(flip=False)) == "none"
    assert described(Settings(mask=0.05, crop=0.2)) == "flip:0.5,mask:0.05,crop:0.2"
    images = pictures(4)
    assert Augmenter(Settings(), CPU).draw(3, 4).apply(images) is images


@pytest.mark.parametrize("name", ORDER)
def test_a_change_meets_the_images_that_it_drew_and_leaves_the_others(name: str) -> None:
    images = pictures(64)
    before = images.clone()
    drawn = Augmenter(Settings(**{**NEVER, name: 0.4}), CPU).draw(5, 64)
    changed = drawn.apply(images)
    assert torch.equal(images, before)
    assert (changed.dtype, changed.shape, changed.is_contiguous()) == (torch.uint8, images.shape, True)
    differ = (changed != images).flatten(1).any(1).numpy()
    chosen, _ = drawn.draws[name]
    assert 10 <= chosen.sum() <= 40
    assert (differ == chosen).all()


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_images_become_the_same_bytes_on_any_number_of_ranks_in_any_parts(ranks: int) -> None:
    images = pictures(22)
    augmenter = Augmenter(Settings(**OFTEN), CPU)
    whole = augmenter.draw(7, 22).apply(images)
    found = []
    for rank in range(ranks):
        first, last = World(rank, ranks).shard(22)
        mine = augmenter.draw(7, 22)[first:last]
        share = images[first:last]
        for start, end in pairwise([0, 1, 4, last - first]):
            found.append(mine[start:end].apply(share[start:end]))
    assert torch.equal(torch.cat(found), whole)


def test_what_one_change_draws_depends_on_seed_and_step_and_not_on_the_others() -> None:
    settings = Settings(blur=0.5)

    def blurred(settings: Settings, step: int) -> tuple[list[bool], float]:
        chosen, numbers = Augmenter(settings, CPU).draw(step, 40).draws["blur"]
        return chosen.tolist(), float(numbers.sum())

    assert blurred(settings, 3) == blurred(Settings(**OFTEN), 3)
    assert blurred(settings, 3) != blurred(settings, 4)
    assert blurred(settings, 3) != blurred(replace(settings, seed=1), 3)


def test_mirrored_and_changed_pixels_are_normalised_like_any() -> None:
    pixels, flips = pictures(12).numpy(), np.arange(12) % 2 == 0
    drawn = Augmenter(Settings(**OFTEN), CPU).draw(0, 12)
    expected = drawn.apply(torch.from_numpy(np.where(flips[:, None, None, None], pixels[:, :, ::-1], pixels)))
    found = to_input(pixels, CPU, flips, drawn)
    torch.testing.assert_close(found, (expected.permute(0, 3, 1, 2) / 127.5 - 1))
    assert found.is_contiguous(memory_format=torch.channels_last)


# -- Each alone --------------------------------------------------------------------------------------------


def test_crop_moves_by_whole_pixels_exactly_and_leaves_black() -> None:
    images = pictures(2)
    unzoomed = (1 - 0.8) / (1.25 - 0.8)
    assert torch.equal(Crop(CPU)(images, draws(2, unzoomed, 0.5, 0.5)), images)
    moved = Crop(CPU)(images, draws(2, unzoomed, 0.75, 0.3))  # five pixels up, four to the right
    assert torch.equal(moved[:, :107, 4:], images[:, 5:, :108])
    assert not moved[:, 107:].any()
    assert not moved[:, :, :4].any()


def test_crop_zooms_in_and_out_about_the_middle() -> None:
    images = torch.full((1, 112, 112, 3), 200, dtype=torch.uint8)
    near, far = (Crop(CPU)(images, draws(1, zoom)) for zoom in (0.0, 0.999999))
    assert torch.equal(near, images)
    inside = (far[0, 56, :, 0] == 200).sum().item()
    assert 88 <= inside <= 90  # 112 x 0.8
    assert torch.equal(far, far.flip(1))
    assert torch.equal(far, far.flip(2))


def test_a_soft_blur_is_a_gaussian() -> None:
    images = pictures(1)
    for level in (4, 15):
        blurred = Blur(CPU)(images, draws(1, 0.0, (level + 0.5) / len(SIGMAS)))
        reach = 8
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMAS[level]) ** 2)
        taps /= taps.sum()
        expected = np.pad(images[0].numpy().astype(float), ((reach, reach), (reach, reach), (0, 0)), "edge")
        for axis in (0, 1):
            expected = np.apply_along_axis(np.convolve, axis, expected, taps, "valid")
        assert np.abs(blurred[0].numpy() - expected).max() < 3
        assert np.abs(blurred[0].numpy() - expected).mean() < 0.6


def test_a_movement_smears_along_one_axis_alone() -> None:
    stripes = torch.zeros(1, 112, 112, 3, dtype=torch.uint8)
    stripes[:, :, ::8] = 200
    along, across = (Blur(CPU)(stripes, draws(1, kind, 0.99)) for kind in (0.4, 0.7))
    assert torch.equal(along, stripes)
    assert (across[0, 50, 8:104, 0] > 0).all()  # nine pixels wide by now
    assert STREAKS[-1] == 9


def test_low_resolution_is_pillows_box_and_nearest() -> None:
    images, change = pictures(1), LowRes(CPU)
    for index, side in enumerate(SIDES):
        found = change(images, draws(1, (index + 0.5) / (2 * len(SIDES))))[0].numpy()
        small = Image.fromarray(images[0].numpy()).resize((side, side), Image.Resampling.BOX)
        expected = np.asarray(small.resize((112, 112), Image.Resampling.NEAREST)).astype(float)
        assert len(np.unique(found, axis=0)) <= side
        assert np.abs(found - expected).mean() < 2  # of 256ths


def test_low_resolution_may_be_smooth_and_keeps_what_is_flat() -> None:
    images, change = pictures(1), LowRes(CPU)
    squares, smooth = change(images, draws(1, 0.001)), change(images, draws(1, 0.501))
    steps = [(image.float().diff(dim=2).abs().amax()).item() for image in (squares, smooth)]
    assert steps[1] < steps[0] / 2
    flat = torch.full((1, 112, 112, 3), 77, dtype=torch.uint8)
    for draw in np.linspace(0, 0.999, 23):
        assert torch.equal(change(flat, draws(1, draw)), flat)
        assert torch.equal(Blur(CPU)(flat, draws(1, draw, draw)), flat)


def test_colour_is_what_torchvision_and_adaface_call_jitter() -> None:
    images = pictures(3)
    assert torch.equal(Colour(CPU)(images, draws(3)), images)
    brighter = Colour(CPU)(images, draws(3, 1.0)).float()
    assert (brighter - (images.float() * 1.5).clamp(max=255)).abs().max() <= 0.5
    flatter = Colour(CPU)(images, draws(3, 0.5, 0.0))
    assert flatter.float().std() == pytest.approx(images.float().std().item() / 2, rel=0.3)
    assert flatter.float().mean() == pytest.approx(images.float().mean().item(), rel=0.1)
    colourless = Colour(CPU)(images, draws(3, 0.5, 0.5, 0.5, 0.1))
    assert torch.equal(colourless[..., :1].expand(-1, -1, -1, 3), colourless)
    expected = np.asarray(Image.fromarray(images[0].numpy()).convert("L")).astype(float)
    assert np.abs(colourless[0, ..., 0].numpy() - expected).max() <= 1


def test_what_is_grey_stays_grey() -> None:
    grey = pictures(8)[..., :1].expand(-1, -1, -1, 3).contiguous()
    numbers = np.random.default_rng(1).random((8, 6))
    for change in (Colour(CPU), Jpeg(CPU), Crop(CPU)):
        changed = change(grey, numbers).float()
        assert (changed - changed[..., :1]).abs().max() <= 1


@pytest.mark.parametrize("quality", [20, 49, 75, 90])
def test_jpeg_loses_what_a_real_file_does(quality: int) -> None:
    images = pictures(1)
    place = (QUALITIES.index(quality) + 0.5) / len(QUALITIES)
    ours = Jpeg(CPU)(images, draws(1, place))
    file = io.BytesIO()
    Image.fromarray(images[0].numpy()).save(file, "JPEG", quality=quality, subsampling=2)
    theirs = torch.from_numpy(np.asarray(Image.open(file)).copy())[None]
    assert mean_difference(ours, theirs) < mean_difference(theirs, images) / 2


def test_a_mask_covers_nose_and_mouth_and_never_the_eyes() -> None:
    change, images = Masks(CPU), pictures(1)
    for shape in range(72):
        for move in (0.0, 0.999):
            masked = change(images, draws(1, (shape + 0.5) / 72, move, 0.1, 0.56))[0]  # a black one
            assert torch.equal(masked[:52], images[0, :52])
            for x, y in ((56, 72), (42, 92), (71, 92)):
                assert (masked[y, x] < 33).all()


def test_masks_come_in_many_shapes_and_colours() -> None:
    numbers = np.random.default_rng(0).random((60, 6))
    masked = Masks(CPU)(torch.zeros(60, 112, 112, 3, dtype=torch.uint8), numbers)
    colours = {tuple(pixel.tolist()) for pixel in masked[:, 88, 56]}
    outlines = {mask.numpy().tobytes() for mask in (masked > 0).any(3)}
    assert len(colours) > 15
    assert len(outlines) > 40


def test_whole_parts_of_a_row_are_still_the_whole() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(112), 30)
    parts = whole_parts(weights, 256)
    assert (parts.sum(1) == 1).all()
    assert np.abs(parts.numpy() - weights).max() < 1 / 256
    assert ((parts * 256) == (parts * 256).round()).all()


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_of_a_loop_feed_together_what_one_would(ranks: int) -> None:
    def fed(rank: int, ranks: int) -> Tensor:
        loop, _ = loop_of(dataset(4, 5), Settings(batch_size=20, epochs=1, **OFTEN))
        loop.world = World(rank, ranks)
        loop.plan = replace(loop.plan, parts=2)
        return torch.cat([images for batch in loop._batches() for images, _ in loop._parts(batch)])

    together = torch.cat([fed(rank, ranks) for rank in range(ranks)])
    assert torch.equal(together, fed(0, 1))


# -- In training -------------------------------------------------------------------------------------------


def test_a_run_with_all_of_them_resumes_bit_for_bit(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=2, accumulate=2, batch_size=3, **OFTEN)
    expected, _ = run_part(tmp_path / "undisturbed", None, settings)
    run_part(tmp_path / "stopped", 2, settings)
    learner, _ = run_part(tmp_path / "stopped", None, settings)
    assert_equal_states(learner.state(), expected.state())
    plain, _ = run_part(tmp_path / "plain", None, replace(settings, **NEVER))
    with pytest.raises(AssertionError):  # or nothing was changed, and equality shows little
        assert_equal_states(plain.state(), expected.state())


def test_a_run_with_all_of_them_learns() -> None:
    chances: dict[str, Any] = dict.fromkeys(ORDER, 0.2)
    settings = Settings(batch_size=16, epochs=16, lr=0.05, scale=16, margin=0.2, **chances)
    loop, _ = loop_of(dataset(4, 8), settings)
    before = told_apart(loop)
    loop.run()
    losses = [epoch["loss"] for epoch in loop.progress.epochs]
    assert np.mean(losses[-3:]) < 0.6 * losses[0]
    assert before < 0.5
    assert told_apart(loop) > 0.9


def told_apart(loop: Loop) -> float:
    """Share of new, unchanged pictures whose nearest centre is their person's."""
    learner, labels = loop.learner, [who for who in range(4) for _ in range(6)]
    learner.estimate_statistics([to_input(loop.dataset.images.take(np.arange(32))[0], CPU)])
    pixels = np.stack([picture(who, 100 + number) for number, who in enumerate(labels)])
    cosines = learner.embed(to_input(pixels, CPU)) @ learner.head.centres.T
    return float((cosines.argmax(1).numpy() == np.array(labels)).mean())


def test_verification_and_its_statistics_see_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, changed = verifier(pretrained=False), None
    with monkeypatch.context() as patch:
        patch.setattr("tests.arcface.test_verifier.SETTINGS", Settings(
            network="tiny", batch_size=4, epochs=1, precision="fp32", **ALWAYS))  # fmt: skip
        changed = verifier(pretrained=False)
    assert changed.learner.settings.mask == 1
    assert changed.verify() == plain.verify()
    assert_equal_states(changed.learner.state(), plain.learner.state())


# -- What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"color": "0.2"}, r'hyperparameters\.color: .* \(did you mean "colour"\?\)'),
        ({"lowres": "0.2"}, r'hyperparameters\.lowres: .* \(did you mean "low_res"\?\)'),
        ({"masks": "0.2"}, r'hyperparameters\.masks: .* \(did you mean "mask"\?\)'),
        ({"crop": "20"}, r"hyperparameters\.crop: 20 is out of range: it must be at least 0 and at most 1"),
        ({"jpeg": "-0.1"}, r"hyperparameters\.jpeg: -0\.1 is out of range"),
        ({"blur": "true"}, r"hyperparameters\.blur: 'true' is not a number"),
    ],
)
def test_a_wrong_chance_or_name_is_refused_with_its_place(given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(ALGORITHMS["arcface"], {}, given)
