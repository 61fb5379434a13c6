"""The pictures that are measured: paintings of the gallery as baseline JPEGs of about a megapixel."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from preprocess.common.progress import Progress
from preprocess.gallery.hands import make_hand
from preprocess.gallery.paint import paint
from preprocess.gallery.plan import sources, subject

SEED, ARTISTS = 7, 40
ENLARGED = 1.25
"""Sides against the gallery's own, which bring the median from 0.64 to 1 megapixel."""
JPEG = {"quality": 85, "subsampling": "4:2:0"}


def write_jpeg(folder: Path, index: int, enlarged: float = ENLARGED) -> Path:
    """Write painting number `index` as a baseline JPEG and return its path: the same bytes every time."""
    artist = index % ARTISTS
    for_subject, for_paint, _ = sources(SEED, artist, index)
    hand = make_hand(SEED, artist)
    seen = subject(hand, for_subject)
    size = round(seen.size[0] * enlarged), round(seen.size[1] * enlarged)
    path = folder / f"{index:05d}.jpg"
    paint(hand, seen.genre, size, for_paint).save(path, "JPEG", **JPEG)
    return path


def write_jpegs(folder: Path, count: int, enlarged: float = ENLARGED) -> list[Path]:
    """Write `count` paintings into `folder`, on all cores, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        Progress("painting", count, "picture") as progress,
        ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        paths = []
        for path in pool.map(partial(write_jpeg, folder, enlarged=enlarged), range(count), chunksize=4):
            paths.append(path)
            progress.advance(1)
    return paths
