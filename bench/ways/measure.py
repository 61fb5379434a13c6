"""How every way is measured: in turn with the limit, in one process, many short rounds of which the median counts.

The limit is what copying costs: the same number of threads gather the same number of pictures from an array in memory
into buffers that are used again, by numpy, in the largest pages that the system gives: the most that is possible. Needs
numpy alone: some ways live in an environment of their own.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

THREADS, PICTURES, EPOCH, ROUNDS, SECONDS, PAGE = 2, 256, 2_000_000, 15, 0.15, 4096
"""Threads; pictures of a batch, 128 pairs; pictures that a peer is told to go through; rounds, and the seconds that one
takes at least; bytes that buffers are aligned to."""
LOOK, QUIET, MOST_LOOKS = 0.5, 5, 20
"""Seconds of a look at what processors do, the ticks that are as good as nothing, and how often to look."""
Pixels = NDArray[np.uint8]
Read = Callable[[NDArray[np.int64], Pixels], object]


def shards(store: Path, size: int) -> list[Path]:
    """Return the files of one size, in the order of their rows."""
    return sorted((store / f"images_{size}" / "c").glob("*/0/0/0"), key=lambda path: int(path.parts[-4]))


def in_memory(store: Path, size: int) -> Pixels:
    """Return all pictures of a store that lacks none, uint8 [row, size, size, 3], in the order of its rows."""
    files, places = [np.fromfile(path, np.uint8) for path in shards(store, size)], offsets(store, size)
    found = np.empty((places.size, size * size * 3), np.uint8)
    for row, (number, place) in enumerate(zip(np.arange(places.size) // places.shape[1], places.ravel(), strict=True)):
        found[row] = files[number][place : place + found.shape[1]]
    return found.reshape(-1, size, size, 3)


def offsets(store: Path, size: int) -> NDArray[np.int64]:
    """Return where in its file each picture of a store that lacks none begins, [file, row in it]."""
    metadata = json.loads((store / f"images_{size}" / "zarr.json").read_text())
    rows = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
    indexes = [path.read_bytes()[-16 * rows - 4 : -4] for path in shards(store, size)]
    return np.stack([np.frombuffer(index, "<u8").reshape(rows, 2)[:, 0] for index in indexes]).astype(np.int64)


def aligned(count: int, size: int) -> Pixels:
    """Return an array for pictures that starts at a page, as those that batches are fed from do."""
    memory = np.zeros(count * size * size * 3 + PAGE, np.uint8)
    start = -memory.ctypes.data % PAGE
    return memory[start : start + count * size * size * 3].reshape(count, size, size, 3)


def family() -> set[Path]:
    """Return where /proc tells of this process and all below it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[folder] = Path("/proc", (folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {Path("/proc", str(os.getpid()))}
    while more := {folder for folder, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def anonymous() -> int:
    """Return the bytes of memory of this process and its children that are no file's; what they share counts once."""
    total = 0
    for folder in family():
        with suppress(OSError):  # it has ended
            lines = map(str.split, (folder / "smaps_rollup").read_text().splitlines())
            total += sum(int(line[1]) * 1024 for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:"))
    return total


def processors() -> int:
    """Return the time of processors that this process and those below it have used, in ticks of 10 ms."""
    total = 0
    for folder in family():
        with suppress(OSError):
            total += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return total


def wait_for_quiet() -> None:
    """Wait until what is made in advance is there: workers go on for a second or two, and the limit would suffer."""
    for _ in range(MOST_LOOKS):
        before = processors()
        time.sleep(LOOK)
        if processors() - before <= QUIET:
            return


class Rounds:
    """Measures one way beside the limit, and prints what it found as JSON."""

    def __init__(self, store: Path, size: int) -> None:
        """Load the pictures of one size: what the limit copies from."""
        self.memory = in_memory(store, size)
        self.buffers = [aligned(PICTURES, size) for _ in range(THREADS)]
        self.pool, self.rng = ThreadPoolExecutor(THREADS), np.random.default_rng(0)
        self.found: list[tuple[float, float]] = []
        self.most = 0

    def threaded(self, read: Read, batch: int = PICTURES) -> float:
        """Return pictures/s of `read`, called by all threads at once, each with its own rows and buffer."""
        rows = self.rng.integers(0, len(self.memory), (THREADS, 64, batch))
        stop = time.perf_counter() + SECONDS

        def work(thread: int) -> int:
            for done in range(10**9):
                read(rows[thread, done % 64], self.buffers[thread][:batch])
                if time.perf_counter() > stop:
                    return (done + 1) * batch
            raise AssertionError

        started = time.perf_counter()
        count = sum(self.pool.map(work, range(THREADS)))
        return count / (time.perf_counter() - started)

    def limit(self) -> float:
        """Return pictures/s of copying from memory."""
        return self.threaded(lambda rows, out: np.take(self.memory, rows, axis=0, out=out, mode="clip"))

    def reads(self, read: Read, rounds: int = ROUNDS, batch: int = PICTURES) -> None:
        """Measure a function that copies rows into an array, from `THREADS` threads."""
        for _ in range(rounds):
            self.note(self.limit(), self.threaded(read, batch))
        self.report()

    def feed(self, batches: Iterator[Any], ahead: int, rounds: int = ROUNDS, seconds: float = 1.0) -> None:
        """Measure an endless iterator of batches of `PICTURES`, which makes about `ahead` in advance: those are not
        counted, nor made while the limit is measured."""
        for _ in range(ahead):
            next(batches)
        for _ in range(rounds):
            wait_for_quiet()
            limit = self.limit()
            for _ in range(ahead):
                next(batches)
            count, started = 0, time.perf_counter()
            while count < 2 or time.perf_counter() < started + seconds:
                next(batches)
                count += 1
            each = (time.perf_counter() - started) / count
            self.note(limit, PICTURES / each)
        self.report()

    def note(self, limit: float, speed: float) -> None:
        """Keep the result of one round."""
        self.found.append((limit, speed))
        own = sum(array.nbytes for array in (self.memory, *self.buffers))
        self.most = max(self.most, anonymous() - own)

    def report(self) -> None:
        """Print pictures/s, those of the limit, their share, and the most memory: without what the limit copies
        from and what is copied into."""
        print(json.dumps({
            "speed": median(speed for _, speed in self.found), "limit": median(limit for limit, _ in self.found),
            "share": median(speed / limit for limit, speed in self.found), "memory": self.most,
        }))  # fmt: skip


def arguments() -> tuple[Path, int, Path]:
    """Return the store, the size and a folder for other formats, from the command line."""
    return Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
