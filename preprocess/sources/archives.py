"""Zip archives of pictures, read in place: listed once, then each picture by its own position in the archive."""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, Self

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources.base import named

SUFFIX = ".zip"
CHUNK = 1 << 18
# The local header of a member: signature, flags, lengths of its name and of its extra field (APPNOTE.TXT, 4.3.7).
LOCAL = struct.Struct("<4s2xH18xHH")
SIGNATURE, ENCRYPTED = b"PK\3\4", 1
MOST_BYTES = 1 << 32
MOST_RATIO = 1000
LINK = 0xFFFF
"""Stands for the method of a member that is a symbolic link; no packer's method has this number."""
PLACE = re.compile(
    r"(?P<archive>.+\.zip)//(?P<whole>\d{1,18}):(?P<offset>\d{1,18}):(?P<packed>\d{1,18}):"
    r"(?P<size>\d{1,18}):(?P<crc>\d{1,10}):(?P<method>\d{1,5})",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)

# Upwards, absolute, with a drive's letter, or with what some system takes for a separator or an end.
UNSAFE = re.compile(r"\A/|\A[A-Za-z]:|[\\\0]|(\A|/)\.\.(/|\Z)")


class Member(NamedTuple):
    """One file in an archive, with all that is needed to read it without the archive's directory."""

    archive: str
    whole: int
    """Bytes in the archive: they tell whether it is still the one that was listed."""
    offset: int
    packed: int
    size: int
    crc: int
    method: int

    @classmethod
    def parsed(cls, place: str) -> Self | None:
        """Return the member at a `place`, or None where that is no place in an archive."""
        parts = PLACE.fullmatch(place)
        if not parts:
            return None
        archive, *numbers = parts.groups()
        member = cls(archive, *map(int, numbers))
        return member if member.offset < member.whole else None

    @property
    def place(self) -> str:
        """One string for all of it. No path of a listed file holds "//", so it cannot be taken for one."""
        return f"{self.archive}//{':'.join(map(str, self[1:]))}"

    @property
    def is_replacement(self) -> bool:
        """Whether it takes the place of a file of the same name in other archives, as Kaggle's replacements do."""
        return self.archive.rpartition("/")[2].lower().startswith("replacements")

    @property
    def problem(self) -> str | None:
        """Why this member will not be read, or None."""
        if self.method == LINK:
            return "a symbolic link in an archive"
        if self.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"packed with method {self.method} of zip; pack it with deflate"
        if self.size > MOST_BYTES:
            return f"declares more than {MOST_BYTES} bytes, as no picture does"
        if self.size > MOST_RATIO * self.packed:
            return f"declares to unpack to more than {MOST_RATIO} times its size, as no picture does"
        return None


def choose(folder: Path, archives: Sequence[str], wanted: Callable[[str], bool]) -> dict[str, Member]:
    """Return by their names those files in all archives whose names are wanted; replacements before any others.

    Raises SourceError for an archive that is damaged or unsafe, and where archives differ in what a name stands for.
    """
    chosen: dict[str, Member] = {}
    found = [(name, member) for archive in archives for name, member in members(folder, archive) if wanted(name)]
    for name, member in sorted(found, key=lambda pair: not pair[1].is_replacement):
        first = chosen.setdefault(name, member)
        if first.is_replacement == member.is_replacement and (first.size, first.crc) != (member.size, member.crc):
            raise SourceError(
                f"{folder}: {first.archive} and {member.archive} hold different files named {name!r}; "
                "remove one archive, or put the right file beside them"
            )
    return chosen


def members(folder: Path, archive: str) -> Iterator[tuple[str, Member]]:
    """Yield name, without folders, and position of every file in an archive; hidden ones do not count.

    Reads nothing but the archive's directory. Raises SourceError for one that is damaged or unsafe.
    """
    path = folder / archive
    infos, end = directory(path)
    whole = path.stat().st_size
    limits = [*(info.header_offset for info in infos), end][1:]
    for info, limit in zip(infos, limits, strict=True):
        name = info.orig_filename
        if UNSAFE.search(name):
            raise SourceError(f"{path} holds a member named {name[:80]!r}, which leads elsewhere; pack it anew")
        # Names and extra fields also take room, but this much keeps any byte from being unpacked twice.
        if not 0 <= info.header_offset <= limit - LOCAL.size - info.compress_size:
            raise SourceError(
                f"{path}: member {name[:80]!r} lies over another or outside, as in a zip bomb; download it again"
            )
        if any(part.startswith(".") for part in name.removeprefix("./").split("/")):
            continue
        method = LINK if stat.S_ISLNK(info.external_attr >> 16) else info.compress_type
        size = min(info.file_size, MOST_BYTES + 1)  # what is declared may fit no column
        position = (info.header_offset, info.compress_size, size, info.CRC, method)
        yield name.rpartition("/")[2], Member(archive, whole, *position)


def directory(path: Path) -> tuple[list[zipfile.ZipInfo], int]:
    """Return what an archive's directory lists, in the order of position, and the position of the directory itself."""
    try:
        with named(path), zipfile.ZipFile(path) as archive:
            return sorted(archive.infolist(), key=lambda info: info.header_offset), archive.start_dir
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the library raises many kinds on hostile bytes
        raise SourceError(f"{path} is not a whole zip archive ({error}); download it again") from None


def unpacked(path: Path, member: Member) -> Iterator[bytes]:
    """Yield the bytes of a member of the archive in `path`, never more than it declares.

    Raises UnreadablePicture, at the latest after the last byte, where they are not those that were packed.
    """
    if member.problem:
        raise UnreadablePicture(member.problem)
    with named(path), path.open("rb") as archive:
        archive.seek(member.offset)
        header = archive.read(LOCAL.size)
        if not header.startswith(SIGNATURE) or len(header) < LOCAL.size:
            raise UnreadablePicture("damaged in its archive: it does not begin where the directory says")
        _, flags, name_length, extra_length = LOCAL.unpack(header)
        if flags & ENCRYPTED:
            raise UnreadablePicture("encrypted in its archive")
        archive.seek(name_length + extra_length, 1)
        chunks = raw(archive, member.packed)
        size = crc = 0
        for chunk in inflated(chunks) if member.method == zipfile.ZIP_DEFLATED else chunks:
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if size > member.size:
                raise UnreadablePicture(f"unpacks to more than the {member.size} bytes it declares")
            yield chunk
        if size < member.size:
            raise UnreadablePicture(f"damaged in its archive: it ends after {size} of {member.size} bytes")
        if crc != member.crc:
            raise UnreadablePicture("damaged in its archive: its CRC-32 is another")


def raw(archive: IO[bytes], left: int) -> Iterator[bytes]:
    """Yield the next `left` bytes of a file, or what there is of them."""
    while chunk := archive.read(min(CHUNK, left)):
        left -= len(chunk)
        yield chunk


def inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what deflated bytes unpack to, at most CHUNK bytes at a time."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            while chunk and not unpacker.eof:
                yield unpacker.decompress(chunk, CHUNK)
                chunk = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error:
        raise UnreadablePicture("damaged in its archive: it does not unpack") from None
