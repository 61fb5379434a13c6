"""What a batch is fed from: a store, pictures in memory, or the places of pictures that lie on the accelerator.

Whatever it is, batch k is the same, bit for bit.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.batches import Batch, Stream, slice_of
from pipeline.buffers import Buffers, anonymous
from pipeline.coverage import Coverage
from pipeline.reader import Reader
from preprocess.common.progress import Progress

Draw = Callable[[int, int], NDArray[np.float32]]
"""Draws float32 [n, ...], the augmentation of the n pictures of batch k, from (k, n)."""
Fetch = Callable[[NDArray[np.int64]], NDArray[Any]]
Tick = Callable[[], None]
Labelled = tuple[dict[str, NDArray[Any]], NDArray[np.float32], NDArray[np.float32]]
PARALLEL_READS = 2
READ_AT_ONCE = 256


class Places:
    """Where in a table, which lies on the accelerator, the pictures of `rows` int64 [n], ascending, are."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places [m] of `rows` [m]. Raises KeyError for one that is not in the table."""
        places = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        if (strange := self.rows[places] != rows).any():
            raise KeyError(f"row {rows[strange][0]} was not loaded")
        return places


class Resident(NamedTuple):
    """A table in memory: `pictures` uint8 [n, size, size, 3] and their places."""

    places: Places
    pictures: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """The pictures' size in pixels."""
        return int(self.pictures.shape[1])

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the pictures of `rows` [m] as uint8 [m, size, size, 3], in that order; in `out` if it is given."""
        return self.pictures.take(self.places.of(rows), axis=0, out=out, mode="clip")


Readable = Reader | Resident
Source = Readable | Places


def idle() -> None:
    """Do nothing."""


def table(reader: Reader, rows: NDArray[np.int64], multiple: int = 1, tick: Tick = idle) -> NDArray[np.uint8]:
    """Read the pictures of `rows` [n] once, checksums verified, with progress: uint8 [n, bytes of a picture], each
    filled up with zeros to a `multiple` of bytes; `tick` is called now and then. Raises StoreError."""
    picture = reader.size * reader.size * 3
    width = -(-picture // multiple) * multiple
    found = np.frombuffer(anonymous(max(1, len(rows) * width)), np.uint8)[: len(rows) * width].reshape(-1, width)
    with Progress("load", len(rows), "picture") as progress:
        for start in range(0, len(rows), READ_AT_ONCE):
            some = rows[start : start + READ_AT_ONCE]
            found[start : start + len(some), :picture] = reader.read(some).reshape(len(some), -1)
            progress.advance(len(some))
            tick()
    return found


def load(reader: Reader, rows: NDArray[np.int64], tick: Tick = idle) -> Resident:
    """Return the pictures of `rows` [n], ascending, in memory; `tick` is called now and then. Raises StoreError."""
    return Resident(Places(rows), table(reader, rows, tick=tick).reshape(-1, reader.size, reader.size, 3))


class Share:
    """The part of a stream and of its augmentation that replica number `replica` of `replicas` takes: see slice_of."""

    def __init__(self, stream: Stream, draw: Draw, replica: int, replicas: int) -> None:
        self.stream, self.whole, self.replica, self.replicas = stream, draw, replica, replicas

    def batch_at(self, k: int) -> Batch:
        """See Stream. Raises ConfigError where the batch cannot be shared equally."""
        return slice_of(self.stream.batch_at(k), self.replica, self.replicas)

    def coverage(self, batches: int) -> Coverage:
        """See Stream: how much all replicas together are expected to have seen."""
        return self.stream.coverage(batches)

    def draw(self, k: int, n: int) -> NDArray[np.float32]:
        """Return the augmentation float32 [n, ...] of this part of batch `k`."""
        return self.whole(k, n * self.replicas)[self.replica * n : (self.replica + 1) * n]


def fetched(fetch: Fetch, stream: Stream, draw: Draw, k: int) -> tuple[NDArray[Any], ...]:
    """Return batch `k`: what `fetch` makes of its rows, augmentation, left, right, same and weight."""
    batch = stream.batch_at(k)
    return fetch(batch.rows), draw(k, len(batch.rows)), batch.left, batch.right, batch.same, batch.weight


def numpy_batches(
    source: Readable, stream: Stream, draw: Draw, start: int, stop: int, prefetch: int
) -> Iterator[Labelled]:
    """Yield batches `start` to `stop` - 1 of `stream` as (inputs, same [m], weight [m]), in order, without TensorFlow.

    inputs: images uint8 [n, size, size, 3], augment float32 [n, ...], left and right int32 [m]. At most `prefetch` are
    made ahead, by two threads. Raises StoreError.
    """
    buffers = Buffers(len(stream.batch_at(start).rows), source.size)

    def fetch(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return source.read(rows, buffers.take(len(rows)))

    pool = ThreadPoolExecutor(PARALLEL_READS)
    ahead: deque[Future[tuple[NDArray[Any], ...]]] = deque()
    try:
        for k in range(start, stop):
            ahead.append(pool.submit(fetched, fetch, stream, draw, k))
            if len(ahead) > prefetch:
                yield labelled(*ahead.popleft().result())
        while ahead:
            yield labelled(*ahead.popleft().result())
    finally:
        pool.shutdown(cancel_futures=True)


def labelled(
    images: NDArray[Any], augment: NDArray[Any], left: NDArray[Any], right: NDArray[Any], same: Any, weight: Any
) -> Labelled:
    """Return what a Keras model is trained on: inputs, same [m] and weight [m]."""
    return {"images": images, "augment": augment, "left": left, "right": right}, same, weight
