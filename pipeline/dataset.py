"""tf.data: batches of pictures and the pairs among them. The only module of the pipeline that imports TensorFlow."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.reader import Reader
from pipeline.streams import Stream
from preprocess.common.errors import StoreError

STORE_ERROR = re.compile(r"(?:StoreError|QuarantinedRow): (.*)")
Draw = Callable[[int, int], NDArray[np.float32]]
PARALLEL_READS = 2


@contextmanager
def store_errors() -> Iterator[None]:
    """Give back the reader's own StoreError, which TensorFlow wraps into one of its errors with a traceback as text."""
    try:
        yield
    except tf.errors.OpError as error:
        if found := STORE_ERROR.search(str(error)):
            raise StoreError(found[1]) from None
        raise


def training_dataset(
    reader: Reader, stream: Stream, draw: Draw, start: int, stop: int, prefetch: int
) -> tf.data.Dataset:
    """Return batches `start` to `stop` - 1 of `stream` as (inputs, same [m], weight [m]), in order.

    inputs: images uint8 [n, size, size, 3], augment float32 [n, ...] drawn by `draw`(k, n), left and right int32 [m].
    One call into Python per batch.
    """
    example = stream.batch_at(start)
    drawn = draw(start, len(example.rows))
    types = (tf.uint8, tf.float32, tf.int32, tf.int32, tf.float32, tf.float32)

    def load(k: NDArray[np.int64]) -> tuple[Any, ...]:
        batch = stream.batch_at(int(k))
        return (
            reader.read(batch.rows), draw(int(k), len(batch.rows)),
            batch.left, batch.right, batch.same, batch.weight,
        )  # fmt: skip

    def assemble(k: tf.Tensor) -> Any:
        # Declared stateless, or deterministic mode would run the calls one after the other.
        images, augment, left, right, same, weight = tf.numpy_function(load, [k], types, stateful=False)
        images.set_shape((len(example.rows), reader.size, reader.size, 3))
        augment.set_shape(drawn.shape)
        for tensor in (left, right, same, weight):
            tensor.set_shape(example.same.shape)
        return {"images": images, "augment": augment, "left": left, "right": right}, same, weight

    numbers = tf.data.Dataset.range(start, stop)
    return numbers.map(assemble, num_parallel_calls=PARALLEL_READS, deterministic=True).prefetch(prefetch)


def rows_dataset(reader: Reader, batches: Sequence[NDArray[np.int64]]) -> tf.data.Dataset:
    """Return the pictures of each batch of rows, uint8 [n, size, size, 3], in order."""

    def load(k: NDArray[np.int64]) -> NDArray[np.uint8]:
        return reader.read(batches[int(k)])

    def assemble(k: tf.Tensor) -> tf.Tensor:
        images = tf.numpy_function(load, [k], tf.uint8, stateful=False)
        images.set_shape((None, reader.size, reader.size, 3))
        return images

    return (
        tf.data.Dataset.range(len(batches))
        .map(assemble, num_parallel_calls=PARALLEL_READS, deterministic=True)
        .prefetch(2)
    )
