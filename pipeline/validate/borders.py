"""Even bands along the edges of pictures, as of a mount or a frame: an artist may be told by them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.reader import Reader
from preprocess.findings import Finding, Severity
from preprocess.images import PAD_COLOUR
from preprocess.store import Store

BAND, LINE, SAME = 0.03, 4.0, 12.0
"""A border takes this share of a side; its lines vary by no more than LINE within, and SAME between them, of 255."""
BORDER_AT, BLOCK = 64, 1024
FAINT = 8.0
"""Standard deviation, of 255, up to which a picture is a band all over."""


def bordered(store: Store, stored: NDArray[np.integer]) -> list[Finding]:
    """Return the finding about pictures with an even band along two edges or more, as of a mount or a frame."""
    reader = Reader(store, min(BORDER_AT, store.sizes[-1]))
    rows: list[int] = []
    edges = np.zeros(4, int)
    for start in range(0, len(stored), BLOCK):
        part = stored[start : start + BLOCK].astype(np.int64)
        bands = banded(reader.read(part), padded=store.square == "pad")
        edges += bands.sum(axis=0)
        rows += part[bands.sum(axis=1) >= 2].tolist()
    if not rows:
        return []
    figures = dict(zip(("top", "bottom", "left", "right"), edges.tolist(), strict=True))
    return [
        Finding(
            "border", Severity.NOTE,
            f"pictures with even bands along two edges or more: {len(rows):,} of {len(stored):,}; they are kept",
            "crop mounts and frames off, if an artist's files all have them", tuple(rows),
            {"pictures": len(rows), "of": len(stored), **figures},
        )
    ]  # fmt: skip


def banded(pictures: NDArray[np.uint8], padded: bool) -> NDArray[np.bool_]:
    """Return whether pictures [n, size, size, 3] have a band at top, bottom, left, right [n, 4], but not all over.

    Where they are `padded`, the colour of that is no band.
    """
    depth = max(1, round(BAND * pictures.shape[1]))
    found = []
    for lines in (pictures, pictures[:, ::-1], pictures.swapaxes(1, 2), pictures.swapaxes(1, 2)[:, ::-1]):
        outer = lines[:, :depth].astype(np.float32)
        even = (outer.std(axis=2).max(axis=(1, 2)) <= LINE) & (np.ptp(outer.mean(axis=2), axis=1).max(axis=1) <= SAME)
        own = ~(outer[:, 0].mean(axis=1).round() == PAD_COLOUR).all(axis=1) if padded else True
        found.append(even & own)
    anything = pictures.std(axis=(1, 2)).max(axis=1) > FAINT
    return np.asarray(np.stack(found, axis=1) & anything[:, None])
