"""What the tests of the decoder share."""

from pathlib import Path

import numpy as np
import pytest

from preprocess.decoder import Decoder, Undecodable
from preprocess.images import make_squares, open_picture
from tests.helpers import smooth

ENOUGH = 256_000_000
"""Bytes for a child of most tests."""
PROGRAM = """
import sys
from pathlib import Path
from preprocess.decoder import Decoder
decoder = Decoder([16], "crop", 400, 256_000_000, patience=1)
for path in map(Path, sys.argv[1:]):
    decoder.child and print(decoder.child.process.pid, flush=True)
    print(decoder.decode(path).squares.pixels[16].mean(), flush=True)
input()
"""
"""A parent that tells who its child is before each picture but the first, and waits at its end."""


def picture(folder: Path, name: str = "good") -> Path:
    """Write a small JPEG."""
    path = folder / f"{name}.jpg"
    smooth(1, 90, 60).save(path)
    return path


def pid(decoder: Decoder) -> int:
    assert decoder.child
    return decoder.child.process.pid


def pid_after(decoder: Decoder, path: Path) -> int:
    """Return who decoded a picture."""
    assert_decodes(decoder, path)
    return pid(decoder)


def assert_decodes(decoder: Decoder, path: Path) -> None:
    """Check that a picture becomes what it becomes without a child."""
    task = decoder.task
    with open_picture(path) as image:
        header = image.format, image.width, image.height, image.mode
        expected = make_squares(image, task.sizes, task.square, task.max_megapixels)
    made = decoder.decode(path)
    assert header == made.header[:4]
    assert made.squares.profile == expected.profile
    assert list(made.squares.pixels) == list(task.sizes)
    for size in task.sizes:
        np.testing.assert_array_equal(made.squares.pixels[size], expected.pixels[size])


def refusal(decoder: Decoder, path: Path, lenient: bool = False) -> str:
    with pytest.raises(Undecodable) as caught:
        decoder.decode(path, lenient)
    return str(caught.value)
