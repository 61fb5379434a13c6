"""Whether a sealed store is byte for byte what was sealed, and which of its rows are not."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from preprocess.common.files import list_files, local_copy, sha256_file
from preprocess.common.progress import Progress
from preprocess.sharding import MISSING, read_chunk, read_index
from preprocess.store import SEAL, Store, shard_of

READERS = 4
"""Threads that read and hash: both free the interpreter."""


class Damage(NamedTuple):
    """One file that is not as sealed: what is wrong with it, and in words which rows that concerns."""

    name: str
    what: str
    rows: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.what}{self.rows}"


def check_store(store: Store) -> list[Damage]:
    """Read every file and return what is wrong; an empty list means byte for byte as sealed."""
    sealed: dict[str, str] = store.seal["files"]
    present = list_files(store.path).keys() - {SEAL}
    damage = [Damage(name, "not in the seal") for name in sorted(present - sealed.keys())]
    with ThreadPoolExecutor(READERS) as readers, Progress("check-store", len(sealed), "file") as progress:
        for found in readers.map(lambda name: examine(store, name, name in present), sorted(sealed)):
            damage += [found] if found else []
            progress.advance(1, f"damaged: {len(damage)}")
    return damage


def examine(store: Store, name: str, present: bool) -> Damage | None:
    """Return what is wrong with one file of the seal, or None."""
    if not present:
        return Damage(name, "missing", said(rows_in(store, name)))
    if sha256_file(store.path / name) == store.seal["files"][name]:
        return None
    return Damage(name, "changed", said(damaged_rows(store, name)))


def rows_in(store: Store, name: str) -> list[int]:
    """Return the rows whose pictures should be in a file of the store; none for files without pictures."""
    shard = shard_of(name)
    if shard is None:
        return []
    first = shard * store.rows_per_shard
    return list(range(first, min(first + store.rows_per_shard, int(store.seal["rows"]))))


def damaged_rows(store: Store, name: str) -> list[int]:
    """Return the rows of a changed shard that do not match their checksums; all of them if its index is bad."""
    rows = rows_in(store, name)
    if not rows:
        return []
    size = int(name.partition("/")[0].removeprefix("images_"))
    damaged = []
    with local_copy(store.path / name) as path, path.open("rb") as file:
        try:
            index = read_index(file, store.rows_per_shard)
        except ValueError:
            return rows
        for row, entry in zip(rows, index, strict=False):
            if entry[0] == MISSING:
                continue
            try:
                read_chunk(file, entry, size)
            except ValueError:
                damaged.append(row)
    return damaged or rows


def said(rows: list[int]) -> str:
    """Return row numbers in words, runs of them as first and last."""
    if not rows:
        return ""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return f" ({'row' if len(rows) == 1 else 'rows'} {', '.join(words)})"
