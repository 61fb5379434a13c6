"""The IDX source: the four .gz files of MNIST and its family, with their official train and test sides."""

import functools
import gzip
import io
import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources.base import Found, Stamp, frame, stamp_of, status_of, temporary

SIDES = {"train": "train", "test": "t10k"}
IMAGES, LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
MAGIC = {IMAGES: 0x803, LABELS: 0x801}
PLACE = re.compile(r"(train|test)/(\d{1,9})", re.ASCII)
MOST_BYTES = 1 << 30  # of one file, unpacked: eighteen times MNIST


class Idx:
    """Grey pictures packed in IDX files; the class of a picture takes the artist's place."""

    hashes_meaningful = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self) -> pl.DataFrame:
        """See Source; keys and places are "train/0" to "test/9999". Raises SourceError for a missing or bad file."""
        found: list[Found] = []
        artists: list[str] = []
        sides: list[str] = []
        for side in SIDES:
            modified = self.modified(side)
            images, labels = read_idx(self.file(side, IMAGES)), read_idx(self.file(side, LABELS))
            if len(images) != len(labels):
                raise SourceError(
                    f"{self.folder}: {len(images)} {side} images but {len(labels)} labels; fetch both files again"
                )
            size = math.prod(images.shape[1:])
            found += [(f"{side}/{index}", size, modified or 0) for index in range(len(images))]
            artists += map(str, labels.tolist())
            sides += [side] * len(images)
        return frame({"key": [place for place, *_ in found], "artist": artists, "side": sides}, found)

    def file(self, side: str, kind: str) -> Path:
        """Return the path of one of the four files."""
        return self.folder / f"{SIDES[side]}-{kind}"

    def modified(self, side: str) -> int | None:
        """Return the modification time in ns of the file with the pictures of one side; None where there is none."""
        stamp = stamp_of(status_of(self.file(side, IMAGES)))
        return stamp and stamp[1]

    def pixels(self, place: str) -> NDArray[np.uint8] | None:
        """Return one picture, uint8 [height, width]; None where there is none. Raises SourceError for a bad file."""
        parts = PLACE.fullmatch(place)
        if not parts or self.modified(parts[1]) is None:
            return None
        images, index = read_idx(self.file(parts[1], IMAGES)), int(parts[2])
        return images[index] if index < len(images) else None

    def stamp(self, place: str) -> Stamp:
        """See Source: the picture's own bytes, and the time of the file that holds it."""
        pixels = self.pixels(place)
        return (0, 0) if pixels is None else (pixels.nbytes, self.modified(place.split("/")[0]) or 0)

    @contextmanager
    def fetch(self, place: str) -> Iterator[Path]:
        """See Source; the file is a PNG without compression, of the ways to hand on a picture the quickest."""
        pixels = self.pixels(place)
        if pixels is None:
            raise UnreadablePicture("no such file")
        if not pixels.size:
            raise UnreadablePicture("a picture without pixels")
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
        with temporary([buffer.getvalue()]) as path:
            yield path


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
