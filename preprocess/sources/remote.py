"""Pictures in an object store: one listing says what there is, and a worker fetches each by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.common.files import exists, list_stamped, local_copy, stamp_of
from preprocess.common.places import Place
from preprocess.sources import archives
from preprocess.sources.base import Stamp
from preprocess.sources.files import SUFFIXES, Folders, Table, is_below


class InObjectStore:
    """Where Files looks at a folder, this looks into an object store."""

    def __init__(self, folder: Place) -> None:
        if not exists(folder):
            raise SourceError(f"{folder} holds nothing; put the pictures there, or set source.path")
        self.folder = folder

    def listed(self, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Stamp | None]:
        """See Files; every object is a regular file. Raises SourceError for archives, which are read on disks alone."""
        found: dict[str, Stamp | None] = {}
        for name, stamp in list_stamped(self.folder).items():
            if any(part.startswith(".") for part in name.split("/")):
                continue
            if archives.SUFFIX in suffixes and name.lower().endswith(archives.SUFFIX):
                raise SourceError(f"{self.folder / name}: archives in an object store are not read; unpack it there")
            if name.lower().endswith(suffixes):
                found[name] = stamp
        return found

    def file_stamp(self, name: str) -> Stamp | None:
        """See Files."""
        return stamp_of(self.folder / name) if is_below(name) else None

    def stamp(self, place: str) -> Stamp:
        """See Source."""
        return self.file_stamp(place) or (0, 0)

    @contextmanager
    def fetch(self, place: str) -> Iterator[Path]:
        """See Source."""
        try:
            with local_copy(self.folder / place) as path:
                yield path
        except FileNotFoundError:
            raise UnreadablePicture("no such file") from None


class RemoteFolders(InObjectStore, Folders):
    """One folder per artist."""


class RemoteTable(InObjectStore, Table):
    """A CSV table beside a folder of pictures."""

    def __init__(self, folder: Place, table: Place, unmatched: str) -> None:
        super().__init__(folder)
        self.table = table
        self.unmatched = unmatched
