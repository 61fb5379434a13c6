"""The sealed store: a zarr group that never changes, named by the digest of all its bytes, and its CURRENT pointer.

stores/<collection>/manifest.parquet
stores/<collection>/CURRENT                 the fingerprint in use
stores/<collection>/<fingerprint>/          a zarr v3 group
    images_256/                             uint8 [row, y, x, channel], one array per size
    label/                                  int32 [row]
    rows.parquet                            status, reason, perceptual hash and statistics of each row
    seal.json                               inputs, recipe, and the SHA-256 of every other file
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import zarr
from zarr.codecs import Crc32cCodec

from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.common.files import digest, read_json, sha256_file, write_text
from preprocess.common.progress import Progress

SEAL, ROWS, CURRENT = "seal.json", "rows.parquet", "CURRENT"
FORMAT = 1
STORED, QUARANTINED = "stored", "quarantined"


@dataclass(frozen=True)
class Store:
    """A sealed store, opened for reading."""

    path: Path
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
        """One row per picture: the manifest's columns (less modification times), row, status ("stored" or
        "quarantined"), reason, phash (16 hexadecimal digits or null), mean, contrast, colour, profile."""
        return pl.read_parquet(self.path / ROWS)

    def size_for(self, wanted: int) -> int:
        """Return the smallest stored size of at least `wanted` pixels. Raises StoreError."""
        for size in self.sizes:
            if size >= wanted:
                return size
        raise StoreError(f"{self.path} holds sizes {self.sizes}, none as large as {wanted}; add it to preprocess.sizes")


def array_name(size: int) -> str:
    """Return the name of the array that holds the pictures of one size."""
    return f"images_{size}"


def create_arrays(path: Path, count: int, sizes: list[int], rows_per_shard: int) -> None:
    """Create the group and its picture arrays, without data: one picture per chunk, each with a CRC-32C.

    Photographs do not compress, so chunks are raw. Dimension names differ by size for xarray.
    """
    group = zarr.create_group(path, overwrite=True)
    for size in sizes:
        group.create_array(
            array_name(size), shape=(count, size, size, 3), dtype="uint8", chunks=(1, size, size, 3),
            shards=(rows_per_shard, size, size, 3), compressors=[Crc32cCodec()],
            dimension_names=["row", f"y_{size}", f"x_{size}", "channel"],
        )  # fmt: skip


def open_store(path: Path) -> Store:
    """Open the sealed store in `path`. Raises StoreError."""
    try:
        seal = read_json(path / SEAL)
    except FileNotFoundError:
        raise StoreError(f"{path} is not a sealed store; run 'make store'") from None
    except ValueError:
        raise StoreError(f"{path / SEAL} is damaged; run 'make check-store', then rebuild with 'make store'") from None
    if not isinstance(seal, dict) or seal.get("format") != FORMAT:
        raise StoreError(f"{path} was made by another version of this program; rebuild it with 'make store'")
    if digest(seal) != path.name:
        raise StoreError(f"{path / SEAL} does not match its fingerprint; it was changed: rebuild with 'make store'")
    return Store(path, seal)


def current_store(folder: Path) -> Store:
    """Open the store that `folder`/CURRENT points to. Raises StoreError."""
    if not (fingerprint := pointed_to(folder)):
        raise StoreError(f"{folder} has no store yet; run 'make store'")
    return open_store(folder / fingerprint)


def store_of(config: Config) -> Store:
    """Open the current store of the settings' collection. Raises StoreError where it was built with other settings."""
    store = current_store(config.store_folder)
    for key, wanted in config.preprocess.model_dump(exclude={"workers"}).items():
        if store.seal["inputs"][key] != wanted:
            built = store.seal["inputs"][key]
            raise StoreError(f"{store.path} was built with preprocess.{key} = {built}, not {wanted}; "
                             "run 'make store', or change the setting back")  # fmt: skip
    return store


def pointed_to(folder: Path) -> str:
    """Return the fingerprint in `folder`/CURRENT, or an empty string where there is none."""
    try:
        return (folder / CURRENT).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def find_store(folder: Path, inputs: dict[str, Any]) -> Store | None:
    """Return the sealed store in `folder` that was made from exactly `inputs`, if there is one."""
    for seal in sorted(folder.glob(f"*/{SEAL}")):
        try:
            store = open_store(seal.parent)
        except StoreError:
            continue
        if store.seal["inputs"] == inputs:
            return store
    return None


def point_to(store: Store) -> None:
    """Make `store` the current one of its collection."""
    if pointed_to(store.path.parent) != store.fingerprint:
        write_text(store.path.parent / CURRENT, store.fingerprint + "\n")


def check_store(store: Store) -> list[str]:
    """Read every file and return what is wrong, a line each; an empty list means byte for byte as sealed."""
    sealed: dict[str, str] = store.seal["files"]
    present = {path.relative_to(store.path).as_posix() for path in store.path.rglob("*") if path.is_file()} - {SEAL}
    damage = [f"{name}: not in the seal" for name in sorted(present - sealed.keys())]
    with Progress("check-store", len(sealed), "file") as progress:
        for name, expected in sorted(sealed.items()):
            if name not in present:
                damage.append(f"{name}: missing{rows_in(store, name)}")
            elif sha256_file(store.path / name) != expected:
                damage.append(f"{name}: changed{rows_in(store, name)}")
            progress.advance(1, f"damaged: {len(damage)}")
    return damage


def rows_in(store: Store, name: str) -> str:
    """Say which rows a damaged file holds."""
    array, *coordinates = name.split("/c/")
    if not array.startswith("images_") or not coordinates:
        return ""
    per_shard = int(store.seal["inputs"]["rows_per_shard"])
    first = int(coordinates[0].split("/")[0]) * per_shard
    return f" (rows {first} to {min(first + per_shard, store.seal['rows']) - 1})"
