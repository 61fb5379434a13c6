"""A warm child process that decodes pictures, so that no file can take down, hang or bloat its parent."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from preprocess.child import NOTHING, PATIENCE, Child, ChildDied, ChildStopped, Told
from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.decoding import Answer, Task
from preprocess.images import Squares


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
