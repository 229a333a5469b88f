"""The plane a face is drawn on: coordinates of the turned head, soft masks, and paint laid over paint."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facetrain.faces.parameters import Colour, Identity, Shot

SIZE = 112
CENTRE = (55.9, 51.6)  # x, y of the middle between the eyes in ArcFace's alignment template
HEAD_MIDDLE, HEAD_TOP = 8.0, -52.0  # v of the widest line of the head, and of the top of the skull

Plane = NDArray[np.floating[Any]]  # float32, shape (112, 112), with colours (3, 112, 112)


def soft(distance: Plane, width: float = 1.2) -> Plane:
    """1 inside (negative distance), 0 outside, and a smooth step `width` pixels wide between them."""
    step: Plane = np.clip(0.5 - distance / width, 0, 1)
    return step * step * (3 - 2 * step)


def bump(u: Plane, v: Plane, width: float, height: float) -> Plane:
    hill: Plane = np.exp(-((u / width) ** 2) - (v / height) ** 2)
    return hill


def over(picture: Plane, mask: Plane, colour: Colour | Plane) -> None:
    """Paints one colour, or a plane of colours, where the mask is 1. Changes the picture."""
    paint = np.asarray(colour, np.float32)
    picture += mask * (paint.reshape(3, 1, 1) if paint.ndim == 1 else paint) - mask * picture


def times(colour: Colour, factor: float) -> Colour:
    """A darker (below 1) or brighter shade of a colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


@dataclass
class Canvas:
    """The coordinates of one picture: (u, v) of the outline, (s, t) of the features on the turned head."""

    who: Identity
    how: Shot
    u: Plane = field(init=False)
    v: Plane = field(init=False)
    s: Plane = field(init=False)
    t: Plane = field(init=False)

    def __post_init__(self) -> None:
        rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
        x = (columns - CENTRE[0] - self.how.shift[0]) / self.how.scale
        y = (rows - CENTRE[1] - self.how.shift[1]) / self.how.scale
        cos, sin = math.cos(self.how.roll), math.sin(self.how.roll)
        depth = self.who.head_width
        # The crop follows the features, so it is the outline that moves when the head turns.
        self.u = cos * x + sin * y + depth * math.sin(self.how.yaw)
        self.v = cos * y - sin * x + depth * math.sin(self.how.pitch) * 0.5
        across = np.sqrt(np.maximum(depth**2 - self.u**2, 0))
        self.s = self.u * math.cos(self.how.yaw) - across * math.sin(self.how.yaw)
        self.t = self.v - depth * math.sin(self.how.pitch) * 0.5 * across / depth

    def head(self, grown: float | Plane = 0) -> Plane:
        """Signed distance in pixels to the head's outline, grown by so many pixels."""
        below = np.clip((self.v - HEAD_MIDDLE) / (self.who.chin - HEAD_MIDDLE), 0, 1)
        above = np.clip((HEAD_MIDDLE - self.v) / (HEAD_MIDDLE - HEAD_TOP), 0, None)
        tall = np.where(
            self.v > HEAD_MIDDLE,
            (self.v - HEAD_MIDDLE) / (self.who.chin - HEAD_MIDDLE + grown),
            above / (1 + grown / 55),
        )
        wide = np.abs(self.u) / ((self.who.head_width + grown) * (1 - self.who.taper * below * below))
        power = np.float32(self.who.jaw)
        radius = (wide**power + tall**power) ** (1 / power)
        distance: Plane = (radius - 1) * self.who.head_width
        return distance
