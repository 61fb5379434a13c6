"""Many reads in one system call: Python's lock is handed over once for all of them and not once for each.

Linux's own asynchronous input, io_submit(2), asked for what it can copy from memory without waiting. With one preadv a
row, threads that read small pictures fight over the lock. For the disk it would wait row by row, many times as long as
preadv (docs/reading.md); asked not to wait, it has the disk begin with all of them. What did not come, and everything
where io_submit cannot be had (another system, a sandbox), the caller reads one by one.
"""

import ctypes
import errno
import platform
import sys
import weakref

import numpy as np
from numpy.typing import NDArray

CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""The numbers of io_setup, io_destroy, io_getevents and io_submit; the C library has no names for them."""
REQUEST = np.dtype([
    ("data", "<u8"), ("key", "<u4"), ("rw_flags", "<i4"), ("opcode", "<u2"), ("priority", "<i2"), ("file", "<u4"),
    ("address", "<u8"), ("bytes", "<u8"), ("offset", "<i8"), ("reserved", "<u8"), ("flags", "<u4"), ("eventfd", "<u4"),
])  # fmt: skip
"""struct iocb of linux/aio_abi.h; an opcode of 0 reads."""
NOWAIT = 8
"""RWF_NOWAIT of linux/fs.h."""
EVENT = np.dtype([("data", "<u8"), ("request", "<u8"), ("result", "<i8"), ("more", "<i8")])
"""struct io_event: the result is the number of bytes read, or an error's below zero."""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(which: int, *arguments: object) -> int:
    """Make the system call at place `which` of CALLS; -1 where it fails, and the reason is in ctypes.get_errno()."""
    return int(libc.syscall(ctypes.c_long(CALLS[platform.machine()][which]), *arguments))


class Queue:
    """Room for `most` reads at once, for one thread at a time. Raises OSError where the system has no such thing."""

    def __init__(self, most: int) -> None:
        if sys.platform != "linux" or platform.machine() not in CALLS:
            raise OSError(errno.ENOSYS, "no io_submit is known here")
        self.requests, self.events = np.zeros(most, REQUEST), np.zeros(most, EVENT)
        self.requests["data"], self.requests["rw_flags"] = np.arange(most), NOWAIT
        self.pointers = self.requests.ctypes.data + np.arange(most, dtype=np.uint64) * REQUEST.itemsize
        self.context = ctypes.c_ulong()
        if call(0, ctypes.c_uint(most), ctypes.byref(self.context)) != 0:
            raise OSError(ctypes.get_errno(), "io_setup")
        weakref.finalize(self, call, 1, self.context).atexit = False

    def read(
        self, files: NDArray[np.int64], offsets: NDArray[np.int64], addresses: NDArray[np.int64], size: int
    ) -> NDArray[np.bool_]:
        """Read `size` bytes at each of `offsets` [n] of `files` [n], descriptors, to `addresses` [n] in memory.

        Returns which of them came, and came whole, [n]; why others did not is for one by one to find out.
        """
        count = len(files)
        requests = self.requests[:count]
        requests["file"], requests["offset"], requests["address"], requests["bytes"] = files, offsets, addresses, size
        submitted = call(3, self.context, ctypes.c_long(count), ctypes.c_void_p(self.pointers.ctypes.data))
        done = 0
        while done < submitted:
            wanted = ctypes.c_long(submitted - done)
            got = call(2, self.context, wanted, wanted, ctypes.c_void_p(self.events[done:].ctypes.data), None)
            if got < 0 and ctypes.get_errno() != errno.EINTR:
                raise OSError(ctypes.get_errno(), "io_getevents")
            done += max(0, got)
        came = np.zeros(count, np.bool_)
        whole = self.events[:done][self.events["result"][:done] == size]
        came[whole["data"].astype(np.int64)] = True
        return came
