"""MosaicML Streaming from raw pictures on the local disk: two workers of torch's DataLoader, shuffled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from streaming import MDSWriter, StreamingDataset

from bench.ways.measure import EPOCH, PICTURES, THREADS, Pixels, Rounds, arguments


def write(folder: Path, pictures: Pixels) -> None:
    """Write pictures in its own format, uncompressed."""
    kind = "ndarray:uint8:" + ",".join(map(str, pictures.shape[1:]))
    with MDSWriter(out=str(folder), columns={"picture": kind}) as writer:
        for picture in pictures:
            writer.write({"picture": picture})


def batches(folder: Path) -> Iterator[Any]:
    """Yield the batches of an epoch so long that it does not end."""
    dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=PICTURES, epoch_size=EPOCH)
    loader = torch.utils.data.DataLoader(
        dataset, PICTURES, num_workers=THREADS, drop_last=True, persistent_workers=True
    )
    yield from loader


if __name__ == "__main__":
    store, size, folder = arguments()
    rounds = Rounds(store, size)
    write(folder / "mds", rounds.memory)
    rounds.feed(batches(folder / "mds"), 2 * THREADS, rounds=8)
