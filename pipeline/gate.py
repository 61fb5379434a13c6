"""The gate after the store: what the pictures turned out to be, and whether the sides of the split keep apart."""

import io
from collections.abc import Sequence

import polars as pl
from PIL import Image

from pipeline.split import SIDES, make_split
from pipeline.validate import check_store_and_split
from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.gate import PICTURES, Verdict, decide
from preprocess.store import STORED, Store, store_of
from preprocess.validate import Judged, ask_tfdv

THUMBNAIL = 64
"""Pixels."""


def decide_pictures(config: Config, allow: Sequence[str] = (), install: bool = False) -> Verdict:
    """Return the verdict on the current store and its split. Raises StoreError, SplitError."""
    store = store_of(config)
    split = make_split(store, config)
    rows = store.rows.drop("side").with_columns(side=split["side"])
    inputs = [store.fingerprint, config.split.model_dump(), config.pipeline.model_dump(), config.train.size]
    stored = set(rows.filter(pl.col("status") == STORED)["row"].to_list())
    return decide(
        config, PICTURES, inputs, lambda: judge_pictures(config, store, split, rows, install), rows, allow,
        lambda row: thumbnail(store, row) if row in stored else None, install,
    )  # fmt: skip


def judge_pictures(config: Config, store: Store, split: pl.DataFrame, rows: pl.DataFrame, install: bool) -> Judged:
    """Return what is found in a store and its split, `rows` being the store's with the side of each."""
    on_sides = pl.when(pl.col("side").is_in(SIDES)).then("side").alias("side")
    judged = ask_tfdv(config, rows.filter(pl.col("status") == STORED).with_columns(on_sides), "store", install)
    compared = {(one["side"], one["feature"].removeprefix("log2_")) for one in judged.tfdv["skew"]}
    return judged._replace(findings=[*check_store_and_split(config, store, split, compared), *judged.findings])


def thumbnail(store: Store, row: int) -> bytes | None:
    """Return a stored picture as a small JPEG, or None where it is damaged."""
    try:
        pixels = store.picture(row, store.sizes[0])
    except StoreError:
        return None
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()
