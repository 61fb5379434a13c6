"""How much of its time the trainer gives to the network: beside a bare loop of the same model, loss and optimizer.

    python -m bench.train        the table of docs/training-speed.md

Both train in one process and take turns, with pictures of a generated gallery that is made in a temporary folder and
removed. The trainer reads its batches from the store, beats, counts, looks after its health and saves, as it does for
its users; the bare loop sees one batch again and again. PyTorch Lightning with pytorch-metric-learning, where it is
installed, takes its turn as a program of its own, with the same network and batch.
"""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np
import tensorflow as tf
import yaml
from numpy.typing import NDArray

from bench.goals import Goal, goals_table, table
from bench.pairs import PYTHON, REMEDY, Way, installed
from bench.ways.run import run_way
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
LIGHTNING = Way("lightning", "PyTorch Lightning", REMEDY, "pytorch_metric_learning")


class Spent(NamedTuple):
    """Seconds of a step: of the clock, of processors, and of the clock waiting for its batch."""

    clock: float
    processors: float
    waited: float = 0.0


class Round(NamedTuple):
    """What a step of the trainer took, one of the bare loop, and one of the peer, measured one after the other."""

    trainer: Spent
    bare: Spent
    lightning: Spent | None = None


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

    def chunk(self) -> Spent:
        """Train a chunk; return what a step of it took, saving included."""
        before, waited, began = self.keeper.record.step, self.network.waited, now()
        with Progress("train", self.run.settings.steps, "step", before) as progress:
            train_steps(self.run, self.network, self.feed, self.keeper, self.health, progress)
        clock, processors = now() - began
        self.keeper.validated(0.5)  # or the next chunk would be what is left of this one: nothing
        steps = self.keeper.record.step - before
        return Spent(clock / steps, processors / steps, (self.network.waited - waited) / steps)


def now() -> NDArray[np.float64]:
    """Return seconds [2]: of the clock, and of processors that this process has used."""
    return np.array([time.perf_counter(), time.process_time()])


def bare_loop(trainer: Trainer) -> Callable[[int], Spent]:
    """Return what trains a network like the trainer's for so many steps, and returns what a step took."""
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

    def loop(steps: int) -> Spent:
        began = now()
        for _ in range(steps):
            found = step(*batch)
        float(found)
        return Spent(*(now() - began) / steps)

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
        if number % 2:
            both = Round(bare=bare(steps), trainer=trainer.chunk())
        else:
            both = Round(trainer=trainer.chunk(), bare=bare(steps))
        found.append(both._replace(lightning=lightning(steps)))
    return found


def lightning(steps: int) -> Spent | None:
    """Return what a step of PyTorch Lightning takes; None where it is not installed."""
    if not installed(LIGHTNING):
        return None
    spent = run_way(LIGHTNING.module, steps, python=PYTHON)
    return Spent(spent["clock"], spent["processors"])


def goals(found: list[Round]) -> list[Goal]:
    """Return what is wanted of the medians."""
    speed = median(each.bare.clock / each.trainer.clock for each in found)
    work = median(each.bare.processors / each.trainer.processors for each in found)
    waited = median(each.trainer.waited / each.trainer.clock for each in found)
    return [
        Goal("the trainer's steps/s, times the bare loop's", speed, least=0.97),
        Goal("its steps per second of processors, likewise", work, least=0.97),
        Goal("share of its time that it waits for batches", waited, most=0.02),
    ]


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--steps", type=click.IntRange(4), default=250, show_default=True, help="Of the trainer in a round.")
@click.option("--set", "changes", multiple=True, help="Override a setting: train.batch=32")
def train(rounds: int, steps: int, changes: tuple[str, ...]) -> None:
    """Measure the trainer beside a bare loop, and print tables in Markdown."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary folder is removed
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config = gallery(Path(folder), steps, changes)
        found = measure(config, rounds)
    settings = config.train
    click.echo(f"Batches of {settings.batch} pictures of {settings.size} px; {rounds} rounds of {steps} steps.\n")
    rows = [
        [f"{1000 * number:.1f}" for number in (*each.trainer, *each.bare[:2], *(each.lightning or ())[:2])]
        for each in found
    ]
    head = ["a step of the trainer, ms", "of processors", "waiting", "of the bare loop, ms", "of processors"]
    peers = [each.lightning.clock / each.trainer.clock for each in found if each.lightning]
    table([*head, *(("of Lightning, ms", "of processors") if peers else ())], rows)
    if peers:
        click.echo(f"The trainer's steps/s, times those of PyTorch Lightning: {median(peers):.3g}\n")
    else:
        click.echo(f"{LIGHTNING.title} is not installed; {REMEDY}\n")
    goals_table(goals(found))


if __name__ == "__main__":
    train()
