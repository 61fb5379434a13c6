"""The child in which pictures are decoded: a JSON line in names some, a JSON line out says what became of them.

Their squares and thumbnails lie in memory shared with the parent. `preprocess.child` starts and watches it.
"""

import importlib
import json
import mmap
import os
import pkgutil
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile

from preprocess.common.errors import UnreadablePicture
from preprocess.cost import bytes_needed
from preprocess.images import jpeg_quality, make_squares, open_picture, thumbnail_side, unreadable_explained

BASE = 40_000_000
"""Bytes of a child between two pictures: 17 MB at its start, 26 to 34 MB after 1500 pictures of all kinds."""
ORPHANED = 3.0
"""Seconds beyond the parent's patience after which nobody can be waiting any more."""
AT_ONCE, MOST_SHARED = 16, 6_000_000
"""Pictures of one request, and bytes of what is made of them: parent and child are woken once for all, which is 7 %
of the whole stage (docs/resizing.md), and the parent holds so many more bytes."""
WEBP_SIDE = 16_383
"""Pixels on the longest side of a WebP, unless it is animated."""
PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Tiff", "WebP")
"""Pillow's modules for images.FORMATS; Mpo is a JPEG with more than one picture, opened by Jpeg."""


@dataclass(frozen=True)
class Task:
    """What a child makes of every picture; `memory` in bytes, `patience` in seconds."""

    sizes: tuple[int, ...]
    square: str
    max_megapixels: float
    memory: int
    patience: float

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels on a side of what comes with an answer: the squares in the order of their sizes, and the thumbnail."""
        return *self.sizes, thumbnail_side(self.sizes)

    @property
    def bytes(self) -> int:
        """How many those pixels take."""
        return sum(3 * side * side for side in self.sides)

    @property
    def at_once(self) -> int:
        """How many pictures may be asked for at once."""
        return max(1, min(AT_ONCE, MOST_SHARED // self.bytes))

    @property
    def shared(self) -> int:
        """Bytes of the memory where the pixels of so many pictures lie, one after the other."""
        return self.at_once * self.bytes

    def slots(self, shared: mmap.mmap) -> NDArray[np.uint8]:
        """Return that memory as uint8 [at_once, bytes]."""
        return np.frombuffer(shared, np.uint8).reshape(self.at_once, self.bytes)


@dataclass(frozen=True)
class Answer:
    """What became of a picture: its header as far as known, and a profile (there are squares) or a problem.

    `errno` tells a failure of the machine from one of the picture. `starved`: memory ran out.
    """

    format: str | None = None
    width: int = 0
    height: int = 0
    mode: str | None = None
    quality: int | None = None
    profile: str | None = None
    problem: str | None = None
    errno: int | None = None
    starved: bool = False


def ran_out(memory: int) -> str:
    """Return the reason for a picture that needed more than was foreseen."""
    return f"ran out of the {memory // 10**6} MB that preprocess.memory_per_worker leaves to decode"


def decode(task: Task, path: str) -> tuple[Answer, list[NDArray[np.uint8]]]:
    """Return what became of the picture in `path`, and uint8 [side, side, 3] for Task.sides, none after one."""
    answer = Answer()
    try:
        with unreadable_explained(), open_picture(path) as image:
            answer = Answer(image.format, image.width, image.height, image.mode, jpeg_quality(image))
            check_size(image, task)
            squares = make_squares(image, task.sizes, task.square, task.max_megapixels)
    except UnreadablePicture as error:
        if answer.format is None:
            answer, error = unopened(task, path, error)
        if isinstance(error.__context__, MemoryError):
            return replace(answer, problem=ran_out(task.memory), starved=True), []
        return replace(answer, problem=str(error)), []
    except OSError as error:
        return replace(answer, problem=error.strerror, errno=error.errno), []
    return replace(answer, profile=squares.profile), [*(squares.pixels[size] for size in task.sizes), squares.thumbnail]


def unopened(task: Task, path: str, error: UnreadablePicture) -> tuple[Answer, UnreadablePicture]:
    """Return what is known of a picture that could not be opened, and why it could not: its size, or `error`."""
    answer = Answer()
    try:
        with WebPHeader(path) as image:
            answer = Answer(image.format, image.width, image.height, image.mode)
            check_size(image, task)
    except UnreadablePicture as too_large:
        return answer, too_large
    except (SyntaxError, OSError):
        pass
    return answer, error


def check_size(image: Image.Image, task: Task) -> None:
    """Raise UnreadablePicture for a picture that is too large, or that will need more memory than there is."""
    if not 0 < image.width * image.height <= task.max_megapixels * 1e6:
        make_squares(image, task.sizes, task.square, task.max_megapixels)  # which refuses it, and says so
    try:
        needed = BASE + bytes_needed(image, max(task.sizes), task.square)
    except UnreadablePicture:  # a header in disorder, of which the decoder will say more
        return
    if needed > task.memory:
        raise UnreadablePicture(
            f"needs {-(-needed // 10**6)} MB to decode, more than the {task.memory // 10**6} MB "
            "that preprocess.memory_per_worker leaves"
        )


class WebPHeader(ImageFile.ImageFile):
    """What a WebP file says of itself (RFC 9649). libwebp takes 8 bytes a pixel on merely opening one: where they are
    not to be had, it could not say why."""

    format = "WEBP"

    def _open(self) -> None:
        start = self.fp.read(30).ljust(30, b"\0") if self.fp else bytes(30)
        flags, sizes = start[20], int.from_bytes(start[24:30], "little")
        match start[:4] + start[8:16]:
            case b"RIFFWEBPVP8X":
                width, height, alpha = 1 + sizes % 2**24, 1 + sizes // 2**24, flags & 16
                if (max(width, height) > WEBP_SIDE and not flags & 2) or width * height >= 2**32:
                    raise SyntaxError
            case b"RIFFWEBPVP8L":
                sizes = int.from_bytes(start[21:25], "little")
                width, height, alpha = 1 + sizes % 2**14, 1 + sizes // 2**14 % 2**14, sizes & 2**28
            case b"RIFFWEBPVP8 ":
                width, height, alpha = sizes // 2**16 % 2**14, sizes // 2**32 % 2**14, 0
            case _:
                raise SyntaxError
        self._mode, self._size = "RGBA" if alpha else "RGB", (width, height)


def limit_memory(memory: int) -> None:
    """Make the allocation fail that would take this process past `memory` bytes, and write no core files.

    Linux counts what is reserved, touched or not: what libraries reserved on loading (35 MB) is added. Where the whole
    machine runs out, the kernel is asked to end this process before its parent.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the parent's watch has to do
        statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
        _, resident, shared, _, _, data, _ = (int(pages) * resource.getpagesize() for pages in statm)
        limit = memory + data - (resident - shared)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def load_plugins() -> None:
    """Import Pillow's modules for the allowed formats, and forbid all others.

    Pillow imports a module for the mere suffix of a file's name, and all of them for a file that none has recognised.
    """
    wanted = {f"PIL.{name}ImagePlugin" for name in PLUGINS}
    for name in wanted:
        importlib.import_module(name)
    for module in pkgutil.iter_modules(PIL.__path__, "PIL."):
        if module.name.endswith("ImagePlugin") and module.name not in wanted:
            sys.modules[module.name] = None  # type: ignore[assignment] # an import of it now raises ImportError
    # A thread for every processor would reserve memory by the machine, not by the file.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def send(*answers: Answer) -> None:
    """Write answers to the socket that is standard input, where nothing that a decoder prints can come between."""
    os.write(0, json.dumps([vars(answer) for answer in answers]).encode() + b"\n")


def main() -> None:
    """Answer until standard input ends."""
    task = Task(**json.loads(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    load_plugins()
    slots = task.slots(mmap.mmap(int(sys.argv[2]), task.shared))
    limit_memory(task.memory)
    send(Answer(problem="no picture yet"))
    os.dup2(1, 2)  # nowhere, which is where decoders may print; until here it tells why a start failed
    for line in sys.stdin.buffer:
        request = json.loads(line)
        ImageFile.LOAD_TRUNCATED_IMAGES = request["lenient"]
        signal.setitimer(signal.ITIMER_REAL, task.patience + ORPHANED)
        answers = []
        for path, slot in zip(request["paths"], slots, strict=False):
            answer, squares = decode(task, path)
            if squares:
                np.concatenate([pixels.ravel() for pixels in squares], out=slot)
            answers.append(answer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(*answers)


if __name__ == "__main__":
    main()
