"""What TensorFlow Data Validation cannot see: whether pictures and sides are fit to train on and to measure by."""

from collections.abc import Collection

import polars as pl

from preprocess.common.config import Config
from preprocess.findings import Finding
from preprocess.store import Store


def check_store_and_split(
    config: Config, store: Store, split: pl.DataFrame, compared: Collection[tuple[str, str]] = ()
) -> list[Finding]:
    """Return what was found in a store and a split of it (see make_split), the gravest kinds of check first.

    `compared` are the sides, and columns of the store's rows, that TFDV has compared with the training side.
    About 14 kB of memory a picture. Raises StoreError where a picture cannot be read.
    """
    from pipeline.validate.balance import balance
    from pipeline.validate.drift import drift
    from pipeline.validate.leakage import leakage
    from pipeline.validate.quality import quality
    from pipeline.validate.shortcuts import shortcuts

    return [
        *leakage(store, split), *quality(store, config.train.size), *drift(store, split, compared),
        *shortcuts(store, split, config.split.seed), *balance(split),
    ]  # fmt: skip
