"""A warm child process that decodes pictures one at a time, so that no file can take down, hang or bloat its parent."""

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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple, Self

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.decoding import BASE, Answer, Task, ran_out
from preprocess.images import Squares

PATIENCE = 120.0
"""Seconds for one picture. Lossless JPEG 2000, the slowest, takes one for 4 megapixels, PNG for 70 (2026, one core)."""
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
ANSWER = TypeAdapter(Answer)


class Header(NamedTuple):
    """A picture as its file says it is, size in pixels as stored, as far as it could be read; `quality` of a JPEG."""

    format: str | None = None
    width: int = 0
    height: int = 0
    mode: str | None = None
    quality: int | None = None

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """Return what a child found."""
        return cls(answer.format, answer.width, answer.height, answer.mode, answer.quality)


class Decoded(NamedTuple):
    """What a file says of a picture, and the squares made from it."""

    header: Header
    squares: Squares


class Undecodable(UnreadablePicture):
    """A picture that cannot be stored, and its header."""

    def __init__(self, reason: str, header: Header = Header()) -> None:  # noqa: B008 - it never changes
        super().__init__(reason)
        self.header = header


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
            file.truncate(task.bytes)
            self.pixels = mmap.mmap(file.fileno(), task.bytes, access=mmap.ACCESS_READ)
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
            self.ask(b"", PATIENCE)
        except BaseException as error:
            self.end()
            if isinstance(error, ChildDied | ChildStopped):
                raise StoreError(f"the decoder does not start: it {error}; standard error may say why") from None
            raise

    def ask(self, request: bytes, patience: float) -> tuple[Answer, NDArray[np.uint8]]:
        """Return the answer to a request, and a copy of the pixels that lie in the shared memory.

        Raises ChildDied, ChildStopped.
        """
        self.deadline = time.monotonic() + patience
        with suppress(BrokenPipeError):  # why it is gone is found on reading
            self.socket.sendall(request)
        line = bytearray()
        while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            line += self.receive()
        try:
            answer = ANSWER.validate_json(line)
        except ValidationError:
            answer = Answer()
        if (answer.profile is None) == (answer.problem is None):
            raise ChildDied("answered nonsense")
        return answer, np.array(np.frombuffer(self.pixels, np.uint8) if answer.profile else (), np.uint8)

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


class Decoder:
    """A child process that decodes one picture at a time within `memory` bytes, started when first needed, kept warm,
    and replaced where it hangs, dies or grows. A context manager; not to be shared by threads.
    """

    def __init__(
        self, sizes: Sequence[int], square: str, max_megapixels: float, memory: int, patience: float = PATIENCE
    ) -> None:
        self.task = Task(tuple(sizes), square, max_megapixels, memory, patience)
        self.child: Child | None = None
        self.peak = 0
        """The most anonymous memory of any child so far, in bytes, as seen; 0 where the system does not say."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def decode(self, path: Path, lenient: bool = False) -> Decoded:
        """Return the picture in a file, `lenient` with the part that is there of a truncated one.

        Raises Undecodable with the reason, which depends on the file and the settings alone; OSError (MACHINE_ERRORS)
        and StoreError for faults of the machine.
        """
        request = json.dumps({"path": str(path.absolute()), "lenient": lenient}).encode() + b"\n"
        answer, pixels = self.insist(request)
        if answer.errno is not None:
            raise OSError(answer.errno, answer.problem, str(path))
        if answer.problem is not None:
            raise Undecodable(answer.problem, Header.of(answer))
        squares = []
        for side in self.task.sides:
            end = 3 * side * side
            squares.append(pixels[:end].reshape(side, side, 3))
            pixels = pixels[end:]
        made = Squares(dict(zip(self.task.sizes, squares, strict=False)), squares[-1], answer.profile or "")
        return Decoded(Header.of(answer), made)

    def insist(self, request: bytes) -> tuple[Answer, NDArray[np.uint8]]:
        """Return the answer to a request, of a second child where the first may have failed for what came before."""
        warm = self.child is not None
        try:
            answer, pixels = self.ask(request)
            if not (answer.starved and warm):
                return answer, pixels
        except ChildDied:
            pass  # perhaps the kernel's choice when another process was hungry
        try:
            return self.ask(request)
        except ChildDied as death:
            if death.killed:
                raise StoreError(
                    "the system killed the decoder twice, for want of memory; "
                    "set preprocess.workers or preprocess.memory_per_worker lower"
                ) from None
            raise Undecodable(f"the decoder {death}, twice") from None

    def ask(self, request: bytes) -> tuple[Answer, NDArray[np.uint8]]:
        """Return the answer of the child there is or a new one, which is kept if it is as good as new."""
        if self.child and self.child.speaks.poll(0):  # unasked, or because it ended
            self.close()
        child, self.child = self.child or Child(self.task), None
        try:
            answer, pixels = child.ask(request, self.task.patience)
            if not (answer.starved or child.has_grown()):
                self.child = child
        except ChildStopped as stopped:
            answer, pixels = stopped.answer, np.empty(0, np.uint8)
        finally:
            self.peak = max(self.peak, child.peak)
            if self.child is None:
                child.end()
        return answer, pixels

    def close(self) -> None:
        """End the child; the next picture would start another."""
        if self.child:
            self.child.end()
            self.child = None
