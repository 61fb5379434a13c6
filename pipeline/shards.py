"""Local shards, read straight from their files: a table says where each row lies, and one system call fetches it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from preprocess.sharding import CHECKSUM, MISSING, read_index
from preprocess.store import Store, array_name, shard_name

LEAST_PER_THREAD = 1 << 20
"""Bytes: for less, handing work to a thread costs more than it saves."""


class Damaged(Exception):  # noqa: N818 - a fact about a row, turned into a StoreError by the reader
    """A row that cannot be read, and why."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(row, why)
        self.row, self.why = row, why


def is_plain(store: Store, size: int) -> bool:
    """Return whether the pictures of one size lie on a local disk as `preprocess.sharding` writes them: raw, one a
    chunk, each with its CRC-32C, and the index at the end of a shard."""
    if not isinstance(store.path, Path):
        return False
    metadata = json.loads((store.path / array_name(size) / "zarr.json").read_text())
    (sharding,) = metadata["codecs"]
    settings = sharding["configuration"]
    inner = [codec["name"] for codec in settings["codecs"]]
    index = [codec["name"] for codec in settings["index_codecs"]]
    return (
        sharding["name"] == "sharding_indexed"
        and metadata["data_type"] == "uint8"
        and settings["chunk_shape"] == [1, size, size, 3]
        and metadata["chunk_grid"]["configuration"]["chunk_shape"] == [store.rows_per_shard, size, size, 3]
        and inner == index == ["bytes", "crc32c"]
        and settings.get("index_location", "end") == "end"
    )


class Shards:
    """The pictures of one size in a local store. Safe to use from several threads."""

    def __init__(self, store: Store, size: int, threads: int, always: bool) -> None:
        """Read the index of every shard: 8 bytes a row stay in memory. With `always` every read is checked against its
        CRC-32C, otherwise the first read of each row. A shard that cannot be read has no rows until they are wanted."""
        self.bytes = size * size * 3
        self.always = always
        rows, per_shard = int(store.seal["rows"]), store.rows_per_shard
        self.per_shard = per_shard
        self.paths = [store.path / shard_name(size, number) for number in range(-(-rows // per_shard))]
        self.files: list[int] = []
        self.trouble: dict[int, str] = {}
        self.offsets = np.full(len(self.paths) * per_shard, -1, np.int64)
        for number, path in enumerate(self.paths):
            self.offsets[number * per_shard : (number + 1) * per_shard] = self.opened(number, path)
        self.checked = np.zeros(rows, np.bool_)
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.threads = threads

    def opened(self, number: int, path: Path) -> NDArray[np.int64]:
        """Open a shard for good and return the offset of each of its rows, -1 where it has none."""
        try:
            self.files.append(os.open(path, os.O_RDONLY))
            with path.open("rb") as file:
                index = read_index(file, self.per_shard)
        except (OSError, ValueError) as error:
            self.trouble[number] = "its file is missing" if isinstance(error, FileNotFoundError) else str(error)
            self.files += [-1] * (number + 1 - len(self.files))
            return np.full(self.per_shard, -1, np.int64)
        plain = (index[:, 0] != MISSING) & (index[:, 1] == self.bytes + CHECKSUM)
        return np.where(plain, index[:, 0].astype(np.int64), -1)

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copy the pictures of `rows` [n] into `out`, uint8 [n, size, size, 3], C-contiguous. Raises Damaged."""
        flat = memoryview(out.reshape(-1))  # type: ignore[arg-type]
        if self.pool is None or out.nbytes < LEAST_PER_THREAD * self.threads:
            self.copy(rows, flat)
            return
        pieces = np.array_split(np.arange(len(rows)), self.threads)
        list(self.pool.map(
            lambda piece: self.copy(rows[piece], flat[piece[0] * self.bytes : (piece[-1] + 1) * self.bytes]), pieces
        ))  # fmt: skip

    def copy(self, rows: NDArray[np.int64], out: memoryview) -> None:
        """Copy the pictures of `rows` into `out`, one behind the other."""
        size, files, read = self.bytes, self.files, os.preadv
        places = zip(
            rows.tolist(), (rows // self.per_shard).tolist(), self.offsets[rows].tolist(), self.checked[rows].tolist(),
            range(0, len(rows) * size, size), strict=True,
        )  # fmt: skip
        for row, shard, offset, checked, place in places:
            target = out[place : place + size]
            if checked and not self.always and offset >= 0:
                try:
                    if read(files[shard], (target,), offset) == size:
                        continue
                except OSError as error:
                    raise Damaged(row, os.strerror(error.errno or 0)) from None
                raise Damaged(row, "its file became shorter")
            self.first_read(row, shard, offset, target)

    def first_read(self, row: int, shard: int, offset: int, target: memoryview) -> None:
        """Copy one picture and compare it with its checksum."""
        if offset < 0:
            raise Damaged(row, self.trouble.get(shard, "its chunk is missing"))
        stored = bytearray(CHECKSUM)
        try:
            count = os.preadv(self.files[shard], (target, stored), offset)
        except OSError as error:
            raise Damaged(row, os.strerror(error.errno or 0)) from None
        if count != self.bytes + CHECKSUM or google_crc32c.value(target.tobytes()) != int.from_bytes(stored, "little"):
            raise Damaged(row, "its checksum does not match")
        self.checked[row] = True

    def __del__(self) -> None:
        for file in getattr(self, "files", []):
            if file >= 0:
                os.close(file)
