"""One picture: its header, its one decode, and the squares made from it."""

import errno
import functools
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from preprocess.common.errors import UnreadablePicture

# Decoders nobody needs are attack surface.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF")
# Pillow's own limit refuses real scans; `max_megapixels` decides instead, from the header.
Image.MAX_IMAGE_PIXELS = None
# What Pillow says of odd files is in their reason where it matters; thousands of lines on standard error help nobody.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

REDUCING_GAP = 1.5
"""What is decoded whole is averaged by a whole factor first, to at least so many times the size."""
THUMBNAIL = 64
LUMINANCE = 3688
"""Sum of the 64 steps of the luminance table of ITU T.81, annex K.1."""
PAD_COLOUR = (128, 128, 128)
BAND_PIXELS = 2**17
# The machine's fault, not the picture's: such a failure ends the build, which goes on once it is repaired.
MACHINE_ERRORS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT}
)
ORIENTATION_TAG, BITS_TAG = 0x0112, 0x0102
# EXIF 2.32, 4.6.4 A: what turns the stored pixels upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


class Squares(NamedTuple):
    """One picture as uint8 [size, size, 3] sRGB for each size; `profile` is "none", "applied" or "broken".

    `thumbnail`, likewise with sides of `thumbnail_side`, is what is measured of it.
    """

    pixels: dict[int, NDArray[np.uint8]]
    thumbnail: NDArray[np.uint8]
    profile: str


@contextmanager
def unreadable_explained() -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into UnreadablePicture, but not a failure of the machine."""
    try:
        yield
    except UnreadablePicture:
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise UnreadablePicture("no such file") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
            raise
        raise UnreadablePicture(describe(error)) from None


@contextmanager
def open_picture(path: Path | str) -> Iterator[Image.Image]:
    """Open a picture file of an allowed format. Raises UnreadablePicture with the reason."""
    with unreadable_explained():
        image = Image.open(path, formats=FORMATS)
    with image:
        yield image


def describe(error: Exception) -> str:
    """Return a decoder's complaint as a short reason that does not depend on paths or addresses."""
    if isinstance(error, UnidentifiedImageError):
        return f"not a picture of an allowed format ({', '.join(FORMATS)})"
    return f"{type(error).__name__}: {error}"[:200]


def make_squares(image: Image.Image, sizes: Sequence[int], square: str, max_megapixels: float) -> Squares:
    """Decode an opened picture once and return it as a square of each of `sizes`.

    `square` is "crop" (the centre), "pad" (grey bars) or "stretch". Smaller sizes are made from the largest, and from
    one of them the thumbnail.
    Raises UnreadablePicture with the reason.
    """
    megapixels = image.width * image.height / 1e6
    if not megapixels:
        raise UnreadablePicture("a picture without pixels")
    if megapixels > max_megapixels:
        raise UnreadablePicture(
            f"{megapixels:.0f} megapixels, more than preprocess.max_megapixels = {max_megapixels:g}"
        )
    with unreadable_explained(), libtiff_muted(image):
        largest = decode_square(image, max(sizes), square)
        profile, upright = to_srgb(largest, image.info.get("icc_profile"))
        orientation = UPRIGHT.get(orientation_of(image))
        upright = upright if orientation is None else upright.transpose(orientation)  # one of them is 0
        squares = in_sizes(upright, sizes)
        size, factor = thumbnail_of(sizes)
        thumbnail = squares[size].reduce(factor)
    return Squares({size: np.asarray(square) for size, square in squares.items()}, np.asarray(thumbnail), profile)


def thumbnail_of(sizes: Sequence[int]) -> tuple[int, int]:
    """Return which size the thumbnail is made from, and by which factor it is averaged: it has 64 to 127 pixels on a
    side, or as many as there are."""
    size = min((size for size in sizes if size >= THUMBNAIL), default=max(sizes))
    return size, max(1, size // THUMBNAIL)


def thumbnail_side(sizes: Sequence[int]) -> int:
    """Return the pixels on a side of the thumbnail."""
    size, factor = thumbnail_of(sizes)
    return -(-size // factor)


@contextmanager
def libtiff_muted(image: Image.Image) -> Iterator[None]:
    """Send to nowhere what libtiff prints of a bad TIFF to file descriptor 2; its verdict comes as an error."""
    if image.format != "TIFF":
        yield
        return
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def decode_square(image: Image.Image, size: int, square: str) -> Image.Image:
    """Return the picture squared to `size` pixels, in whatever of its own modes can be resized, not yet upright."""
    width, height = image.size
    side = (max if square == "pad" else min)(width, height)
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if square == "crop":
        left, top = (width - side) / 2, (height - side) / 2
        right, bottom = left + side, top + side
    shape = (size, size)
    if square == "pad":
        shape = (max(1, round(width * size / side)), max(1, round(height * size / side)))
    scale = reduction(image, size, square)
    drafted = image.draft(None, (width // scale, height // scale)) if scale > 1 else None
    # Not the ratio of the sizes: those of a reduced JPEG are rounded up, which would shift the box.
    shrink = drafted[1][2] / width if drafted else 1.0
    image.load()
    box = (left * shrink, top * shrink, right * shrink, bottom * shrink)
    kernel = Image.Resampling.BICUBIC if shrink == 1 else kernel_for(side * shrink / size)
    return resizable(image).resize(shape, kernel, box, REDUCING_GAP)


def reduction(image: Image.Image, size: int, square: str) -> int:
    """Return 8, 4, 2 or 1: by how much a JPEG may be reduced as it is decoded and still hold the square."""
    side = (max if square == "pad" else min)(image.size)
    scales = (8, 4, 2) if image.format in ("JPEG", "MPO") else ()
    return next((scale for scale in scales if side >= scale * size), 1)


def kernel_for(left: float) -> Image.Resampling:
    """Return the filter for a reduced decode that left so many times the size, 1 to 2: docs/resizing.md.

    The less is left, the sharper it must be, and the fewer pixels pay for it.
    """
    return Image.Resampling.BICUBIC if left < 1.2 else Image.Resampling.HAMMING


def jpeg_quality(image: Image.Image) -> int | None:
    """Return the quality, 1 to 100, at which an opened JPEG was saved; None for other formats.

    From how its table of luminance steps is scaled against that of ITU T.81, annex K, by libjpeg's rule
    (jcparam.c, jpeg_quality_scaling); programs with tables of their own come out near, and
    qualities below 25, whose steps are cut off at 255, too high.
    """
    tables: dict[int, list[int]] = getattr(image, "quantization", {})
    table = tables.get(0)
    if not table:
        return None
    scale = 100 * sum(table) / LUMINANCE
    return round(min(100.0, max(1.0, 100 - scale / 2 if scale <= 100 else 5000 / scale)))


def resizable(image: Image.Image) -> Image.Image:
    """Return `image` in a mode whose values may be averaged: no palettes, no bits, no 16-bit integers.

    Raises UnreadablePicture for floating-point and 32-bit pixels, whose range no format states.
    """
    if image.mode in ("F", "I"):
        raise UnreadablePicture(f"{'floating-point' if image.mode == 'F' else '32-bit'} pixels of unknown range")
    if image.mode.startswith("I;16"):
        return eight_bits(image)
    if image.mode in ("P", "PA") or (image.mode in ("1", "L", "RGB") and "transparency" in image.info):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.convert("L") if image.mode == "1" else image


def eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit grey, rounded; in bands of rows, as whole it would take 14 bytes a pixel."""
    bits = image.tag_v2[BITS_TAG][0] if isinstance(image, TiffImagePlugin.TiffImageFile) else 16  # TIFF also has 12
    table = np.rint(np.arange(2**16) * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    grey = Image.new("L", image.size)
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        grey.paste(Image.fromarray(table[band]), (0, top))
    return grey


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> tuple[str, Image.Image]:
    """Return ("none" | "applied" | "broken", sRGB picture): colours through the profile, transparency on white."""
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA", "PA") else None
    colours = image.convert("RGB" if image.mode == "RGBA" else "L") if alpha else image
    profile = "none"
    if icc_profile or colours.mode == "LAB":
        try:
            colours = ImageCms.applyTransform(colours, transform(icc_profile, colours.mode)) or colours
            profile = "applied"
        except (ImageCms.PyCMSError, ValueError, OSError):
            profile = "broken"
    colours = colours.convert("RGB")
    if alpha:
        colours = Image.composite(colours, Image.new("RGB", colours.size, "white"), alpha)
    return profile, colours


@functools.lru_cache(maxsize=64)
def transform(icc_profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform:
    """Return the transform from an embedded profile (CIE Lab without one) to sRGB; built once per process."""
    source = ImageCms.getOpenProfile(io.BytesIO(icc_profile)) if icc_profile else ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or the EXIF block is broken."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # the block is written by anyone; without it the picture is still a picture
        return 1


def in_sizes(image: Image.Image, sizes: Sequence[int]) -> dict[int, Image.Image]:
    """Return an upright square or padded RGB picture, its longer side the largest of `sizes`, as a square of each.

    Half of the largest is an average of two by two pixels, and smaller ones come from that.
    """
    half = image.reduce(2) if 2 * min(sizes) <= max(image.size) else image
    box = (0.0, 0.0, image.width / 2, image.height / 2)  # of an odd side the last pixel of the half is half a pixel
    squares = {}
    for size in sizes:
        share = size / max(image.size)
        shape = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        if shape == image.size:
            made = image
        elif share > 0.5:
            made = image.resize(shape, Image.Resampling.BICUBIC)
        else:
            made = half if shape == half.size else half.resize(shape, Image.Resampling.BICUBIC, box, reducing_gap=2.0)
        squares[size] = padded(made, size)
    return squares


def padded(image: Image.Image, size: int) -> Image.Image:
    """Return a picture in the middle of a square, unless it is one."""
    if image.size == (size, size):
        return image
    canvas = Image.new("RGB", (size, size), PAD_COLOUR)
    canvas.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return canvas
