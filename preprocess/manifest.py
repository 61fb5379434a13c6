"""The manifest: one row per picture of a source, from tables and file headers only."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import polars as pl

from preprocess.common.config import Config
from preprocess.common.errors import SourceError, StoreError
from preprocess.common.files import exclusive, write_parquet
from preprocess.common.progress import Progress
from preprocess.images import Header
from preprocess.sources import Source, ensure_gallery, make_source

MEASURED = {
    "bytes": pl.Int64, "mtime_ns": pl.Int64, "format": pl.String, "width": pl.Int64, "height": pl.Int64,
    "mode": pl.String, "sha256": pl.String, "problem": pl.String,
}  # fmt: skip
READERS = 4
"""Threads that hash files: hashing frees the interpreter, and disks like a short queue."""
IN_FLIGHT = 1024


def manifest_path(config: Config) -> Path:
    """Return where this collection's manifest is kept."""
    return config.store_folder / "manifest.parquet"


def make_manifest(config: Config) -> pl.DataFrame:
    """Bring the manifest up to date and return it.

    Columns: key, artist, label (int32, the artist's number in sorted order), side, title, style, genre, date,
    bytes, mtime_ns, format, width, height (as stored), mode, sha256, problem (null where the header is readable).
    A file whose size and time have not changed is not read again. Raises SourceError.
    """
    if config.source.kind == "gallery":
        ensure_gallery(config)
    source = make_source(config)
    with exclusive(config.store_folder, StoreError):
        rows = source.rows()
        if not len(rows):
            raise SourceError(f"{config.source.path} holds no pictures; check source.kind and source.path")
        if rows["artist"].n_unique() < 2:
            raise SourceError(f"{config.source.path}: all {len(rows)} pictures are by {rows['artist'][0]!r}; "
                              "pairs need a second artist: add one")  # fmt: skip
        path = manifest_path(config)
        earlier = earlier_manifest(path)
        measured = measure(source, rows["key"].to_list(), known_headers(earlier))
        labels = rows["artist"].rank("dense").cast(pl.Int32) - 1
        manifest = rows.with_columns(labels.alias("label")).hstack(measured)
        if earlier is None or not earlier.equals(manifest):
            write_parquet(path, manifest)
    return manifest


def earlier_manifest(path: Path) -> pl.DataFrame | None:
    """Return the manifest in `path`; None where there is none, or one that is damaged: all of it can be read again."""
    try:
        return pl.read_parquet(path)
    except (FileNotFoundError, pl.exceptions.PolarsError):
        return None


def known_headers(earlier: pl.DataFrame | None) -> dict[tuple[str, int, int], tuple[object, ...]]:
    """Return what an earlier manifest measured, by key, bytes and modification time."""
    if earlier is None or not {"key", *MEASURED}.issubset(earlier.columns):
        return {}
    return {(row[0], row[1], row[2]): row[3:] for row in earlier.select("key", *MEASURED).iter_rows()}


def measure(source: Source, keys: list[str], known: dict[tuple[str, int, int], tuple[object, ...]]) -> pl.DataFrame:
    """Return the MEASURED columns for `keys`, in their order, reading only what `known` lacks."""

    def one(key: str) -> tuple[object, ...]:
        stamp = source.stamp(key)
        header: tuple[object, ...] | Header = known.get((key, *stamp)) or source.header(key)
        return (*stamp, *header)

    with ThreadPoolExecutor(READERS) as readers, Progress("manifest", len(keys), "file") as progress:
        measured = []
        for block in blocks(keys, IN_FLIGHT):
            measured += list(readers.map(one, block))
            progress.advance(len(block))
    return pl.DataFrame(measured, MEASURED, orient="row")


def blocks(keys: list[str], size: int) -> Iterator[list[str]]:
    """Cut `keys` into lists of at most `size`."""
    remaining = iter(keys)
    while block := list(islice(remaining, size)):
        yield block


def manifest_digest(manifest: pl.DataFrame) -> str:
    """Return the SHA-256 of everything in the manifest but modification times, in hexadecimal."""
    return hashlib.sha256(manifest.drop("mtime_ns").write_csv().encode()).hexdigest()
