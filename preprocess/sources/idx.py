"""The IDX source: the four .gz files of MNIST and its family, with their official train and test sides."""

import functools
import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from preprocess.common.errors import SourceError
from preprocess.images import Header
from preprocess.sources.base import frame

SIDES = {"train": "train", "test": "t10k"}
IMAGES, LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
MAGIC = {IMAGES: 0x803, LABELS: 0x801}
MOST_BYTES = 1 << 30  # of one file, unpacked: eighteen times MNIST


class Idx:
    """Grey pictures packed in IDX files; the class of a picture takes the artist's place."""

    hashes_meaningful = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self) -> pl.DataFrame:
        """See Source; keys are "train/0" to "test/9999". Raises SourceError for a missing or malformed file."""
        keys: list[str] = []
        artists: list[str] = []
        for side in SIDES:
            images, labels = self.side(side)
            if len(images) != len(labels):
                raise SourceError(
                    f"{self.folder}: {len(images)} {side} images but {len(labels)} labels; fetch both files again"
                )
            keys += [f"{side}/{index}" for index in range(len(images))]
            artists += [str(label) for label in labels]
        return frame(keys, artists, [key.split("/")[0] for key in keys])

    def side(self, side: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return images [n, height, width] and labels [n] of one side."""
        prefix = SIDES[side]
        return read_idx(self.folder / f"{prefix}-{IMAGES}"), read_idx(self.folder / f"{prefix}-{LABELS}")

    def pixels(self, key: str) -> NDArray[np.uint8]:
        """Return the picture named `key`, uint8 [height, width]."""
        side, index = key.split("/")
        picture: NDArray[np.uint8] = self.side(side)[0][int(index)]
        return picture

    def stamp(self, key: str) -> tuple[int, int]:
        """See Source: the picture's own bytes, and the time of the file that holds it."""
        side = key.split("/")[0]
        path = self.folder / f"{SIDES[side]}-{IMAGES}"
        return self.pixels(key).nbytes, modified(path)

    def header(self, key: str) -> Header:
        """See Source; the hash is of the picture's pixels."""
        pixels = self.pixels(key)
        height, width = pixels.shape
        return Header("IDX", width, height, "L", hashlib.sha256(pixels.tobytes()).hexdigest(), None)

    @contextmanager
    def open(self, key: str) -> Iterator[Image.Image]:
        """See Source."""
        yield Image.fromarray(self.pixels(key))


@functools.cache
def modified(path: Path) -> int:
    """Return the modification time of `path` in ns, asked once per process."""
    return path.stat().st_mtime_ns


@functools.lru_cache(maxsize=8)
def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX .gz file, read-only; checked for magic number, counts and size.

    Format: http://yann.lecun.com/exdb/mnist (big-endian 32-bit magic 0x0000080D, D = number of dimensions, each
    dimension, then the bytes). Raises SourceError.
    """
    try:
        with gzip.open(path) as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist; put the four .gz files of the collection there") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(f"{path} is not a whole gzip file ({error}); fetch it again") from None
    expected = next(magic for name, magic in MAGIC.items() if path.name.endswith(name))
    dimensions = expected & 0xFF
    start = 4 + 4 * dimensions
    magic, *shape = struct.unpack(f">{1 + dimensions}I", data[:start]) if len(data) >= start else (0,)
    if magic != expected:
        raise SourceError(f"{path} begins with {magic:#x}, not {expected:#x}: it is another kind of file; replace it")
    if len(data) != start + math.prod(shape):
        raise SourceError(f"{path} promises {math.prod(shape)} bytes and holds {len(data) - start}; fetch it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
