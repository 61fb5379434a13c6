"""Pictures that are the same painting: copies, other scans, mirrored or cropped ones.

Candidates come from a coarse picture of each, compared with windows of every other's; those are compared again in more
detail, and what is left is confirmed at a larger size (see likeness). For n pictures that is 20 products of [n, 64]
with [64, n], in blocks, so that memory grows with n alone: about 14 kB a picture.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.copies.likeness import PROOF, Floats, Window, grey, likeness, tile_likeness, tiles
from pipeline.reader import Reader
from preprocess.common.progress import Progress
from preprocess.store import Store

THUMB, COARSE, FINE, FINE_TILE = 32, 8, 16, 4
"""Pixels on a side: of what is kept of each picture, and of what is compared."""
COARSE_LEAST, FINE_LEAST, LEAST = 0.9, 0.65, 0.6
"""Correlation of coarse pictures, likeness of finer ones, and the likeness at 128 pixels that makes two pictures one.

Of crops of 85 to 95 % in each direction, mirrored or not, 97 to 99 in 100 pass the first, and 98 of these the second.
"""
KEPT = 0.9
"""Share of a side in the windows that crops are compared with: it finds those of 0.85 to 0.95."""
BLOCK, WIDE, CHUNK = 512, 4096, 65536
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
CROPS: list[Window] = [
    (left, top, left + KEPT, top + KEPT) for left, top in product((0.0, (1 - KEPT) / 2, 1 - KEPT), repeat=2)
]


class Copy(NamedTuple):
    """Two rows of the store that show one painting, and how alike they are; `mirrored` as in a mirror."""

    whole: int
    part: int
    likeness: float
    mirrored: bool


class Candidates(NamedTuple):
    """Places [m] of pictures that may be one, how alike they look, the window of the first, and whether mirrored."""

    whole: NDArray[np.int64]
    part: NDArray[np.int64]
    likeness: Floats
    window: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def find_copies(store: Store, rows: NDArray[np.int64]) -> list[Copy]:
    """Return the copies among the pictures `rows` [n]: enough of them to link all that are linked, not every pair.

    Files with the same bytes are copies whatever they show. The store has pictures of at least PROOF pixels.
    """
    linked = DisjointSet(rows.tolist())
    copies = []
    for whole, part in same_files(store, rows):
        linked.merge(whole, part)
        copies.append(Copy(whole, part, 1.0, False))
    found = candidates(thumbnails(store, rows))
    reader = Reader(store, PROOF)
    with Progress("confirming copies", len(found.whole), "pair") as progress:
        for index in np.argsort(-found.likeness, kind="stable"):
            progress.advance(1)
            whole, part = int(rows[found.whole[index]]), int(rows[found.part[index]])
            if linked.connected(whole, part):
                continue
            mirrored = bool(found.mirrored[index])
            alike = compared(reader, whole, part, [WHOLE, *CROPS][found.window[index]], mirrored)
            if alike >= LEAST:
                linked.merge(whole, part)
                copies.append(Copy(whole, part, round(alike, 3), mirrored))
    return copies


def compared(reader: Reader, whole: int, part: int, window: Window = WHOLE, mirrored: bool = False) -> float:
    """Return the likeness of row `part` to a window of row `whole`, which is mirrored first if so wanted."""
    pictures = reader.read([whole, part])
    return likeness(pictures[0][:, ::-1] if mirrored else pictures[0], pictures[1], window)


def same_files(store: Store, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return pairs of `rows` whose files are byte for byte the same: the first of each with every other."""
    known = store.rows[rows].drop_nulls("sha256").with_columns(pl.col("row").min().over("sha256").alias("first"))
    return known.filter(pl.col("row") != pl.col("first")).select("first", "row").rows()


def thumbnails(store: Store, rows: NDArray[np.int64]) -> Floats:
    """Return the brightness of pictures at THUMB pixels, 0 to 255 [n, THUMB, THUMB], in four bytes a pixel."""
    reader = Reader(store, min(THUMB, store.sizes[-1]))
    thumbs = np.empty((len(rows), THUMB, THUMB), np.float32)
    with Progress("looking for copies", len(rows), "picture") as progress:
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            thumbs[start : start + len(part)] = through(grey(reader.read(part)), WHOLE, THUMB)
            progress.advance(len(part))
    return thumbs


def candidates(thumbs: Floats) -> Candidates:
    """Return the pairs of pictures [n, THUMB, THUMB] that may be one, each pair once."""
    coarse, fine = described(thumbs, WHOLE)
    parts = []
    for mirrored, (number, window) in product((False, True), enumerate([WHOLE, *CROPS])):
        seen = described(thumbs[:, :, ::-1] if mirrored else thumbs, window)
        for whole, part in alike(seen[0], coarse, symmetric=number == 0):
            close = np.concatenate([
                tile_likeness(seen[1][whole[at : at + CHUNK]], fine[part[at : at + CHUNK]], fewest=0)
                for at in range(0, len(whole), CHUNK)
            ])  # fmt: skip
            kept = close >= FINE_LEAST
            many = int(kept.sum())
            parts.append((whole[kept], part[kept], close[kept], np.full(many, number), np.full(many, mirrored)))
    none: list[Any] = [np.empty(0, kind) for kind in (np.int64, np.int64, np.float32, np.int64, np.bool_)]
    columns: list[Any] = [np.concatenate(column) for column in zip(none, *parts, strict=True)]
    found = Candidates(*columns)
    best = np.argsort(-found.likeness, kind="stable")
    pair = np.sort(np.stack([found.whole[best], found.part[best]]), axis=0)
    once = best[np.unique(pair, axis=1, return_index=True)[1]]
    return Candidates(*(column[once] for column in columns))


def alike(left: Floats, right: Floats, symmetric: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield places of different pictures whose coarse pictures [n, d] correlate; each pair once if `symmetric`.

    In blocks that stay in the processor's cache, on one thread: small products on several cost more than they gain.
    """
    with threadpool_limits(1, "blas"):
        for start, first in product(range(0, len(left), BLOCK), range(0, len(right), WIDE)):
            if symmetric and first + WIDE <= start:
                continue
            close = left[start : start + BLOCK] @ right[first : first + WIDE].T >= COARSE_LEAST
            whole, part = np.divmod(np.flatnonzero(close), close.shape[1])
            whole, part = whole + start, part + first
            kept = whole < part if symmetric else whole != part
            if kept.any():
                yield whole[kept], part[kept]


def described(thumbs: Floats, window: Window) -> tuple[Floats, Floats]:
    """Return what is in a window of each picture: coarse, of unit length about zero [n, 64], and as fine `tiles`."""
    coarse = through(thumbs, window, COARSE).reshape(len(thumbs), COARSE**2)
    coarse -= coarse.mean(axis=1, keepdims=True)
    # What is flat is like nothing: it has no length to be brought to one.
    length = np.linalg.norm(coarse, axis=1, keepdims=True)
    coarse = np.divide(coarse, length, out=np.zeros_like(coarse), where=length > COARSE)
    return coarse, tiles(through(thumbs, window, FINE), FINE_TILE)


def through(pictures: Floats, window: Window, cells: int) -> Floats:
    """Return the mean brightness [n, cells, cells] in each cell of a grid over a window of pictures [n, size, size]."""
    left, top, right, bottom = window
    size = pictures.shape[1]
    across, down = averaging(size, left, right, cells), averaging(size, top, bottom, cells)
    return np.asarray(down @ pictures @ across.T, np.float32)


def averaging(size: int, start: float, end: float, cells: int) -> Floats:
    """Return the weights [cells, size] that average `size` pixels over equal cells from `start` to `end`, of 1."""
    edges = size * np.linspace(start, end, cells + 1)
    pixel = np.arange(size)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = covered.clip(0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
