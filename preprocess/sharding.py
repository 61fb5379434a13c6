"""One shard file of the store, as the zarr v3 specification lays it out, written row by row and read back.

https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html with the index at the end: the chunks,
here one picture each, raw, followed by its CRC-32C, and a gap up to a multiple of 64 bytes; then for every row of the
shard the offset and the length of its chunk, both 2^64 - 1 where there is none; then a CRC-32C of that index. All
numbers are little-endian.

Written here rather than by a library because a picture then costs a worker no memory: it goes to the file as soon as it
is decoded. zarr-python holds a whole shard, and cannot write some rows of one and leave others out (3.1.6).
"""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray

CHECKSUM, ENTRY, ALIGNED = 4, 16, 64
"""Bytes of a CRC-32C and of a row's entry in the index; a chunk begins at a multiple of the last, a line of the
processor's cache: out of files held in memory pictures are then copied faster (docs/reading.md)."""
MISSING = np.iinfo(np.uint64).max


def checksum(data: bytes) -> bytes:
    """Return the CRC-32C of `data` as 4 bytes, little-endian."""
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM, "little")


class ShardWriter:
    """Writes one shard with places for `rows` pictures to `path`; rows that are never written are missing chunks."""

    def __init__(self, path: Path, rows: int) -> None:
        self.file: BinaryIO = path.open("wb")
        self.hash = hashlib.sha256()
        self.index = np.full((rows, 2), MISSING, "<u8")
        self.end = 0

    def write(self, row: int, picture: NDArray[np.uint8]) -> None:
        """Append the picture, uint8 [size, size, 3], that stands at `row` of the shard."""
        data = picture.tobytes()
        length = len(data) + CHECKSUM
        self.put(data)
        self.put(checksum(data) + bytes(-length % ALIGNED))
        self.index[row] = self.end, length
        self.end += length + -length % ALIGNED

    def put(self, data: bytes) -> None:
        """Append bytes, which count for the SHA-256 of the file too."""
        self.hash.update(data)
        self.file.write(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal; of the file once it is closed."""
        return self.hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the index, unless something failed, and close the file."""
        with self.file:
            if error is None:
                index = self.index.tobytes()
                self.put(index + checksum(index))


def read_index(file: BinaryIO, rows: int) -> NDArray[np.uint64]:
    """Return the index of the shard in `file`, [rows, 2]: offset and length of each chunk, MISSING where there is none.

    Raises ValueError where the index is damaged or points outside the chunks.
    """
    wanted = rows * ENTRY + CHECKSUM
    chunks = file.seek(0, 2) - wanted
    if chunks < 0:
        raise ValueError("the file is too short for its index")
    file.seek(chunks)
    data = file.read(wanted)
    if checksum(data[:-CHECKSUM]) != data[-CHECKSUM:]:
        raise ValueError("the index does not match its checksum")
    index = np.frombuffer(data[:-CHECKSUM], "<u8").reshape(rows, 2)
    there = index[index[:, 0] != MISSING]
    if (len(there) and int(there.max()) > chunks) or (there.sum(axis=1) > chunks).any():
        raise ValueError("the index points outside the file")
    return index


def read_chunk(file: BinaryIO, entry: NDArray[np.uint64], size: int) -> NDArray[np.uint8]:
    """Return the picture, uint8 [size, size, 3], that `entry` of the index points to.

    Raises ValueError where the chunk is missing or does not match its checksum.
    """
    offset, length = (int(number) for number in entry)
    if length != size * size * 3 + CHECKSUM:
        raise ValueError("the chunk is missing" if entry[0] == MISSING else f"the chunk has {length} bytes")
    file.seek(offset)
    data = file.read(length)
    if len(data) != length or checksum(data[:-CHECKSUM]) != data[-CHECKSUM:]:
        raise ValueError("the chunk does not match its checksum")
    return np.frombuffer(data[:-CHECKSUM], np.uint8).reshape(size, size, 3)
