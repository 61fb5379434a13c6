"""Checkpoints: one folder each, written aside, flushed, renamed; its record, written last, has all checksums.

checkpoints/step-<step>/
    state.safetensors   weights, optimizer, states of random generators
    record.json         the rest: step, seed, remedies, what the chunk has come to, AUC, and train/identity.py's
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from safetensors.numpy import load_file, save

from preprocess.common.errors import RunError
from preprocess.common.files import ASIDE, digest, fsync_folder, read_json, sha256_file, write_bytes, write_json

KEEP = 2
STATE, RECORD = "state.safetensors", "record.json"


class Chunk(NamedTuple):
    """What the steps since the last validation have come to: the sum of their losses, pictures, seconds, and how many
    of these they waited for batches."""

    loss: float = 0.0
    pictures: int = 0
    seconds: float = 0.0
    waited: float = 0.0


NOTHING = Chunk()


@dataclass(frozen=True)
class Record:
    """What a checkpoint knows besides its arrays. Every random draw is a function of seed, step and remedies."""

    step: int
    seed: int
    remedies: int
    identity: dict[str, Any]
    chunk: Chunk = NOTHING
    auc: float | None = None
    """Of the validation at this step; None where there was none yet."""
    microbatch: dict[str, Any] | None = None
    """What the run's microbatch.json said."""


def numbered(prefix: str, variables: list[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables by number: their names count upwards within a process, their order is the model's."""
    return {f"{prefix}.{index:04d}": variable for index, variable in enumerate(variables)}


def arrays_of(variables: dict[str, keras.Variable]) -> dict[str, Any]:
    """Return the values of variables as arrays in C order."""
    return {name: np.array(variable.numpy(), order="C") for name, variable in variables.items()}


def save_variables(path: Path, variables: dict[str, keras.Variable]) -> None:
    """Write variables to `path`, durably."""
    write_bytes(path, save(arrays_of(variables)))


def load_variables(path: Path, variables: dict[str, keras.Variable]) -> None:
    """Assign the arrays in `path` to `variables`. Raises RunError where they do not match, name by name."""
    arrays = load_file(path)
    for name, variable in variables.items():
        if name not in arrays or arrays[name].shape != tuple(variable.shape):
            raise RunError(
                f"{path} does not fit the model at {name}; the run was trained with other settings or versions"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def training_state(network: keras.Model) -> dict[str, keras.Variable]:
    """Return all that a training step reads and changes: weights, states of random generators, and optimizer."""
    known = {id(variable) for variable in (*network.weights, *network.metrics_variables)}
    random = [variable for variable in network.variables if id(variable) not in known]
    return (
        numbered("network", network.weights)
        | numbered("random", random)
        | numbered("optimizer", network.optimizer.variables)
    )


def save_checkpoint(folder: Path, record: Record, arrays: dict[str, Any]) -> None:
    """Save a training state, and drop all but the last KEEP checkpoints and the one of the best AUC."""
    final = checkpoint_path(folder, record.step)
    aside = folder / f"{ASIDE}{final.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    data = save(arrays)
    with (aside / STATE).open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    write_record(aside, record, hashlib.sha256(data).hexdigest())
    shutil.rmtree(final, ignore_errors=True)  # one for the same step that was damaged, or that a remedy went behind
    aside.rename(final)
    fsync_folder(folder)
    prune(folder, record.step)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint after `step` steps."""
    return folder / f"step-{step:08d}"


def write_record(path: Path, record: Record, state: str) -> None:
    """Write the record of a checkpoint whose state has the SHA-256 `state`."""
    values = asdict(record) | {"chunk": record.chunk._asdict(), "state": state}
    write_json(path / RECORD, values | {"sha256": digest(values)})


def note_validation(folder: Path, record: Record) -> None:
    """Write the AUC of `record` to its checkpoint, whose state stays as it is."""
    path = checkpoint_path(folder, record.step)
    write_record(path, record, read_json(path / RECORD)["state"])
    prune(folder, record.step)


def record_of(path: Path) -> tuple[Record, str]:
    """Return the record of a checkpoint, and the SHA-256 of its state. Raises OSError, ValueError where damaged."""
    try:
        values = read_json(path / RECORD)
        if values.pop("sha256") != digest(values):
            raise ValueError(f"{path / RECORD} is damaged")
        state = str(values.pop("state"))
        return replace(Record(**values), chunk=Chunk(**values["chunk"])), state
    except (KeyError, TypeError, AttributeError) as error:  # JSON, but no record
        raise ValueError(f"{path / RECORD} is damaged: {error}") from None


def checkpoints(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Yield the whole checkpoints, newest first: those whose bytes are what was saved."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            record, state = record_of(path)
            if sha256_file(path / STATE) == state:
                yield path, record
        except (OSError, ValueError):
            continue


def best(found: Iterable[tuple[Path, Record]]) -> tuple[Path, Record] | None:
    """Return of some checkpoints the one of the best AUC, the earliest of several; None where none was validated."""
    validated = [(path, record) for path, record in found if record.auc is not None]
    return max(validated, key=lambda each: (each[1].auc or 0.0, -each[1].step), default=None)


def prune(folder: Path, step: int) -> None:
    """Remove what is not among the last KEEP checkpoints up to `step`, the newest, and not the best; and what a kill
    left aside. What lies ahead of the newest was damaged, or a remedy went behind it."""
    found = sorted(folder.glob("step-*"))
    paths = [path for path in found if path <= checkpoint_path(folder, step)]
    records = []
    for path in paths:
        with suppress(OSError, ValueError):
            records.append((path, record_of(path)[0]))
    kept = {*paths[-KEEP:], *(best(records) or ())[:1]}
    for path in (*found, *folder.glob(f"{ASIDE}*")):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
