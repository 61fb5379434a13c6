"""One shard, the unit of work: decode its pictures into one file per size, and record last that it is done."""

import functools
import os
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

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
MEASURED_AT_ONCE = 64
"""Pictures, whose thumbnails wait: measured in one go they cost a third, as the code stays in the processor's cache."""
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
    unmeasured: list[tuple[dict[str, Any], NDArray[np.uint8]]] = []
    paths = {size: job.folder / "store" / shard_name(size, job.number) for size in job.how.sizes}
    with ExitStack() as files:
        writers: dict[int, ShardWriter] = {}
        for number, row in enumerate(job.rows):
            found, squares = decode(job.source, row, decoder)
            rows.append(found)
            if squares is None:
                continue
            if not writers:  # a shard without pictures has no file
                for size, path in paths.items():
                    aside = files.enter_context(written_aside(path))
                    writers[size] = files.enter_context(ShardWriter(aside, job.rows_per_shard))
            for size, writer in writers.items():
                writer.write(number, squares.pixels[size])
            unmeasured.append((found, squares.thumbnail))
            if len(unmeasured) == MEASURED_AT_ONCE:
                measure(unmeasured, job.source.hashes_meaningful)
        measure(unmeasured, job.source.hashes_meaningful)
    written = {shard_name(size, job.number): writer.sha256 for size, writer in writers.items()}
    job.record_done(rows, written)
    return {
        "pictures": len(rows), "reasons": reasons(rows), "bytes": sum(row.bytes for row in job.rows),
        "memory": anonymous_memory() + decoder.peak,
    }  # fmt: skip


def measure(unmeasured: list[tuple[dict[str, Any], NDArray[np.uint8]]], hashed: bool) -> None:
    """Add to rows what their thumbnails tell, with the perceptual hash where `hashed`, and empty the list."""
    if not unmeasured:
        return
    rows, thumbnails = zip(*unmeasured, strict=True)
    for found, thumbnail in unmeasured:
        found |= statistics(thumbnail)
    if hashed:
        for found, phash in zip(rows, perceptual_hashes(thumbnails), strict=True):
            found["phash"] = phash
    unmeasured.clear()


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


def decode(source: Source, row: Asked, decoder: Decoder) -> tuple[dict[str, Any], Squares | None]:
    """Decode one picture; return what rows.parquet says of it, and its squares unless it is quarantined or removed.

    Raises StoreError where the file changes while it is read.
    """
    found: dict[str, Any] = dict.fromkeys(FOUND)
    if row.removed:
        return found | {"status": REMOVED, "reason": NO_LONGER}, None
    try:
        if row.place is None:
            raise UnreadablePicture(NO_FILE)
        try:
            with source.fetch(row.place) as path:
                found["sha256"] = sha256_file(path)
                header, squares = decoder.decode(path)
        finally:
            if source.stamp(row.place) != (row.bytes, row.stamp):
                raise StoreError(f"{row.place} changed while it was read; run 'make store' again once it is at rest")
    except OSError as error:
        error.filename = error.filename or row.place  # or it would be blamed on the shard that is being written
        raise
    except UnreadablePicture as error:
        if isinstance(error, Undecodable):
            found |= error.header._asdict()
        return found | {"status": QUARANTINED, "reason": str(error)}, None
    return found | header._asdict() | {"status": STORED, "profile": squares.profile}, squares


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
