"""The sealed store: a zarr group that never changes, named by the digest of all its bytes, and its CURRENT pointer.

stores/<collection>/manifest.parquet
stores/<collection>/CURRENT                 the fingerprint in use
stores/<collection>/<fingerprint>/          a zarr v3 group
    images_256/                             uint8 [row, y, x, channel], one array per size
    label/                                  int32 [row]
    rows.parquet                            status, reason, perceptual hash and statistics of each row
    seal.json                               inputs, recipe, origin of each shard, the SHA-256 of every other file
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.common.files import list_files, local_copy, read_bytes, read_parquet, write_text
from preprocess.common.places import Place
from preprocess.sharding import read_chunk, read_index

SEAL, ROWS, CURRENT = "seal.json", "rows.parquet", "CURRENT"
FORMAT = 3
FINGERPRINT, SHARD = re.compile(r"[0-9a-f]{64}"), re.compile(r"images_\d+/c/(\d+)/0/0/0")
STORED, QUARANTINED, REMOVED = "stored", "quarantined", "removed"
FOUND = {
    "sha256": pl.String, "format": pl.String, "width": pl.Int64, "height": pl.Int64, "mode": pl.String,
    "quality": pl.Int64, "status": pl.String, "reason": pl.String, "phash": pl.String, "mean": pl.Float64,
    "contrast": pl.Float64, "colour": pl.Float64, "profile": pl.String,
}  # fmt: skip
"""The columns of rows.parquet that decoding adds."""


@dataclass(frozen=True)
class Store:
    """A sealed store, opened for reading."""

    path: Place
    seal: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The digest of the seal, which is also the folder's name."""
        return self.path.name

    @property
    def sizes(self) -> list[int]:
        """The sizes stored, in pixels, ascending."""
        return sorted(self.seal["inputs"]["sizes"])

    @property
    def square(self) -> str:
        """How pictures were squared: crop, pad or stretch."""
        return str(self.seal["inputs"]["square"])

    @property
    def hashes_meaningful(self) -> bool:
        """Whether equal perceptual hashes mean equal pictures."""
        return bool(self.seal["inputs"]["hashes_meaningful"])

    @cached_property
    def rows(self) -> pl.DataFrame:
        """One row per picture: row, key, artist, label, side, title, style, genre, date, bytes, sha256, format, width,
        height (as stored in the file), mode, status ("stored", "quarantined" or "removed"), reason, phash (16
        hexadecimal digits or null), mean, contrast, colour, profile ("none", "applied" or "broken")."""
        return read_parquet(self.path / ROWS)

    @property
    def rows_per_shard(self) -> int:
        """How many rows a file holds, the last one perhaps fewer."""
        return int(self.seal["inputs"]["rows_per_shard"])

    def picture(self, row: int, size: int) -> NDArray[np.uint8]:
        """Return one picture, uint8 [size, size, 3], at a stored size. Raises StoreError where it is damaged."""
        shard, place = divmod(row, self.rows_per_shard)
        try:
            with local_copy(self.path / shard_name(size, shard)) as path, path.open("rb") as file:
                return read_chunk(file, read_index(file, self.rows_per_shard)[place], size)
        except (ValueError, FileNotFoundError) as error:
            raise StoreError(f"row {row} of {self.path} is damaged: {error}; run 'make check-store'") from None

    def size_for(self, wanted: int) -> int:
        """Return the smallest stored size of at least `wanted` pixels. Raises StoreError."""
        for size in self.sizes:
            if size >= wanted:
                return size
        raise StoreError(f"{self.path} holds sizes {self.sizes}, none as large as {wanted}; add it to preprocess.sizes")


def array_name(size: int) -> str:
    """Return the name of the array that holds the pictures of one size."""
    return f"images_{size}"


def shard_name(size: int, number: int) -> str:
    """Return the path, inside a store, of the file that holds the pictures of shard `number` at one size."""
    return f"{array_name(size)}/c/{number}/0/0/0"


def shard_of(name: str) -> int | None:
    """Return the number of the shard that a file of the store holds, or None where it holds no pictures."""
    found = SHARD.fullmatch(name)
    return int(found[1]) if found else None


@contextmanager
def metadata_of(count: int, sizes: list[int], rows_per_shard: int, labels: NDArray[np.int32]) -> Iterator[Path]:
    """Yield a temporary folder with all files of a store's zarr group but the pictures.

    The picture arrays have one picture per chunk, each with a CRC-32C. Photographs do not compress, so chunks are raw.
    Dimension names differ by size for xarray.
    """
    import zarr
    from zarr.codecs import Crc32cCodec

    with TemporaryDirectory() as folder:
        group = zarr.create_group(folder)
        for size in sizes:
            group.create_array(
                array_name(size), shape=(count, size, size, 3), dtype="uint8", chunks=(1, size, size, 3),
                shards=(rows_per_shard, size, size, 3), compressors=[Crc32cCodec()],
                dimension_names=["row", f"y_{size}", f"x_{size}", "channel"],
            )  # fmt: skip
        group.create_array("label", data=labels, dimension_names=["row"])
        yield Path(folder)


def open_store(path: Place) -> Store:
    """Open the sealed store in `path`. Raises StoreError."""
    try:
        data = read_bytes(path / SEAL)
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{path} is not a sealed store; run 'make store'") from None
    if hashlib.sha256(data).hexdigest() != path.name:
        raise StoreError(f"{path / SEAL} does not match its fingerprint: it was changed, or made by another version of "
                         "this program; rebuild it with 'make store'")  # fmt: skip
    seal = json.loads(data)
    if seal["format"] != FORMAT:
        raise StoreError(f"{path} was made by another version of this program; rebuild it with 'make store'")
    return Store(path, seal)


def current_store(folder: Place) -> Store:
    """Open the store that `folder`/CURRENT points to. Raises StoreError."""
    if not (fingerprint := pointed_to(folder)):
        raise StoreError(f"{folder} has no store yet; run 'make store'")
    return open_store(folder / fingerprint)


def store_of(config: Config) -> Store:
    """Open the current store of the settings' collection. Raises StoreError where it was built with other settings."""
    store = current_store(config.store_folder)
    for key, wanted in config.preprocess.content.items():
        if store.seal["inputs"][key] != wanted:
            built = store.seal["inputs"][key]
            raise StoreError(f"{store.path} was built with preprocess.{key} = {built}, not {wanted}; "
                             "run 'make store', or change the setting back")  # fmt: skip
    return store


def pointed_to(folder: Place) -> str:
    """Return the fingerprint in `folder`/CURRENT, or an empty string where there is none."""
    try:
        return read_bytes(folder / CURRENT).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def sealed_stores(folder: Place) -> list[Store]:
    """Return all sealed stores in `folder`, the current one first."""
    current = pointed_to(folder)
    names = {name.partition("/")[0] for name in list_files(folder)}
    found = []
    for name in sorted(filter(FINGERPRINT.fullmatch, names), key=lambda name: (name != current, name)):
        with suppress(StoreError):
            found.append(open_store(folder / name))
    return found


def point_to(store: Store) -> None:
    """Make `store` the current one of its collection."""
    if pointed_to(store.path.parent) != store.fingerprint:
        write_text(store.path.parent / CURRENT, store.fingerprint + "\n")
