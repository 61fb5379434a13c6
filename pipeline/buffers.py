"""Memory for batches. Fresh large arrays cost page faults; these are used again, once nobody holds them any more."""

import mmap
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray


def anonymous(count: int) -> mmap.mmap:
    """Return `count` bytes of zeros that start at a page, so that TensorFlow takes an array in them as it is: what
    numpy allocates is aligned to 16 bytes, and copied."""
    return mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Buffers:
    """Arrays for at most `most` pictures of `size` pixels; safe to use from several threads.

    Memory comes back when the last holder of an array, of a view of it, or of a tensor that shares it has let go. So
    there are as many buffers as batches that were ever held at once, and none is overwritten while it is held.
    """

    def __init__(self, most: int, size: int) -> None:
        self.most, self.size = most, size
        self.free: deque[mmap.mmap] = deque()
        self.made = 0

    def take(self, count: int) -> NDArray[np.uint8]:
        """Return an array uint8 [count, size, size, 3] of arbitrary content."""
        picture = self.size * self.size * 3
        try:
            memory = self.free.pop()
        except IndexError:
            memory = anonymous(self.most * picture)
            self.made += 1
        # Every view that numpy makes of `whole`, also of its views, holds `whole` itself: its memory is no array's.
        whole = np.frombuffer(memory, np.uint8)
        weakref.finalize(whole, self.free.append, memory).atexit = False
        return whole[: count * picture].reshape(count, self.size, self.size, 3)
