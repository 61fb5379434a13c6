"""FFCV from raw pictures, its file in the page cache: two threads, shuffled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import RGBImageField
from ffcv.fields.decoders import SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

from bench.ways.measure import EPOCH, PICTURES, THREADS, Pixels, Rounds, arguments

AHEAD = 3


class Pictures:
    """The pictures of one size, as FFCV's writer wants them."""

    def __init__(self, pictures: Pixels) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, row: int) -> tuple[Pixels]:
        return (self.pictures[row],)


def batches(path: Path, count: int) -> Iterator[Any]:
    """Yield the batches of long epochs, for ever."""
    loader = Loader(
        str(path), batch_size=PICTURES, num_workers=THREADS, order=OrderOption.RANDOM, os_cache=True,
        indices=np.tile(np.arange(count), EPOCH // count), batches_ahead=AHEAD,
        pipelines={"picture": [SimpleRGBImageDecoder(), ToTensor()]},
    )  # fmt: skip
    while True:
        yield from loader


if __name__ == "__main__":
    store, size, folder = arguments()
    rounds, path = Rounds(store, size), folder / "pictures.beton"
    DatasetWriter(str(path), {"picture": RGBImageField(write_mode="raw")}, num_workers=THREADS).from_indexed_dataset(
        Pictures(rounds.memory)
    )
    rounds.feed(batches(path, len(rounds.memory)), AHEAD + 1, rounds=8)
