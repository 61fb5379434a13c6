"""Reading pictures by row number from a sealed store."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import tensorstore as ts
from numpy.typing import NDArray

from preprocess.common.errors import QuarantinedRow, StoreError
from preprocess.store import STORED, Store, array_name


class Reader:
    """Random access to the pictures of one size; safe to use from several threads.

    TensorStore reads the chunks in parallel and checks the CRC-32C of each.
    """

    def __init__(self, store: Store, size: int) -> None:
        """Open the smallest stored size of at least `size` pixels. Raises StoreError."""
        self.store = store
        self.size = store.size_for(size)
        self.stored = store.rows["status"].to_numpy() == STORED
        path = store.path / array_name(self.size)
        # A missing chunk is an error: by default it would be read as black.
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}, "fill_missing_data_reads": False}
        try:
            self.array = ts.open(spec, read=True).result()
        except ValueError as error:
            raise StoreError(f"{path} cannot be opened: {first_line(error)}; run 'make check-store'") from None

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pictures of `rows` [n] as uint8 [n, size, size, 3] sRGB, in that order.

        Raises QuarantinedRow with the reason for a row that is not stored, StoreError for one that is damaged or lost.
        """
        wanted = np.asarray(rows, np.int64)
        outside = wanted[(wanted < 0) | (wanted >= len(self.stored))]
        if len(outside):
            raise StoreError(f"{self.store.path} has rows 0 to {len(self.stored) - 1}, got {outside[0]}")
        if not self.stored[wanted].all():
            raise self.quarantined(int(wanted[~self.stored[wanted]][0]))
        try:
            pictures: NDArray[np.uint8] = self.array[wanted].read().result()
        except ValueError as error:
            raise self.damaged(wanted, error) from None
        return pictures

    def quarantined(self, row: int) -> QuarantinedRow:
        """Return the error that says why `row` has no picture."""
        key, reason = self.store.rows.filter(pl.col("row") == row).select("key", "reason").row(0)
        return QuarantinedRow(f"row {row} ({key}) is quarantined: {reason}")

    def damaged(self, rows: NDArray[np.int64], error: ValueError) -> StoreError:
        """Find the row that cannot be read, and return an error that names it."""
        for row in rows:
            try:
                self.array[int(row)].read().result()
            except ValueError as one:
                return StoreError(
                    f"row {row} of {self.store.path} is damaged: {first_line(one)}; run 'make check-store'"
                )
        return StoreError(f"{self.store.path}: {first_line(error)}; run 'make check-store'")


def first_line(error: Exception) -> str:
    """Return the part of TensorStore's message that is meant for people."""
    return str(error).splitlines()[0].split(" [source locations")[0]
