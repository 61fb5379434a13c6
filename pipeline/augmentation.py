"""Augmentation: drawn on the host as a function of (seed, step), and what the numbers mean.

The trainer applies it on the device (train/augment.py), `show` with numpy: both by the formulas here, which take the
functions of either as `math`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

DRAWN = ("mirror", "zoom", "shift_x", "shift_y", "angle", "brightness", "contrast", "saturation", "hue")

LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    # A hand is in the size and the edges of its strokes, so pictures move by whole pixels and are never resampled:
    # pictures blurred in training only would teach that sharp ones are by somebody else.
    "paintings": {
        "mirror": (0.0, 1.0), "zoom": (1.0, 1.0), "shift_x": (-1.0, 1.0), "shift_y": (-1.0, 1.0),
        "angle": (0.0, 0.0), "brightness": (-0.1, 0.1), "contrast": (0.8, 1.2), "saturation": (0.7, 1.3),
        "hue": (-0.5, 0.5),
    },
    # Everything a photograph of a painting may do: crop, scale, lean. Colours keep to the artist's palette: a third of
    # the hue that `paintings` allows, which is ten degrees.
    "strong": {
        "mirror": (0.0, 1.0), "zoom": (0.7, 1.0), "shift_x": (-1.0, 1.0), "shift_y": (-1.0, 1.0),
        "angle": (-0.1, 0.1), "brightness": (-0.1, 0.1), "contrast": (0.8, 1.2), "saturation": (0.8, 1.2),
        "hue": (-0.17, 0.17),
    },
    # Digits have a hand, too, but no mirror image.
    "digits": {
        "mirror": (0.0, 0.0), "zoom": (0.9, 1.1), "shift_x": (-1.0, 1.0), "shift_y": (-1.0, 1.0),
        "angle": (-0.15, 0.15), "brightness": (0.0, 0.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0),
        "hue": (0.0, 0.0),
    },
    # A shirt is one shirt seen from either side. Shifts, zooms and turns cost more than they give where all pictures
    # are laid out alike and training takes only some epochs (docs/learning.md).
    "clothes": {
        "mirror": (0.0, 1.0), "zoom": (1.0, 1.0), "shift_x": (0.0, 0.0), "shift_y": (0.0, 0.0), "angle": (0.0, 0.0),
        "brightness": (0.0, 0.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0), "hue": (0.0, 0.0),
    },
    "none": {name: (value, value) for name, value in zip(DRAWN, (0, 1, 0, 0, 0, 0, 1, 1, 0), strict=True)},
}  # fmt: skip
"""Ranges by kind. Mirror above 0.5 mirrors the picture; zoom is the share of the side that stays in view; shifts are in
units of what the zoom leaves out; angle and hue in radians; brightness in units of the full range; the rest are
factors."""

AROUND = 0.1
"""How far a picture may shift either way, in shares of its side, where the zoom leaves less room."""


def drawer(kind: str, seed: int) -> Callable[[int, int], NDArray[np.float32]]:
    """Return a function of (step, n) that draws float32 [n, columns], those of LIMITS[kind], within them."""
    low, high = np.array(list(LIMITS[kind].values()), np.float32).T

    def draw(step: int, n: int) -> NDArray[np.float32]:
        # The third number keeps these draws apart from the stream's, which uses (seed, step).
        rng = np.random.default_rng(np.random.SeedSequence([seed, step, 1]))
        drawn: NDArray[np.float32] = low + (high - low) * rng.random((n, len(low)), np.float32)
        return drawn

    return draw


def varied(images: Any, drawn: Any, math: Any, warp: Callable[[Any, Any], Any], view: float = 1.0) -> Any:
    """Return images float32 [n, size, size, 3], 0 to 255, each varied by its row of `drawn` [n, columns]: of a `view`
    below 1 only a square of that share of the side, whose place the shifts say.

    `warp` moves images by the transforms [n, 8] of `transforms`, interpolating linearly and reflecting at the edges.
    """
    side = round(images.shape[1] * view)
    around = AROUND if side == images.shape[1] else 0.0
    moved = warp(window(images, drawn, side, math), transforms(drawn, side, math, around))
    column = {name: math.reshape(drawn[:, index], (-1, 1, 1, 1)) for index, name in enumerate(DRAWN)}
    grey = math.mean(moved, axis=3, keepdims=True)
    moved = grey + turned(moved - grey, column["hue"], math) * column["saturation"]
    middle = math.mean(moved, axis=(1, 2, 3), keepdims=True)
    return math.clip(middle + (moved - middle) * column["contrast"] + 255 * column["brightness"], 0, 255)


def window(images: Any, drawn: Any, side: int, math: Any) -> Any:
    """Return of each picture [n, size, size, 3] a square [n, side, side, 3], its pixels as they are."""
    size = images.shape[1]
    if side == size:
        return images
    left, top = (
        math.array(math.round((drawn[:, DRAWN.index(name)] + 1) / 2 * (size - side)), dtype="int32")[:, None]
        for name in ("shift_x", "shift_y")
    )
    along = math.arange(side, dtype="int32")
    rows = math.arange(math.shape(drawn)[0], dtype="int32")[:, None] * size + top + along
    places = (rows * size + left)[:, :, None] + along[None, None, :]
    return math.take(math.reshape(images, (-1, images.shape[3])), places, axis=0)


def turned(chroma: Any, angle: Any, math: Any) -> Any:
    """Return chroma [n, size, size, 3], whose channels add up to zero, turned by `angle` [n, 1, 1, 1] about grey.

    In the plane across that axis a quarter turn is the difference of the two other channels over the root of three.
    """
    quarter = (math.roll(chroma, 1, axis=3) - math.roll(chroma, -1, axis=3)) / 3**0.5
    return math.cos(angle) * chroma + math.sin(angle) * quarter


def transforms(drawn: Any, size: int, math: Any, around: float = AROUND) -> Any:
    """Return float32 [n, 8], projective transforms from output to input coordinates, that shift by `around` at least.

    x' = a0 x + a1 y + a2 and y' = a3 x + a4 y + a5, about the centre of the picture; a6 = a7 = 0.
    """
    value = {name: drawn[:, index] for index, name in enumerate(DRAWN)}
    mirror = math.where(value["mirror"] > 0.5, -1.0, 1.0)
    cosine = math.cos(value["angle"]) * value["zoom"]
    sine = math.sin(value["angle"]) * value["zoom"]
    room = math.maximum((1 - value["zoom"]) / 2, around) * size
    centre = (size - 1) / 2
    a0, a1, a3, a4 = mirror * cosine, -sine, mirror * sine, cosine
    a2 = centre + math.round(value["shift_x"] * room) - centre * (a0 + a1)
    a5 = centre + math.round(value["shift_y"] * room) - centre * (a3 + a4)
    zero = math.zeros_like(a0)
    return math.stack([a0, a1, a2, a3, a4, a5, zero, zero], axis=1)


def varied_by_numpy(images: NDArray[np.float32], drawn: NDArray[np.float32], view: float = 1.0) -> NDArray[np.float32]:
    """Return `images`, float32 [n, size, size, 3], 0 to 255, varied by `drawn`, slowly and without a device."""
    found: NDArray[np.float32] = varied(images, drawn, np, warped, view)
    return found


def warped(images: NDArray[np.float32], transforms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images [n, size, size, 3] moved by `transforms` [n, 8]."""
    y, x = np.indices(images.shape[1:3])
    moved = np.empty_like(images)
    for image, (a0, a1, a2, a3, a4, a5, *_), out in zip(images, transforms, moved, strict=True):
        places = (a3 * x + a4 * y + a5, a0 * x + a1 * y + a2)
        for channel in range(3):
            out[..., channel] = map_coordinates(image[..., channel], places, order=1, mode="reflect")
    return moved
