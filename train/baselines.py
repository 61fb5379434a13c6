"""What pairs tell without any learning: cosines of raw pixels, and of histograms of gradients and colours.

The report's networks for unseen classes were worse than these. Each is centred by the mean of training pictures and
calibrated like the network, so all stand under one rule.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import hog

from pipeline.reader import Reader
from pipeline.streams import PairList, in_order
from preprocess.common.progress import Progress
from train.calibrate import Calibration, calibrate
from train.metrics import auc, rates
from train.sides import Side, balance

Features = NDArray[np.float32]
SIDE, CELLS, LEVELS = 32, 4, 4
"""Pixels on a side that are compared, cells of gradients on a side, and levels of each colour."""
AT_ONCE = 256


def pixels(images: NDArray[np.uint8]) -> Features:
    """Return the values [n, side * side * 3] of pictures uint8 [n, side, side, 3]."""
    return images.reshape(len(images), -1).astype(np.float32)


def gradients(images: NDArray[np.uint8]) -> Features:
    """Return histograms of oriented gradients [n, d] (Dalal and Triggs 2005), in CELLS by CELLS cells."""
    cell = images.shape[1] // CELLS
    how = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (2, 2), "channel_axis": -1}
    return np.stack([hog(image, **how) for image in images]).astype(np.float32)


def colours(images: NDArray[np.uint8]) -> Features:
    """Return the roots of the shares [n, 64] of the colours, in LEVELS levels of each channel."""
    levels = (images // (256 // LEVELS)).astype(np.int64)
    codes = (levels * np.array([LEVELS**2, LEVELS, 1])).sum(axis=3).reshape(len(images), -1)
    return np.stack([np.bincount(code, minlength=LEVELS**3) / code.size for code in codes]).astype(np.float32) ** 0.5


def gradients_and_colours(images: NDArray[np.uint8]) -> Features:
    """Return both, each of length one."""
    parts = [gradients(images), colours(images)]
    return np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True).clip(1e-9) for part in parts], axis=1)


BASELINES: dict[str, Callable[[NDArray[np.uint8]], Features]] = {
    "pixels": pixels, "gradients": gradients, "gradients and colours": gradients_and_colours,
}  # fmt: skip


def describe(reader: Reader, rows: NDArray[np.int64], what: str) -> dict[str, Features]:
    """Return the features [n, d] of pictures by baseline; `what` names the work where its progress is shown."""
    found: dict[str, list[Features]] = {name: [] for name in BASELINES}
    with Progress(what, len(rows), "picture") as progress:
        for batch in in_order(rows, AT_ONCE):
            images = small(reader.read(batch))
            for name, features in BASELINES.items():
                found[name].append(features(images))
            progress.advance(len(images))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def small(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures [n, size, size, 3] with at most SIDE pixels on a side."""
    if images.shape[1] <= SIDE:
        return images
    shape = SIDE, SIDE
    return np.stack([np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BOX)) for image in images])


def cosines(features: Features, centre: Features, rows: NDArray[np.int64], pairs: PairList) -> NDArray[np.float64]:
    """Return the cosines [m] of pairs of `rows` [n, ascending], whose `features` are [n, d], seen from `centre` [d]."""
    centred = features - centre
    centred /= np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-9)
    left, right = np.searchsorted(rows, pairs.left), np.searchsorted(rows, pairs.right)
    found: NDArray[np.float64] = np.einsum("md,md->m", centred[left], centred[right]).astype(np.float64)
    return found


class Yardstick(NamedTuple):
    """By baseline, the mean features [d] of training pictures, and the calibration by validation pairs."""

    centres: dict[str, Features]
    calibrations: dict[str, Calibration]

    @classmethod
    def made(cls, reader: Reader, training: NDArray[np.int64], validated: dict[str, Side]) -> Self:
        """Return it for training rows [n] and the sides of validation, all of one collection."""
        centres = {name: found.mean(axis=0) for name, found in describe(reader, training, "measure train").items()}
        described = {name: describe(reader, side.rows, f"measure {name}") for name, side in validated.items()}
        same = np.concatenate([side.pairs.same for side in validated.values()])
        weights = np.concatenate([balance(side.pairs) for side in validated.values()])
        calibrations = {}
        for baseline, centre in centres.items():
            scores = [
                cosines(described[name][baseline], centre, side.rows, side.pairs) for name, side in validated.items()
            ]
            calibrations[baseline] = calibrate(same, np.concatenate(scores), weights)
        return cls(centres, calibrations)

    def figures(self, reader: Reader, name: str, side: Side) -> dict[str, dict[str, float]]:
        """Return AUC and accuracy, at the threshold that validation chose, of each baseline on a side's pairs."""
        found = {}
        for baseline, features in describe(reader, side.rows, f"measure {name}").items():
            scores = cosines(features, self.centres[baseline], side.rows, side.pairs)
            calibration = self.calibrations[baseline]
            accuracy = rates(calibration.threshold)["accuracy"]
            found[baseline] = {
                "auc": auc(side.pairs.same, scores),
                "accuracy": accuracy(side.pairs.same, calibration.probability(scores), None),
            }
        return found
