"""The trainer's sign of life, a small file that the supervisor and `status` read, and its ear for being stopped."""

import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal, NamedTuple

Phase = Literal["start", "compile", "step", "check", "save", "validate", "wait"]

STOPPED = 75
"""The exit status that asks to be run again (EX_TEMPFAIL of sysexits.h)."""
NAME, WIDTH = "heartbeat", 256
RECENT_STEPS = 50
WORKING: tuple[Phase, ...] = ("step", "check", "save")
"""Phases in which a step may not be saved yet; in all others everything is."""


class Stopped(Exception):  # noqa: N818 - no error
    """Training was asked to stop, and everything is saved."""


class Beat(NamedTuple):
    """One sign of life: who, doing what, after how many steps; `slowest` is the slowest of recent steps in seconds."""

    pid: int
    number: int
    phase: Phase
    step: int
    slowest: float


class Pulse:
    """Beats once per step and per change of phase, into a file if one is given; no thread, no flush."""

    def __init__(self, path: Path | None = None) -> None:
        self.file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self.phase: Phase = "start"
        self.step = self.count = 0
        self.durations: deque[float] = deque([0.0], RECENT_STEPS)
        self.last = time.monotonic()
        self.asked = False
        self.beat("start")

    def beat(self, phase: Phase, step: int | None = None) -> None:
        """Show what is done from now on, after `step` steps; where the trainer was asked to stop, and may, it ends."""
        now = time.monotonic()
        if phase == self.phase == "step":
            self.durations.append(now - self.last)
        self.phase, self.last, self.count = phase, now, self.count + 1
        self.step = self.step if step is None else step
        if self.file is not None:
            beat = Beat(os.getpid(), self.count, phase, self.step, round(max(self.durations), 3))
            os.pwrite(self.file, json.dumps(beat._asdict()).ljust(WIDTH).encode(), 0)
        if self.asked:
            self.leave()

    def ask(self, *signal: Any) -> None:
        """Handle a signal: end after the step in flight is saved, and at once where no step is in flight."""
        self.asked = True
        self.leave()

    def leave(self) -> None:
        """End the process where all that was learned is on disk; nothing in memory is worth unwinding for."""
        if self.phase not in WORKING:
            os._exit(STOPPED)


def last_beat(folder: Path) -> tuple[Beat, float] | None:
    """Return the last sign of life of the run in `folder` and its age in seconds; None where there is none."""
    path = folder / NAME
    try:
        return Beat(**json.loads(path.read_bytes())), max(0.0, time.time() - path.stat().st_mtime)
    except (OSError, ValueError, TypeError):  # none yet, or half of one
        return None
