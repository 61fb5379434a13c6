"""Damage to picture files: at random, and lies in the fields of their headers, with checksums that agree."""

import random
import re
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageCms

from tests.helpers import encoded, smooth

ODD = (0, 1, 2, 3, 7, 8, 9, 255, 256, 4095, 16_383, 32_767, 32_768, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
"""Values at which decoders have gone wrong: none, one, and the ends of what a field holds."""
BOXES = re.compile(rb"ihdr|colr|pclr|jp2c|\xff\x51\x00|\xff\x52|ispe|iloc|av1C|ipma|pixi|mdat")
"""Of JPEG 2000 (with the markers SIZ and COD of its code stream) and AVIF."""
TIFF_TAGS = (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 284, 317, 320, 322, 323, 324, 325, 338, 339, 34675)


def sound_files() -> list[bytes]:
    """Return small pictures of every allowed format in most of the ways that Pillow writes them."""
    colour = smooth(5, 61, 47)
    grey = colour.convert("L")
    clear = colour.copy()
    clear.putalpha(grey)
    palette, bits, cmyk = colour.quantize(40), grey.convert("1"), colour.convert("CMYK")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    ways: list[tuple[str, list[Image.Image], dict[str, Any]]] = [
        ("JPEG", [colour, grey, cmyk], {}), ("JPEG", [colour, cmyk], {"progressive": True}),
        ("JPEG", [colour], {"exif": exif, "icc_profile": profile}), ("MPO", [colour], {"save_all": True}),
        ("PNG", [colour, grey, clear, palette, bits, deep], {}), ("PNG", [palette], {"transparency": 3}),
        ("PNG", [colour], {"exif": exif, "icc_profile": profile}), ("GIF", [palette, grey], {}),
        ("GIF", [palette], {"save_all": True, "append_images": [palette.rotate(90)]}),
        ("WEBP", [colour, clear], {}), ("WEBP", [colour, clear], {"lossless": True}),
        ("WEBP", [clear], {"save_all": True, "append_images": [clear.rotate(90)], "exif": exif}),
        ("TIFF", [colour, clear, palette, bits, deep, cmyk, colour.convert("LAB")], {}),
        *(("TIFF", [colour, clear, palette], {"compression": f"tiff_{how}"}) for how in ("lzw", "adobe_deflate")),
        ("TIFF", [colour], {"compression": "packbits"}), ("TIFF", [colour, grey], {"compression": "jpeg"}),
        ("TIFF", [bits], {"compression": "group4"}), ("TIFF", [bits], {"compression": "group3"}),
        ("BMP", [colour, clear, palette, bits, grey], {}),
        ("JPEG2000", [colour, clear, grey, deep], {}), ("JPEG2000", [colour], {"no_jp2": True, "tile_size": (32, 32)}),
        ("AVIF", [colour, clear, grey], {"speed": 10}),
    ]  # fmt: skip
    return [encoded(image, kind, **options).getvalue() for kind, images, options in ways for image in images]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a picture's file with one kind of damage, or several."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        damage: Callable[[bytes, random.Random], bytes] = rng.choice(DAMAGES)
        data = damage(data, rng)
    return data


def place(data: bytes, rng: random.Random) -> int:
    """Return a position in the file, in half of all cases near its start."""
    return rng.randrange(max(1, min(len(data), rng.choice([200, len(data)]))))


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 3, 30]) if data else 0):
        changed[place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 4, 40]) if data else 0):
        changed[place(data, rng)] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return bytes(changed)


def splice(data: bytes, rng: random.Random) -> bytes:
    """Repeat, move or remove a part."""
    start, end, to = (place(data, rng) for _ in range(3))
    start, end = sorted((start, end))
    return rng.choice([data[:to] + data[start:end] + data[to:], data[:start] + data[end:]])


def blank(data: bytes, rng: random.Random) -> bytes:
    start = place(data, rng)
    length = min(len(data) - start, rng.choice([1, 16, 1000]))
    return data[:start] + bytes([rng.choice([0, 255])]) * length + data[start + length :]


def put(data: bytes, at: int, size: int, order: Literal["big", "little"], rng: random.Random) -> bytes:
    """Put a suspect value in a field of `size` bytes."""
    value = (rng.choice(ODD) % (1 << 8 * size)).to_bytes(size, order)
    return data[:at] + value[: max(0, len(data) - at)] + data[at + size :]


def lie(data: bytes, rng: random.Random) -> bytes:
    """Change a size, a count or a length in the header."""
    if data.startswith(b"\xff\xd8"):
        return lie_in_jpeg(data, rng)
    if data.startswith(b"\x89PNG"):
        return lie_in_png(data, rng)
    if data[:4] in (b"II*\0", b"MM\0*"):
        return lie_in_tiff(data, rng)
    if data.startswith(b"RIFF"):
        return put(data, rng.choice([4, 16, 20, 24, 26, 28]), rng.choice([2, 3, 4]), "little", rng)
    if data.startswith(b"GIF8"):
        screens = [6, 8, *(found.start() + 5 for found in re.finditer(rb",....", data, re.DOTALL))]
        return put(data, rng.choice(screens), rng.choice([1, 2]), "little", rng)
    if data.startswith(b"BM"):
        return put(data, rng.choice([2, 10, 14, 18, 22, 26, 28, 30, 34, 46, 50]), rng.choice([2, 4]), "little", rng)
    if boxes := [found.start() for found in BOXES.finditer(data)]:
        at = max(0, rng.choice(boxes) + rng.choice([-4, 4, 6, 8, 12, 16]))
        return put(data, at, rng.choice([1, 2, 4]), "big", rng)
    return flip_bits(data, rng)


def lie_in_jpeg(data: bytes, rng: random.Random) -> bytes:
    """Change length, precision, height, width or sampling in a frame header, or the length of another segment."""
    frames = [found.start() for found in re.finditer(rb"\xff[\xc0-\xc2]\0", data)]
    others = [found.start() for found in re.finditer(rb"\xff[\xc4\xda\xdb\xdd\xe0-\xe2]\0", data[:5000])]
    if frames and rng.random() < 0.8:
        at, size = rng.choice([(2, 2), (4, 1), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1), (13, 1)])
        return put(data, rng.choice(frames) + at, size, "big", rng)
    return put(data, rng.choice(others) + 2, 2, "big", rng) if others else flip_bits(data, rng)


def lie_in_png(data: bytes, rng: random.Random) -> bytes:
    """Change a field of IHDR, or any byte of another chunk, with the right checksum; or a chunk's length."""
    starts, at = [], 8
    while at + 12 <= len(data):
        starts.append(at)
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    if not starts:
        return flip_bits(data, rng)
    start = rng.choice([starts[0], rng.choice(starts)])
    length = int.from_bytes(data[start : start + 4], "big")
    if rng.random() < 0.2 or not length:
        return put(data, start, 4, "big", rng)
    body = bytearray(data[start + 4 : start + 8 + length])
    if body[:4] == b"IHDR":
        field = rng.choice([(4, 4), (8, 4), (12, 1), (13, 1), (14, 1), (15, 1), (16, 1)])
        body = bytearray(put(bytes(body), *field, "big", rng))
    else:
        body[4 + rng.randrange(max(1, len(body) - 4))] = rng.randrange(256)
    return data[: start + 4] + bytes(body) + zlib.crc32(body).to_bytes(4, "big") + data[start + 12 + length :]


def lie_in_tiff(data: bytes, rng: random.Random) -> bytes:
    """Change type, count or value of a tag, or where the directory is."""
    order: Literal["big", "little"] = "little" if data.startswith(b"II") else "big"
    known = [re.escape(tag.to_bytes(2, order)) for tag in TIFF_TAGS]
    tags = [found.start() for found in re.finditer(b"|".join(known), data)]
    if not tags or rng.random() < 0.1:
        return put(data, 4, 4, order, rng)
    at, size = rng.choice([(2, 2), (4, 4), (8, 2), (8, 4)])
    return put(data, rng.choice(tags) + at, size, order, rng)


DAMAGES = (truncate, flip_bits, set_bytes, splice, blank, lie, lie, lie)
