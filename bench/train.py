"""How much of its time the trainer gives to the network: beside a bare loop of the same model, loss and optimizer.

    python -m bench.train        the table of docs/training-speed.md

Both train in one process and take turns, with pictures of a generated gallery that is made in a temporary folder and
removed. The trainer reads its batches from the store, beats, counts, looks after its health and saves, as it does for
its users; the bare loop sees one batch again and again.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import tensorflow as tf
import yaml

from bench.goals import Goal, goals_table, table
from pipeline.augmentation import drawer
from pipeline.dataset import training_dataset
from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.common.progress import Progress
from preprocess.manifest import make_manifest
from preprocess.sources import ensure_gallery
from train.feed import Feed
from train.fit import compiled_network, make_stream, train_steps
from train.health import Health
from train.keeper import Keeper
from train.losses import make_loss
from train.pulse import NAME, Pulse
from train.run import make_run
from train.validation import Validation

GALLERY = {"pictures": 400, "artists": 40}


class Round(NamedTuple):
    """Steps/s of the trainer and of the bare loop, and the share of its time that the trainer waited for batches."""

    trainer: float
    bare: float
    waited: float


def gallery(folder: Path, steps: int, changes: tuple[str, ...]) -> Config:
    """Generate a gallery and its store in `folder`; return settings under which `steps` steps are a chunk."""
    sections = {"gallery": GALLERY, "preprocess": {"sizes": [64]}, "train": {"validate_every": steps, "steps": 10**6}}
    (folder / "config.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    config = load_config(folder / "config.yaml", changes)
    ensure_gallery(config)
    build_store(config, make_manifest(config))
    return config


class Trainer:
    """The trainer between two validations."""

    def __init__(self, config: Config) -> None:
        self.run = make_run(config, None)
        self.network = compiled_network(self.run)
        self.feed = Feed(self.run, config.pipeline)
        self.health = Health(self.network, Validation(self.run, self.feed.validation(), 200))
        self.keeper = Keeper(self.run, self.network, {}, 10.0, Pulse(self.run.path / NAME))

    def chunk(self) -> tuple[float, float]:
        """Train a chunk; return its steps/s, and the share of its time that was spent waiting for batches."""
        before, waited, began = self.keeper.record.step, self.network.waited, time.perf_counter()
        with Progress("train", self.run.settings.steps, "step", before) as progress:
            train_steps(self.run, self.network, self.feed, self.keeper, self.health, progress)
        seconds = time.perf_counter() - began
        self.keeper.validated(0.5)  # or the next chunk would be what is left of this one: nothing
        return (self.keeper.record.step - before) / seconds, (self.network.waited - waited) / seconds


def bare_loop(trainer: Trainer) -> Callable[[int], float]:
    """Return what trains a network like the trainer's for so many steps, and returns steps/s."""
    settings, network = trainer.run.settings, compiled_network(trainer.run)
    source, network.table = trainer.feed.training(settings.size)
    draw, stream = drawer(settings.augment, settings.seed), make_stream(trainer.run, settings.batch)
    batch = next(iter(training_dataset(source, stream, draw, 0, 1, 1)))
    loss, optimizer, weights = make_loss(settings.loss), network.optimizer, network.trainable_variables

    @tf.function  # type: ignore[untyped-decorator]
    def step(inputs: Any, same: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            found = loss(same, network(inputs, training=True), sample_weight=weight)
        optimizer.apply(tape.gradient(found, weights), weights)
        return found

    def loop(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            found = step(*batch)
        float(found)
        return steps / (time.perf_counter() - began)

    return loop


def measure(config: Config, rounds: int) -> list[Round]:
    """Let trainer and bare loop take turns, after one round that compiles; the one that begins changes."""
    tf.config.experimental.enable_op_determinism()
    trainer, steps = Trainer(config), config.train.validate_every
    bare = bare_loop(trainer)
    trainer.chunk()
    bare(steps // 4)
    found = []
    for number in range(rounds):
        speed = bare(steps) if number % 2 else 0.0
        mine, waited = trainer.chunk()
        found.append(Round(mine, speed or bare(steps), waited))
    return found


def goals(found: list[Round]) -> list[Goal]:
    """Return what is wanted of the medians."""
    share = median(each.trainer / each.bare for each in found)
    return [
        Goal("the trainer's steps/s, times the bare loop's", share, least=0.97),
        Goal("share of its time that the trainer waits for batches", median(each.waited for each in found), most=0.02),
    ]


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True)
@click.option("--steps", type=click.IntRange(4), default=100, show_default=True, help="Of the trainer in a round.")
@click.option("--set", "changes", multiple=True, help="Override a setting: train.batch=32")
def train(rounds: int, steps: int, changes: tuple[str, ...]) -> None:
    """Measure the trainer beside a bare loop, and print tables in Markdown."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config = gallery(Path(folder), steps, changes)
        found = measure(config, rounds)
    settings = config.train
    click.echo(f"Batches of {settings.batch} pictures of {settings.size} px; {rounds} rounds of {steps} steps.\n")
    rows = [[f"{each.trainer:.2f}", f"{each.bare:.2f}", f"{each.trainer / each.bare:.3f}", f"{each.waited:.4f}"]
            for each in found]  # fmt: skip
    table(["trainer, steps/s", "bare loop, steps/s", "of the bare loop", "input wait"], rows)
    goals_table(goals(found))


if __name__ == "__main__":
    train()
