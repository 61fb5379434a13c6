"""Augmentation: drawn on the host as a function of (seed, step), applied on the device to whole batches."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

DRAWN = ("mirror", "zoom", "shift_x", "shift_y", "angle", "brightness", "contrast", "saturation", "hue")

LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    # A hand is in the size and the edges of its strokes, so pictures move by whole pixels and are never resampled:
    # pictures blurred in training only would teach that sharp ones are by somebody else.
    "paintings": {
        "mirror": (0.0, 1.0), "zoom": (1.0, 1.0), "shift_x": (-1.0, 1.0), "shift_y": (-1.0, 1.0),
        "angle": (0.0, 0.0), "brightness": (-0.1, 0.1), "contrast": (0.8, 1.2), "saturation": (0.7, 1.3),
        "hue": (-0.5, 0.5),
    },
    # Digits have a hand, too, but no mirror image.
    "digits": {
        "mirror": (0.0, 0.0), "zoom": (0.9, 1.1), "shift_x": (-1.0, 1.0), "shift_y": (-1.0, 1.0),
        "angle": (-0.15, 0.15), "brightness": (0.0, 0.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0),
        "hue": (0.0, 0.0),
    },
    "none": {name: (value, value) for name, value in zip(DRAWN, (0, 1, 0, 0, 0, 0, 1, 1, 0), strict=True)},
}  # fmt: skip
"""Ranges by kind. Mirror above 0.5 mirrors the picture; zoom is the share of the side that stays in view; shifts are in
units of what the zoom leaves out; angle and hue in radians; brightness in units of the full range; the rest are
factors."""

AROUND = 0.1
"""How far a picture may shift either way, in shares of its side, where the zoom leaves less room."""


def drawer(kind: str, seed: int) -> Callable[[int, int], NDArray[np.float32]]:
    """Return a function of (step, n) that draws float32 [n, 9], the columns of DRAWN, within LIMITS[kind]."""
    low, high = (np.array([LIMITS[kind][name][end] for name in DRAWN], np.float32) for end in (0, 1))

    def draw(step: int, n: int) -> NDArray[np.float32]:
        # The third number keeps these draws apart from the stream's, which uses (seed, step).
        rng = np.random.default_rng(np.random.SeedSequence([seed, step, 1]))
        return (low + (high - low) * rng.random((n, len(DRAWN)), np.float32)).astype(np.float32)

    return draw


def augment(images: Any, drawn: Any) -> Any:
    """Return images float32 [n, size, size, 3], 0 to 255, each varied by its row of `drawn` [n, 9]."""
    size = images.shape[1]
    varied = ops.image.affine_transform(images, transforms(drawn, size), interpolation="bilinear", fill_mode="reflect")
    column = {name: ops.reshape(drawn[:, index], (-1, 1, 1, 1)) for index, name in enumerate(DRAWN)}
    grey = ops.mean(varied, axis=3, keepdims=True)
    varied = grey + turned(varied - grey, column["hue"]) * column["saturation"]
    middle = ops.mean(varied, axis=(1, 2, 3), keepdims=True)
    return ops.clip(middle + (varied - middle) * column["contrast"] + 255 * column["brightness"], 0, 255)


def turned(chroma: Any, angle: Any) -> Any:
    """Return chroma [n, size, size, 3], whose channels add up to zero, turned by `angle` [n, 1, 1, 1] about grey.

    In the plane across that axis a quarter turn is the difference of the two other channels over the root of three.
    """
    quarter = (ops.roll(chroma, 1, axis=3) - ops.roll(chroma, -1, axis=3)) / math.sqrt(3)
    return ops.cos(angle) * chroma + ops.sin(angle) * quarter


def transforms(drawn: Any, size: int) -> Any:
    """Return float32 [n, 8], the projective transforms that `affine_transform` takes: output to input coordinates.

    x' = a0 x + a1 y + a2 and y' = a3 x + a4 y + a5, about the centre of the picture; a6 = a7 = 0.
    """
    value = {name: drawn[:, index] for index, name in enumerate(DRAWN)}
    mirror = 1 - 2 * ops.cast(value["mirror"] > 0.5, "float32")
    cosine = ops.cos(value["angle"]) * value["zoom"]
    sine = ops.sin(value["angle"]) * value["zoom"]
    room = ops.maximum((1 - value["zoom"]) / 2, AROUND) * size
    centre = (size - 1) / 2
    a0, a1, a3, a4 = mirror * cosine, -sine, mirror * sine, cosine
    a2 = centre + ops.round(value["shift_x"] * room) - centre * (a0 + a1)
    a5 = centre + ops.round(value["shift_y"] * room) - centre * (a3 + a4)
    zero = ops.zeros_like(a0)
    return ops.stack([a0, a1, a2, a3, a4, a5, zero, zero], axis=1)
