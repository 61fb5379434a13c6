"""tf.data: batches of pictures and the pairs among them. The only module of the pipeline that imports TensorFlow."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.client import device_lib

from pipeline.buffers import Buffers
from pipeline.feeds import PARALLEL_READS, Draw, Fetch, Places, Resident, Source, fetched
from pipeline.streams import Stream
from preprocess.common.errors import StoreError, StoreGone

STORE_ERROR = re.compile(r"(StoreError|StoreGone|QuarantinedRow): (.*)")


@contextmanager
def store_errors() -> Iterator[None]:
    """Give back the reader's own StoreError or StoreGone, which TensorFlow wraps into one of its errors as text."""
    try:
        yield
    except tf.errors.OpError as error:
        if found := STORE_ERROR.search(str(error)):
            raise (StoreGone if found[1] == StoreGone.__name__ else StoreError)(found[2]) from None
        raise


class Delivery(NamedTuple):
    """How pictures come from a source: `fetch` is called in Python, once per batch, and gives an array of `type`;
    `finish` makes of it, in TensorFlow, what is fed."""

    fetch: Fetch
    type: tf.DType
    finish: Callable[[tf.Tensor], tf.Tensor]


def delivery(source: Source, most: int) -> Delivery:
    """Return how batches of at most `most` pictures come from `source`."""
    if isinstance(source, Places):
        return Delivery(source.of, tf.int64, lambda places: places)
    if isinstance(source, Resident):
        # tf.constant would copy it twice.
        pictures = tf.experimental.dlpack.from_dlpack(source.pictures.__dlpack__())
        return Delivery(source.places.of, tf.int64, lambda places: tf.gather(pictures, places))
    buffers = Buffers(most, source.size)
    return Delivery(lambda rows: source.read(rows, buffers.take(len(rows))), tf.uint8, lambda pictures: pictures)


def training_dataset(
    source: Source, stream: Stream, draw: Draw, start: int, stop: int, prefetch: int
) -> tf.data.Dataset:
    """Return batches `start` to `stop` - 1 of `stream` as (inputs, same [m], weight [m]), in order.

    inputs: images uint8 [n, size, size, 3], or int64 [n], their places, where `source` is Places; augment float32
    [n, ...] drawn by `draw`(k, n); left and right int32 [m]. One call into Python per batch.
    """
    example = stream.batch_at(start)
    drawn = draw(start, len(example.rows))
    feed = delivery(source, len(example.rows))
    types = (feed.type, tf.float32, tf.int32, tf.int32, tf.float32, tf.float32)

    def load(k: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        return fetched(feed.fetch, stream, draw, int(k))

    def assemble(k: tf.Tensor) -> Any:
        # Declared stateless, or deterministic mode would run the calls one after the other.
        given, augment, left, right, same, weight = tf.numpy_function(load, [k], types, stateful=False)
        given.set_shape(shape_of(source, len(example.rows)))
        augment.set_shape(drawn.shape)
        for tensor in (left, right, same, weight):
            tensor.set_shape(example.same.shape)
        return {"images": feed.finish(given), "augment": augment, "left": left, "right": right}, same, weight

    return in_order(tf.data.Dataset.range(start, stop), assemble, prefetch)


def rows_dataset(source: Source, batches: Sequence[NDArray[np.int64]]) -> tf.data.Dataset:
    """Return the pictures of each batch of rows, uint8 [n, size, size, 3], in order; where `source` is Places, those,
    int64 [n]."""
    feed = delivery(source, max(map(len, batches), default=1))

    def load(k: NDArray[np.int64]) -> NDArray[Any]:
        return feed.fetch(batches[int(k)])

    def assemble(k: tf.Tensor) -> tf.Tensor:
        given = tf.numpy_function(load, [k], feed.type, stateful=False)
        given.set_shape(shape_of(source, None))
        return feed.finish(given)

    return in_order(tf.data.Dataset.range(len(batches)), assemble, 2)


def shape_of(source: Source, count: int | None) -> tuple[int | None, ...]:
    """Return the shape of what comes out of Python for `count` pictures: their places, or the pictures themselves."""
    return (count,) if isinstance(source, Places | Resident) else (count, source.size, source.size, 3)


def in_order(numbers: tf.data.Dataset, make: Callable[[tf.Tensor], Any], prefetch: int) -> tf.data.Dataset:
    """Return what `make` makes of each number, several at a time, `prefetch` of them ahead."""
    options = tf.data.Options()
    # There is nothing to tune, and whoever lets go of an iterator waits until its tuner wakes: 5 s, then 10, then 20.
    options.autotune.enabled = False
    made = numbers.map(make, num_parallel_calls=PARALLEL_READS, deterministic=True).prefetch(prefetch)
    return made.with_options(options)


def accelerator_left() -> int | None:
    """Return the bytes that TensorFlow may still take on the first GPU, or None where there is none."""
    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"] if limits else None
