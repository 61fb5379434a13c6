"""Giants: one painting of 12000 x 9000 pixels as four kinds of file, to see what such scans cost."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from preprocess.gallery.hands import make_hand
from preprocess.gallery.paint import paint
from preprocess.gallery.plan import GIANT, sources, subject


def write_giants(folder: Path) -> list[Path]:
    """Write a baseline JPEG, a progressive JPEG, a PNG and a 16-bit greyscale TIFF of the same painting; return where.

    The bytes are the same every time. Takes about 1 GB of memory and half a minute, and 60 MB of disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for_subject, for_paint, _ = sources(0, 0, 0)
    hand = make_hand(0, 0)
    seen = subject(hand, for_subject)
    large = ImageOps.fit(paint(hand, seen.genre, seen.size, for_paint), GIANT, Image.Resampling.BILINEAR)
    paths = [folder / name for name in ("baseline.jpg", "progressive.jpg", "whole.png", "deep.tif")]
    large.save(paths[0], "JPEG", quality=60, subsampling="4:2:0")
    large.save(paths[1], "JPEG", quality=60, subsampling="4:2:0", progressive=True)
    large.save(paths[2], "PNG", compress_level=1)
    deep = np.asarray(large.convert("L")).astype(np.uint16)
    deep *= 257
    Image.fromarray(deep).save(paths[3], "TIFF", compression="tiff_adobe_deflate")
    return paths
