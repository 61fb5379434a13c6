"""Reading pictures by row number from a sealed store."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from pipeline.shards import Damaged, Shards, is_plain
from preprocess.common.errors import QuarantinedRow, StoreError
from preprocess.common.places import kvstore
from preprocess.store import STORED, Store, array_name


class Pictures(Protocol):
    """One way to get at the pictures of a store at one size."""

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the pictures of `rows` [n] into `out`, uint8 [n, size, size, 3]. Raises Damaged."""


class Reader:
    """Random access to the pictures of one size; safe to use from several threads.

    Shards on a local disk are read straight from their files, every other store through TensorStore.
    """

    def __init__(self, store: Store, size: int, verify: Literal["first", "always"] = "first", threads: int = 1) -> None:
        """Open the smallest stored size of at least `size` pixels.

        `verify` says when a row is compared with its checksum: at its first read, or at every one (TensorStore always
        does). `threads` share the work of one call. Raises StoreError.
        """
        self.store = store
        self.size = store.size_for(size)
        self.stored = store.rows["status"].to_numpy() == STORED
        try:
            self.pictures: Pictures = (
                Shards(store, self.size, threads, verify == "always")
                if is_plain(store, self.size)
                else RemotePictures(store, self.size)
            )
        except (ValueError, KeyError, OSError) as error:
            array = store.path / array_name(self.size)
            raise StoreError(f"{array} cannot be opened: {first_line(error)}; run 'make check-store'") from None

    def read(self, rows: Sequence[int] | NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the pictures of `rows` [n] as uint8 [n, size, size, 3] sRGB, in that order; in `out` if it is given.

        Raises QuarantinedRow with the reason for a row that is not stored, StoreError for one that is damaged or lost.
        """
        wanted = np.asarray(rows, np.int64)
        outside = wanted[(wanted < 0) | (wanted >= len(self.stored))]
        if len(outside):
            raise StoreError(f"{self.store.path} has rows 0 to {len(self.stored) - 1}, got {outside[0]}")
        if not self.stored[wanted].all():
            raise self.quarantined(int(wanted[~self.stored[wanted]][0]))
        pictures = np.empty((len(wanted), self.size, self.size, 3), np.uint8) if out is None else out
        try:
            self.pictures.read_into(wanted, pictures)
        except Damaged as error:
            raise StoreError(
                f"row {error.row} of {self.store.path} is damaged: {error.why}; run 'make check-store'"
            ) from None
        return pictures

    def quarantined(self, row: int) -> QuarantinedRow:
        """Return the error that says why `row` has no picture."""
        key, status, reason = self.store.rows.select("key", "status", "reason").row(row)
        return QuarantinedRow(f"row {row} ({key}) is {status}: {reason}")


class RemotePictures:
    """The pictures of one size, wherever and however they are stored; TensorStore checks every checksum."""

    def __init__(self, store: Store, size: int) -> None:
        # A missing chunk is an error: by default it would be read as black.
        spec: dict[str, Any] = {
            "driver": "zarr3", "kvstore": kvstore(store.path / array_name(size)), "fill_missing_data_reads": False,
        }  # fmt: skip
        self.array = ts.open(spec, read=True).result()

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """See Pictures."""
        try:
            out[:] = self.array[rows].read().result()
        except ValueError as error:
            raise self.damaged(rows, error) from None

    def damaged(self, rows: NDArray[np.int64], error: ValueError) -> Damaged:
        """Find the row that cannot be read, and return what says so."""
        for row in rows.tolist():
            try:
                self.array[row].read().result()
            except ValueError as one:
                return Damaged(row, first_line(one))
        return Damaged(int(rows[0]), first_line(error))


def first_line(error: Exception) -> str:
    """Return the part of TensorStore's message that is meant for people."""
    return str(error).splitlines()[0].split(" [source locations")[0]
