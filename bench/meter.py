"""What a command costs: seconds of clock and of processors, and memory, of the whole tree of processes (Linux)."""

import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

ROOT = Path(__file__).resolve().parents[1]
EVERY = 0.2
"""Seconds between two looks at memory."""
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Usage:
    """Seconds of clock; of processors; anonymous memory at its highest, in bytes; seconds until the sign was seen.

    The last two are 0 where nothing was watched.
    """

    wall: float
    cpu: float
    peak: int = 0
    sign: float = 0.0


@contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of those below that lose theirs, so that their seconds are counted too."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0)


def run(
    command: Sequence[object],
    extra: Mapping[str, str] | None = None,
    sign: Callable[[], bool] | None = None,
) -> Usage:
    """Run a command in the project's folder with `extra` in its environment; with a `sign`, watch for it and memory.

    Raises ClickException with the last lines of what the command said where it fails.
    """
    with tempfile.TemporaryFile() as said, adopting():
        started = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - a command of the bench
            list(map(str, command)), cwd=ROOT, env=os.environ | dict(extra or {}), stdin=subprocess.DEVNULL,
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            usage = follow(process, started, sign)
        except BaseException:  # Ctrl-C reaches this process alone
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").splitlines()[-3:]
            raise click.ClickException(f"{' '.join(map(str, command))} failed: {' / '.join(last)}")
    return usage


def follow(process: subprocess.Popen[bytes], started: float, sign: Callable[[], bool] | None) -> Usage:
    """Wait for a process and all of its session, counting what they used; `started` is on the monotonic clock."""
    wall, cpu, peak, seen = 0.0, 0.0, 0, 0.0
    while True:
        try:
            child, status, used = os.wait4(-process.pid, os.WNOHANG if sign else 0)
        except ChildProcessError:
            return Usage(wall, cpu, peak, seen)
        if child:
            cpu += used.ru_utime + used.ru_stime
            if child == process.pid:
                wall, process.returncode = time.monotonic() - started, os.waitstatus_to_exitcode(status)
            continue
        peak = max(peak, anonymous(process.pid))
        if sign and not seen and sign():
            seen = time.monotonic() - started
        time.sleep(EVERY)


def anonymous(pid: int) -> int:
    """Return the anonymous resident memory, in bytes, of a process and all below it."""
    try:
        tree = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for each in tree:
        try:
            found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{each}/status").read_text())
        except OSError:  # it has ended
            continue
        total += 1024 * int(found[1]) if found else 0
    return total
