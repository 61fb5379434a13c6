"""Zip archives of made-up pictures, as various programs write them, and what a source reads from them."""

import io
import random
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import polars as pl
import pytest

from preprocess.common.errors import UnreadablePicture
from preprocess.sources.files import Table
from tests.helpers import write_table

Files = Mapping[str, bytes]


def picture(seed: int, size: int = 3000) -> bytes:
    """Return bytes that deflate, but not to nothing."""
    return bytes(random.Random(seed).choices(range(64), k=size))


PICTURES = {f"{number}.jpg": picture(number) for number in range(1, 6)}
"""What the archives of most tests hold, by the names in the table."""


def pack(target: Path | IO[bytes], files: Files, method: int = zipfile.ZIP_DEFLATED, folder: str = "train/") -> None:
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)


def table(folder: Path, names: Mapping[str, object] = PICTURES, unmatched: str = "error") -> Table:
    """Return the source of the archives in a folder, and of the table, written here, that names pictures in them."""
    write_table(folder / "train_info.csv", [(name, "x") for name in names], "filename,artist")
    return Table(folder, folder / "train_info.csv", unmatched)


def read(source: Table, rows: pl.DataFrame) -> dict[str, bytes | str]:
    """Return for each row the bytes of its picture, or why there are none; checks that nothing is left behind."""
    found: dict[str, bytes | str] = {}
    for key, place in rows.select("key", "place").iter_rows():
        path = None
        try:
            with source.fetch(place or "") as path:
                found[key] = path.read_bytes()
        except UnreadablePicture as error:
            found[key] = str(error)
        assert path is None or path.parent == source.folder or not path.exists()
    return found


class OneWay(io.BytesIO):
    """A pipe: sizes and CRC can only be written after the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def streamed(path: Path) -> None:
    pipe = OneWay()
    pack(pipe, PICTURES)
    path.write_bytes(pipe.getvalue())


def zip64(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in PICTURES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)


def beyond_4_gb(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)  # a hole, which takes no room
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)


def described(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"PK\1\2 a comment"
        for name, data in PICTURES.items():
            info = zipfile.ZipInfo(f"./deep/er/{name}")
            info.extra, info.comment = struct.pack("<HH8x", 0x9999, 8), b"PK\3\4"
            archive.writestr(info, data)


def shuffled(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)
        archive.filelist.reverse()


def after_a_program(path: Path) -> None:
    buffer = io.BytesIO()
    pack(buffer, PICTURES)
    path.write_bytes(b"#!/bin/sh\nexit\n" + buffer.getvalue())


def other_packer(path: Path) -> None:
    if not shutil.which("zip"):
        pytest.skip("no program zip")
    for name, data in PICTURES.items():
        (path.parent / "train").mkdir(exist_ok=True)
        (path.parent / "train" / name).write_bytes(data)
    subprocess.run(["zip", "-qmr", path, "train"], cwd=path.parent, check=True)


WRITERS: list[Callable[[Path], None]] = [
    lambda path: pack(path, PICTURES), lambda path: pack(path, PICTURES, zipfile.ZIP_STORED),
    streamed, zip64, beyond_4_gb, described, shuffled, after_a_program, other_packer,
]  # fmt: skip
