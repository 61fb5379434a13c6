"""torch's DataLoader over the zarr store: two workers, shuffled, batches put together by it."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import zarr

from bench.ways.measure import EPOCH, PICTURES, THREADS, Rounds, arguments


class Pictures(torch.utils.data.Dataset[Any]):
    """The pictures of one size; opened in the worker that reads them."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count

    @cached_property
    def array(self) -> Any:
        """The zarr array."""
        return zarr.open_array(self.path, mode="r")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Any:
        return self.array[row]


def batches(path: Path, count: int) -> Iterator[Any]:
    """Yield the batches of an epoch so long that it does not end."""
    pictures = Pictures(path, count)
    rows = torch.utils.data.RandomSampler(pictures, replacement=True, num_samples=EPOCH)
    yield from torch.utils.data.DataLoader(
        pictures, PICTURES, sampler=rows, num_workers=THREADS, multiprocessing_context="spawn"
    )


if __name__ == "__main__":
    store, size, _ = arguments()
    rounds = Rounds(store, size)
    rounds.feed(batches(store / f"images_{size}", len(rounds.memory)), 2 * THREADS, rounds=5, seconds=3)
