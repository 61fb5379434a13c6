"""What is told of every stored picture: how bright, contrasty and colourful it is, and its perceptual hash."""

import imagehash
import numpy as np
from PIL import Image

from preprocess.images import Squares

SIDE = 32
"""Pixels on a side of what is measured: the hash looks at no more, and at the whole of 256 statistics cost 6 ms."""


def thumbnail(squares: Squares) -> Image.Image:
    """Return the smallest square of at least SIDE pixels, or else the largest, at SIDE x SIDE pixels, RGB."""
    sizes = sorted(squares.pixels)
    size = next((size for size in sizes if size >= SIDE), sizes[-1])
    return Image.fromarray(squares.pixels[size]).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)


def statistics(squares: Squares) -> dict[str, float]:
    """Return mean, contrast and colourfulness of a picture at SIDE pixels, on the scale 0 to 255."""
    values = np.asarray(thumbnail(squares)).reshape(-1, 3)
    red, green, blue = values.T.astype(np.int16)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return {
        "mean": round(float(values.mean()), 3),
        "contrast": round(float((red + green + blue).std() / 3), 3),
        "colour": round(float(spread.mean()), 3),
    }


def perceptual_hash(squares: Squares) -> str:
    """Return the 64-bit perceptual hash of a picture, 16 hexadecimal digits (imagehash.phash)."""
    return str(imagehash.phash(thumbnail(squares)))
