"""Disks that are full and stores that are gone for a while: training waits, and says so."""

import errno
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.reader import Reader
from pipeline.split import TRAIN, side_rows
from preprocess.common.errors import StoreGone
from train.pulse import Pulse
from train.run import Run

Answer = TypeVar("Answer")
FULL = (errno.ENOSPC, errno.EDQUOT)
WAIT_SECONDS = 5.0
LINE_EVERY = 12
"""Waits between two lines."""


def patiently(action: Callable[[], Answer], pulse: Pulse) -> Answer:
    """Do `action`, which writes files; where the disk is full, wait for room and do it again."""

    def attempt() -> Answer:
        try:
            return action()
        except OSError as error:
            if error.errno in FULL:
                raise NotYet(f"{error.filename or 'a file'}: the disk is full; waiting for room") from None
            raise

    return until_it_works(attempt, pulse)


def wait_for_store(run: Run, pulse: Pulse) -> None:
    """Wait until the first picture that `run` trains on can be read again."""
    row = side_rows(run.split, TRAIN)[0][:1]

    def attempt() -> None:
        try:
            Reader(run.store, run.settings.size).read(row)
        except StoreGone as error:
            raise NotYet(f"{error}; waiting for it") from None

    until_it_works(attempt, pulse)


class NotYet(Exception):  # noqa: N818 - says what is waited for
    """An outage that may pass."""


def until_it_works(attempt: Callable[[], Answer], pulse: Pulse) -> Answer:
    """Return what `attempt` returns once it no longer raises NotYet; a signal ends the process meanwhile."""
    waits = 0
    while True:
        try:
            return attempt()
        except NotYet as reason:
            if waits % LINE_EVERY == 0:
                print(f"train: {reason}", file=sys.stderr, flush=True)
        waits += 1
        pulse.beat("wait")
        time.sleep(WAIT_SECONDS)
