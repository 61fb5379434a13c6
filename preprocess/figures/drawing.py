"""Drawing a figure: never twice alike, and always the same figure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from preprocess.figures.invention import Figure
from preprocess.figures.outlines import Line, boxed, extent, turned

FINE = 4
"""Pixels drawn, on a side, for one that is kept."""
WAVES = 4


class Freedom(NamedTuple):
    """How much drawings of one figure may differ: logarithm of the stretch, shear, turn in radians, and the height of
    the waves that bend it, in shares of its size (a standard deviation)."""

    stretch: float
    shear: float
    turn: float
    wave: float


A_PEN, A_THING = Freedom(0.25, 0.35, 0.2, 0.05), Freedom(0.07, 0.08, 0.03, 0.025)


def draw(figure: Figure, texture: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a drawing, uint8 [size, size], bright on black; `texture`, uint8 [height, width], shades surfaces."""
    return pen(figure, size, rng) if figure.strokes else thing(figure, texture, size, rng)


class Bend:
    """A smooth movement of the plane, by lot."""

    def __init__(self, freedom: Freedom, rng: np.random.Generator) -> None:
        self.stretch = np.exp(rng.uniform(-freedom.stretch, freedom.stretch))
        self.shear = rng.uniform(-freedom.shear, freedom.shear)
        self.turn = rng.uniform(-freedom.turn, freedom.turn)
        self.waves = rng.uniform(1, 6, (2, WAVES)) * rng.choice([-1, 1], (2, WAVES))
        self.phases = rng.uniform(0, 2 * np.pi, WAVES)
        self.heights = rng.normal(0, freedom.wave, (WAVES, 2))

    def __call__(self, lines: list[Line]) -> list[Line]:
        """Return lines, moved."""
        matrix = np.array([[self.stretch, 0], [self.shear, 1]])
        moved = (line + np.sin(line @ self.waves + self.phases) @ self.heights for line in lines)
        return [turned(line @ matrix, self.turn) for line in moved]


def pen(figure: Figure, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return strokes, drawn with a pen of any thickness, in three quarters of the picture."""
    width = rng.uniform(1.5, 4) / 28 * size
    across = rng.uniform(0.64, 0.75) * size - width
    canvas = Image.new("L", (size * FINE, size * FINE))
    for line in boxed(Bend(A_PEN, rng)(figure.strokes)):
        points, round_off = (line * across + size / 2) * FINE, width * FINE / 2
        ImageDraw.Draw(canvas).line(points.ravel().tolist(), fill=255, width=round(width * FINE), joint="curve")
        for x, y in points[[0, -1]]:
            ends = (x - round_off, y - round_off, x + round_off, y + round_off)
            ImageDraw.Draw(canvas).ellipse(ends, fill=255)
    return np.asarray(canvas.reduce(FINE))


def thing(figure: Figure, texture: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return surfaces of any tone and texture, which fill the picture one way."""
    bend = Bend(A_THING, rng)
    filled, holes, seams = (bend(lines) for lines in (figure.filled, figure.holes, figure.seams))
    middle, sides = extent(filled)
    scale = rng.uniform(0.92, 1) * size / sides.max()

    def places(line: Line) -> list[float]:
        found: list[float] = (((line - middle) * scale + size / 2) * FINE).ravel().tolist()
        return found

    mask, lines = (Image.new(mode, (size * FINE, size * FINE)) for mode in ("L", "F"))
    for value, rims in ((255, filled), (0, holes)):
        for rim in rims:
            ImageDraw.Draw(mask).polygon(places(rim), fill=value)
    for seam, tone in zip(seams, figure.tones, strict=True):
        width = round(rng.uniform(0.6, 2) / 28 * size * FINE)
        ImageDraw.Draw(lines).line(places(seam), fill=tone * rng.uniform(0.5, 1.2), width=width)
    covered = np.asarray(mask.reduce(FINE)) / 255
    rim = covered - gaussian_filter(covered, 1)
    shade = cloth(texture, size, rng) + np.asarray(lines.reduce(FINE)) + rim * rng.uniform(-0.5, 0.5)
    found: NDArray[np.uint8] = np.round(255 * covered * shade.clip(0.02, 1)).astype(np.uint8)
    return found


def cloth(texture: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the brightness, about 0 to 1, of [size, size] of any cloth: even, grained, or printed with a picture."""
    grain = gaussian_filter(rng.normal(size=(size, size)), rng.uniform(0.3, 1.5))
    found = rng.uniform(0.08, 1) + grain / grain.std() * rng.uniform(0, 0.12)
    if rng.random() < 0.5:
        large = np.asarray(Image.fromarray(texture).resize((2 * size, 2 * size))) / 255
        y, x = rng.integers(0, size, 2)
        printed = gaussian_filter(large[y : y + size, x : x + size], rng.uniform(0, 4))
        found = found + (printed - printed.mean()) * rng.uniform(-0.6, 0.6)
    return np.asarray(found)
