"""A batch in pieces: the gradient of the whole batch, in the memory of one piece.

Every pair of a batch is compared, so the loss needs all embeddings at once, but not what they were computed from. That
is dropped, and computed again once the gradient with respect to the embeddings is there. The two passes, first all
embeddings z and dL/dz of the whole batch, then the gradient of sum(dL/dz * z) piece by piece, are those of GradCache
(Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). To Keras this is one
function with a gradient, so all else of a training step stays as it is. It is exact where no picture's embedding
depends on another picture, and both passes draw the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Embed = Callable[..., Any]
"""From weights, a list of tensors, and tensors of n pictures each, hand in hand, to embeddings float32 [n, d]."""


def in_pieces(embed: Embed, piece: int, width: int, weights: Sequence[Any], *pictures: Any) -> Any:
    """Return embed(weights, *pictures) [n, width], computed of at most `piece` pictures at a time, one piece after
    another."""
    return (by_tensorflow if keras.backend.backend() == "tensorflow" else by_scan)(
        embed, piece, width, weights, *pictures
    )


def by_scan(embed: Embed, piece: int, width: int, weights: Sequence[Any], *pictures: Any) -> Any:
    """See `in_pieces`: where a checkpointed function (jax.checkpoint) may be mapped, that is all."""
    again = keras.remat(embed)
    even = pictures[0].shape[0] // piece * piece
    cut = [ops.reshape(each[:even], (-1, piece, *each.shape[1:])) for each in pictures]
    found = ops.map(lambda inputs: again(weights, *inputs), cut)
    parts = [ops.reshape(found, (even, width))]
    if even < pictures[0].shape[0]:
        parts.append(again(weights, *(each[even:] for each in pictures)))
    return ops.concatenate(parts)


def by_tensorflow(embed: Embed, piece: int, width: int, weights: Sequence[Any], *pictures: Any) -> Any:
    """See `in_pieces`: tf.recompute_grad cannot be used inside a loop, and outside of one all pieces run at once."""
    import tensorflow as tf

    count = tf.shape(pictures[0])[0]

    def one_after_another(step: Callable[..., Any], start: Any) -> Any:
        """Fold `step`(value, first, last) over all pieces, from `start`."""
        _, value = tf.while_loop(
            lambda first, value: first < count,
            lambda first, value: (first + piece, step(value, first, tf.minimum(first + piece, count))),
            (0, start),
            parallel_iterations=1,
        )
        return value

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def twice(*given: Any) -> Any:
        weights = [tf.stop_gradient(weight) for weight in given]  # tapes outside have the gradient below

        def forward(found: Any, first: Any, last: Any) -> Any:
            return found.write(first // piece, embed(weights, *(each[first:last] for each in pictures)))

        found = tf.TensorArray(tf.float32, size=-(-count // piece), infer_shape=False, element_shape=(None, width))

        def gradient(upstream: Any) -> Any:
            upstream = tf.convert_to_tensor(upstream)  # from tf.IndexedSlices, the gradient of a gather

            def backward(sums: Any, first: Any, last: Any) -> Any:
                with tf.GradientTape() as tape:
                    mine = [tf.identity(weight) for weight in weights]  # of this piece, or the tape would not see them
                    tape.watch(mine)
                    embeddings = embed(mine, *(each[first:last] for each in pictures))
                found = tape.gradient(embeddings, mine, output_gradients=upstream[first:last])
                return [total if more is None else total + more for total, more in zip(sums, found, strict=True)]

            return one_after_another(backward, [tf.zeros_like(weight) for weight in weights])

        return one_after_another(forward, found).concat(), gradient

    return twice(*weights)
