"""What every source of pictures offers, and the columns of its rows."""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from errno import ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from pathlib import Path
from typing import Protocol

import polars as pl

LABELS = ("title", "style", "genre", "date")
COLUMNS = ("key", "artist", "side", *LABELS)
STAMPS = {"place": pl.String, "bytes": pl.Int64, "stamp": pl.Int64}

Stamp = tuple[int, int]
"""Size in bytes, and a number that changes when the file does."""
Found = tuple[str | None, int, int]
"""One row of STAMPS."""
NOWHERE: Found = (None, 0, 0)


class Source(Protocol):
    """What every source offers; instances are small and travel to worker processes."""

    hashes_meaningful: bool
    """Whether equal perceptual hashes mean equal pictures: true of paintings, not of digits."""

    def rows(self) -> pl.DataFrame:
        """Return one row per picture, in the columns COLUMNS and STAMPS.

        COLUMNS are strings, null where unknown; `side` is "train" or "test" where the source prescribes it. `place`
        says where the picture's bytes are (null: there is no such file, then bytes and stamp are 0), `bytes` how many,
        and `stamp` changes when the file does: its modification time in ns, or the CRC-32 of a member of a zip archive.
        Raises SourceError where table and files do not match.
        """

    def stamp(self, place: str) -> Stamp:
        """Return (bytes, stamp) as they are now, to notice a change; (0, 0) where there is no such file."""

    def fetch(self, place: str) -> AbstractContextManager[Path]:
        """Yield a local file with the picture's bytes, to be read only: the file itself, or a temporary one.

        Raises UnreadablePicture with the reason, OSError for faults of the machine.
        """


def frame(known: Mapping[str, Sequence[str | None] | pl.Series], found: Sequence[Found]) -> pl.DataFrame:
    """Return the rows of a source: the COLUMNS it knows, null in the others, and STAMPS."""
    unknown = [None] * len(found)
    columns = {name: known.get(name, unknown) for name in COLUMNS}
    stamps = pl.DataFrame(found, STAMPS, orient="row")
    return pl.DataFrame(columns, dict.fromkeys(COLUMNS, pl.String)).hstack(stamps)


def status_of(file: Path | os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of a file, or of what a link leads to; None where there is nothing."""
    try:
        return file.stat()
    except OSError as error:
        if error.errno not in (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG):
            raise
        return None


def stamp_of(status: os.stat_result | None) -> Stamp | None:
    """Return size and modification time in ns of a regular file; None for anything else, which is never opened."""
    return (status.st_size, status.st_mtime_ns) if status and stat.S_ISREG(status.st_mode) else None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an OSError say which file it is about; those of reading and writing leave it out."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def temporary(chunks: Iterable[bytes]) -> Iterator[Path]:
    """Yield a temporary file that holds `chunks`, one after the other; it is gone afterwards."""
    handle, name = tempfile.mkstemp(prefix="painting-")
    path = Path(name)
    try:
        with named(path), os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
        yield path
    finally:
        path.unlink(missing_ok=True)
