"""Augmentation on the device, of whole batches; pipeline/augmentation.py draws it and says what is drawn."""

from typing import Any

from keras import ops

from pipeline.augmentation import DRAWN, LIMITS, drawer, varied

__all__ = ["DRAWN", "LIMITS", "augment", "drawer"]


def augment(images: Any, drawn: Any, view: float = 1.0) -> Any:
    """Return images float32 [n, size, size, 3], 0 to 255, each varied by its row of `drawn`; see `varied`."""
    return varied(images, drawn, ops, warped, view)


def warped(images: Any, transforms: Any) -> Any:
    """Return images [n, size, size, 3] moved by `transforms` [n, 8]."""
    return ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="reflect")
