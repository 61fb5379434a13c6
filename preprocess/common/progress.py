"""Progress of long work: a bar on a terminal, one plain line a minute elsewhere."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_EVERY_SECONDS = 60.0


class Progress:
    """Counts units of work towards `total`, shown on standard error.

    `note` holds a few words that follow the figures (failures so far, the current loss).
    """

    def __init__(self, what: str, total: int, unit: str, done: int = 0) -> None:
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(desc=what, total=total, unit=unit, initial=done, disable=not self.terminal, smoothing=0.1)
        self.what, self.total, self.unit, self.done, self.first = what, total, unit, done, done
        self.note = ""
        self.started = time.monotonic()
        self.said = self.started

    def advance(self, count: int, note: str = "") -> None:
        """Count `count` more units as done."""
        self.done += count
        self.note = note or self.note
        if self.terminal:
            self.bar.set_postfix_str(self.note, refresh=False)
            self.bar.update(count)
        elif time.monotonic() - self.said >= LINE_EVERY_SECONDS:
            self.say()

    def say(self) -> None:
        """Print one plain line with what is done, the rate and the time that is left."""
        self.said = time.monotonic()
        meter = tqdm.format_meter(
            self.done, self.total, self.said - self.started, prefix=self.what, unit=self.unit, ncols=0,
            initial=self.first, postfix=self.note or None,
        )  # fmt: skip
        print(meter, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
        if not self.terminal:
            self.say()
