"""How the cost of the preprocess stage grows with the rows of a collection: time, memory, and a rerun."""

import itertools
import shutil
from functools import partial
from pathlib import Path

from bench.goals import Goal
from bench.pictures import write_jpegs
from bench.stage import link, store, stored

DISTINCT = 2000
"""Different files behind all rows, as hard links: a file system of today takes 32,000 of each."""
ENLARGED = 0.55
"""Sides against the gallery's: a median of 450 pixels."""
ARTISTS = 1584
STEPS = (1_000, 10_000)
SHARD = 256
"""Pictures that are there when the first are seen to be stored."""


def measure_rows(folder: Path, most: int, quick: bool) -> tuple[list[str], list[list[str]], list[Goal]]:
    """Build stores of 64 pixels of more and more rows with a worker per core; return head, rows and goals of a table.

    `folder` comes to hold at most 15 kB a row and 100 MB.
    """
    paths = write_jpegs(folder / "jpegs", min(most, DISTINCT // 10 if quick else DISTINCT), ENLARGED)
    rows, rates, peaks = [], [], []
    for count in sorted({min(step, most) for step in (*STEPS, most)}):
        place = folder / str(count)
        link(itertools.islice(itertools.cycle(paths), count), place / "pictures", ARTISTS)
        first = store(place / "pictures", [64], 0, sign=partial(stored, place / "stores"))
        again = store(place / "pictures", [64], 0, keep=True)
        shutil.rmtree(place)
        rates.append((count - SHARD) / (first.wall - first.sign))
        peaks.append(first.peak)
        rows.append([f"{count}", f"{rates[-1]:.0f}", f"{first.wall:.1f}", f"{first.sign:.1f}", f"{again.wall:.1f}",
                     f"{first.peak / 1e6:.0f}"])  # fmt: skip
    goals = [
        Goal("images/s of the most rows, times those of the fewest", rates[-1] / rates[0], least=0.9),
        Goal("peak memory of the most rows, times that of the fewest", peaks[-1] / peaks[0], most=1.2),
        Goal("seconds until the first pictures are stored, most rows", first.sign, most=20),
        Goal("seconds of a rerun with nothing to do, most rows", again.wall, most=10),
    ]
    head = ["rows", "images/s from the first stored on", "all, s", "first stored, s", "rerun, s", "peak memory, MB"]
    return head, rows, goals
