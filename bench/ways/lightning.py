"""The peer of bench/train.py: the same network and batch in PyTorch Lightning with pytorch-metric-learning.

Prints seconds of a step, of the clock and of processors, as JSON; the first steps do not count. It is spared what the
trainer does besides: no augmentation but a mirror image, no look at its health, no checkpoint.
"""

import json
import logging
import os
import sys
import time
import warnings
from itertools import pairwise
from typing import Any

import lightning
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.samplers import MPerClassSampler
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

WIDTH, EMBEDDING, SIZE, BATCH, OF_ONE_ARTIST, ARTISTS, PICTURES, WARM = 32, 128, 64, 64, 4, 40, 400, 20
NEIGHBOURHOOD, FLAT, EPSILON = 9, 0.004, 1e-4


def statistics(x: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation of every channel, [n, 2, channels]."""
    spread = (x.square().mean((2, 3)) - x.mean((2, 3)).square()).clamp_min(0) + EPSILON
    return torch.stack([x.mean((2, 3)), spread.sqrt()], 1)


def local_contrast(x: torch.Tensor) -> torch.Tensor:
    """Return pictures less their local mean, over their local spread."""
    x = x - functional.avg_pool2d(x, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
    energy = functional.avg_pool2d(x.square(), NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
    return x / (energy.mean(1, keepdim=True) + FLAT).sqrt()


class Compact(lightning.LightningModule):
    """The network `compact` of train/model.py, learning from all pairs of a batch."""

    def __init__(self) -> None:
        super().__init__()
        channels = [WIDTH, WIDTH * 3 // 2, WIDTH * 2]
        self.stem = nn.Conv2d(6, channels[0], 5, 2, 2)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(channels))
        self.more = nn.ModuleList(nn.Conv2d(b, b, 3, 1, 1) for b in channels[1:])
        seen = [channels[0], *(b for b in channels[1:] for _ in range(2))]
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in seen for _ in range(2))
        self.embedding = nn.Linear(2 * sum(seen), EMBEDDING)
        self.loss = ContrastiveLoss(0.8, 0.2, distance=CosineSimilarity())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return unit vectors [n, EMBEDDING] of pictures uint8 [n, 3, SIZE, SIZE]."""
        x = images.float() / 127.5 - 1
        x = self.stem(torch.cat([x, local_contrast(x)], 1)).relu()
        levels = [statistics(x)]
        for down, more in zip(self.down, self.more, strict=True):
            x = down(x).relu()
            levels.append(statistics(x))
            x = x + more(x).relu()
            levels.append(statistics(x))
        parts = [part for level in levels for part in level.unbind(1)]
        found = torch.cat([norm(part) for norm, part in zip(self.norms, parts, strict=True)], 1)
        return functional.normalize(self.embedding(found), dim=1)

    def training_step(self, batch: Any, number: int) -> Any:
        """Return the loss of a batch."""
        images, artists = batch
        return self.loss(self(images.flip(3) if number % 2 else images), artists)

    def configure_optimizers(self) -> Any:
        """AdamW, as the trainer has it."""
        return torch.optim.AdamW(self.parameters(), 0.002, weight_decay=0.01)


class Clock(lightning.Callback):
    """Keeps the time after the first WARM steps, and after the last."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Look at the clock when it counts."""
        if trainer.global_step in (WARM, trainer.max_steps):
            self.times.append((time.perf_counter(), time.process_time()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(os.cpu_count() or 1)  # whatever OMP_NUM_THREADS says where dask was imported
    steps = int(sys.argv[1])
    pictures = torch.randint(0, 256, (PICTURES, 3, SIZE, SIZE), dtype=torch.uint8)
    artists = torch.arange(PICTURES) % ARTISTS
    sampler = MPerClassSampler(artists, OF_ONE_ARTIST, BATCH, BATCH * (steps + WARM))
    loader = DataLoader(TensorDataset(pictures, artists), BATCH, sampler=sampler)
    clock = Clock()
    trainer = lightning.Trainer(
        max_steps=steps + WARM, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[clock],
    )  # fmt: skip
    trainer.fit(Compact(), loader)
    (began, used), (ended, all_used) = clock.times
    print(json.dumps({"clock": (ended - began) / steps, "processors": (all_used - used) / steps}))
