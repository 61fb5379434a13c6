"""What is told of every stored picture: how bright, contrasty and colourful it is, and its perceptual hash."""

import imagehash
import numpy as np
from PIL import Image

from preprocess.images import Squares

SIDE = 32
"""Pixels on a side that the hash looks at (imagehash.phash: 8 frequencies, 4 times as many pixels)."""


def statistics(squares: Squares) -> dict[str, float]:
    """Return mean, contrast and colourfulness of the smallest square, on the scale 0 to 255."""
    channels = np.ascontiguousarray(squares.pixels[min(squares.pixels)].reshape(-1, 3).T)  # 20 times as fast as axis 2
    light = channels.sum(axis=0, dtype=np.uint16)
    return {
        "mean": round(float(light.mean() / 3), 3),
        "contrast": round(float(light.std() / 3), 3),
        "colour": round(float(np.ptp(channels, axis=0).mean()), 3),
    }


def perceptual_hash(squares: Squares) -> str:
    """Return the 64-bit perceptual hash of a picture, 16 hexadecimal digits (imagehash.phash).

    It is taken from the smallest square that holds all it looks at, or else from the largest there is.
    """
    sizes = sorted(squares.pixels)
    size = next((size for size in sizes if size >= SIDE), sizes[-1])
    square = Image.fromarray(squares.pixels[size])
    return str(imagehash.phash(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)))
