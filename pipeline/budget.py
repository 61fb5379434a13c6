"""Which feed a machine can afford: what each would take, what there is, and the choice, in words and numbers."""

from typing import NamedTuple

import psutil

from preprocess.common.errors import ConfigError

DEVICE_SHARE = 0.5
"""Of an accelerator's free memory; the network and its gradients need the rest."""


class Budget(NamedTuple):
    """Bytes: what pictures in memory may take (pipeline.memory), what this machine has left, and what its accelerator
    has left, None where there is none and the device is the processor itself."""

    allowed: int
    memory: int
    accelerator: int | None

    @property
    def for_memory(self) -> int:
        """The most that a table in memory may take."""
        return min(self.allowed, self.memory)

    @property
    def for_device(self) -> int:
        """The most that a table on the device may take."""
        return self.for_memory if self.accelerator is None else int(self.accelerator * DEVICE_SHARE)


class Needs(NamedTuple):
    """Bytes that each feed would hold: stream a few batches, memory all pictures of training and validation, device
    those of training."""

    stream: int
    memory: int
    device: int


class Choice(NamedTuple):
    """A feed, and one line that says why."""

    feed: str
    why: str


def choose(wanted: str, needs: Needs, budget: Budget) -> Choice:
    """Return the feed `wanted`, or for "auto" the fastest that fits: device where there is an accelerator, memory,
    stream. Raises ConfigError where a feed asked for by name does not fit."""
    room = {"stream": needs.stream, "memory": budget.for_memory, "device": budget.for_device}
    costs = needs._asdict()
    fits = {name: costs[name] <= room[name] for name in costs}
    if wanted != "auto" and not fits[wanted]:
        raise ConfigError(
            f"pipeline.feed is {wanted}, whose pictures take {size(costs[wanted])}, but {size(room[wanted])} is there "
            "for them; set pipeline.feed to auto, or raise pipeline.memory where the machine has more"
        )
    worth = {"device": budget.accelerator is not None, "memory": True, "stream": True}
    feed = next(name for name in worth if worth[name] and fits[name]) if wanted == "auto" else wanted
    device = f"{size(needs.device)} of {size(room['device'])}" if budget.accelerator is not None else "no accelerator"
    return Choice(
        feed,
        f"feed: {feed}{', chosen' if wanted == 'auto' else ''} (device: {device}; "
        f"memory: {size(needs.memory)} of {size(room['memory'])}; stream: {size(needs.stream)})",
    )


def size(count: int) -> str:
    """Return a number of bytes in megabytes or gigabytes, as pipeline.memory takes it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def memory_left() -> int:
    """Return the bytes that this process may still take: what the machine has free, and less in a job or container
    that is given less."""
    from distributed.system import memory_limit  # slow to import

    left: int = min(psutil.virtual_memory().available, memory_limit() - psutil.Process().memory_info().rss)
    return max(0, left)
