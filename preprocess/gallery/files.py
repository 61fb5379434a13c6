"""Files: a painting as the kind of file a real collection holds it in."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from preprocess.common.files import ASIDE
from preprocess.gallery import words
from preprocess.gallery.hands import Hand, make_hand
from preprocess.gallery.paint import paint
from preprocess.gallery.plan import GIANT, Picture, sources, subject

ORIENTATION = 0x0112  # the EXIF tag
UNDONE_BY_TAG = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip

_hand = cache(make_hand)


def _jpeg(image: Image.Image, rng: np.random.Generator, **options: Any) -> bytes:
    """Return `image` as JPEG: baseline or progressive, 4:2:0 or 4:4:4, of some quality."""
    chosen = {
        "quality": int(rng.integers(70, 92)), "progressive": bool(rng.random() < 0.3),
        "subsampling": "4:2:0" if rng.random() < 0.7 else "4:4:4",
    }  # fmt: skip
    out = io.BytesIO()
    image.save(out, "JPEG", **(chosen | options))
    return out.getvalue()


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()


def _rotated(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a JPEG stored turned or mirrored, whose EXIF tag says how to undo it."""
    tag = int(rng.integers(2, 9))
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    return _jpeg(image.transpose(UNDONE_BY_TAG[tag]), rng, exif=exif)


def _deep_grey(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Return a greyscale PNG of 16 bits."""
    eight = np.asarray(image.convert("L"), dtype=np.uint16)
    return _png(Image.fromarray(eight * 256 + rng.integers(0, 256, eight.shape, dtype=np.uint16)))


def encode(kind: str, image: Image.Image, rng: np.random.Generator) -> bytes:
    """Return the bytes of a file of `kind` that shows `image`, RGB."""
    match kind:
        case "png":
            return _png(image)
        case "palette":
            return _png(image.quantize(96, Image.Quantize.FASTOCTREE))
        case "grey16":
            return _deep_grey(image, rng)
        case "grey":
            return _jpeg(image.convert("L"), rng, subsampling=-1)
        case "cmyk":
            return _jpeg(image.convert("CMYK"), rng)
        case "rotated":
            return _rotated(image, rng)
        case "giant":
            large = ImageOps.fit(image, GIANT, Image.Resampling.BILINEAR)
            return _jpeg(large, rng, quality=60, progressive=False, subsampling="4:2:0")
        case "nocturne":
            return _jpeg(Image.new("RGB", image.size), rng)
        case "twin":
            smaller = image.resize((round(image.width * 0.93), round(image.height * 0.93)), Image.Resampling.LANCZOS)
            return _jpeg(smaller, rng, quality=70)
        case "truncated":
            whole = _jpeg(image, rng)
            return whole[: len(whole) // 2]
        case _:
            return _jpeg(image, rng)


def make(picture: Picture) -> bytes:
    """Return the bytes of the file of `picture`: a pure function of it."""
    if picture.kind == "text":
        return words.STATEMENTS.encode()
    hand: Hand = _hand(picture.seed, picture.artist)
    for_subject, for_paint, _ = sources(picture.seed, picture.artist, picture.shows)
    for_file = sources(picture.seed, picture.artist, picture.index)[2]
    seen = subject(hand, for_subject)
    return encode(picture.kind, paint(hand, seen.genre, seen.size, for_paint), for_file)


def make_file(images: Path, picture: Picture) -> None:
    """Write the file of `picture` in the folder `images`; a kill leaves the whole file or none of that name."""
    aside = images / f"{ASIDE}{picture.file}"  # the next run writes over what a kill left
    aside.write_bytes(make(picture))
    aside.replace(images / picture.file)
