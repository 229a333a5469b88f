"""What makes a drawn face: who it is (`Identity`) and how it was photographed (`Shot`).

Lengths are pixels of the 112x112 crop that face recognition uses: the middle between the eyes is the origin,
u points to the picture's right and v down, so that the eyes lie near (-17.6, 0) and (17.6, 0) and the mouth
near (0, 40.7), which is the alignment template of ArcFace.
"""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # RGB, 0 to 1

SKIN_TONES = (
    (1.0, 0.86, 0.77),
    (0.93, 0.74, 0.61),
    (0.85, 0.65, 0.49),
    (0.72, 0.5, 0.35),
    (0.52, 0.33, 0.22),
    (0.36, 0.23, 0.16),
)
HAIR_COLOURS = (
    (0.07, 0.06, 0.06),
    (0.2, 0.13, 0.09),
    (0.37, 0.25, 0.16),
    (0.74, 0.6, 0.38),
    (0.52, 0.25, 0.13),
    (0.6, 0.59, 0.58),
)
IRIS_COLOURS = ((0.2, 0.12, 0.07), (0.35, 0.22, 0.1), (0.4, 0.42, 0.22), (0.3, 0.42, 0.52), (0.36, 0.5, 0.42))
FRAME_COLOURS = ((0.06, 0.06, 0.07), (0.3, 0.18, 0.1), (0.55, 0.5, 0.42), (0.45, 0.1, 0.12))


@dataclass(frozen=True)
class Hair:
    """How far hair stands off the head, where it begins on the forehead, how far it falls at the sides."""

    colour: Colour
    volume: float
    hairline: float  # v of the hairline above the nose
    arch: float  # how much lower the hairline is at the temples than in the middle
    parting: float  # slope of the hairline: hair combed to one side
    fall: float  # v at which the sides end
    curl: float  # amplitude of the waves of its outline
    waves: float  # how many of them


@dataclass(frozen=True)
class Identity:
    """Who: everything that stays the same over all pictures of one person."""

    skin: Colour
    head_width: float
    chin: float  # v of the chin
    jaw: float  # 2 is an oval, 3 is square
    taper: float  # how much narrower the jaw is than the cheekbones
    eye_distance: float  # from the middle to one eye
    eye_width: float
    eye_height: float
    eye_tilt: float
    iris: Colour
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_depth: float
    mouth_height: float  # v of the line between the lips
    mouth_width: float
    upper_lip: float
    lower_lip: float
    redness: float  # of the lips
    cheeks: float  # height of the cheekbones
    hair: Hair
    beard: float  # 0 shaved to 1 full
    moustache: float
    glasses: float  # thickness of the frame; 0 is none
    lens: tuple[float, float, float]  # half width, half height, squareness
    frame: Colour
    mole: tuple[float, float, float]  # u, v, radius; radius 0 is none


@dataclass(frozen=True)
class Shot:
    """How it was photographed: everything that changes from one picture of a person to the next."""

    yaw: float  # radians; positive turns the face to the picture's right
    pitch: float
    roll: float
    scale: float
    shift: tuple[float, float]
    light: tuple[float, float, float]  # towards the light; z towards the viewer; length 1
    ambient: float
    gain: float
    warmth: float
    smile: float
    open_mouth: float
    open_eyes: float
    gaze: float
    raised_brows: float
    background: tuple[Colour, Colour]
    clothes: Colour
    blur: float  # standard deviation
    noise: float  # standard deviation, of 1
    grain: int  # seed of the noise


def _spread(rng: np.random.Generator, mean: float, deviation: float) -> float:
    """A normal number that is never further than two deviations from the mean: no monsters."""
    return mean + deviation * float(np.clip(rng.normal(), -2, 2))


def _mixed(rng: np.random.Generator, colours: tuple[Colour, ...], jitter: float) -> Colour:
    """A colour somewhere between two neighbours of a palette."""
    at = float(rng.uniform(0, len(colours) - 1))
    first = min(int(at), len(colours) - 2)
    low, high = np.array(colours[first]), np.array(colours[first + 1])
    mixed = low + (high - low) * (at - first) + rng.normal(0, jitter, 3)
    red, green, blue = np.clip(mixed, 0.02, 1.0).tolist()
    return red, green, blue


def _hair(rng: np.random.Generator) -> Hair:
    bald = rng.random() < 0.08
    long = rng.random() < 0.4
    curly = rng.random() < 0.35
    return Hair(
        colour=_mixed(rng, HAIR_COLOURS, 0.02),
        volume=0.0 if bald else float(rng.uniform(2, 9)),
        hairline=-60.0 if bald else _spread(rng, -27, 5),
        arch=_spread(rng, 10, 5),
        parting=_spread(rng, 0, 0.16),
        fall=float(rng.uniform(30, 80)) if long else _spread(rng, 2, 6),
        curl=float(rng.uniform(0.8, 2.2)) if curly else float(rng.uniform(0, 0.4)),
        waves=float(rng.uniform(5, 13)),
    )


def identity(seed: int, number: int) -> Identity:
    """The person `number` of the population `seed`: the same two numbers always give the same person."""
    rng = np.random.default_rng([0, seed, number])
    bearded, spectacled, marked = rng.random(3) < (0.25, 0.25, 0.3)
    return Identity(
        skin=_mixed(rng, SKIN_TONES, 0.015),
        head_width=_spread(rng, 38, 2.2),
        chin=_spread(rng, 60, 2.5),
        jaw=_spread(rng, 2.4, 0.25),
        taper=_spread(rng, 0.2, 0.07),
        eye_distance=_spread(rng, 17.6, 0.9),
        eye_width=_spread(rng, 7.6, 0.7),
        eye_height=_spread(rng, 3.1, 0.5),
        eye_tilt=_spread(rng, 0, 0.09),
        iris=_mixed(rng, IRIS_COLOURS, 0.02),
        brow_height=_spread(rng, 10, 1.4),
        brow_thickness=_spread(rng, 1.5, 0.45),
        brow_arch=_spread(rng, 1.6, 0.8),
        brow_tilt=_spread(rng, 0, 0.09),
        nose_length=_spread(rng, 22, 1.8),
        nose_width=_spread(rng, 6.4, 1.0),
        nose_depth=_spread(rng, 8, 1.5),
        mouth_height=_spread(rng, 40.5, 1.5),
        mouth_width=_spread(rng, 14, 1.6),
        upper_lip=_spread(rng, 2.6, 0.7),
        lower_lip=_spread(rng, 3.6, 0.8),
        redness=_spread(rng, 0.35, 0.15),
        cheeks=_spread(rng, 2, 0.8),
        hair=_hair(rng),
        beard=float(rng.uniform(0.3, 1)) if bearded else 0.0,
        moustache=float(rng.uniform(0, 1)) if bearded else 0.0,
        glasses=float(rng.uniform(0.5, 1.2)) if spectacled else 0.0,
        lens=(_spread(rng, 13, 0.9), _spread(rng, 9.5, 1.4), float(rng.uniform(2, 5))),
        frame=_mixed(rng, FRAME_COLOURS, 0.01),
        mole=(_spread(rng, 0, 14), _spread(rng, 26, 10), float(rng.uniform(0.8, 1.4)) if marked else 0.0),
    )


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    x, y = rng.normal(0, 0.5), rng.normal(-0.35, 0.3)
    length = float(np.sqrt(x * x + y * y + 1))
    return float(x) / length, float(y) / length, 1 / length


def shot(seed: int, number: int, picture: int) -> Shot:
    """The circumstances of one picture of one person; the same three numbers always give the same."""
    # The leading 0 and 1 keep the two streams apart: NumPy pads short seeds with zeros.
    rng = np.random.default_rng([1, seed, number, picture])
    wall = 0.5 * rng.uniform(0.1, 0.9, 3) + 0.5 * rng.uniform(0.1, 0.9)  # a room is rarely pure green
    other = np.clip(wall + rng.normal(0, 0.12, 3), 0, 1)
    return Shot(
        yaw=_spread(rng, 0, 0.16),
        pitch=_spread(rng, 0, 0.08),
        roll=_spread(rng, 0, 0.03),
        scale=_spread(rng, 1, 0.025),
        shift=(_spread(rng, 0, 0.8), _spread(rng, 0, 0.8)),
        light=_light(rng),
        ambient=float(rng.uniform(0.3, 0.6)),
        gain=_spread(rng, 1, 0.13),
        warmth=_spread(rng, 0, 0.03),
        smile=_spread(rng, 0.4, 0.35),
        open_mouth=float(max(0.0, rng.normal(-0.3, 0.9))),
        open_eyes=_spread(rng, 1, 0.13),
        gaze=_spread(rng, 0, 0.8),
        raised_brows=_spread(rng, 0, 0.9),
        background=(
            (float(wall[0]), float(wall[1]), float(wall[2])),
            (float(other[0]), float(other[1]), float(other[2])),
        ),
        clothes=_mixed(rng, HAIR_COLOURS + IRIS_COLOURS, 0.12),
        blur=float(rng.uniform(0.3, 0.9)),
        noise=float(rng.uniform(0.005, 0.03)),
        grain=int(rng.integers(2**32)),
    )
