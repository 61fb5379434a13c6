"""Durable files, on a local disk or in an object store: a kill at any moment leaves the old file or the new one.

Locally a file is written aside, flushed to disk and renamed. An object store shows an object once all of it is there.
"""

import hashlib
import io
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from preprocess.common import objects
from preprocess.common.errors import UserError
from preprocess.common.places import Place

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
def written_aside(path: Place) -> Iterator[Path]:
    """Yield a local path to write to; on success it takes the place of `path`, durably.

    Locally it is a neighbour of random name, as processes of two hosts may share a number; it is fsynced and renamed.
    To an object store it goes in one request. Raises whatever the writer raises, after removing the file that was
    written aside; an OSError that names no other file names `path`.
    """
    if not isinstance(path, Path):
        with tempfile.TemporaryDirectory(prefix="paintings-") as folder:
            yield Path(folder, path.name)
            objects.put_stream(path, Path(folder, path.name))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{ASIDE}{secrets.token_hex(8)}-{path.name}")
    try:
        yield aside
        fsync_file(aside)
        aside.replace(path)
    except OSError as error:
        if error.filename in (None, str(aside)):  # a full disk is reported without one
            error.filename = str(path)
        raise
    finally:
        aside.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_bytes(path: Place, data: bytes | memoryview) -> None:
    """Write `data` to `path`, durably; to an object store in one request."""
    if isinstance(path, Path):
        with written_aside(path) as aside:
            aside.write_bytes(data)
    else:
        objects.put_bytes(path, bytes(data))


def write_text(path: Place, text: str) -> None:
    """Write `text` to `path` as UTF-8, durably."""
    write_bytes(path, text.encode())


def compact_json(value: object) -> str:
    """Return `value` as JSON in one line with sorted keys: fast, as Python indents in Python and not in C."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def write_json(path: Place, value: object) -> None:
    """Write `value` to `path` as indented JSON with sorted keys, for people to read too, durably."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_parquet(path: Place, table: pl.DataFrame) -> None:
    """Write `table` to `path`, durably; through Python, as polars would not raise OSError on a full disk."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_bytes(path, buffer.getbuffer())


def put_file(local: Path, path: Place) -> None:
    """Bring the finished file `local` to `path`, durably: by a hard link where the disk allows it, else by copying, to
    an object store as one stream. `local` stays, and must not change any more."""
    if not isinstance(path, Path):
        objects.put_stream(path, local)
        return
    with written_aside(path) as aside:
        try:
            os.link(local, aside)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(local, aside)


def link_or_copy(source: Place, target: Place) -> None:
    """Bring a second name for the unchanging file `source`, or a copy of it, to `target`, durably; within one kind of
    object store the store copies it itself. Raises FileNotFoundError."""
    if isinstance(source, Path) or isinstance(target, Path) or source.protocol != target.protocol:
        with local_copy(source) as local:
            put_file(local, target)
    else:
        with objects.reached(target) as store:
            store.cp_file(source.path, target.path)


def read_bytes(path: Place) -> bytes:
    """Return the contents of `path`. Raises FileNotFoundError."""
    return path.read_bytes() if isinstance(path, Path) else objects.get_bytes(path)


def read_parquet(path: Place) -> pl.DataFrame:
    """Return the table in `path`. Raises FileNotFoundError, and PolarsError for what is no Parquet file."""
    return pl.read_parquet(io.BytesIO(read_bytes(path)))


def read_json(path: Place) -> Any:
    """Return the JSON value in `path`. Raises FileNotFoundError, and ValueError for what is no JSON."""
    return json.loads(read_bytes(path).decode())


def sha256_file(path: Place) -> str:
    """Return the SHA-256 of the bytes of `path`, in hexadecimal, reading piece by piece. Raises FileNotFoundError."""
    if isinstance(path, Path):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    with objects.reached(path) as store, store.open(path.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def local_copy(path: Place) -> Iterator[Path]:
    """Yield `path` itself where it is local, or a temporary copy of the object. Raises FileNotFoundError."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="paintings-") as folder:
        copy = Path(folder, "copy")
        with objects.reached(path) as store:
            store.get_file(path.path, str(copy))
        yield copy


def exists(path: Place) -> bool:
    """Return whether there is a file or a folder at `path`; in an object store a folder is there while it has files."""
    if isinstance(path, Path):
        return path.exists()
    try:
        with objects.reached(path) as store:
            store.info(path.path)
    except FileNotFoundError:
        return False
    return True


def list_files(folder: Place) -> dict[str, int]:
    """Return the bytes of every file below `folder`, by its path from there with forward slashes, sorted; empty where
    there is no folder. Raises OSError for a folder that may not be read."""
    return {name: size for name, (size, _) in list_stamped(folder).items()}


def list_stamped(folder: Place) -> dict[str, tuple[int, int]]:
    """Return (bytes, stamp) of every file below `folder`, like list_files; from one fresh listing of an object store.

    The stamp is an int64 that changes when the file is written: its modification time in ns, or 63 bits that stand for
    the object's ETag. A link that leads nowhere has (0, 0); links to folders are not followed.
    """
    if not isinstance(folder, Path):
        files = {name: info for name, info in objects.listed(folder).items() if name and not name.endswith("/")}
        return {name: (int(info["size"]), objects.stamp(info)) for name, info in files.items()}
    stamped = {}
    for parent, _, names in os.walk(folder, onerror=reraise) if folder.is_dir() else ():
        for path in (Path(parent, name) for name in names):
            name = path.relative_to(folder).as_posix()
            stamped[name] = 0, 0
            with suppress(FileNotFoundError):
                status = path.stat()
                stamped[name] = status.st_size, status.st_mtime_ns
    return dict(sorted(stamped.items()))


def stamp_of(path: Place) -> tuple[int, int] | None:
    """Return what list_stamped says of one file; None where there is none."""
    try:
        if isinstance(path, Path):
            status = path.stat()
            return status.st_size, status.st_mtime_ns
        with objects.reached(path) as store:
            info = store.info(path.path)
    except FileNotFoundError:
        return None
    return int(info["size"]), objects.stamp(info)


def reraise(error: OSError) -> None:
    """Let os.walk fail where it would skip what it may not read."""
    raise error


def remove_tree(folder: Place, first: str | None = None) -> None:
    """Remove `folder` and all below it; that it is missing is fine. The file named `first` goes before all others, so
    that a kill never leaves a folder that looks whole."""
    if isinstance(folder, Path):
        if first and (folder / first).exists():
            (folder / first).unlink()
            fsync_folder(folder)
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        return
    names = list(objects.listed(folder))
    if first in names:
        objects.remove(folder, [first])
    objects.remove(folder, [name for name in names if name != first])


def rename_tree(source: Place, target: Place, last: str) -> None:
    """Make the folder `source` be `target`, durably; `last` names the file that makes it whole.

    Locally it is renamed, and must not exist as `target`. In an object store it is copied, `last` at last, and then
    removed, `last` first: a kill leaves a whole `source` or a whole `target`, and doing it again completes it. That
    another process has done it meanwhile is fine. Raises FileNotFoundError where neither is whole.
    """
    if isinstance(source, Path) and isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        for parent in {source.parent, target.parent}:
            fsync_folder(parent)
        return
    try:
        with ThreadPoolExecutor(objects.IN_FLIGHT) as pool:
            names = [name for name in list_files(source) if name != last]
            list(pool.map(lambda name: link_or_copy(source / name, target / name), names))
        link_or_copy(source / last, target / last)
    except FileNotFoundError:
        if not exists(target / last):
            raise
    remove_tree(source, first=last)


def free_bytes(path: Place) -> int | None:
    """Return the free bytes of the disk on which `path` is or will be; None for an object store, which has no end."""
    if not isinstance(path, Path):
        return None
    return shutil.disk_usage(next(parent for parent in (path, *path.absolute().parents) if parent.exists())).free


def digest(value: object) -> str:
    """Return the SHA-256 of a JSON-able value, in hexadecimal; the same for equal values on any machine."""
    return hashlib.sha256(compact_json(value).encode()).hexdigest()


@contextmanager
def exclusive(folder: Place, error: type[UserError]) -> Iterator[None]:
    """Hold the lock of `folder`, made if absent, or raise `error` at once where another process holds it.

    An object store has no locks, so nothing is held there: who writes to one must bear another doing the same.
    """
    if not isinstance(folder, Path):
        yield
        return
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
