"""Training as a command: under a supervisor, with an end that people and job systems understand."""

import sys

from preprocess.common.config import Config
from train.notify import notify
from train.pulse import STOPPED
from train.run import Run
from train.supervise import FAILED, Limits, Supervisor, last_step, trainer
from train.worker import job_of


def train_unattended(run: Run, config: Config) -> int:
    """Train `run` under a supervisor, tell the user how it ended, and return the exit status."""
    settings = config.train
    memory = settings.model_dump(include={"microbatch", "memory", "devices"})
    job = job_of(run.path.absolute(), config.pipeline.model_dump(mode="json"), settings.checkpoint_minutes, memory)
    limits = Limits(total=None if settings.max_hours is None else 3600 * settings.max_hours)
    ending = Supervisor(run.path, trainer(job), limits).supervise()
    if ending.status == STOPPED:
        kept = f"step {last_step(run.path)} of {run.settings.steps} is kept"
        print(f"train: stopped ({ending.cause}); {kept}; run it again to go on: {run.path}", file=sys.stderr)
    elif ending.status == FAILED:
        print(
            f"error: {run.path}: {ending.cause}; see incidents.jsonl there, and run it again to go on", file=sys.stderr
        )
    if settings.notify and ending.status != STOPPED:
        notify(settings.notify, run.path, ending)
    return ending.status
