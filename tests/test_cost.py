"""The memory a picture is said to need: enough to decode it under that limit, and not much more than that."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from preprocess.common.errors import UnreadablePicture
from preprocess.cost import bytes_needed
from preprocess.images import open_picture
from tests.conftest import ROOT
from tests.helpers import smooth

SIDE = 1500
# Decodes a file of the same kind first, so that libraries are loaded, then the picture under each limit on its heap.
PROBE = """
import ctypes, os, re, resource, sys
from pathlib import Path
from preprocess.images import make_squares, open_picture

def squared(path):
    with open_picture(Path(path)) as image:
        make_squares(image, [256], square, 400)

square, first, path, *limits = sys.argv[1:]
squared(first)
ctypes.CDLL(None).malloc_trim(0)
held = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
for limit in map(int, limits):
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_DATA, (held + limit, held + limit))
        try:
            squared(path)
        except BaseException:
            os._exit(1)
        os._exit(0)
    print("too little" if os.waitpid(child, 0)[1] else "enough")
"""


def under_limits(path: Path, small: Path, square: str, *limits: int) -> list[str]:
    """Return "enough" or "too little" for each limit, in bytes of heap beyond those of a process that is ready."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, square, small, path, *map(str, limits)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return run.stdout.split("\n")[:-1]


def needed(path: Path, square: str = "crop") -> int:
    """Return what a file is said to need for a square of 256 pixels."""
    with open_picture(path) as image:
        return bytes_needed(image, 256, square)


def see_through(image: Image.Image) -> Image.Image:
    """Return a picture that fades out to the right."""
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
    return image


def deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def palette(image: Image.Image) -> Image.Image:
    return image.quantize(64, Image.Quantize.FASTOCTREE)


def convert(mode: str) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.convert(mode)


def same(image: Image.Image) -> Image.Image:
    return image


CASES: dict[str, tuple[Callable[[Image.Image], Image.Image], str, dict[str, Any]]] = {
    "baseline": (same, "JPEG", {}),
    "baseline 4:4:4": (same, "JPEG", {"subsampling": 0}),
    "progressive": (same, "JPEG", {"progressive": True}),
    "progressive 4:4:4": (same, "JPEG", {"progressive": True, "subsampling": 0}),
    "progressive grey": (convert("L"), "JPEG", {"progressive": True}),
    "progressive CMYK": (convert("CMYK"), "JPEG", {"progressive": True}),
    "RGB": (same, "PNG", {"compress_level": 1}),
    "grey": (convert("L"), "PNG", {"compress_level": 1}),
    "bits": (convert("1"), "PNG", {}),
    "palette": (palette, "PNG", {}),
    "palette with transparency": (palette, "PNG", {"transparency": 3}),
    "transparent colour": (same, "PNG", {"compress_level": 1, "transparency": (1, 2, 3)}),
    "RGBA": (see_through, "PNG", {"compress_level": 1}),
    "deep": (deep, "PNG", {"compress_level": 1}),
    "BMP": (same, "BMP", {}),
    "GIF": (palette, "GIF", {}),
    "WebP": (same, "WEBP", {"method": 0}),
    "WebP lossless, RGBA": (see_through, "WEBP", {"method": 0, "lossless": True}),
    "AVIF": (same, "AVIF", {"speed": 10}),
    "AVIF RGBA": (see_through, "AVIF", {"speed": 10, "subsampling": "4:4:4"}),
    "JPEG 2000": (same, "JPEG2000", {}),
    "JPEG 2000 deep": (deep, "JPEG2000", {}),
    "JPEG 2000 RGBA": (see_through, "JPEG2000", {}),
    "raw": (same, "TIFF", {}),
    "LZW": (same, "TIFF", {"compression": "tiff_lzw"}),
    "LZW in one strip": (same, "TIFF", {"compression": "tiff_lzw", "strip_size": SIDE * SIDE * 3}),
    "JPEG in one strip": (same, "TIFF", {"compression": "jpeg", "strip_size": SIDE * SIDE * 3}),
    "fax in one strip": (convert("1"), "TIFF", {"compression": "group4", "strip_size": SIDE * SIDE}),
    "RGBA in strips": (see_through, "TIFF", {"compression": "tiff_lzw"}),
    "deep in strips": (deep, "TIFF", {"compression": "tiff_lzw"}),
    "deep in one strip": (deep, "TIFF", {"compression": "tiff_lzw", "strip_size": SIDE * SIDE * 2}),
    "LZMA": (same, "TIFF", {"compression": "lzma"}),
    "turned": (same, "TIFF", {"compression": "tiff_lzw", "tiffinfo": {0x0112: 6}}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_is_enough_and_at_most_twice_too_much(case: str, tmp_path: Path) -> None:
    turn, kind, options = CASES[case]
    path, small = tmp_path / "large", tmp_path / "small"
    turn(smooth(1, SIDE, SIDE)).save(path, kind, **options)
    turn(smooth(1, 40, 30)).save(small, kind, **options)
    said = needed(path)
    half = max(0, said - 8_000_000) // 2
    found = under_limits(path, small, "crop", said, half)
    assert found[0] == "enough"
    assert half == 0 or found[1] == "too little"


@pytest.mark.parametrize("square", ["pad", "stretch"])
@pytest.mark.parametrize("case", ["baseline", "RGB", "RGBA"])
def test_what_is_said_is_enough_for_other_squares_and_long_pictures(case: str, square: str, tmp_path: Path) -> None:
    turn, kind, options = CASES[case]
    path, small = tmp_path / "large", tmp_path / "small"
    turn(smooth(1, 600, 7000)).save(path, kind, **options)
    turn(smooth(1, 40, 30)).save(small, kind, **options)
    assert under_limits(path, small, square, needed(path, square)) == ["enough"]


def test_giants_fit_where_they_should(giants: Path, tmp_path: Path) -> None:
    most = {"baseline.jpg": 400e6, "progressive.jpg": 400e6, "whole.png": 850e6, "deep.tif": 850e6}
    assert {path.name for path in giants.iterdir()} == set(most)
    for path in giants.iterdir():
        said = needed(path)
        assert said <= most[path.name], path.name
        small = tmp_path / path.name
        (deep if path.suffix == ".tif" else same)(smooth(1, 40, 30)).save(small)
        assert under_limits(path, small, "crop", said) == ["enough"], path.name


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hostile_headers_are_refused_or_told(shared_data: Path) -> None:
    told = 0
    for path in sorted(path for path in (shared_data / "hostile-images").rglob("*") if path.is_file()):
        try:
            told += needed(path) > 0
        except UnreadablePicture:
            continue
    assert told > 150
