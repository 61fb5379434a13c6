"""The manifest: one row per picture of a collection, from tables and listings only; a row never changes its number."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from preprocess.common.config import Config
from preprocess.common.errors import SourceError, StoreError, UnreadablePicture
from preprocess.common.files import exclusive, read_parquet, sha256_file, write_parquet
from preprocess.common.places import Place
from preprocess.common.progress import Progress
from preprocess.sources import Source, ensure_gallery, make_source

READERS = 4
"""Threads that hash files: hashing frees the interpreter, and disks like a short queue."""
IDENTITY = ("key", "artist", "side", "title", "style", "genre", "date", "sha256", "removed")
"""The columns that say what a collection is; where its files lie and when they changed is not among them."""


def manifest_path(config: Config) -> Place:
    """Return where this collection's manifest is kept."""
    return config.store_folder / "manifest.parquet"


def make_manifest(config: Config, rehash: bool = False) -> pl.DataFrame:
    """Bring the manifest up to date and return it.

    Columns: key, artist, label (int32, the artist's number in sorted order), side, title, style, genre, date, place,
    bytes and stamp (see Source), sha256 (null until the file has been read), removed (the source no longer has it).
    New pictures are appended. A file whose size and stamp have not changed is taken for the same, unless `rehash`.
    Raises SourceError.
    """
    if config.source.kind == "gallery":
        ensure_gallery(config)
    source = make_source(config)
    with exclusive(config.store_folder, StoreError):
        listed = source.rows()
        if not len(listed):
            raise SourceError(f"{config.source.path} holds no pictures; check source.kind and source.path")
        if listed["artist"].n_unique() < 2:
            raise SourceError(f"{config.source.path}: all {len(listed)} pictures are by {listed['artist'][0]!r}; "
                              "pairs need a second artist: add one")  # fmt: skip
        earlier = earlier_rows(config)
        manifest = merged(listed, earlier)
        if rehash:
            manifest = manifest.with_columns(sha256=pl.lit(None, pl.String))
        if earlier is None or not earlier.equals(manifest):
            write_parquet(manifest_path(config), manifest)
    return manifest


def kept_manifest(config: Config) -> pl.DataFrame:
    """Return the manifest as it was made last; nothing is listed. Raises StoreError where there is none."""
    try:
        return read_parquet(manifest_path(config))
    except (FileNotFoundError, pl.exceptions.PolarsError):
        raise StoreError(f"{manifest_path(config)} does not exist; run 'python -m preprocess manifest' first") from None


def earlier_rows(config: Config) -> pl.DataFrame | None:
    """Return the last manifest, or where that is lost the rows of the current store: they say which row is whose."""
    from preprocess.store import current_store

    try:
        return read_parquet(manifest_path(config))
    except (FileNotFoundError, pl.exceptions.PolarsError):
        pass
    try:
        return current_store(config.store_folder).rows
    except (StoreError, FileNotFoundError, pl.exceptions.PolarsError):
        return None


def merged(listed: pl.DataFrame, earlier: pl.DataFrame | None) -> pl.DataFrame:
    """Return the manifest of the `listed` pictures in which each row of `earlier` keeps its place."""
    rows = listed.with_columns(removed=pl.lit(False))
    if earlier is None:
        return labelled(rows.with_columns(sha256=pl.lit(None, pl.String)))
    numbers = earlier.select("key").with_row_index("number")
    gone = earlier.join(listed, on="key", how="anti").select(
        *(pl.col(name) if name in earlier.columns else pl.lit(None).alias(name) for name in listed.columns)
    ).with_columns(place=pl.lit(None, pl.String), bytes=pl.lit(0), stamp=pl.lit(0), removed=pl.lit(True))  # fmt: skip
    rows = pl.concat([rows, gone.cast(dict(rows.schema))])  # type: ignore[arg-type]
    rows = rows.join(numbers, on="key", how="left", maintain_order="left").sort(
        "number", nulls_last=True, maintain_order=True
    )
    if "stamp" not in earlier.columns:  # the rows of a store: whose files these are must be read to be known
        return labelled(rows.drop("number").with_columns(sha256=pl.lit(None, pl.String)))
    same_file = ["key", "bytes", "stamp"]
    known = earlier.select(*same_file, "sha256")
    return labelled(rows.drop("number").join(known, on=same_file, how="left", maintain_order="left"))


def labelled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `rows` with the number of each artist, and the columns in the manifest's order."""
    labels = rows["artist"].rank("dense").cast(pl.Int32) - 1
    order = [*IDENTITY[:2], "label", *IDENTITY[2:7], "place", "bytes", "stamp", "sha256", "removed"]
    return rows.with_columns(labels.alias("label")).select(order)


def hashed(manifest: pl.DataFrame, source: Source, first: int) -> pl.DataFrame:
    """Return `manifest` with the SHA-256 of every file among its `first` rows, reading those that are not known."""
    unread = (
        manifest.with_row_index("number").head(first).filter(pl.col("place").is_not_null() & pl.col("sha256").is_null())
    )
    if unread.is_empty():
        return manifest
    sha256s = manifest["sha256"].to_list()
    with ThreadPoolExecutor(READERS) as readers, Progress("reading changed files", len(unread), "file") as progress:
        numbers, places = unread["number"].to_list(), unread["place"].to_list()
        for number, sha256 in zip(numbers, readers.map(lambda place: sha256_of(source, place), places), strict=True):
            sha256s[number] = sha256
            progress.advance(1)
    return manifest.with_columns(sha256=pl.Series(sha256s, dtype=pl.String))


def sha256_of(source: Source, place: str) -> str | None:
    """Return the SHA-256 of a picture's bytes, or None where they cannot be had."""
    try:
        with source.fetch(place) as path:
            return sha256_file(path)
    except (UnreadablePicture, FileNotFoundError):
        return None


def manifest_digest(manifest: pl.DataFrame) -> str:
    """Return the SHA-256 of what the collection is (IDENTITY), in hexadecimal."""
    return hashlib.sha256(manifest.select(IDENTITY).write_csv().encode()).hexdigest()
