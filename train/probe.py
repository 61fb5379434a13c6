"""A probe: a process of its own that trains a few real steps and says what memory that took. It changes no run.

python -m train.probe JOB, a JSON object: the worker's, and how many pictures at once (piece) in how many bytes (room)
on how many devices, and a folder to write to.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from preprocess.common.cli import main
from train.quiet import import_tensorflow

STEPS = 3
TOO_MUCH = 65
"""The exit status of a probe whose room was not enough (EX_DATAERR of sysexits.h)."""
DEATHS = (-signal.SIGABRT, -signal.SIGKILL, -signal.SIGSEGV, TOO_MUCH)
"""How a process ends that gets no memory: in C++, by the kernel, by what does not look, or in order."""
LOOK_EVERY = 0.005


class ProbeFailed(Exception):  # noqa: N818 - named for what it is about
    """A probe did not end as probes do; its last line says why."""


def probe(job: dict[str, Any]) -> int | None:
    """Return the most bytes that training took in a process of its own, or None where that was more than job["room"].

    Raises ProbeFailed where it failed for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:  # not the probe's own, which may be killed
        command = [sys.executable, "-m", "train.probe", json.dumps(job | {"supervisor": os.getpid(), "folder": folder})]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if answer.returncode in DEATHS:
        return None
    if answer.returncode:
        raise ProbeFailed("".join(answer.stderr.strip().splitlines()[-1:]))
    return int(json.loads(answer.stdout.splitlines()[-1])["peak"])


def keep_within(room: int) -> None:
    """End this process once it takes more than `room` bytes; where the kernel runs out, it takes this one first."""
    from train.memory import processor

    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")

    def look() -> None:
        while processor().used <= room:
            time.sleep(LOOK_EVERY)
        os._exit(TOO_MUCH)

    threading.Thread(target=look, daemon=True).start()


def train_a_little(job: dict[str, Any]) -> None:
    """Do once all that takes memory while the run of `job` trains: load, train, save and validate."""
    from preprocess.common.config import Pipeline
    from train.checkpoint import Record, arrays_of, save_checkpoint, training_state
    from train.devices import named
    from train.feed import Feed
    from train.fit import compiled_network, train_span
    from train.optimizer import averaged
    from train.run import open_run
    from train.validation import Validation

    run, pipeline = open_run(Path(job["run"])), Pipeline.model_validate(job["pipeline"])
    network, feed = compiled_network(run, job["piece"], named(job["devices"])), Feed(run, pipeline)
    validation = Validation(run, feed.validation(), pipeline.evaluation_pairs)
    for span in run.settings.spans:
        stop = min(span.stop, span.start + STEPS)
        train_span(run, network, feed, span._replace(stop=stop), [])
    save_checkpoint(Path(job["folder"]), Record(0, 0, 0, {}), arrays_of(training_state(network)))
    with averaged(network):
        validation.measure(network)


@click.command()
@click.argument("job")
def main_of_probe(job: str) -> None:
    """Answer {"peak": bytes} on standard output."""
    from train.worker import end_with

    values = json.loads(job)
    end_with(values["supervisor"])
    import_tensorflow()
    import tensorflow as tf

    from train.memory import limit_accelerators, use

    limit_accelerators(values["room"], values["devices"])
    if not tf.config.list_physical_devices("GPU"):
        keep_within(values["room"])
    tf.config.experimental.enable_op_determinism()
    try:
        train_a_little(values)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sys.exit(TOO_MUCH)
    click.echo(json.dumps({"peak": use().peak}))


if __name__ == "__main__":
    main(main_of_probe, "train.probe")
