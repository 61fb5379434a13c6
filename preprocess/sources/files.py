"""Pictures in files: one folder per artist, or a CSV table beside a folder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import polars as pl
from PIL import Image

from preprocess.common.errors import SourceError
from preprocess.images import Header, open_picture, read_header
from preprocess.sources.base import LABELS, frame

SUFFIXES = frozenset(".jpg .jpeg .jpe .png .gif .webp .tif .tiff .bmp .jp2 .j2k .avif".split())


class Files:
    """Pictures in files below a folder; the key is the file's path from there, with forward slashes."""

    hashes_meaningful = True

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder; put the pictures there, or set source.path")
        self.folder = folder

    def listed(self) -> list[str]:
        """Return the keys of all picture files below the folder, sorted; hidden ones do not count."""
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))

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
            if not name or not artist:
                raise SourceError(f"{self.table}: row {line} has no {'artist' if name else 'filename'}; fill it in or remove the row")
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                raise SourceError(f"{self.table}: row {line} names {name!r}, which leaves the folder {self.folder}")
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
        """Return the CSV table, every value a string or null."""
        try:
            table = pl.read_csv(self.table, infer_schema=False)
        except FileNotFoundError:
            raise SourceError(f"{self.table} does not exist; put the table there, or set source.table") from None
        except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
            raise SourceError(f"{self.table} is not a UTF-8 CSV table: {error}") from None
        for column in ("filename", "artist"):
            if column not in table.columns:
                raise SourceError(f"{self.table} has no column {column!r}; its header is {','.join(table.columns)!r}")
        return table

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
