"""The trainer's process, which train/supervise.py starts: python -m train.worker JOB, a JSON object."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from preprocess.common.cli import main
from train.quiet import import_tensorflow

GIVEN_UP = 69
"""The exit status that asks not to be started again (EX_UNAVAILABLE of sysexits.h); the reason is the last incident."""
PR_SET_PDEATHSIG = 1


AUTO = {"microbatch": "auto", "memory": "auto", "devices": "auto"}


def job_of(run: Path, pipeline: dict[str, Any], minutes: float, memory: dict[str, Any] = AUTO) -> str:
    """Return the JOB of a worker of this process: train the run in `run`, fed by the settings `pipeline`, in pieces and
    on devices as train.microbatch, train.memory and train.devices, in `memory`, say."""
    return json.dumps(
        {"run": str(run), "pipeline": pipeline, "minutes": minutes, "memory": memory, "supervisor": os.getpid()}
    )


def end_with(supervisor: int) -> None:
    """Make the kernel end this process when its supervisor does, or nobody would watch it, and the run be locked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it ended before
        sys.exit(GIVEN_UP)


@click.command()
@click.argument("job")
def worker(job: str) -> None:
    """Train a run; exit status 0, STOPPED, GIVEN_UP, or 2 for what only a person can put right."""
    from train.pulse import NAME, STOPPED, Pulse, Stopped

    values = json.loads(job)
    end_with(values["supervisor"])
    path = Path(values["run"])
    pulse = Pulse(path / NAME)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pulse.ask)
    from train.microbatch import NAME as MICROBATCH
    from train.microbatch import decide
    from train.outage import patiently
    from train.run import open_run

    # Before TensorFlow takes any memory, of which probes find none then.
    patiently(lambda: decide(open_run(path), values["memory"], values, lambda: pulse.beat("compile")), pulse)
    pulse.beat("start")
    import_tensorflow()
    import tensorflow as tf

    from preprocess.common.config import Pipeline
    from preprocess.common.files import read_json
    from train.fit import fit
    from train.memory import limit_accelerators
    from train.remedies import GivenUp

    decided = read_json(path / MICROBATCH)
    limit_accelerators(decided["room"], decided["devices"])
    tf.config.experimental.enable_op_determinism()
    try:
        fit(open_run(path), Pipeline.model_validate(values["pipeline"]), values["minutes"], pulse)
    except Stopped:
        sys.exit(STOPPED)
    except GivenUp:
        sys.exit(GIVEN_UP)


if __name__ == "__main__":
    main(worker, "train.worker")
