"""Sealed stores made directly, without sources or decoding: any size, any number of rows in a shard, rows left out."""

import hashlib
import json
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from preprocess.common.files import sha256_file, write_bytes
from preprocess.seal import write_metadata
from preprocess.sharding import ALIGNED, CHECKSUM, ShardWriter
from preprocess.store import FORMAT, QUARANTINED, SEAL, STORED, Store, open_store, shard_name
from tests.helpers import Pixels


def noise(count: int, size: int, seed: int = 0) -> Pixels:
    """Return `count` pictures of noise, uint8 [count, size, size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def begin(place: int, size: int) -> int:
    """Return at which byte of a shard that lacks none the picture at `place` begins."""
    return place * -(-(size * size * 3 + CHECKSUM) // ALIGNED) * ALIGNED


def sealed(path: Path, seal: dict[str, Any]) -> Store:
    """Write a seal into the folder `path`, give the folder the seal's name, and open it."""
    data = json.dumps(seal).encode()
    write_bytes(path / SEAL, data)
    return open_store(path.rename(path.parent / hashlib.sha256(data).hexdigest()))


def made_store(folder: Path, pictures: Pixels, per_shard: int, left_out: Container[int] = ()) -> Store:
    """Write a store of `pictures`, uint8 [row, size, size, 3], of which the rows `left_out` are quarantined."""
    count, size = pictures.shape[:2]
    stored = [row not in left_out for row in range(count)]
    rows = pl.DataFrame({
        "row": range(count), "key": [f"{row}.png" for row in range(count)], "label": np.zeros(count, np.int32),
        "status": [STORED if one else QUARANTINED for one in stored],
        "reason": ["" if one else "image file is truncated" for one in stored],
    })  # fmt: skip
    path, inputs = folder / "building", {"sizes": [size], "rows_per_shard": per_shard}
    files = write_metadata(path, rows, inputs)
    for start in range(0, count, per_shard):
        shard = path / shard_name(size, start // per_shard)
        shard.parent.mkdir(parents=True)
        with ShardWriter(shard, per_shard) as writer:
            for row in range(start, min(start + per_shard, count)):
                if stored[row]:
                    writer.write(row - start, pictures[row])
        files[shard_name(size, start // per_shard)] = sha256_file(shard)
    return sealed(path, {"format": FORMAT, "inputs": inputs, "rows": count, "files": files})
