"""One shard, the unit of work: decode its pictures, write one file per size, and last its record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tensorstore as ts
from numpy.typing import NDArray

from preprocess.common.errors import UnreadablePicture
from preprocess.common.files import read_json, sha256_file, write_bytes, write_json
from preprocess.images import make_squares
from preprocess.measures import perceptual_hash, statistics
from preprocess.sources import Source
from preprocess.store import QUARANTINED, STORED, array_name

Row = dict[str, str | float | None]
FOUND = {
    "status": pl.String, "reason": pl.String, "phash": pl.String, "mean": pl.Float64, "contrast": pl.Float64,
    "colour": pl.Float64, "profile": pl.String,
}  # fmt: skip
"""The columns of rows.parquet that decoding adds."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs to build one shard of the store in `store`; `rows` are (key, problem) pairs."""

    source: Source
    store: Path
    record: Path
    rows: tuple[tuple[str, str | None], ...]
    sizes: tuple[int, ...]
    square: str
    max_megapixels: float


def build_shard(job: Job) -> tuple[int, int]:
    """Build one shard and return how many pictures were stored and how many quarantined."""
    images = {size: np.empty((len(job.rows), size, size, 3), np.uint8) for size in job.sizes}
    rows = [decode(job, index, images) for index in range(len(job.rows))]
    stored = np.flatnonzero([row["status"] == STORED for row in rows])
    files = {}
    for size in job.sizes if len(stored) else ():
        name = f"{array_name(size)}/c/{int(job.record.stem)}/0/0/0"
        write_bytes(job.store / name, encode_shard(job.store / array_name(size), images[size], stored))
        files[name] = sha256_file(job.store / name)
    quarantined = len(rows) - len(stored)
    write_json(job.record, {"rows": rows, "files": files, "quarantined": quarantined})
    return len(stored), quarantined


def decode(job: Job, index: int, images: dict[int, NDArray[np.uint8]]) -> Row:
    """Decode one picture into `images` [row, y, x, channel] of each size, and return its row of rows.parquet."""
    key, problem = job.rows[index]
    try:
        if problem:
            raise UnreadablePicture(problem)
        with job.source.open(key) as image:
            squares = make_squares(image, job.sizes, job.square, job.max_megapixels)
    except UnreadablePicture as error:
        return dict.fromkeys(FOUND) | {"status": QUARANTINED, "reason": str(error)}
    for size, pixels in squares.pixels.items():
        images[size][index] = pixels
    phash = perceptual_hash(squares) if job.source.hashes_meaningful else None
    return {"status": STORED, "reason": None, "phash": phash, **statistics(squares), "profile": squares.profile}


def encode_shard(array: Path, images: NDArray[np.uint8], stored: NDArray[np.intp]) -> bytes:
    """Return the bytes of one shard of the zarr array in `array` that holds chunks for exactly the `stored` rows.

    TensorStore rather than zarr-python, which cannot write some rows of a shard and leave others out (3.1.6), and
    which would drop pictures that are all black. The bytes are the same where both can (tested).
    """
    metadata: dict[str, Any] = read_json(array / "zarr.json")
    wanted = ("data_type", "chunk_grid", "chunk_key_encoding", "codecs", "fill_value")
    shard = {name: metadata[name] for name in wanted}
    shard["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    context = ts.Context()
    target = ts.open(
        {"driver": "zarr3", "kvstore": "memory://", "metadata": shard, "store_data_equal_to_fill_value": True},
        create=True, context=context,
    ).result()  # fmt: skip
    target[stored].write(images[stored]).result()
    return bytes(ts.KvStore.open("memory://", context=context).result().read("c/0/0/0/0").result().value)
