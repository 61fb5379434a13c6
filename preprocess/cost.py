"""What decoding a picture will cost in memory, told from its header before a pixel is read."""

from PIL import Image

ROOM = 4_000_000
"""Bytes for what does not grow with the picture: read buffers, tables, the squares themselves."""
PILLOW_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""Bytes of a pixel in Pillow's memory; 4 in every other mode, RGB too."""


def bytes_needed(image: Image.Image, size: int, square: str) -> int:
    """Return an upper estimate of the heap, in bytes, that make_squares needs for a picture opened but not loaded."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        return ROOM + _jpeg(image, size, square)
    return ROOM + pixels * (2 * PILLOW_BYTES.get(image.mode, 4) + 4)


def _jpeg(image: Image.Image, size: int, square: str) -> int:
    """Pixels at the scale it decodes to, and for a progressive file 2 bytes per coefficient of every component."""
    pixels = image.width * image.height
    side = (max if square == "pad" else min)(image.size)
    scale = next(scale for scale in (8, 4, 2, 1) if side >= size * 3 * scale or scale == 1)
    layers = getattr(image, "layer", [])
    most = max((h * v for _, h, v, _ in layers), default=1)
    coefficients = sum(2 * pixels * h * v / most for _, h, v, _ in layers) if "progressive" in image.info else 0
    return round(4 * pixels / scale**2 + coefficients * 1.05)
