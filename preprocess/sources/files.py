"""Pictures in files: one folder per artist, or a CSV table beside a folder."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import polars as pl
from PIL import Image

from preprocess.common.errors import SourceError
from preprocess.images import Header, open_picture, read_header
from preprocess.sources.base import LABELS, frame

LONGEST_NAME = 255
"""Bytes in one part of a path: the limit of every file system in use."""
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".jp2", ".j2k", ".avif"}
)


def reraise(error: OSError) -> None:
    """Let os.walk fail where it would skip what it may not read."""
    raise error


def is_utf8(text: str) -> bool:
    """Return whether a file's name, as the system gave it, is text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_plain(name: str) -> bool:
    """Return whether `name` is a path downwards, in the one spelling it has in a listing."""
    path = PurePosixPath(name)
    whole = not path.is_absolute() and ".." not in path.parts and name == path.as_posix()
    return whole and not set(name) & set("\\\0") and all(len(part.encode()) <= LONGEST_NAME for part in path.parts)


class Files:
    """Pictures in files below a folder; the key is the file's path from there, with forward slashes."""

    hashes_meaningful = True

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder; put the pictures there, or set source.path")
        self.folder = folder

    def listed(self) -> list[str]:
        """Return the keys of all picture files below the folder, sorted; hidden ones do not count, and links to folders
        are not followed. Raises SourceError for a name that is not UTF-8, OSError for a folder that may not be read."""
        keys = []
        for folder, inside, names in os.walk(self.folder, onerror=reraise):
            inside[:] = [name for name in inside if not name.startswith(".")]
            for path in (Path(folder, name) for name in names if not name.startswith(".")):
                if path.suffix.lower() in SUFFIXES:
                    keys.append(path.relative_to(self.folder).as_posix())
        for key in keys:
            if not is_utf8(key):
                raise SourceError(f"{self.folder}: the file name {os.fsencode(key)!r} is not UTF-8; rename it")
        return sorted(keys)

    def stamp(self, key: str) -> tuple[int, int]:
        """See Source; (0, 0) where there is no such file."""
        try:
            status = (self.folder / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def header(self, key: str) -> Header:
        """See Source."""
        return read_header(self.folder / key)

    @contextmanager
    def open(self, key: str) -> Iterator[Image.Image]:
        """See Source."""
        with open_picture(self.folder / key) as image:
            yield image


class Folders(Files):
    """One folder per artist."""

    def rows(self) -> pl.DataFrame:
        """See Source. Raises SourceError for a picture that lies in no artist's folder."""
        keys = self.listed()
        for key in keys:
            if "/" not in key:
                raise SourceError(f"{self.folder / key} lies in no artist's folder; move it into one")
        return frame(keys, [key.split("/")[0] for key in keys])


class Table(Files):
    """A CSV table in the columns of Painter by Numbers beside a folder of pictures."""

    def __init__(self, folder: Path, table: Path, unmatched: str) -> None:
        super().__init__(folder)
        self.table = table
        self.unmatched = unmatched

    def rows(self) -> pl.DataFrame:
        """See Source. Raises SourceError naming the table and the line, column or file at fault."""
        table = self.read_table()
        for line, (name, artist) in enumerate(table.select("filename", "artist").iter_rows(), start=1):
            for column, value in (("filename", name), ("artist", artist)):
                if not (value or "").strip():
                    raise SourceError(f"{self.table}: row {line} has no {column}; fill it in or remove the row")
            if not is_plain(name):
                raise SourceError(
                    f"{self.table}: row {line} names {name[:80]!r}; name a file below {self.folder}, "
                    "with forward slashes and without '..'"
                )
        names = table["filename"]
        if twice := names.filter(names.is_duplicated()).to_list():
            raise SourceError(f"{self.table}: {twice[0]!r} stands in more than one row; remove all but one")
        if self.unmatched == "error":
            self.check_match(names.to_list())
        return table.select(
            pl.col("filename").alias("key"), "artist", pl.lit(None, pl.String).alias("side"),
            *(pl.col(name) if name in table.columns else pl.lit(None, pl.String).alias(name) for name in LABELS),
        )  # fmt: skip

    def read_table(self) -> pl.DataFrame:
        """Return the CSV table, every value a string or null, without blank lines."""
        if not self.table.is_file():  # polars would read a folder's files one after the other
            raise SourceError(f"{self.table} does not exist; put the table there, or set source.table")
        try:
            table = pl.read_csv(self.table, infer_schema=False, glob=False)
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise SourceError(f"{self.table} is not a UTF-8 CSV table: {reason}; save it as one") from None
        for column in ("filename", "artist"):
            if column not in table.columns:
                header = ",".join(table.columns)[:200]
                raise SourceError(f"{self.table} has no column {column!r}, only {header!r}; add it")
        return table.filter(~pl.all_horizontal(pl.all().is_null()))

    def check_match(self, names: Sequence[str]) -> None:
        """Refuse rows without a file and files without a row."""
        files = set(self.listed())
        remedy = "or set source.unmatched: quarantine"
        if missing := [name for name in names if name not in files and not (self.folder / name).is_file()]:
            raise SourceError(
                f"{self.table}: {len(missing)} rows have no file in {self.folder}, first {missing[0]!r}; "
                f"add the files, {remedy}"
            )
        if extra := sorted(files.difference(names)):
            raise SourceError(
                f"{self.folder}: {len(extra)} files have no row in {self.table}, first {extra[0]!r}; add rows, {remedy}"
            )
