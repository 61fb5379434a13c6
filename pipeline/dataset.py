"""tf.data: batches of pictures and the pairs among them. The only module of the pipeline that imports TensorFlow."""

import re
from collections.abc import Callable, Iterator
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

PLANNED_AT_ONCE = 16
"""Batches: where the network fills a processor's caches, Python begins cold, and a call costs milliseconds
(docs/training-speed.md)."""
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
    """How pictures come from a source: `plan` makes of rows int64 [n], in Python, what says which they are, int64 [n];
    `pictures` makes of that, in TensorFlow, what is fed."""

    plan: Fetch
    pictures: Callable[[tf.Tensor], tf.Tensor]


def delivery(source: Source, most: int) -> Delivery:
    """Return how batches of at most `most` pictures come from `source`."""
    if isinstance(source, Places):
        return Delivery(source.of, lambda places: places)
    if isinstance(source, Resident):
        # tf.constant would copy it twice.
        table = tf.experimental.dlpack.from_dlpack(source.pictures.__dlpack__())
        return Delivery(source.places.of, lambda places: tf.gather(table, places))
    buffers, size = Buffers(most, source.size), source.size

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return source.read(rows, buffers.take(len(rows)))

    def pictures(rows: tf.Tensor) -> tf.Tensor:
        # Declared stateless, or deterministic mode would run the calls one after the other.
        found = tf.numpy_function(read, [rows], tf.uint8, stateful=False)
        found.set_shape((*rows.shape, size, size, 3))
        return found

    return Delivery(lambda rows: rows, pictures)


def training_dataset(
    source: Source, stream: Stream, draw: Draw, start: int, stop: int, prefetch: int
) -> tf.data.Dataset:
    """Return batches `start` to `stop` - 1 of `stream` as (inputs, same [m], weight [m]), in order.

    inputs: images uint8 [n, size, size, 3], or int64 [n], their places, where `source` is Places; augment float32
    [n, ...] drawn by `draw`(k, n); left and right int32 [m]. One call into Python plans several batches; where `source`
    is a Reader, another reads the pictures of each.
    """
    plan, pictures = delivery(source, len(stream.batch_at(start).rows))
    example = fetched(plan, stream, draw, start)
    types = tuple(array.dtype for array in example)

    def planned(first: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        numbers = range(int(first), min(int(first) + PLANNED_AT_ONCE, stop))
        return tuple(map(np.stack, zip(*(fetched(plan, stream, draw, k) for k in numbers), strict=True)))

    def plans(first: tf.Tensor) -> tuple[tf.Tensor, ...]:
        tensors = tf.numpy_function(planned, [first], types, stateful=False)
        for tensor, array in zip(tensors, example, strict=True):
            tensor.set_shape((None, *array.shape))
        return tuple(tensors)

    def assemble(which: Any, augment: Any, left: Any, right: Any, same: Any, weight: Any) -> Any:
        return {"images": pictures(which), "augment": augment, "left": left, "right": right}, same, weight

    each = in_parallel(tf.data.Dataset.range(start, stop, PLANNED_AT_ONCE), plans).unbatch()
    return in_order(each.apply(tf.data.experimental.assert_cardinality(stop - start)), assemble, prefetch)


def rows_dataset(source: Source, rows: NDArray[np.int64], size: int) -> tf.data.Dataset:
    """Return the pictures of `rows` [n], uint8 [size, ...] a batch, in order; the last batch may be smaller. Where
    `source` is Places, those, int64 [size]."""
    plan, pictures = delivery(source, size)
    return in_order(tf.data.Dataset.from_tensor_slices(plan(rows)).batch(size), pictures, 2)


def in_parallel(numbers: tf.data.Dataset, make: Callable[..., Any]) -> tf.data.Dataset:
    """Return what `make` makes of each element, several at a time, in order."""
    return numbers.map(make, num_parallel_calls=PARALLEL_READS, deterministic=True)


def in_order(numbers: tf.data.Dataset, make: Callable[..., Any], prefetch: int) -> tf.data.Dataset:
    """Return what `make` makes of each element, several at a time, `prefetch` of them ahead."""
    options = tf.data.Options()
    # There is nothing to tune, and whoever lets go of an iterator waits until its tuner wakes: 5 s, then 10, then 20.
    options.autotune.enabled = False
    return in_parallel(numbers, make).prefetch(prefetch).with_options(options)


def accelerator_left() -> int | None:
    """Return the bytes that TensorFlow may still take on the first GPU, or None where there is none."""
    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return limits[0] - tf.config.experimental.get_memory_info("GPU:0")["current"] if limits else None
