"""The files of a store's shards, open as long as somebody reads them, and found for all rows of a batch at once."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from threading import Lock
from typing import Self

import numpy as np
from numpy.typing import NDArray

MOST_OPEN = 4096
"""Files that stay open."""


class Unreadable(Exception):  # noqa: N818 - a fact about a row, turned into a StoreError by the reader
    """A row that cannot be read, why, and whether it is the row that is `damaged`, or the machine that failed."""

    def __init__(self, row: int, why: str, damaged: bool) -> None:
        super().__init__(row, why)
        self.row, self.why, self.damaged = row, why, damaged

    @classmethod
    def because(cls, row: int, error: OSError | ValueError) -> Self:
        """Return that `row` cannot be read because of `error`; a ValueError is about what its file holds."""
        if isinstance(error, FileNotFoundError):
            return cls(row, f"{error.filename} is missing", damaged=True)
        if isinstance(error, OSError):
            return cls(row, os.strerror(error.errno or errno.EIO), damaged=False)
        return cls(row, str(error), damaged=True)


def files_allowed() -> int:
    """Return how many files may stay open: half of those that this process may still open."""
    most = getrlimit(RLIMIT_NOFILE)[0]
    free = most - len(list(Path("/dev/fd").iterdir()))
    return MOST_OPEN if most == RLIM_INFINITY else max(1, min(MOST_OPEN, free // 2))


class Held:
    """Files by number: `descriptors` [files], -1 where one is not open. They are closed once nobody holds this."""

    def __init__(self, files: int) -> None:
        self.descriptors = np.full(files, -1, np.int64)
        self.count = 0

    def add(self, number: int, path: Path) -> None:
        """Open one more. Raises OSError."""
        self.descriptors[number] = os.open(path, os.O_RDONLY)
        self.count += 1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at the end of the program `os` goes first
        for descriptor in self.descriptors.tolist():
            if descriptor >= 0:
                close(descriptor)


class OpenShards:
    """The shards of one size. Safe to use from several threads."""

    def __init__(self, path_of: Callable[[int], Path], shards: int, per_shard: int, allowed: int) -> None:
        """Keep all `shards` files open where `allowed` permits; else half as many, as threads may still hold those
        before while others are opened."""
        self.path_of, self.per_shard = path_of, per_shard
        self.most = allowed if shards <= allowed else max(1, allowed // 2)
        self.held, self.lock = Held(shards), Lock()

    def holding(self, rows: NDArray[np.int64]) -> Held:
        """Return what keeps the files of `rows` [n], of at most `most` shards, open as long as the caller holds it.
        Raises Unreadable."""
        held, numbers = self.held, rows // self.per_shard
        if (held.descriptors[numbers] >= 0).all():
            return held
        with self.lock:
            held = self.held
            missing = np.unique(numbers[held.descriptors[numbers] < 0])
            if held.count + len(missing) > self.most:
                held = Held(len(held.descriptors))
            for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
                if held.descriptors[number] < 0:
                    try:
                        held.add(number, self.path_of(number))
                    except OSError as error:
                        raise Unreadable.because(row, error) from None
            self.held = held
        return held
