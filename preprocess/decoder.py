"""A warm child process that decodes pictures, so that no file can take down, hang or bloat its parent."""

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


class Decoder:
    """A child process that decodes pictures within `memory` bytes, started when first needed, kept warm, and replaced
    where it hangs, dies or grows. A context manager; not to be shared by threads.
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
        return self.understood(path, self.insist(path, lenient))

    def decode_all(self, paths: Sequence[Path]) -> list[Decoded | Undecodable]:
        """Return what `decode` returns or raises as Undecodable for each of at most `task.at_once` files.

        The child is asked once for all, which spares it and its parent to be woken for each, and again for each that it
        did not decode, as it may have failed for what came before. Raises OSError and StoreError as `decode` does.
        """
        told: list[Told] = [(Answer(problem="not decoded yet"), NOTHING)] * len(paths)
        with suppress(ChildDied, ChildStopped):
            told = self.ask(paths) if paths else []
        found: list[Decoded | Undecodable] = []
        for path, each in zip(paths, told, strict=True):
            try:
                found.append(self.understood(path, each if each[0].profile else self.insist(path)))
            except Undecodable as error:
                found.append(error)
        return found

    def understood(self, path: Path, told: Told) -> Decoded:
        """Return what a child made of the picture in `path`. Raises Undecodable, OSError."""
        answer, pixels = told
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

    def insist(self, path: Path, lenient: bool = False) -> Told:
        """Return the answer for one picture, of a second child where the first may have failed for what came before.

        Raises StoreError.
        """
        warm = self.child is not None
        with suppress(ChildDied):  # perhaps the kernel's choice when another process was hungry
            told = self.answered(path, lenient)
            if not (told[0].starved and warm):
                return told
        try:
            return self.answered(path, lenient)
        except ChildDied as death:
            if death.killed:
                raise StoreError(
                    "the system killed the decoder twice, for want of memory; "
                    "set preprocess.workers or preprocess.memory_per_worker lower"
                ) from None
            return Answer(problem=f"the decoder {death}, twice"), NOTHING

    def answered(self, path: Path, lenient: bool) -> Told:
        """Return the answer for one picture, or what stands in for it. Raises ChildDied."""
        try:
            return self.ask([path], lenient)[0]
        except ChildStopped as stopped:
            return stopped.answer, NOTHING

    def ask(self, paths: Sequence[Path], lenient: bool = False) -> list[Told]:
        """Return the answers of the child there is or a new one, which is kept if it is as good as new.

        Raises ChildDied, ChildStopped.
        """
        if self.child and self.child.speaks.poll(0):  # unasked, or because it ended
            self.close()
        child, self.child = self.child or Child(self.task), None
        request = {"paths": [str(path.absolute()) for path in paths], "lenient": lenient}
        try:
            told = child.ask(json.dumps(request).encode() + b"\n", len(paths), self.task.patience)
            if not (any(answer.starved for answer, _ in told) or child.has_grown()):
                self.child = child
        finally:
            self.peak = max(self.peak, child.peak)
            if self.child is None:
                child.end()
        return told

    def close(self) -> None:
        """End the child; the next picture would start another."""
        if self.child:
            self.child.end()
            self.child = None
