"""Checkpoints: one folder each, written aside, flushed, renamed; its record, written last, names step and checksum."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors.numpy import load_file, save_file

from preprocess.common.errors import RunError
from preprocess.common.files import fsync_folder, read_json, sha256_file, write_json, written_aside

KEEP = 2
STATE, RECORD = "state.safetensors", "record.json"


def numbered(prefix: str, variables: list[keras.Variable]) -> dict[str, keras.Variable]:
    """Return variables by number: their names count upwards within a process, their order is the model's."""
    return {f"{prefix}.{index:04d}": variable for index, variable in enumerate(variables)}


def save_variables(path: Path, variables: dict[str, keras.Variable]) -> None:
    """Write variables to `path`, durably."""
    with written_aside(path) as aside:
        save_file({name: np.array(variable.numpy(), order="C") for name, variable in variables.items()}, aside)


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
    """Return all that a training step reads and changes: weights and optimizer."""
    return numbered("network", network.weights) | numbered("optimizer", network.optimizer.variables)


def save_checkpoint(folder: Path, step: int, network: keras.Model) -> None:
    """Save the training state after `step` steps, and drop all but the last KEEP checkpoints."""
    final = folder / f"step-{step:08d}"
    aside = folder / f".aside-{final.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_variables(aside / STATE, training_state(network))
    write_json(aside / RECORD, {"step": step, "sha256": sha256_file(aside / STATE)})
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    fsync_folder(folder)
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old)


def load_latest(folder: Path, network: keras.Model) -> int:
    """Restore the newest whole checkpoint and return its step; 0, and nothing changed, where there is none."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        record = whole(path)
        if record is not None:
            load_variables(path / STATE, training_state(network))
            return int(record["step"])
    return 0


def whole(path: Path) -> dict[str, Any] | None:
    """Return the record of a checkpoint whose bytes are what was saved, else None."""
    try:
        record: dict[str, Any] = read_json(path / RECORD)
        return record if sha256_file(path / STATE) == record["sha256"] else None
    except (OSError, ValueError, KeyError):
        return None
