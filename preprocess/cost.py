"""What decoding and squaring a picture takes in memory, told from its header before a pixel is read.

Bytes a pixel were measured with Pillow 13 for each format; tests/test_cost.py measures them again. No header tells of
a baseline JPEG in several scans, buffered whole as progressive ones are: that is left to the limit the process sets
itself. Too much is told of a raw TIFF in one strip, which is mapped, and of a JPEG 2000 in tiles.
"""

import os
from typing import IO

from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from preprocess.images import reduction, unreadable_explained

ROOM = 3_000_000
"""Bytes that do not grow with the picture: tables, buffers, colour transforms, what the allocator keeps."""
AROUND_SQUARE = 64
"""Bytes for each pixel of the square, which is made from up to 9 times as many pixels of 4 bytes, turned and copied."""
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes of a pixel in Pillow's memory; 4 in every other mode, RGB too."""
WEBP, AVIF, JPEG2000_CHANNEL, BMP_RLE = 14.5, 10.0, 6.0, 2.5
"""Bytes a pixel that decoders take beside the picture: canvases of RGBA; planes of up to 16 bits and their RGB;
32-bit numbers and their 16 bits; a bytearray and its copy."""
LZMA = 10_000_000
"""Bytes of its dictionary at the usual preset, 6."""
WIDTH, LENGTH, BITS, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR = 256, 257, 258, 262, 277, 278, 284
TILE_WIDTH, TILE_LENGTH = 322, 323
YCBCR = 6
"""The photometric interpretation that libtiff turns into RGBA of 32 bits."""


def bytes_needed(image: Image.Image, size: int, square: str) -> int:
    """Return an upper estimate of the heap, in bytes, that make_squares takes for a picture opened but not loaded.

    `size` is the largest wanted and `square` as for make_squares. Raises UnreadablePicture for a header in disorder.
    """
    with unreadable_explained():
        pixels = image.width * image.height / reduction(image, size, square) ** 2
        beside = max(decoder(image), copies(image) * pixels + 4 * size * image.height * is_transparent(image))
        return round(ROOM + AROUND_SQUARE * size**2 + STORED.get(image.mode, 4) * pixels + beside)


def is_transparent(image: Image.Image) -> bool:
    """Return whether resizing multiplies colours by their opacity first, in a copy, without reducing before."""
    return image.has_transparency_data and not image.mode.startswith("I;16")


def copies(image: Image.Image) -> int:
    """Return the bytes a pixel of copies made of the whole picture between decoding and resizing."""
    if is_transparent(image):
        return 4 if image.mode in ("RGBA", "LA") else 8
    turned = STORED.get(image.mode, 4) if image.format == "TIFF" and image.getexif().get(0x0112, 1) != 1 else 0
    return turned + (4 if image.mode in ("P", "PA") else 1 if image.mode == "1" or image.mode.startswith("I;16") else 0)


def decoder(image: Image.Image) -> float:
    """Return the bytes that a decoder takes beside the picture it fills."""
    pixels = image.width * image.height
    match image:
        case JpegImagePlugin.JpegImageFile():
            return coefficients(image)
        case TiffImagePlugin.TiffImageFile():
            return strips(image)
        case ImageFile.ImageFile(format="WEBP"):
            return WEBP * pixels
        case ImageFile.ImageFile(format="AVIF"):
            return AVIF * pixels
        case ImageFile.ImageFile(format="JPEG2000"):
            return JPEG2000_CHANNEL * len(image.getbands()) * pixels + file_size(image.fp)
        case ImageFile.ImageFile(format="BMP"):
            return BMP_RLE * pixels if image.tile[0].codec_name == "bmp_rle" else 0
        case _:
            return 0


def coefficients(image: JpegImagePlugin.JpegImageFile) -> float:
    """Return the bytes of a progressive JPEG's coefficients, 2 each, in every component's own resolution."""
    if "progressive" not in image.info:
        return 0
    factors = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in factors) * max(down for _, down in factors)
    return float(2 * image.width * image.height * sum(across * down for across, down in factors) / most)


def strips(image: TiffImagePlugin.TiffImageFile) -> float:
    """Return the bytes of a strip or tile as libtiff decodes it, or twice as much as Pillow reads it when raw."""
    tags = image.tag_v2
    rows = min(tags.get(tag, tags[LENGTH]) for tag in (LENGTH, ROWS_PER_STRIP, TILE_LENGTH))
    samples = tags.get(SAMPLES, 1) if tags.get(PLANAR, 1) == 1 else 1
    bits = 32 if tags.get(PHOTOMETRIC) == YCBCR else samples * max(tags.get(BITS, (1,)))
    one: float = rows * tags.get(TILE_WIDTH, tags[WIDTH]) * bits / 8
    if image.tile[0].codec_name != "libtiff":
        return 2 * one if len(image.tile) > 1 else 0
    dictionary = LZMA if image.info.get("compression") == "lzma" else 0
    return one + dictionary + (0 if is_mapped(image.fp) else file_size(image.fp))


def is_mapped(file: IO[bytes] | None) -> bool:
    """Return whether a picture comes from a file of the system, which libtiff maps instead of reading it."""
    try:
        return file is not None and file.fileno() >= 0
    except (AttributeError, OSError):
        return False


def file_size(file: IO[bytes] | None) -> int:
    """Return the bytes of an open picture's file."""
    if file is None:
        return 0
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size
