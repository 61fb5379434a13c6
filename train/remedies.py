"""What is done about a collapse: back to the last healthy checkpoint, with a smaller learning rate and other batches.

remedies.json lists what was done so far. All that follows is a function of seed, step and the number of remedies.
"""

from typing import Any

import numpy as np

from preprocess.common.files import read_json, write_json
from train.checkpoint import Record, checkpoints
from train.health import Collapse
from train.incidents import note
from train.run import Run

MOST = 4
CUT = 0.3
"""What the learning rate is multiplied by each time."""


class GivenUp(Exception):  # noqa: N818 - named for what it is about
    """Nothing that may be tried is left."""


def remedies(run: Run) -> list[dict[str, Any]]:
    """Return what was done so far: step, cause, back_to (a step), learning_rate, seed."""
    path = run.path / "remedies.json"
    return list(read_json(path)) if path.exists() else []


def remedied(run: Run, count: int) -> Run:
    """Return the run with the learning rate and the seed that it has after `count` remedies."""
    if not count:
        return run
    train = run.pins["settings"]["train"]
    seed = int(np.random.SeedSequence([train["seed"], count]).generate_state(1)[0])
    changed = train | {"seed": seed, "learning_rate": train["learning_rate"] * CUT**count}
    return Run(run.path, run.pins | {"settings": run.pins["settings"] | {"train": changed}})


def stands(record: Record, done: list[dict[str, Any]]) -> bool:
    """Return whether no remedy since a checkpoint was written went back behind it."""
    return all(record.step <= remedy["back_to"] for remedy in done[record.remedies :])


def remedy(run: Run, collapse: Collapse) -> None:
    """Decide on the next remedy and write it down. Raises GivenUp after MOST of them."""
    done = remedies(run)
    if len(done) == MOST:
        note(run.path, collapse.step, str(collapse), f"given up after {MOST} remedies")
        raise GivenUp
    healthy = (r.step for _, r in checkpoints(run.path / "checkpoints") if stands(r, done) and r.auc is not None)
    back_to = next(healthy, 0)
    then = remedied(run, len(done) + 1).settings
    done.append({
        "step": collapse.step, "cause": str(collapse), "back_to": back_to,
        "learning_rate": then.learning_rate, "seed": then.seed,
    })  # fmt: skip
    write_json(run.path / "remedies.json", done)
    note(run.path, collapse.step, str(collapse),
         f"back to step {back_to} with learning_rate {then.learning_rate:.2g} and seed {then.seed}, "
         f"remedy {len(done)} of {MOST}")  # fmt: skip
