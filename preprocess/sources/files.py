"""Pictures in files: one folder per artist, or a CSV table beside a folder."""

import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.common.files import read_bytes
from preprocess.common.places import Place
from preprocess.sources import archives
from preprocess.sources.archives import Member
from preprocess.sources.base import LABELS, NOWHERE, Found, Stamp, frame, stamp_of, status_of, temporary

LONGEST_NAME = 255
"""Bytes in one part of a path: the limit of every file system in use."""
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".jp2", ".j2k", ".avif")


def is_picture(name: str) -> bool:
    """Return whether a file is named like a picture."""
    return name.lower().endswith(SUFFIXES)


def is_utf8(text: str) -> bool:
    """Return whether a file's name, as the system gave it, is text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_below(name: str) -> bool:
    """Return whether `name` is a path that leads downwards."""
    return not {"", ".."}.intersection(name.split("/")) and "\0" not in name


def is_plain(name: str) -> bool:
    """Return whether `name` is a path downwards, in the one spelling it has in a listing."""
    parts = name.split("/")
    whole = is_below(name) and "." not in parts and "\\" not in name
    return whole and all(len(part.encode()) <= LONGEST_NAME for part in parts)


def walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below a folder that is no folder, and its path from there; os.walk throws away what scandir
    found out, and asking again takes longer than the rest."""
    waiting = [""]
    while waiting:
        above = waiting.pop()
        with os.scandir(folder / above) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{above}{entry.name}/")
                else:
                    yield above + entry.name, entry


class Files:
    """Pictures in files below a folder; the key is the file's path from there, with forward slashes."""

    hashes_meaningful = True

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SourceError(f"{folder} is not a folder; put the pictures there, or set source.path")
        self.folder = folder

    def listed(self, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Stamp | None]:
        """Return the keys of all files below the folder whose names end so, sorted, each with its stamp.

        The stamp is None for what is no regular file. Hidden files do not count, and links to folders are not followed.
        Raises SourceError for a name that is not UTF-8, OSError for a folder that may not be read.
        """
        found: dict[str, Stamp | None] = {}
        for key, entry in walk(self.folder):
            if not entry.name.lower().endswith(suffixes):
                continue
            if not is_utf8(key):
                raise SourceError(f"{self.folder}: the file name {os.fsencode(key)!r} is not UTF-8; rename it")
            status = status_of(entry)
            if not status or not stat.S_ISDIR(status.st_mode):
                found[key] = stamp_of(status)
        return dict(sorted(found.items()))

    def file_stamp(self, name: str) -> Stamp | None:
        """Return the stamp of a file below the folder; None for anything else."""
        return stamp_of(status_of(self.folder / name)) if is_below(name) else None

    def located(self, place: str) -> tuple[Stamp | None, Member | None]:
        """Return the stamp of what is at a place, None for nothing, and the member of an archive that it is, if so.

        A member counts as there while its archive has as many bytes as when it was listed.
        """
        member = Member.parsed(place)
        found = self.file_stamp(member.archive if member else place)
        if not member or not found:
            return found, member
        return ((member.size, member.crc) if found[0] == member.whole else None), member

    def stamp(self, place: str) -> Stamp:
        """See Source."""
        return self.located(place)[0] or (0, 0)

    @contextmanager
    def fetch(self, place: str) -> Iterator[Path]:
        """See Source."""
        found, member = self.located(place)
        if not found:
            raise UnreadablePicture("no such file")
        if not member:
            yield self.folder / place
            return
        with temporary(archives.unpacked(self.folder / member.archive, member)) as path:
            yield path


class Folders(Files):
    """One folder per artist."""

    def rows(self) -> pl.DataFrame:
        """See Source. Raises SourceError for a picture that lies in no artist's folder."""
        found = self.listed()
        for key in found:
            if "/" not in key:
                raise SourceError(f"{self.folder / key} lies in no artist's folder; move it into one")
        places = [(key, *stamp) if stamp else NOWHERE for key, stamp in found.items()]
        return frame({"key": list(found), "artist": [key.split("/")[0] for key in found]}, places)


class Table(Files):
    """A CSV table in the columns of Painter by Numbers beside a folder of pictures."""

    def __init__(self, folder: Path, table: Place, unmatched: str) -> None:
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
        names = table["filename"].to_list()
        if twice := table["filename"].filter(table["filename"].is_duplicated()).to_list():
            raise SourceError(f"{self.table}: {twice[0]!r} stands in more than one row; remove all but one")
        found = self.pictures()
        for name in names:
            if name not in found:  # in no listing, but perhaps a file
                stamp = self.file_stamp(name)
                found[name] = (name, *stamp) if stamp else NOWHERE
        if self.unmatched == "error":
            self.check_match(names, found)
        known = {name: table[name] for name in ("artist", *LABELS) if name in table.columns}
        return frame({"key": names, **known}, [found[name] for name in names])

    def pictures(self) -> dict[str, Found]:
        """Return where each picture is, in files and in archives, by its key: a file's path, a member's bare name."""
        listed = self.listed((*SUFFIXES, archives.SUFFIX))
        found = {key: (key, *stamp) if stamp else NOWHERE for key, stamp in listed.items() if is_picture(key)}
        packed = [key for key in listed if key not in found]
        for archive in packed:
            if not listed[archive]:
                raise SourceError(f"{self.folder / archive} is no file; put the archive there, or remove it")

        def wanted(name: str) -> bool:
            return is_picture(name) and found.get(name, NOWHERE) == NOWHERE

        chosen = archives.choose(self.folder, packed, wanted)
        return found | {name: (member.place, member.size, member.crc) for name, member in chosen.items()}

    def read_table(self) -> pl.DataFrame:
        """Return the CSV table, every value a string or null, without blank lines."""
        try:
            table = pl.read_csv(io.BytesIO(read_bytes(self.table)), infer_schema=False)
        except (FileNotFoundError, IsADirectoryError):
            raise SourceError(f"{self.table} does not exist; put the table there, or set source.table") from None
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise SourceError(f"{self.table} is not a UTF-8 CSV table: {reason}; save it as one") from None
        for column in ("filename", "artist"):
            if column not in table.columns:
                header = ",".join(table.columns)[:200]
                raise SourceError(f"{self.table} has no column {column!r}, only {header!r}; add it")
        return table.filter(~pl.all_horizontal(pl.all().is_null()))

    def check_match(self, names: Sequence[str], found: Mapping[str, Found]) -> None:
        """Refuse rows without a file and files without a row, but for replacements of what this table leaves out."""
        remedy = "or set source.unmatched: quarantine"
        if missing := [name for name in names if found[name] == NOWHERE]:
            raise SourceError(
                f"{self.table}: {len(missing)} rows have no file in {self.folder}, first {missing[0]!r}; "
                f"add the files, {remedy}"
            )
        spare = {name: Member.parsed(found[name][0] or "") for name in found.keys() - set(names)}
        if extra := sorted(name for name, member in spare.items() if not (member and member.is_replacement)):
            member = spare[extra[0]]
            inside = f" in {member.archive}" if member else ""
            raise SourceError(
                f"{self.folder}: {len(extra)} files have no row in {self.table}, first {extra[0]!r}{inside}; "
                f"add rows, {remedy}"
            )
