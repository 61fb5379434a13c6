"""What is told of every stored picture: how bright, contrasty and colourful it is, and its perceptual hash."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

SIDE, FREQUENCIES = 32, 8
"""Pixels on a side that the hash looks at, and frequencies it keeps."""


def statistics(thumbnail: NDArray[np.uint8]) -> dict[str, float]:
    """Return mean, contrast and colourfulness of a picture, uint8 [side, side, 3], on the scale 0 to 255."""
    channels = np.ascontiguousarray(thumbnail.reshape(-1, 3).T)  # 20 times as fast as axis 2
    light = channels.sum(axis=0, dtype=np.uint16)
    return {
        "mean": round(float(light.mean() / 3), 3),
        "contrast": round(float(light.std() / 3), 3),
        "colour": round(float((channels.max(axis=0) - channels.min(axis=0)).mean()), 3),
    }


def perceptual_hashes(thumbnails: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Return the 64-bit perceptual hash of each of some pictures, uint8 [side, side, 3], as 16 hexadecimal digits.

    A bit says whether a coefficient of the cosine transform is above their median (Zauner 2010). The same as
    imagehash.phash, without its detours, and half of the price where there are many.
    """
    small = [
        np.asarray(Image.fromarray(thumbnail).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
        for thumbnail in thumbnails
    ]
    low = dctn(np.reshape(small, (-1, SIDE, SIDE)), axes=(1, 2))[:, :FREQUENCIES, :FREQUENCIES]
    above = low > np.median(low, axis=(1, 2), keepdims=True)
    return [bits.tobytes().hex() for bits in np.packbits(above.reshape(len(low), -1), axis=1)]
