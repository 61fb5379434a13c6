"""zarr-python, one picture at a time, which is the fastest it can."""

import numpy as np
import zarr
from numpy.typing import NDArray

from bench.ways.measure import Pixels, Rounds, arguments

store, size, _ = arguments()
array = zarr.open_array(store / f"images_{size}", mode="r")


def read(rows: NDArray[np.int64], out: Pixels) -> None:
    """Copy the pictures of `rows` into `out`."""
    for place, row in enumerate(rows.tolist()):
        out[place] = array[row]


Rounds(store, size).reads(read, batch=32)
