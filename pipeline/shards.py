"""Local shards, read straight from their files: a table says where each row lies, and the system copies it from there.

By pread and not from a mapping: a lost disk is then an error, where touching a mapping ends the process.
"""

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from pipeline.aio import Queue
from pipeline.openshards import OpenShards, Unreadable, files_allowed
from preprocess.sharding import CHECKSUM, read_index
from preprocess.store import Store, shard_name

MOST_AT_ONCE = 256
"""Rows of one call to the system."""


def is_plain(store: Store, size: int, metadata: dict[str, Any]) -> bool:
    """Return whether the pictures of one size lie on a local disk as `preprocess.sharding` writes them: raw, one a
    chunk, each with its CRC-32C, and the index at the end of a shard. `metadata` is what the array's zarr.json holds,
    and the seal must agree with it."""
    shape = [size, size, 3]
    checked = [{"name": "bytes"}, {"name": "crc32c"}]
    little = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
    sharding = {"chunk_shape": [1, *shape], "codecs": checked, "index_codecs": little, "index_location": "end"}
    plain = {
        "zarr_format": 3, "node_type": "array", "data_type": "uint8",
        "shape": [int(store.seal["rows"]), *shape],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [store.rows_per_shard, *shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "storage_transformers": [],
    }  # fmt: skip
    return isinstance(store.path, Path) and plain.items() <= metadata.items()


class Shards:
    """The pictures of one size in a local store. Safe to use from several threads."""

    def __init__(self, store: Store, size: int, always: bool) -> None:
        """Read the index of every shard: 9 bytes a row stay in memory. With `always` every read is compared with the
        row's CRC-32C, otherwise its first. What is wrong with a shard is said when a row of it is wanted."""
        self.bytes, self.always, self.per_shard = size * size * 3, always, store.rows_per_shard
        allowed, rows = files_allowed(), int(store.seal["rows"])
        shards = -(-rows // self.per_shard)
        self.at_once = max(1, min(MOST_AT_ONCE, allowed // 4))
        self.files = OpenShards(lambda number: store.path / shard_name(size, number), shards, self.per_shard, allowed)
        self.trouble: dict[int, Unreadable] = {}
        self.offsets = np.concatenate([self.index(number) for number in range(shards)])
        self.checked = np.zeros(rows, np.bool_)
        self.queues: deque[Queue] = deque()

    def index(self, number: int) -> NDArray[np.int64]:
        """Return the offset of each row of a shard, -1 for one that it does not hold."""
        first = number * self.per_shard
        try:
            held = self.files.holding(np.array([first]))
            with open(held.descriptors[number], "rb", closefd=False) as file:
                entries = read_index(file, self.per_shard)
        except Unreadable as error:
            self.trouble[number] = error.with_traceback(None)
        except (OSError, ValueError) as error:
            self.trouble[number] = Unreadable.because(first, error)
        if number in self.trouble:
            return np.full(self.per_shard, -1, np.int64)
        return np.where(entries[:, 1] == self.bytes + CHECKSUM, entries[:, 0].astype(np.int64), -1)

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the pictures of `rows` [n] into `out`, uint8 [n, size, size, 3], C-contiguous. Raises Unreadable."""
        pictures = out.reshape(len(rows), self.bytes)
        for start in range(0, len(rows), self.at_once):
            self.copy(rows[start : start + self.at_once], pictures[start : start + self.at_once])

    def copy(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the pictures of a few `rows` [n] into `out`, uint8 [n, bytes]."""
        held = self.files.holding(rows)
        files, offsets, checked = held.descriptors[rows // self.per_shard], self.offsets[rows], self.checked[rows]
        for place in np.flatnonzero(~checked).tolist():
            self.read(int(rows[place]), int(files[place]), int(offsets[place]), out[place], check=True)
        again = np.flatnonzero(checked)
        came = self.read_together(files[again], offsets[again], out, again)
        for place in again[~came].tolist():
            self.read(int(rows[place]), int(files[place]), int(offsets[place]), out[place], check=False)

    def read_together(
        self, files: NDArray[np.int64], offsets: NDArray[np.int64], out: NDArray[np.uint8], places: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Copy a picture from each of `offsets` [m] of `files` [m] to each of `places` [m] of `out`, unchecked, where
        memory holds it. Returns which of them came, and came whole, [m]."""
        queue = self.queue() if len(files) else None
        if queue is None:
            return np.zeros(len(files), np.bool_)
        came = queue.read(files, offsets, out.ctypes.data + places * self.bytes, self.bytes)
        self.queues.append(queue)
        return came

    def queue(self) -> Queue | None:
        """Return a queue that no other thread uses, or None where this system has none."""
        with suppress(IndexError):
            return self.queues.pop()
        with suppress(OSError):
            return Queue(MOST_AT_ONCE)
        return None

    def read(self, row: int, file: int, offset: int, target: NDArray[np.uint8], check: bool) -> None:
        """Copy one picture to `target`, uint8 [bytes], and `check` it against its CRC-32C. Raises Unreadable."""
        if offset < 0:
            missing = Unreadable(row, "its chunk is missing, or cut", damaged=True)
            of_shard = self.trouble.get(row // self.per_shard, missing)
            raise Unreadable(row, of_shard.why, of_shard.damaged)
        stored = bytearray(CHECKSUM if check else 0)
        try:
            if os.preadv(file, [target.data, stored], offset) != len(target) + len(stored):
                raise ValueError("its file became shorter")
            if check and google_crc32c.value(target) != int.from_bytes(stored, "little"):
                raise ValueError("its checksum does not match")
        except (OSError, ValueError) as error:
            raise Unreadable.because(row, error) from None
        self.checked[row] = not self.always
