"""Whether the pictures of one side differ from those that training sees: in size, shape, brightness, colour."""

import numpy as np
import polars as pl
from scipy.stats import ks_2samp

from pipeline.split import SIDES, TRAIN
from preprocess.findings import Finding, Severity
from preprocess.store import Store

MEASURES = {
    "width": pl.col("width"), "height": pl.col("height"), "aspect": pl.col("width") / pl.col("height"),
    "mean": pl.col("mean"), "contrast": pl.col("contrast"), "colour": pl.col("colour"),
}  # fmt: skip
FAR = 0.15
"""Kolmogorov-Smirnov distance, the largest gap between two cumulative distributions, from which a side has drifted."""
CHANCE = 1e-4
"""Chance of such a distance between two samples of one kind: small sides differ by luck, and 24 are compared."""


def drift(store: Store, split: pl.DataFrame) -> list[Finding]:
    """Return a finding for each side and measure that has drifted away from training.

    A warning where the side has artists of training, whose pictures should be alike; other artists paint otherwise, so
    that is a note. The rows are those smaller (or larger) than the value of which the side has too many.
    """
    measured = split.join(store.rows.select("row", **MEASURES), on="row")
    training = measured.filter(pl.col("side") == TRAIN)
    found = []
    for side in SIDES[1:]:
        own = measured.filter(pl.col("side") == side)
        for name in MEASURES if len(own) and len(training) else ():
            before, here = training[name].to_numpy(), own[name].to_numpy()
            test = ks_2samp(before, here)
            if test.statistic < FAR or test.pvalue > CHANCE:
                continue
            shared = not set(own["artist"]).isdisjoint(training["artist"])
            # At this value the two distributions are furthest apart, and the side has too many on one hand of it.
            below = pl.col(name) <= test.statistic_location
            rows = own.filter(below if test.statistic_sign < 0 else ~below)["row"].to_list()
            found.append(Finding(
                f"drifted-{name}", Severity.WARNING if shared else Severity.NOTE,
                f"{name} differs between {side} and training: median {np.median(here):.4g} and "
                f"{np.median(before):.4g}, Kolmogorov-Smirnov distance {test.statistic:.2f}",
                "find out where these files come from" if shared else "nothing: other artists paint otherwise",
                tuple(rows), {"side": side, "distance": float(test.statistic), "chance": float(test.pvalue)},
            ))  # fmt: skip
    return found
