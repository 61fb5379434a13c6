"""Pictures that lie on the accelerator: no weight, in no checkpoint, and a batch costs its place numbers only."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

WORD = np.dtype(np.int64 if keras.backend.backend() == "tensorflow" else np.uint8)
"""What bytes are held as: on a GPU TensorFlow gathers int64, but not uint8, and keeps int32 on the host."""


class Table:
    """Pictures on the device."""

    def __init__(self, pictures: NDArray[np.uint8], size: int) -> None:
        """`pictures` uint8 [n, bytes of a picture of `size` pixels, filled up to whole words]."""
        self.size, self.width = size, pictures.shape[1]
        self.words = ops.convert_to_tensor(pictures.view(WORD))

    def take(self, places: Any) -> Any:
        """Return the pictures uint8 [m, size, size, 3] at `places` [m]."""
        found = ops.reshape(ops.view(ops.take(self.words, places, axis=0), "uint8"), (-1, self.width))
        return ops.reshape(found[:, : self.size * self.size * 3], (-1, self.size, self.size, 3))
