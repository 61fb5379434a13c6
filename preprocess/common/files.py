"""Durable files: written aside, flushed to disk, renamed. A kill at any moment leaves the old file or the new one."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from preprocess.common.errors import UserError

ASIDE = ".aside-"


def fsync_file(path: Path) -> None:
    """Make the contents of `path` survive a power failure."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a neighbouring path to write to; on success it is fsynced and takes the place of `path`.

    Raises whatever the writer raises, after removing the file that was written aside; an OSError names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{path.name}")
    try:
        yield aside
        fsync_file(aside)
        aside.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk is reported without one
        raise
    finally:
        aside.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path`, durably."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, durably."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON with sorted keys, durably."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write `table` to `path`, durably; through Python, as polars would not raise OSError on a full disk."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_bytes(path, buffer.getbuffer())


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the bytes of `path`, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON-able value, in hexadecimal; the same for equal values on any machine."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


@contextmanager
def exclusive(folder: Path, error: type[UserError]) -> Iterator[None]:
    """Hold the lock of `folder`, made if absent, or raise `error` at once where another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise error(f"{folder} is in use by another process; wait for it, or stop it first") from None
    try:
        yield
    finally:
        lock.release()
