"""Whether the pictures of one side differ from those that training sees, in what TFDV has not compared."""

from collections.abc import Collection

import numpy as np
import polars as pl
from scipy.stats import ks_2samp

from pipeline.split import SIDES, TRAIN
from preprocess.anomalies import said
from preprocess.findings import Finding
from preprocess.skew import skew_grade
from preprocess.store import Store

MEASURES = {
    "width": pl.col("width"), "height": pl.col("height"), "aspect": pl.col("width") / pl.col("height"),
    "mean": pl.col("mean"), "contrast": pl.col("contrast"), "colour": pl.col("colour"),
}  # fmt: skip
FAR = 0.15
"""Kolmogorov-Smirnov distance, the largest gap between two cumulative distributions, up to which sides are alike."""
CHANCE = 1e-4
"""Chance of such a distance between two samples of one kind: small sides differ by luck, and 24 are compared."""


def drift(store: Store, split: pl.DataFrame, compared: Collection[tuple[str, str]] = ()) -> list[Finding]:
    """Return a finding for each side and measure that is not as in training, but for those `compared` already.

    A warning where the side has artists of training, whose pictures should be alike; other artists paint otherwise, so
    that is a note.
    """
    measured = split.join(store.rows.select("row", **MEASURES), on="row")
    training = measured.filter(pl.col("side") == TRAIN)
    sides = {side: measured.filter(pl.col("side") == side) for side in SIDES[1:]}
    wanted = [(side, name) for side in SIDES[1:] for name in MEASURES if (side, name) not in compared]
    pairs = ((side, name) for side, name in wanted if len(sides[side]) and len(training))
    return [found for side, name in pairs for found in differing(training, sides[side], side, name)]


def differing(training: pl.DataFrame, own: pl.DataFrame, side: str, name: str) -> list[Finding]:
    """Return the finding that a measure of a side, whose rows are `own`, differs from that of the training side.

    Its rows are those smaller (or larger) than the value of which the side has too many.
    """
    before, here = training[name].to_numpy(), own[name].to_numpy()
    test = ks_2samp(before, here)
    if test.statistic <= FAR or test.pvalue > CHANCE:
        return []
    alike = not set(own["artist"]).isdisjoint(training["artist"])
    # At this value the two distributions are furthest apart, and the side has too many on one hand of it.
    below = pl.col(name) <= test.statistic_location
    rows = own.filter(below if test.statistic_sign < 0 else ~below)["row"].to_list()
    figures: dict[str, float | int | str] = {
        "feature": said(name), "side": side, "median": float(np.median(here)), "in training": float(np.median(before)),
        "distance": float(test.statistic), "threshold": FAR,
    }  # fmt: skip
    what = (
        f"the {said(name)} of the side {side} differs from that of the training side, half being below "
        f"{figures['median']:.3g} and {figures['in training']:.3g} ({test.statistic:.3f}, where up to {FAR:g} passes)"
    )
    severity, remedy = skew_grade(alike)
    return [Finding("skew", severity, what, remedy, tuple(rows), figures)]
