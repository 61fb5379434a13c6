"""One batch on several devices: each embeds its share from its own copy of the weights, and all else is done once.

The weights, the loss of all pairs of the batch and the optimizer's step stay on the first device. To Keras this is one
function with a gradient, so a step on several devices is the step on one. tf.distribute would give every device a loss
of its own, of the pairs inside its share.
"""

from collections.abc import Sequence
from typing import Any

import keras

from preprocess.common.errors import ConfigError
from train.pieces import Embed


def named(count: int) -> tuple[str, ...]:
    """Return the names of the first `count` devices: GPUs, or, where TensorFlow has none, its processors.

    Raises ConfigError where there are not so many, or Keras has another backend than TensorFlow.
    """
    import tensorflow as tf

    if count == 1:
        return ("",)
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ConfigError(
            f"train.devices asks for {count} devices, but with Keras on {backend} one is used; "
            "set train.devices to 1, or KERAS_BACKEND to tensorflow"
        )
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    there = [device.name for device in tf.config.list_logical_devices(kind)]
    if len(there) < count:
        raise ConfigError(
            f"train.devices asks for {count} devices, but TensorFlow has {len(there)} {kind} here; "
            f"set it to {len(there)}, or ask 'make doctor' why there are not more"
        )
    return tuple(there[:count])


def shares(count: int, devices: int) -> list[int]:
    """Return how many of `count` pictures each device embeds: as even as can be, the most first."""
    return [count // devices + (number < count % devices) for number in range(devices)]


def on_devices(embed: Embed, devices: Sequence[str], home: str, weights: Sequence[Any], *pictures: Any) -> Any:
    """Return embed(weights, *pictures) [n, d], of which each of `devices` computes an even share, and its gradient;
    pictures lie at `home`, from where a device gets its share alone.

    A tape by itself would compute the gradients of all shares on one device.
    """
    import tensorflow as tf

    sizes = shares(pictures[0].shape[0], len(devices))
    with tf.device(home):
        cut = list(zip(*(tf.split(each, sizes) for each in pictures), strict=True))

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def together(*given: Any) -> Any:
        works = []
        for device, share in zip(devices, cut, strict=True):
            with tf.device(device), tf.GradientTape() as tape:
                mine = [tf.stop_gradient(weight) for weight in given]  # tapes outside have the gradient below
                tape.watch(mine)
                works.append((device, tape, mine, embed(mine, *share)))

        def gradient(upstream: Any) -> Any:
            below, found = tf.split(tf.convert_to_tensor(upstream), sizes), []
            for (device, tape, mine, embeddings), part in zip(works, below, strict=True):
                with tf.device(device):
                    found.append(tape.gradient(embeddings, mine, part, tf.UnconnectedGradients.ZERO))
            return [tf.add_n(each) for each in zip(*found, strict=True)]

        return tf.concat([embeddings for *_, embeddings in works], 0), gradient

    return together(*weights)
