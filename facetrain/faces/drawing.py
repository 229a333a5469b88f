"""Draws a face: an ellipsoid head with a height map for the light and painted features, in plain NumPy.

Every layer is a soft mask over the whole 112x112 picture (anti-aliased: a signed distance in pixels goes
through `soft`), laid over what is there. Turning the head moves the features over the ellipsoid and the
outline under them, as a crop that is aligned to the features shows it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from facetrain.faces.canvas import SIZE, Canvas, Plane, bump, over, soft, times
from facetrain.faces.parameters import Hair, Identity, Shot


def _background(canvas: Canvas) -> Plane:
    how, u, v = canvas.how, canvas.u, canvas.v
    mix = np.clip(0.5 + (u * how.light[0] + v * 0.5) / SIZE, 0, 1)
    first, second = (np.asarray(colour, np.float32).reshape(3, 1, 1) for colour in how.background)
    picture: Plane = first + (second - first) * mix
    return picture


def _neck(canvas: Canvas, picture: Plane) -> None:
    who, u, v = canvas.who, canvas.u, canvas.v
    shoulders = who.chin + 4 + (u / 22) ** 2
    over(picture, soft(np.maximum(np.abs(u) - who.head_width * 0.62, 40 - v)), times(who.skin, 0.72))
    over(picture, soft(shoulders - v, 2), canvas.how.clothes)


def _strands(canvas: Canvas, hair: Hair) -> Plane:
    """Colour of the hair at every pixel: lighter and darker strands that fan out from the crown."""
    angle = np.arctan2(canvas.u, canvas.v + 70)
    shade = 1 + 0.14 * np.sin(angle * 60 + canvas.v * 0.12 * hair.curl) + 0.1 * np.sin(angle * 23 + 2)
    strands: Plane = np.asarray(hair.colour, np.float32).reshape(3, 1, 1) * shade
    return strands


def _hair_behind(canvas: Canvas, picture: Plane, strands: Plane) -> None:
    hair, u, v = canvas.who.hair, canvas.u, canvas.v
    if hair.volume and hair.fall > 20:
        curtain = np.maximum(np.abs(u) - canvas.who.head_width - hair.volume * 0.9, v - hair.fall)
        over(picture, soft(np.maximum(curtain, 4 - v), 2), strands * np.float32(0.7))


def _ears(canvas: Canvas, picture: Plane) -> None:
    who = canvas.who
    reach = np.sqrt(((np.abs(canvas.u) - who.head_width + 0.5) / 5) ** 2 + ((canvas.v - 8) / 10) ** 2)
    over(picture, soft((reach - 1) * 5), times(who.skin, 0.85))


def _volume(canvas: Canvas) -> Plane:
    """How far the hair stands off the head: it thins out towards where the sides end."""
    hair = canvas.who.hair
    thickness: Plane = hair.volume * np.clip((hair.fall - canvas.v) / 18, 0, 1)
    return thickness


def _hair_in_front(canvas: Canvas, picture: Plane, strands: Plane) -> None:
    hair, u, v = canvas.who.hair, canvas.u, canvas.v
    if not hair.volume:
        return
    waves = hair.curl * np.sin(np.arctan2(u, -v) * hair.waves)
    outline = canvas.head(_volume(canvas)) + waves
    side = np.abs(u) / canvas.who.head_width
    hairline = hair.hairline + hair.arch * side**2 + hair.parting * u + waves * 0.6
    # At the temples the hair runs down beside the face to where its sides end.
    temple = 1 - soft(side - 0.9, 0.2)
    edge = hairline + temple * np.maximum(hair.fall - hairline, 0)
    over(picture, soft(np.maximum(outline, v - edge), 2), strands)


def _relief(canvas: Canvas) -> Plane:
    """Height of the face towards the viewer in pixels: what the light falls on."""
    who, s, t = canvas.who, canvas.s, canvas.t
    side = np.abs(s)
    round_off = np.sqrt(
        np.maximum(1 - (canvas.u / (who.head_width + 5)) ** 2 - ((canvas.v - 6) / 66) ** 2, 0.02)
    )
    height = 34 * round_off
    height += who.nose_depth * bump(s, t - who.nose_length, who.nose_width * 0.75, 6)
    height += (
        who.nose_depth
        * 0.55
        * bump(s, t - who.nose_length * 0.5, who.nose_width * 0.55, who.nose_length * 0.5)
    )
    height += who.nose_depth * 0.3 * bump(side - who.nose_width * 0.9, t - who.nose_length - 1, 2.6, 3)
    height -= 2.6 * bump(side - who.eye_distance, t, 9, 6)
    height += who.cheeks * bump(side - 21, t - 21, 11, 9)
    height += 1.6 * bump(s, t - who.mouth_height - who.lower_lip * 0.6, who.mouth_width, 3)
    height -= 1.2 * bump(s, t - who.mouth_height - who.lower_lip - 4, 10, 3)
    height += 2.2 * bump(s, t - who.chin + 5, 11, 7)
    return height.astype(np.float32)


def _shade(canvas: Canvas) -> Plane:
    """Light at every pixel, by Lambert's law on the relief: ambient plus what comes from the lamp."""
    down, right = np.gradient(_relief(canvas))
    x, y, z = canvas.how.light
    # Softened slopes: skin scatters, and the very edge of the head would otherwise turn black.
    facing = (z - 0.6 * (x * right + y * down)) / np.sqrt(1 + 0.36 * (right**2 + down**2))
    shade: Plane = (canvas.how.ambient + (1 - canvas.how.ambient) * np.clip(facing, 0, None) * 1.12).astype(
        np.float32
    )
    return shade


def _skin(canvas: Canvas, picture: Plane) -> None:
    who, s, t = canvas.who, canvas.s, canvas.t
    colour = np.empty_like(picture)
    colour[:] = np.asarray(who.skin).reshape(3, 1, 1)
    blush = 0.25 * bump(np.abs(s) - 20, t - 24, 9, 8) + 0.2 * bump(s, t - who.nose_length, 7, 6)
    over(colour, blush, times((who.skin[0] * 1.05, who.skin[1] * 0.75, who.skin[2] * 0.72), 0.98))
    u, v, radius = who.mole
    if radius:
        over(colour, soft(np.hypot(s - u, t - v) - radius) * 0.8, times(who.skin, 0.35))
    nostrils = np.hypot((np.abs(s) - who.nose_width * 0.55) / 2.0, (t - who.nose_length - 4) / 1.1)
    over(colour, soft((nostrils - 1) * 1.5, 1.8) * 0.75, times(who.skin, 0.3))
    _beard(canvas, colour)
    over(picture, soft(canvas.head()), colour)


def _beard(canvas: Canvas, colour: Plane) -> None:
    who, s, t = canvas.who, canvas.s, canvas.t
    if who.beard:
        cheek = 34 - 0.016 * s**2 + 26 * np.clip(1 - np.abs(s) / 40, 0, 1) ** 3 * 0.25
        grown = soft(cheek - t, 6) * (0.35 + 0.55 * who.beard)
        over(colour, grown, times(who.hair.colour, 0.9))
    if who.moustache:
        between = (who.nose_length + who.mouth_height) / 2 + 3.5 + 0.012 * s**2
        reach = np.maximum(np.abs(t - between) - 2.6, np.abs(s) - who.mouth_width - 1)
        over(colour, soft(reach, 2.5) * 0.8 * who.moustache, times(who.hair.colour, 0.9))


def _eyes(canvas: Canvas, picture: Plane) -> None:
    who, how = canvas.who, canvas.how
    side = np.abs(canvas.s) - who.eye_distance
    level = canvas.t + who.eye_tilt * side
    almond = 1 - (side / who.eye_width) ** 2
    opened = who.eye_height * how.open_eyes
    lids = np.where(level < 0, -level - opened * almond, level - opened * 0.8 * almond)
    eye = soft(np.maximum(lids, np.abs(side) - who.eye_width))
    picture *= 1 - 0.22 * bump(side, level + 2, who.eye_width * 1.25, 5)
    over(picture, eye, (0.9, 0.88, 0.86))
    gaze = side - how.gaze * np.sign(canvas.s)
    radius = np.hypot(gaze, level + 0.3)
    over(picture, eye * soft(radius - 3.5), times(who.iris, 0.6))
    over(picture, eye * soft(radius - 2.9), who.iris)
    over(picture, eye * soft(radius - 1.4), (0.02, 0.02, 0.02))
    over(picture, eye * soft(np.hypot(gaze - how.light[0] * 2, level + 1.4) - 0.7) * 0.9, (1, 1, 1))
    lashes = np.where(np.abs(side) < who.eye_width, np.abs(level + opened * almond) - 0.75, 9)
    over(picture, soft(lashes) * 0.85, times(who.skin, 0.2))
    crease = np.where(np.abs(side) < who.eye_width, np.abs(level + opened * almond + 2.4) - 0.5, 9)
    over(picture, soft(crease) * 0.35, times(who.skin, 0.45))


def _brows(canvas: Canvas, picture: Plane) -> None:
    who = canvas.who
    side = np.abs(canvas.s) - who.eye_distance - 0.5
    along = side / (who.eye_width * 1.35)
    middle = (
        -who.brow_height - canvas.how.raised_brows - who.brow_arch * (1 - along**2) - who.brow_tilt * side
    )
    thickness = who.brow_thickness * (1.1 - 0.45 * along)
    distance = np.maximum(np.abs(canvas.t - middle) - thickness, (np.abs(along) - 1) * 10)
    over(picture, soft(distance, 1.8) * 0.85, times(who.hair.colour, 0.75))


def _mouth(canvas: Canvas, picture: Plane) -> None:
    who, how = canvas.who, canvas.how
    along = canvas.s / (who.mouth_width * (1 + 0.12 * how.smile))
    inside = np.clip(1 - along**2, 0, 1)
    level = canvas.t - who.mouth_height - how.smile * (1.8 - 4.2 * along**2) * np.float32(0.8)
    gap = how.open_mouth * inside
    bow = 1 - 0.35 * np.exp(-((along / 0.18) ** 2))
    lips = np.where(
        level < 0,
        -level - gap * 0.5 - who.upper_lip * np.sqrt(inside) * bow,
        level - gap - who.lower_lip * np.sqrt(inside),
    )
    red, green, blue = who.skin
    lip = (red * 0.88, green * (0.88 - 0.6 * who.redness), blue * (0.88 - 0.5 * who.redness))
    within = np.abs(along) < 1
    over(picture, soft(np.where(within, lips, 9)), lip)
    over(picture, soft(np.where(within & (level > 0), lips, 9)) * 0.25, times(lip, 1.2))
    mouth = np.where(within, np.where(level < 0, -level - gap * 0.5, level - gap), 9)
    over(picture, soft(mouth - 0.35), times(who.skin, 0.25))
    if how.open_mouth > 1:
        over(picture, soft(np.maximum(mouth + 0.3, level - 0.6)), (0.86, 0.84, 0.8))


def _glasses(canvas: Canvas, picture: Plane) -> None:
    who = canvas.who
    if not who.glasses:
        return
    half_width, half_height, power = who.lens
    side, level = np.abs(canvas.s) - who.eye_distance - 0.3, canvas.t - 1
    radius = ((np.abs(side) / half_width) ** power + (np.abs(level) / half_height) ** power) ** np.float32(
        1 / power
    )
    edge = (radius - 1) * half_height
    over(picture, soft(edge) * 0.08, (0.95, 0.97, 1))
    bridge = np.maximum(np.abs(level + 3) - who.glasses, np.abs(canvas.s) - who.eye_distance + half_width)
    temple = np.maximum(np.abs(level + 3) - who.glasses, half_width - side)
    frame = np.minimum(np.minimum(np.abs(edge) - who.glasses, bridge), temple)
    on_head = soft(canvas.head(2))
    over(picture, soft(frame) * on_head, who.frame)


def _blurred(picture: Plane, deviation: float) -> Plane:
    """Gaussian blur over two pixels each way, edges repeated."""
    weights = [math.exp(-0.5 * (offset / deviation) ** 2) for offset in range(3)]
    middle, near, far = (weight / (2 * sum(weights) - weights[0]) for weight in weights)
    rows = np.pad(picture, ((0, 0), (2, 2), (0, 0)), mode="edge")
    down = middle * picture + near * (rows[:, 1:-3] + rows[:, 3:-1]) + far * (rows[:, :-4] + rows[:, 4:])
    columns = np.pad(down, ((0, 0), (0, 0), (2, 2)), mode="edge")
    blurred: Plane = (
        middle * down
        + near * (columns[..., 1:-3] + columns[..., 3:-1])
        + far * (columns[..., :-4] + columns[..., 4:])
    )
    return blurred


def _photographed(picture: Plane, how: Shot) -> NDArray[np.uint8]:
    tint = np.array((1 + how.warmth, 1, 1 - how.warmth), np.float32).reshape(3, 1, 1) * how.gain
    exposed = _blurred(picture * tint, how.blur)
    grain = np.random.default_rng(how.grain).standard_normal(picture.shape, np.float32) * how.noise
    planes = (np.clip(exposed + grain, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def render(who: Identity, how: Shot) -> NDArray[np.uint8]:
    """The picture of one person in one circumstance: RGB, shape (112, 112, 3)."""
    canvas = Canvas(who, how)
    picture = _background(canvas)
    strands = _strands(canvas, who.hair)
    _hair_behind(canvas, picture, strands)
    _neck(canvas, picture)
    _ears(canvas, picture)
    _skin(canvas, picture)
    _mouth(canvas, picture)
    _eyes(canvas, picture)
    _brows(canvas, picture)
    _hair_in_front(canvas, picture, strands)
    on_head = soft(canvas.head(_volume(canvas)), 3)
    picture *= 1 + on_head * (_shade(canvas) - 1)
    _glasses(canvas, picture)
    return _photographed(picture, how)
