"""Reading pictures by row number from a sealed store."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from pipeline.openshards import Unreadable
from pipeline.shards import Shards, is_plain
from preprocess.common.errors import QuarantinedRow, StoreError, StoreGone
from preprocess.common.files import exists, read_bytes
from preprocess.common.places import kvstore
from preprocess.store import SEAL, STORED, Store, array_name

DAMAGED = {"DATA_LOSS", "NOT_FOUND", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "OUT_OF_RANGE"}
"""How TensorStore's messages begin where the stored bytes are at fault; any other is about the machine or network."""


class Pictures(Protocol):
    """One way to get at the pictures of a store at one size."""

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the pictures of `rows` [n] into `out`, uint8 [n, size, size, 3], C-contiguous. Raises Unreadable."""


class Reader:
    """Random access to the pictures of one size; safe to use from several threads, which is how it gets faster.

    Shards on a local disk are read straight from their files, every other store through TensorStore.
    """

    def __init__(self, store: Store, size: int, verify: Literal["first", "always"] = "first") -> None:
        """Open the smallest stored size of at least `size` pixels.

        `verify` says when a row is compared with its checksum: at its first read, or at every one (TensorStore always
        does). Raises StoreError.
        """
        self.store = store
        self.size = store.size_for(size)
        self.stored = store.rows["status"].to_numpy() == STORED
        metadata = sealed_metadata(store, self.size)
        self.pictures: Pictures = (
            Shards(store, self.size, verify == "always")
            if is_plain(store, self.size, metadata)
            else RemotePictures(store, self.size)
        )

    def read(self, rows: Sequence[int] | NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the pictures of `rows` [n] as uint8 [n, size, size, 3] sRGB, in that order; in `out` if it is given.

        Raises QuarantinedRow with the reason for a row that is not stored, StoreGone where the store does not answer,
        StoreError for a row that is damaged.
        """
        wanted = np.asarray(rows, np.int64)
        outside = wanted[(wanted < 0) | (wanted >= len(self.stored))]
        if len(outside):
            raise StoreError(f"{self.store.path} has rows 0 to {len(self.stored) - 1}, got {outside[0]}")
        if not self.stored[wanted].all():
            raise self.quarantined(int(wanted[~self.stored[wanted]][0]))
        shape = len(wanted), self.size, self.size, 3
        pictures = np.empty(shape, np.uint8) if out is None else out
        if pictures.shape != shape or pictures.dtype != np.uint8 or not pictures.flags.c_contiguous:
            raise ValueError(f"out must be uint8 {shape}, C-contiguous, got {pictures.dtype} {pictures.shape}")
        try:
            if len(wanted):  # TensorStore would read row 0 of none
                self.pictures.read_into(wanted, pictures)
        except Unreadable as error:
            raise self.unreadable(error) from None
        return pictures

    def quarantined(self, row: int) -> QuarantinedRow:
        """Return the error that says why `row` has no picture."""
        key, status, reason = self.store.rows.select("key", "status", "reason").row(row)
        return QuarantinedRow(f"row {row} ({key}) is {status}: {reason}")

    def unreadable(self, error: Unreadable) -> StoreError:
        """Return the error that says which row cannot be read, why, and what to do."""
        row = f"row {error.row} of {self.store.path}"
        if not error.damaged:
            return StoreGone(f"{row} cannot be read: {error.why}; look after the disk, mount or network it comes from")
        if not exists(self.store.path / SEAL):
            return StoreGone(f"{row} is gone with the store: mount its disk again, or run 'make store'")
        return StoreError(f"{row} is damaged: {error.why}; run 'make check-store'")


def sealed_metadata(store: Store, size: int) -> dict[str, Any]:
    """Return what the zarr.json of one size holds. Raises StoreError where it is not what the seal says."""
    name = f"{array_name(size)}/zarr.json"
    try:
        data = read_bytes(store.path / name)
    except OSError as error:
        raise StoreGone(f"{store.path / name} cannot be read: {error.strerror}; run 'make check-store'") from None
    if hashlib.sha256(data).hexdigest() != store.seal["files"].get(name):
        raise StoreError(f"{store.path / name} does not match its seal; run 'make check-store'")
    metadata: dict[str, Any] = json.loads(data)
    return metadata


class RemotePictures:
    """The pictures of one size, wherever and however they are stored; TensorStore checks every checksum."""

    def __init__(self, store: Store, size: int) -> None:
        """Open the array. Raises StoreError where that fails, or it is not what the seal says."""
        array, shape = store.path / array_name(size), (int(store.seal["rows"]), size, size, 3)
        # A missing chunk is an error: by default it would be read as black.
        spec: dict[str, Any] = {"driver": "zarr3", "kvstore": kvstore(array), "fill_missing_data_reads": False}
        try:
            self.array = ts.open(spec, read=True, dtype=ts.uint8).result()
        except ValueError as error:
            raise StoreError(f"{array} cannot be opened: {first_line(error)}; run 'make check-store'") from None
        if self.array.shape != shape:
            raise StoreError(f"{array} has the shape {self.array.shape}, not {shape}; rebuild it with 'make store'")

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """See Pictures."""
        try:
            out[:] = self.array[rows].read().result()
        except ValueError as error:
            raise self.unreadable(rows, error) from None

    def unreadable(self, rows: NDArray[np.int64], error: ValueError) -> Unreadable:
        """Find the row that cannot be read, and return what says so."""
        row = int(rows[0])
        for row in rows.tolist():
            try:
                self.array[row].read().result()
            except ValueError as one:
                error = one
                break
        why = first_line(error)
        return Unreadable(row, why, damaged=why.split(":")[0] in DAMAGED)


def first_line(error: Exception) -> str:
    """Return the part of TensorStore's message that is meant for people."""
    return str(error).splitlines()[0].split(" [source locations")[0]
