"""A started child process in which pictures are decoded, and the talk with it."""

import errno
import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from preprocess.common.errors import StoreError
from preprocess.decoding import BASE, Answer, Task, ran_out

PATIENCE = 120.0
"""Seconds for one request. Lossless JPEG 2000, the slowest, takes one for 4 megapixels, PNG for 70 (2026, one core)."""
LOOK = 0.02
"""Seconds between two looks at a child's memory."""
END = 5.0
"""Seconds for a process to be gone after its end; only one stuck in the kernel needs more, and is left to it."""
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "4000000", "MALLOC_TRIM_THRESHOLD_": "16000000",
}  # fmt: skip
"""One thread, and some memory kept between pictures: dask tells glibc to keep none, which costs 0.7 ms a picture."""
LONGEST_LINE = 1 << 16
SHARED = next(Path("/dev").glob("shm"), None)
"""Where the file lies that a child's squares come in: they cost 0.1 ms a picture less than through a socket."""
NOTHING = np.empty(0, np.uint8)
ANSWERS = TypeAdapter(list[Answer])
Told = tuple[Answer, NDArray[np.uint8]]
"""An answer, and the pixels that came with it, none where there is a problem."""


class ChildDied(Exception):  # noqa: N818 - named for what it is about
    """A child ended, or answered what no child answers; `killed` is whether somebody else ended it."""

    def __init__(self, how: str, killed: bool = False) -> None:
        super().__init__(how)
        self.killed = killed


class ChildStopped(Exception):  # noqa: N818 - named for what it is about
    """A child was given up; `answer` stands in for its own."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.problem)
        self.answer = answer


class Child:
    """A started child, and the talk with it. Whatever is raised but by its start leaves it unusable, to be ended."""

    def __init__(self, task: Task) -> None:
        """Start it and wait until it is ready. Raises StoreError where it does not start."""
        self.task = task
        self.held = self.peak = 0
        self.looked = self.deadline = 0.0
        # The parent's own path: on a cluster the package may come from a wheel that was sent there.
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        self.socket, theirs = socket.socketpair()
        with theirs, TemporaryFile(dir=SHARED) as file:
            file.truncate(task.shared)
            self.pixels = mmap.mmap(file.fileno(), task.shared, access=mmap.ACCESS_READ)
            self.process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-P", "-m", "preprocess.decoding", json.dumps(asdict(task)), str(file.fileno())],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, pass_fds=[file.fileno()],
                env=os.environ | ENVIRONMENT | {"PYTHONPATH": path},
            )  # fmt: skip
        self.socket.settimeout(LOOK)
        self.speaks = select.poll()
        self.speaks.register(self.socket, select.POLLIN)
        self.system = psutil.Process(self.process.pid)
        try:
            self.ask(b"", 1, PATIENCE)
        except BaseException as error:
            self.end()
            if isinstance(error, ChildDied | ChildStopped):
                raise StoreError(f"the decoder does not start: it {error}; standard error may say why") from None
            raise

    def ask(self, request: bytes, count: int, patience: float) -> list[Told]:
        """Return the answers to a request for `count` pictures, with copies of what lies in the shared memory.

        Raises ChildDied, ChildStopped.
        """
        self.deadline = time.monotonic() + patience
        with suppress(BrokenPipeError):  # why it is gone is found on reading
            self.socket.sendall(request)
        line = bytearray()
        while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            line += self.receive()
        try:
            answers = ANSWERS.validate_json(line)
        except ValidationError:
            answers = []
        if len(answers) != count or any((answer.profile is None) == (answer.problem is None) for answer in answers):
            raise ChildDied("answered nonsense")
        slots = self.task.slots(self.pixels)
        return [
            (answer, np.array(slot if answer.profile else NOTHING))
            for answer, slot in zip(answers, slots, strict=False)
        ]

    def receive(self) -> bytes:
        """Wait for bytes and return them. Raises ChildDied, ChildStopped."""
        while time.monotonic() < self.deadline:
            try:
                if received := self.socket.recv(LONGEST_LINE):
                    return received
                raise self.death()
            except ConnectionResetError:
                raise self.death() from None
            except TimeoutError:
                if self.memory() > self.task.memory:
                    raise ChildStopped(Answer(problem=ran_out(self.task.memory), starved=True)) from None
        if self.system.status() == psutil.STATUS_DISK_SLEEP:
            raise ChildStopped(Answer(problem=os.strerror(errno.ETIMEDOUT), errno=errno.ETIMEDOUT))
        raise ChildStopped(Answer(problem=f"the decoder hung: no answer within {self.task.patience:g} seconds"))

    def death(self) -> ChildDied:
        """Return how a child ended that has closed its output."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END)
        status = self.process.poll()
        if status is None:
            return ChildDied("fell silent")
        if status < 0:
            name = signal.Signals(-status).name
            return ChildDied(f"died of signal {-status} ({name})", killed=status == -signal.SIGKILL)
        return ChildDied(f"ended with status {status}")

    def memory(self) -> int:
        """Return the bytes of anonymous memory it holds, 0 where the system does not say, and keep their peak."""
        self.looked = time.monotonic()
        with suppress(psutil.Error):
            info = self.system.memory_info()
            self.held = info.rss - getattr(info, "shared", 0)  # Linux counts libraries and mapped files apart
            self.peak = max(self.peak, self.held)
        return self.held

    def has_grown(self) -> bool:
        """Return whether it keeps more than it may between two pictures; a look costs 0.05 ms."""
        if self.held > BASE or time.monotonic() > self.looked + LOOK:
            self.memory()
        return self.held > BASE

    def end(self) -> None:
        """Kill it; it holds nothing that could be lost."""
        self.process.kill()
        self.socket.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END)
