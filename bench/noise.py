"""Sealed stores of noise, as large as one likes, made without decoding."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import polars as pl

from preprocess.common.files import sha256_file
from preprocess.common.progress import Progress
from preprocess.seal import write_metadata
from preprocess.sharding import ShardWriter
from preprocess.store import FORMAT, SEAL, STORED, shard_name

SHARD_BYTES = 50_000_000
PAINTINGS = 20
"""Of every artist."""


def write_store(folder: Path, size: int, total: int) -> Path:
    """Write a sealed store of about `total` bytes of pictures of `size` pixels in `folder`, and return its path.

    Its files have been read once from front to back: they lie in memory as after `make check-store`.
    """
    picture = size * size * 3
    per_shard = SHARD_BYTES // picture
    count = total // picture // per_shard * per_shard
    rows = pl.DataFrame({
        "row": range(count), "key": [str(row) for row in range(count)],
        "label": np.arange(count, dtype=np.int32) // PAINTINGS, "status": [STORED] * count, "reason": [""] * count,
    })  # fmt: skip
    building, inputs = folder / "building", {"sizes": [size], "rows_per_shard": per_shard}
    files, rng = write_metadata(building, rows, inputs), np.random.default_rng(0)
    with Progress(f"writing {size} px", count, "picture") as progress:
        for start in range(0, count, per_shard):
            name = shard_name(size, start // per_shard)
            (building / name).parent.mkdir(parents=True)
            with ShardWriter(building / name, per_shard) as writer:
                for row in range(per_shard):
                    writer.write(row, rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
            forget(building / name)
            files[name] = sha256_file(building / name)
            progress.advance(per_shard)
    seal = json.dumps({"format": FORMAT, "inputs": inputs, "rows": count, "files": files}).encode()
    (building / SEAL).write_bytes(seal)
    return building.rename(folder / hashlib.sha256(seal).hexdigest())


def forget(path: Path) -> None:
    """Let the system write a file and drop it from memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
