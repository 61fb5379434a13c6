"""A contact sheet of a store, to look at."""

from pathlib import Path

import numpy as np
import polars as pl
import zarr
from PIL import Image

from preprocess.common.errors import StoreError
from preprocess.common.files import written_aside
from preprocess.store import STORED, Store, array_name

COLUMNS, GAP, SIZE = 12, 6, 128


def contact_sheet(store: Store, count: int, out: Path) -> None:
    """Write a PNG of `count` stored pictures, evenly spaced over the rows, to `out`."""
    rows = store.rows.filter(pl.col("status") == STORED)["row"].to_numpy()
    if not len(rows):
        raise StoreError(f"{store.path} holds no stored picture; see the reasons in {store.path / 'rows.parquet'}")
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]
    size = store.size_for(min(SIZE, store.sizes[-1]))
    array = zarr.open_array(store.path / array_name(size), mode="r")
    lines = -(-len(chosen) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (size + GAP) + GAP, lines * (size + GAP) + GAP), "white")
    for place, row in enumerate(chosen):
        try:
            picture = Image.fromarray(np.asarray(array[int(row)]))
        except ValueError as error:  # the checksum of its chunk, or of its shard's index
            raise StoreError(f"row {row} of {store.path} is damaged: {error}; run 'make check-store'") from None
        canvas.paste(picture, (GAP + place % COLUMNS * (size + GAP), GAP + place // COLUMNS * (size + GAP)))
    with written_aside(out) as aside:
        canvas.save(aside, format="PNG")
