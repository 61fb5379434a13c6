"""The source of figures: invented from the training pictures of an IDX collection, and drawn when they are read."""

import functools
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.figures import Figure, draw, invent
from preprocess.sources.base import Found, Stamp, frame, temporary
from preprocess.sources.idx import IMAGES, Idx, read_idx

VERSION = 1  # of the drawings: raise it with any change that alters their bytes
PLACE = re.compile(r"(\d{5})/(\d{1,2})", re.ASCII)
TRIES = 100
"""Pictures without an outline, one after the other."""


class Figures:
    """Figures in the artists' place, with their drawings for paintings: functions of the training pictures, the seed
    and their numbers. Test pictures and labels are never read."""

    hashes_meaningful = False

    def __init__(self, folder: Path, figures: int, drawings: int, seed: int) -> None:
        self.idx, self.figures, self.drawings, self.seed = Idx(folder), figures, drawings, seed

    def rows(self) -> pl.DataFrame:
        """See Source; keys and places are "00000/0" and so on. Raises SourceError for a missing or bad file."""
        size, stamp = self.stamp(f"{0:05}/0")
        artists = [f"{figure:05}" for figure in range(self.figures) for _ in range(self.drawings)]
        keys = [f"{artist}/{number % self.drawings}" for number, artist in enumerate(artists)]
        found: list[Found] = [(key, size, stamp) for key in keys]
        return frame({"key": keys, "artist": artists}, found)

    @property
    def file(self) -> Path:
        """The file with the training pictures."""
        return self.idx.file("train", IMAGES)

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """The training pictures [n, height, width]. Raises SourceError."""
        found = read_idx(self.file)
        if not found.size:
            raise SourceError(f"{self.file} holds no pictures; fetch it again")
        return found

    def stamp(self, place: str) -> Stamp:
        """See Source: the bytes of one training picture, and what tells other pictures, seeds and versions apart."""
        modified = self.idx.modified("train")
        if not PLACE.fullmatch(place) or modified is None:
            return 0, 0
        return self.pictures[0].size, zlib.crc32(f"{VERSION} {self.seed} {modified}".encode())

    @contextmanager
    def fetch(self, place: str) -> Iterator[Path]:
        """See Source; the file is a PNG without compression, its side the longer of the training pictures'."""
        numbers = PLACE.fullmatch(place)
        if not numbers or self.idx.modified("train") is None:
            raise UnreadablePicture("no such file")
        figure, drawing = map(int, numbers.groups())
        pictures, rng = self.pictures, np.random.default_rng([self.seed, figure, drawing + 1])  # [s, f, 0] is [s, f]
        texture = pictures[rng.integers(len(pictures))]
        drawn = draw(invented(self.file, self.seed, figure), texture, max(texture.shape), rng)
        buffer = io.BytesIO()
        Image.fromarray(drawn).save(buffer, "PNG", compress_level=0)
        with temporary([buffer.getvalue()]) as path:
            yield path


@functools.lru_cache(maxsize=4)
def invented(file: Path, seed: int, number: int) -> Figure:
    """Return a figure by its number, from the pictures in an IDX file. Raises UnreadablePicture."""
    pictures, rng = read_idx(file), np.random.default_rng([seed, number])
    for _ in range(TRIES):
        try:
            return invent(pictures[rng.integers(len(pictures))], rng)
        except UnreadablePicture:
            continue
    raise UnreadablePicture(f"none of {TRIES} pictures has an outline")
