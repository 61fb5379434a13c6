"""Loaded by dask's workers while they are measured: writes when each job started and stopped, a line each."""

import json
import os
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin


class Times(WorkerPlugin):  # type: ignore[misc]
    """Appends [start, stop] of every job to the file named by BENCH_TASKS, in seconds."""

    def setup(self, worker: Worker) -> None:
        """See WorkerPlugin."""
        self.worker = worker

    def transition(self, key: Any, start: str, finish: str, **details: Any) -> None:
        """See WorkerPlugin."""
        if start != "executing" or finish != "memory":
            return
        with Path(os.environ["BENCH_TASKS"]).open("a") as file:
            for span in self.worker.state.tasks[key].startstops:
                if span["action"] == "compute":
                    file.write(json.dumps([span["start"], span["stop"]]) + "\n")


async def dask_setup(worker: Worker) -> None:
    """Called by dask in every worker."""
    await worker.plugin_add(Times())
