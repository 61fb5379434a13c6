"""The run directory: named by what it was trained from, it pins a store and holds all that is needed to use the model.

runs/<collection>-<digest>/
    run.json            store fingerprint, settings, versions
    split.parquet       side of every row
    log.jsonl           one line per validation
    heartbeat           what the trainer is doing: train/pulse.py
    incidents.jsonl     what went wrong, and what was done: train/incidents.py
    remedies.json       what was changed after collapses: train/remedies.py
    microbatch.json     how many pictures are embedded at once: train/microbatch.py
    tensorboard/        the same as curves
    checkpoints/        see train/checkpoint.py
    evaluation/         the pairs on which each side is measured, <side>-<most pairs>.parquet
    model.safetensors   final weights; finished.json is written after it
    calibration.json    score to probability, thresholds
    familiar.safetensors  embeddings of training pictures: train/familiar.py
    pairs.parquet       test pairs with scores and probabilities
    evaluation.json     hard pairs, retrieval, artists and styles: train/confusions.py
    submission/         embeddings of Kaggle's test pictures
    metrics.json        the figures; report.html shows them
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.split import make_split
from preprocess.common.config import Config
from preprocess.common.errors import RunError, StoreError
from preprocess.common.files import digest, read_json, write_json, write_parquet, write_text
from preprocess.common.learning import Train
from preprocess.common.places import place
from preprocess.store import Store, open_store, store_of

FORMAT = 1
PINNED_VERSIONS = ("keras", "numpy", "pillow", "tensorflow")


@dataclass(frozen=True)
class Run:
    """One training run, opened."""

    path: Path
    pins: dict[str, Any]

    @cached_property
    def settings(self) -> Train:
        """The settings of the model and its training."""
        return Train.model_validate(self.pins["settings"]["train"])

    @cached_property
    def store(self) -> Store:
        """The store it was trained from. Raises RunError where that is gone."""
        pinned = place(self.pins["store"])
        path = (self.path / pinned).resolve() if isinstance(pinned, Path) else pinned
        try:
            return open_store(path)
        except StoreError:
            raise RunError(f"{self.path} needs the store {path}, which is gone; build it again") from None

    @property
    def store_size(self) -> int:
        """The stored size in pixels from which its pictures are read."""
        sizes: list[int] = self.pins["preprocess"]["sizes"]
        return min(size for size in sizes if size >= self.settings.size)

    @cached_property
    def split(self) -> pl.DataFrame:
        """Row, key, artist, label, style and side of every row of the store."""
        return pl.read_parquet(self.path / "split.parquet")

    @property
    def finished(self) -> bool:
        """Whether training has ended and the model is there."""
        return (self.path / "finished.json").exists()

    def log(self, line: dict[str, Any]) -> None:
        """Add one line to log.jsonl, in place of an earlier one for the same step; durably, and never half."""
        lines = [earlier for earlier in self.logged() if earlier["step"] < line["step"]]
        write_text(self.path / "log.jsonl", "".join(json.dumps(each) + "\n" for each in [*lines, line]))

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of log.jsonl in order of their steps."""
        path = self.path / "log.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def ending(run: Run) -> str:
    """Return how the training of a finished run ended, in a few words."""
    step, patience = read_json(run.path / "finished.json")["step"], run.settings.patience
    last = max((line["step"] for line in run.logged()), default=step)
    if last < run.settings.steps:
        return (
            f"finished early, after {patience} validations no better than that of step {step}, whose weights were taken"
        )
    return "finished" if step == last else f"finished, with the weights of step {step}, the best of all validations"


def settings_of(config: Config) -> dict[str, Any]:
    """Return the settings that decide what is learned."""
    pipeline = config.pipeline.model_dump(include={"stream", "artists", "paintings_per_artist", "hard_share"})
    return {"split": config.split.model_dump(), "pipeline": pipeline, "train": config.train.content}


def run_path(config: Config, store: Store) -> Path:
    """Return where the run of these settings on this store is kept."""
    name = digest([store.fingerprint, settings_of(config)])[:8]
    return config.runs / f"{config.collection}-{name}"


def open_run(path: Path) -> Run:
    """Open an existing run directory. Raises RunError."""
    try:
        pins = read_json(path / "run.json")
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{path} is not a run directory; train one with 'make train'") from None
    except ValueError:
        raise RunError(f"{path / 'run.json'} is damaged; train again in another folder") from None
    if pins.get("format") != FORMAT:
        raise RunError(f"{path} was made by another version of this program; train again")
    return Run(path, pins)


def make_run(config: Config, path: Path | None) -> Run:
    """Open the run of the current store and settings, creating it if need be; `path` overrides its place.

    Raises RunError where `path` belongs to another store, other settings or another split.
    """
    store = store_of(config)
    path = path or run_path(config, store)
    split = make_split(store, config)
    if not (path / "run.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        write_parquet(path / "split.parquet", split)
        versions = {name: version(name) for name in PINNED_VERSIONS}
        pin = os.path.relpath(store.path, path) if isinstance(store.path, Path) else str(store.path)
        pins = {
            "format": FORMAT, "store": pin, "fingerprint": store.fingerprint, "settings": settings_of(config),
            "versions": versions,
            "preprocess": {name: store.seal["inputs"][name] for name in ("sizes", "square", "max_megapixels")},
        }  # fmt: skip
        write_json(path / "run.json", pins)
    run = open_run(path)
    if run.pins["fingerprint"] != store.fingerprint:
        pinned, current = run.pins["fingerprint"][:12], store.fingerprint[:12]
        raise RunError(f"{path} belongs to store {pinned}, not to {config.collection}'s current one, {current}; "
                       "name another folder with --run")  # fmt: skip
    wanted = settings_of(config)
    for section, values in wanted.items():
        for key, value in values.items():
            trained = run.pins["settings"][section].get(key)
            if trained != value:
                raise RunError(f"{path} was trained with {section}.{key} = {trained!r}, not {value!r}; "
                               "name another folder with --run")  # fmt: skip
    if not run.split.equals(split):
        raise RunError(f"{path} was begun by another version of this program, which divided the pictures otherwise; "
                       "move it away to train again, or name another folder with --run")  # fmt: skip
    return run


def finished_run(config: Config, path: Path | None) -> Run:
    """Open the finished run of the current store and settings, or the one at `path`. Raises RunError."""
    if path is None:
        path = run_path(config, store_of(config))
    run = open_run(path)
    if not run.finished:
        raise RunError(f"{path} has not finished training; run 'make train', which goes on where it stopped")
    return run
