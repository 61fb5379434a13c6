"""The account of a build in progress: shown on standard error, and written where `make status` finds it."""

import os
import time
from collections import Counter
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import psutil

from preprocess.common.files import list_files, read_json, write_json
from preprocess.common.places import Place
from preprocess.common.progress import Progress

ACCOUNTS = "progress"
WRITTEN_EVERY_SECONDS = 2.0


class Account:
    """Counts what shards came to, towards `total` pictures, of which `done` were done before."""

    def __init__(self, folder: Place, name: str, total: int, done: list[dict[str, Any]]) -> None:
        self.path = folder / ACCOUNTS / f"{name}.json"
        self.reasons: Counter[str] = Counter()
        self.bytes, self.memory, self.total = 0, 0, total
        self.before = sum(record["pictures"] for record in done)
        self.progress = Progress("store", total, "picture", self.before)
        for record in done:
            self.reasons.update(record["reasons"])
        self.started = self.written = time.monotonic()

    def add(self, shard: dict[str, Any]) -> None:
        """Count one finished shard, as build_shard tells of it."""
        self.reasons.update(shard["reasons"])
        self.bytes += shard["bytes"]
        self.memory = max(self.memory, shard["memory"])
        rate = self.bytes / 1e6 / max(1e-9, time.monotonic() - self.started)
        self.progress.advance(
            shard["pictures"],
            f"{rate:.1f} MB/s, quarantined: {self.reasons.total()}, memory: {self.memory / 1e6:.0f} MB a worker",
        )
        if time.monotonic() - self.written >= WRITTEN_EVERY_SECONDS:
            self.write("running")

    def write(self, state: str) -> None:
        """Write the account as it stands."""
        self.written = time.monotonic()
        seconds = self.written - self.started
        new = self.progress.done - self.before
        left = (self.total - self.progress.done) / new * seconds if new and state == "running" else None
        write_json(self.path, {
            "state": state, "pictures": self.progress.done, "total": self.total, "seconds": round(seconds, 1),
            "pictures_per_second": round(new / max(1e-9, seconds), 1), "seconds_left": left and round(left),
            "megabytes_per_second": round(self.bytes / 1e6 / max(1e-9, seconds), 1),
            "quarantined": dict(self.reasons.most_common()), "memory_per_worker": self.memory,
            "host": os.uname().nodename, "process": os.getpid(), "at": datetime.now(UTC).isoformat(timespec="seconds"),
        })  # fmt: skip

    def __enter__(self) -> Self:
        self.write("running")
        self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.__exit__(kind, error, trace)
        self.write("finished" if error is None else "stopped")


def accounts(folder: Place) -> dict[str, dict[str, Any]]:
    """Return the accounts in a collection's folder, by name: "store", or the number of a part such as "3-of-16".

    One that says "running" of a process of this machine that is gone is "killed".
    """
    found = {}
    for name in sorted(list_files(folder / ACCOUNTS)):
        account = read_json(folder / ACCOUNTS / name)
        here = account["host"] == os.uname().nodename
        if account["state"] == "running" and here and not psutil.pid_exists(account["process"]):
            account |= {"state": "killed", "seconds_left": None}
        found[name.removesuffix(".json")] = account
    return found
