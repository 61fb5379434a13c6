"""A store larger than memory: this reader against plain preads of random rows, in turn, and whether memory grows.

python -m bench.ways.larger STORE SIZE BATCHES, inside a memory cgroup smaller than the store.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bench.ways.measure import THREADS, Pixels, Read, aligned, anonymous, offsets, shards
from pipeline.reader import Reader
from preprocess.store import open_store

BATCH, ROUNDS = 128, 20

path, size, batches = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = open_store(path)
reader, rows, places = Reader(store, size), int(store.seal["rows"]), offsets(path, size).tolist()
files = [os.open(shard, os.O_RDONLY) for shard in shards(path, size)]
buffers, rng = [aligned(BATCH, size) for _ in range(THREADS)], np.random.default_rng(0)


def plain(wanted: NDArray[np.int64], out: Pixels) -> None:
    """Read rows of the same length from the same files, one pread each, without looking at them."""
    for place, row in enumerate(wanted.tolist()):
        shard, inside = divmod(row, store.rows_per_shard)
        os.preadv(files[shard], [out[place].data], places[shard][inside])


def spent(read: Read, pool: ThreadPoolExecutor) -> float:
    """Return the seconds that all threads together take for their part of a round's batches."""
    wanted = rng.integers(0, rows, (THREADS, batches // ROUNDS // THREADS, BATCH))

    def work(thread: int) -> None:
        for batch in wanted[thread]:
            read(batch, buffers[thread])

    started = perf_counter()
    list(pool.map(work, range(THREADS)))
    return perf_counter() - started


with ThreadPoolExecutor(THREADS) as pool:
    found, memory = [], []
    for _ in range(ROUNDS):
        found.append((spent(plain, pool), spent(reader.read, pool)))
        memory.append(anonymous())
print(json.dumps({
    "speed": batches / ROUNDS * BATCH / median(mine for _, mine in found),
    "limit": batches / ROUNDS * BATCH / median(other for other, _ in found),
    "share": median(other / mine for other, mine in found), "memory": memory[-1], "grown": memory[-1] - memory[0],
}))  # fmt: skip
