"""What every source of pictures offers, and the columns of its rows."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import polars as pl
from PIL import Image

from preprocess.images import Header

LABELS = ("title", "style", "genre", "date")
COLUMNS = ("key", "artist", "side", *LABELS)


class Source(Protocol):
    """What every source offers; instances are small and travel to worker processes."""

    hashes_meaningful: bool
    """Whether equal perceptual hashes mean equal pictures: true of paintings, not of digits."""

    def rows(self) -> pl.DataFrame:
        """Return one row per picture: the strings of COLUMNS, null where unknown; `side` is "train" or "test"
        where the source prescribes it. Raises SourceError where table and files do not match."""

    def stamp(self, key: str) -> tuple[int, int]:
        """Return the size in bytes and the modification time in ns of the picture named `key`."""

    def header(self, key: str) -> Header:
        """Return what the file's header and bytes say, without decoding its pixels."""

    def open(self, key: str) -> AbstractContextManager[Image.Image]:
        """Open a picture for decoding. Raises UnreadablePicture."""


def frame(keys: Sequence[str], artists: Sequence[str], sides: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the rows of a source that knows nothing but keys, artists and perhaps sides."""
    unknown = [None] * len(keys)
    columns = {"key": keys, "artist": artists, "side": sides or unknown} | dict.fromkeys(LABELS, unknown)
    return pl.DataFrame(columns, dict.fromkeys(COLUMNS, pl.String))
