"""The supervisor: a small process that starts the trainer, watches its pulse, and starts it again after a mishap."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from train.incidents import incidents, note
from train.memory import kernel_kills
from train.microbatch import halve
from train.pulse import STOPPED, WORKING, Beat, last_beat
from train.worker import GIVEN_UP

FINISHED, FAILED, MISTAKE = 0, 1, 2
STEPS = 5
"""A step may take so many times as long as the slowest recent one."""
POLL = 0.1


class Limits(NamedTuple):
    """When to lose patience: seconds, but for `tries`, the restarts that may come without a new checkpoint between, and
    `others`: compilation, validation, saving and loading may be silent so many times as long as a step."""

    silence: float = 60.0
    others: float = 10.0
    grace: float = 10.0
    tries: int = 5
    back_off: float = 1.0
    total: float | None = None

    def allowed(self, beat: Beat | None) -> float:
        """Return for how many seconds a trainer whose last sign of life was `beat` may be silent."""
        if beat is None or beat.phase != "step":
            return self.others * self.silence
        return max(self.silence, STEPS * beat.slowest)

    def farewell(self, beat: Beat | None) -> float:
        """Return how many seconds a trainer has to end: to finish its step and to save."""
        return self.grace + (STEPS * beat.slowest if beat is not None and beat.phase in WORKING else 0)


class Ending(NamedTuple):
    """How it ended: an exit status of `python -m train fit`, and why."""

    status: int
    cause: str


class Supervisor:
    """Runs `command`, a trainer of the run in `folder`, until it finished or there is no sense in going on."""

    def __init__(self, folder: Path, command: Sequence[str], limits: Limits) -> None:
        self.folder, self.command, self.limits = folder, command, limits
        self.asked = ""
        self.began = time.monotonic()

    def supervise(self) -> Ending:
        """Return how it ended; SIGTERM and SIGINT end it."""
        failures, kept = 0, -1
        with self.listening():
            while not self.asked:
                kills = kernel_kills()
                process = subprocess.Popen(self.command)  # noqa: S603 - our own interpreter and module
                stalled = self.watch(process)
                ending = self.judge(process.returncode, stalled)
                if ending.status != FAILED or process.returncode == GIVEN_UP:
                    return ending
                step = last_step(self.folder)
                if process.returncode == -signal.SIGKILL and not stalled and kernel_kills() > kills:
                    with suppress(OSError):  # a full disk, for which the trainer will wait
                        halve(self.folder, step, "killed by the kernel, whose memory ran out")
                failures, kept = 1 if step > kept else failures + 1, max(step, kept)
                if failures > self.limits.tries:
                    note(self.folder, step, ending.cause, f"given up after {self.limits.tries} restarts")
                    return ending
                pause = self.limits.back_off * 2 ** (failures - 1)
                remedy = f"restarted from step {step} after {pause:.3g} s, try {failures} of {self.limits.tries}"
                note(self.folder, step, ending.cause, remedy)
                self.sleep(pause)
        return Ending(STOPPED, self.asked)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear SIGTERM and SIGINT meanwhile."""

        def ask(number: int, frame: Any) -> None:
            self.asked = signal.Signals(number).name

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def sleep(self, seconds: float) -> None:
        """Wait, unless asked to end."""
        until = time.monotonic() + seconds
        while not self.asked and time.monotonic() < until:
            time.sleep(min(POLL, seconds))

    def watch(self, process: "subprocess.Popen[bytes]") -> str:
        """Wait for the trainer's end, and bring it about where it is asked for or overdue; return why it was overdue.

        Silence is counted while this process is awake: a machine that slept, or a job that was suspended, is no stall.
        """
        silent, waited, seen, asked = 0.0, 0.0, None, False
        last = time.monotonic()
        while process.poll() is None:
            time.sleep(POLL)
            now = time.monotonic()
            awake, last = min(now - last, 10 * POLL), now
            beat = self.beat(process.pid)
            silent, seen = (silent + awake, seen) if beat == seen else (0.0, beat)
            if self.limits.total is not None and now - self.began > self.limits.total:
                self.asked = self.asked or "train.max_hours is over"
            if self.asked and not asked:
                process.terminate()
                asked = True
            waited += awake if asked else 0.0
            if waited > self.limits.farewell(beat) or silent > self.limits.allowed(beat):
                process.kill()
                process.wait()
                return f"no sign of life for {silent:.0f} s in phase {beat.phase if beat else 'start'}"
        return ""

    def beat(self, pid: int) -> Beat | None:
        """Return the last sign of life of process `pid`."""
        found = last_beat(self.folder)
        return found[0] if found is not None and found[0].pid == pid else None

    def judge(self, status: int, stalled: str) -> Ending:
        """Return what a trainer's exit status means."""
        if status == FINISHED:
            return Ending(FINISHED, "finished")
        if status == MISTAKE:
            return Ending(MISTAKE, "refused; the reason is in the line above")
        if self.asked or status == STOPPED:
            return Ending(STOPPED, self.asked or "a signal to the trainer")
        if status == GIVEN_UP:
            return Ending(
                FAILED, "given up: " + " ".join(str(incident["cause"]) for incident in incidents(self.folder)[-1:])
            )
        if stalled:
            return Ending(FAILED, stalled)
        if status == -signal.SIGKILL:
            return Ending(FAILED, "killed by SIGKILL, as by the kernel where memory ran out")
        if status < 0:
            return Ending(FAILED, f"crashed with {signal.Signals(-status).name}")
        return Ending(FAILED, f"ended with status {status}; its traceback is above")


def last_step(folder: Path) -> int:
    """Return the step of the newest checkpoint of the run in `folder`, whole or not; 0 where there is none."""
    return max((int(path.name.removeprefix("step-")) for path in folder.glob("checkpoints/step-*")), default=0)


def trainer(job: str) -> list[str]:
    """Return the command that trains `job`, see train/worker.py."""
    return [sys.executable, "-m", "train.worker", job]
