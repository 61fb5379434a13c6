"""One shard, the unit of work: decode its pictures into one file per size, and record last that it is done."""

import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from preprocess.common.config import Preprocess
from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.common.files import compact_json, digest, exists, read_json, sha256_file, write_text, written_aside
from preprocess.common.places import Place
from preprocess.decoder import Decoder, Undecodable
from preprocess.images import Squares
from preprocess.measures import perceptual_hashes, statistics
from preprocess.recipe import recipe
from preprocess.sharding import ShardWriter
from preprocess.sources import Source
from preprocess.store import FOUND, QUARANTINED, REMOVED, STORED, shard_name

RECORDS, STARTED = "records", "started.json"
NO_FILE, NO_LONGER = "no such file", "no longer in the source"
MOST_BYTES = 2**24
"""Of the files whose pictures are decoded at once, unless one has more: from an archive or an object store they are
copied to this machine."""
WORKER_BYTES = 120_000_000
"""Kept of a worker's memory for the worker itself: Python, dask and the libraries it imports take about 80 MB."""


class Asked(NamedTuple):
    """A row of the manifest, as a worker needs it."""

    place: str | None
    bytes: int
    stamp: int
    removed: bool


class How(NamedTuple):
    """The settings of decoding; `memory` is what a decoder may take, in bytes."""

    sizes: tuple[int, ...]
    square: str
    max_megapixels: float
    memory: int

    @classmethod
    def of(cls, settings: Preprocess) -> "How":
        """Return what the settings say of decoding."""
        memory = int(settings.memory_per_worker) - WORKER_BYTES
        return cls(tuple(settings.sizes), settings.square, settings.max_megapixels, memory)


@dataclass(frozen=True)
class Job:
    """All that a worker needs to build shard `number` in `folder`."""

    source: Source
    folder: Place
    number: int
    rows_per_shard: int
    rows: tuple[Asked, ...]
    how: How
    recipe: dict[str, str]

    @property
    def record(self) -> Place:
        """Where the record of this shard is written, last."""
        return self.folder / RECORDS / f"{self.number:06d}.json"

    @property
    def asked(self) -> str:
        """A digest of which files these are: a record of others is none of this job."""
        return digest([list(row) for row in self.rows])

    def done(self) -> dict[str, Any] | None:
        """Return the record of this very job, or None."""
        try:
            record: dict[str, Any] = read_json(self.record)
        except (FileNotFoundError, ValueError):
            return None
        return record if record.get("asked") == self.asked else None

    def record_done(self, rows: list[dict[str, Any]], files: dict[str, str]) -> None:
        """Record that this job is done: what became of its rows, FOUND, and the SHA-256 of its files by their names."""
        write_text(self.record, compact_json({"asked": self.asked, "rows": rows, "files": files}))


def build_shard(job: Job) -> dict[str, Any]:
    """Build one shard and return what it came to: pictures, reasons of the quarantined, bytes, and the peak of memory.

    Raises StoreError where this machine sees another disk, has other decoders, or a picture changed meanwhile.
    """
    refuse_strangers(job)
    decoder = decoder_of(job.how)
    rows: list[dict[str, Any]] = []
    paths = {size: job.folder / "store" / shard_name(size, job.number) for size in job.how.sizes}
    with ExitStack() as files:
        writers: dict[int, ShardWriter] = {}
        for asked in batches(job.rows, decoder.task.at_once):
            found, decoded = decode(job.source, asked, decoder)
            if decoded and not writers:  # a shard without pictures has no file
                for size, path in paths.items():
                    aside = files.enter_context(written_aside(path))
                    writers[size] = files.enter_context(ShardWriter(aside, job.rows_per_shard))
            for place, squares in decoded.items():
                for size, writer in writers.items():
                    writer.write(len(rows) + place, squares.pixels[size])
            measure(found, decoded, job.source.hashes_meaningful)
            rows += found
    written = {shard_name(size, job.number): writer.sha256 for size, writer in writers.items()}
    job.record_done(rows, written)
    return {
        "pictures": len(rows), "reasons": reasons(rows), "bytes": sum(row.bytes for row in job.rows),
        "memory": anonymous_memory() + decoder.peak,
    }  # fmt: skip


def batches(rows: Sequence[Asked], most: int) -> Iterator[list[Asked]]:
    """Yield rows in order, at most `most` at once, whose files have at most MOST_BYTES unless it is one."""
    batch: list[Asked] = []
    for row in rows:
        if len(batch) == most or (batch and sum(each.bytes for each in (*batch, row)) > MOST_BYTES):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def measure(rows: Sequence[dict[str, Any]], decoded: dict[int, Squares], hashed: bool) -> None:
    """Add to rows what the thumbnails of those that were decoded tell, with the perceptual hash where `hashed`."""
    thumbnails = [squares.thumbnail for squares in decoded.values()]
    for place, thumbnail in zip(decoded, thumbnails, strict=True):
        rows[place].update(statistics(thumbnail))
    if hashed and decoded:
        for place, phash in zip(decoded, perceptual_hashes(thumbnails), strict=True):
            rows[place]["phash"] = phash


def refuse_strangers(job: Job) -> None:
    """Raise StoreError where this worker would write elsewhere, or other bytes than its peers."""
    host = os.uname().nodename
    if not exists(job.folder / STARTED):
        raise StoreError(f"the worker on {host} does not see {job.folder}; use a folder that all machines share, "
                         "or an object store")  # fmt: skip
    if differences := {name for name, version in job.recipe.items() if recipe()[name] != version}:
        name = sorted(differences)[0]
        raise StoreError(f"the worker on {host} has {name} {recipe()[name]}, not {job.recipe[name]}, and would decode "
                         "other pixels; install requirements/cpu.txt there too")  # fmt: skip


@functools.lru_cache(maxsize=1)
def decoder_of(how: How) -> Decoder:
    """Return this process's warm decoder for the settings `how`."""
    return Decoder(how.sizes, how.square, how.max_megapixels, how.memory)


def decode(source: Source, rows: Sequence[Asked], decoder: Decoder) -> tuple[list[dict[str, Any]], dict[int, Squares]]:
    """Decode some pictures; return what rows.parquet says of each, and by their places among them the squares of those
    that are neither quarantined nor removed.

    Raises StoreError where a file changes while it is read.
    """
    found: list[dict[str, Any]] = [dict.fromkeys(FOUND) for _ in rows]
    decoded, paths = {}, {}
    try:
        with ExitStack() as files:
            for place, row in enumerate(rows):
                if row.removed:
                    found[place] |= {"status": REMOVED, "reason": NO_LONGER}
                    continue
                try:
                    paths[place], found[place]["sha256"] = fetch(source, row, files)
                except UnreadablePicture as error:
                    found[place] |= {"status": QUARANTINED, "reason": str(error)}
            for place, made in zip(paths, decoder.decode_all(list(paths.values())), strict=True):
                if isinstance(made, Undecodable):
                    found[place] |= made.header._asdict() | {"status": QUARANTINED, "reason": str(made)}
                else:
                    found[place] |= made.header._asdict() | {"status": STORED, "profile": made.squares.profile}
                    decoded[place] = made.squares
    finally:
        for row in rows:
            if row.place is not None and not row.removed and source.stamp(row.place) != (row.bytes, row.stamp):
                raise StoreError(f"{row.place} changed while it was read; run 'make store' again once it is at rest")
    return found, decoded


def fetch(source: Source, row: Asked, files: ExitStack) -> tuple[Path, str]:
    """Return the picture's file, which is there until `files` is closed, and its SHA-256. Raises UnreadablePicture."""
    if row.place is None:
        raise UnreadablePicture(NO_FILE)
    try:
        path = files.enter_context(source.fetch(row.place))
        return path, sha256_file(path)
    except OSError as error:
        error.filename = error.filename or row.place  # or it would be blamed on the shard that is being written
        raise


def reasons(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many rows are quarantined, by reason."""
    return dict(Counter(row["reason"] for row in rows if row["status"] == QUARANTINED))


def retryable(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return the `reasons` for which another try may help: all but a file that is not there."""
    return {reason: count for reason, count in reasons(rows).items() if reason != NO_FILE}


def anonymous_memory() -> int:
    """Return the memory of this process that the system cannot take back from it, in bytes."""
    memory = psutil.Process().memory_full_info()
    return int(getattr(memory, "uss", memory.rss))
