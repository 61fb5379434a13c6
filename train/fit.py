"""Training: steps in chunks, and after each chunk a validation, a line in the log and a checkpoint."""

import sys
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from pipeline.augmentation import drawer
from pipeline.dataset import store_errors, training_dataset
from pipeline.reader import Reader
from pipeline.split import TRAIN, side_rows
from pipeline.streams import Stream, outlook, training_stream
from preprocess.common.config import Pipeline
from preprocess.common.errors import RunError, StoreError, StoreGone
from preprocess.common.files import exclusive, write_json
from preprocess.common.learning import Span
from preprocess.common.progress import Progress
from train.checkpoint import numbered, save_variables
from train.costs import costs
from train.devices import named
from train.feed import Feed
from train.health import Collapse, Health
from train.identity import identity
from train.incidents import note
from train.keeper import EachStep, Keeper
from train.losses import make_loss
from train.microbatch import devices, halve, microbatch
from train.model import PairNetwork, centre
from train.optimizer import WatchedAdamW, WatchedScale, averaged
from train.outage import patiently, wait_for_store
from train.predict import build_network
from train.pulse import Pulse
from train.remedies import remedied, remedies, remedy
from train.run import Run
from train.shortage import OUT_OF_MEMORY, OutOfMemory
from train.validation import Validation

WARM_UP_SHARE = 0.05
NOT_DECAYED = ["bias", "gamma", "beta", "log_scale"]


def fit(run: Run, pipeline: Pipeline, minutes: float = 10.0, pulse: Pulse | None = None) -> None:
    """Train `run` to its last step, from its last checkpoint, and again from there after a collapse, after an outage of
    disk or store, and where memory ran out. `pipeline` says how it is fed; at least every `minutes` a checkpoint is
    written.

    Raises RunError where another process trains it, ConfigError where it cannot be fed as asked for, GivenUp where
    remedies do not help, Stopped where `pulse` was asked to stop.
    """
    pulse = pulse or Pulse()
    with exclusive(run.path, RunError):
        known = identity(run)
        while not run.finished:
            pulse.beat("start")
            attempt = remedied(run, len(remedies(run)))
            try:
                patiently(partial(train_to_the_end, attempt, pipeline, known, minutes, pulse), pulse)
            except Collapse as collapse:
                remedy(run, collapse)
            except OutOfMemory as error:
                if not patiently(partial(halve, run.path, error.step, str(error)), pulse):
                    raise
            except StoreGone as gone:
                note(run.path, pulse.step, str(gone), "waiting for the store")
                wait_for_store(run, pulse)


def train_to_the_end(run: Run, pipeline: Pipeline, known: dict[str, Any], minutes: float, pulse: Pulse) -> None:
    """Train until the end, or until something stands in the way; the last finished step is then saved.

    Raises Collapse, StoreGone, Stopped, and what `fit` raises.
    """
    settings = run.settings
    network = compiled_network(run, microbatch(run.path), named(devices(run.path)))
    feed = Feed(run, pipeline, lambda: pulse.beat("start"))
    validation = Validation(run, feed.validation(), pipeline.evaluation_pairs, lambda: pulse.beat("validate"))
    health = Health(network, validation)
    keeper = Keeper(run, network, known, minutes, pulse)
    keeper.restore()
    if keeper.record.step == 0:
        begin(run, network)
    for span in settings.spans:
        stream, labels = make_stream(run, span.batch), side_rows(run.split, TRAIN)[1]
        print(outlook(stream, labels, span.start, span.stop), file=sys.stderr, flush=True)
    curves = tf.summary.create_file_writer(str(run.path / "tensorboard"))
    with Progress("train", settings.steps, "step", keeper.record.step) as progress:
        try:
            while not keeper.over(settings):
                train_steps(run, network, feed, keeper, health, progress)
                line = validate(run, network, validation, keeper, health)
                progress.note = f"loss {line['loss']:.4f}, validation AUC {validation.headline(line):.4f}"
                draw_curves(curves, line)
        except StoreError:  # gone, which is waited for, or damaged
            keeper.save()
            raise
        except OUT_OF_MEMORY as error:
            if network.optimizer.unharmed(keeper.record.step):  # else some weights are a step ahead of others
                keeper.save()
            raise OutOfMemory(keeper.record.step, error) from None
    finish(run, network, validation, keeper)


def finish(run: Run, network: PairNetwork, validation: Validation, keeper: Keeper) -> None:
    """Write the final weights: those of the last step, or with train.patience of the best validated one; averaged."""
    step = keeper.record.step if run.settings.patience is None else keeper.take_best()
    with averaged(network):
        save_variables(run.path / "model.safetensors", numbered("network", network.weights))
        write_json(run.path / "finished.json", {"step": step, "validation": validation.with_intervals(network)})


def begin(run: Run, network: PairNetwork) -> None:
    """Centre the untrained network of a run on its first batch: see `centre`."""
    start = run.settings.spans[0]
    network.train_on(start.size, None)
    centre(network, Reader(run.store, start.size).read(make_stream(run, start.batch).batch_at(0).rows))


def validate(run: Run, network: PairNetwork, validation: Validation, keeper: Keeper, health: Health) -> dict[str, Any]:
    """Measure the network after a chunk, write the line of the log and note it in the checkpoint; return the line."""
    keeper.pulse.beat("validate")
    step, chunk, done = keeper.record.step, keeper.record.chunk, keeper.record.remedies
    steps = (step - 1) % run.settings.validate_every + 1
    with averaged(network):
        measured = validation.measure(network)
    spent = costs(chunk, steps, len(network.devices))
    line: dict[str, Any] = {"step": step, "loss": chunk.loss / steps} | spent | measured
    line |= {"remedies": done} if done else {}
    health.check_validation(line)
    # The checkpoint hears of it last: after a kill before that, this is done again and the line replaced.
    run.log(line)
    keeper.validated(validation.headline(line))
    return line


def train_steps(run: Run, network: PairNetwork, feed: Feed, keeper: Keeper, health: Health, progress: Progress) -> None:
    """Train to the end of the chunk, each step as its stage wants it, and save."""
    stop = keeper.chunk_end(run.settings)
    for span in run.settings.spans:
        first, end = max(keeper.record.step, span.start), min(stop, span.stop)
        if first < end:
            each_step = EachStep(keeper, health, progress, first, span.batch)
            train_span(run, network, feed, span._replace(start=first, stop=end), [each_step])
            keeper.save()  # the next stage, or validation, is compiled first


def train_span(
    run: Run, network: PairNetwork, feed: Feed, span: Span, callbacks: list[keras.callbacks.Callback]
) -> None:
    """Train the steps of `span`, with `callbacks` of Keras."""
    source, table = feed.training(span.size)
    network.train_on(span.size, table)
    draw = drawer(run.settings.augment, run.settings.seed)
    stream = make_stream(run, span.batch)
    dataset = training_dataset(source, stream, draw, span.start, span.stop, feed.settings.prefetch)
    with store_errors():
        network.fit(dataset, epochs=1, verbose=0, callbacks=callbacks, shuffle=False)


def make_stream(run: Run, batch: int) -> Stream:
    """Return the training stream that a run's settings ask for. Raises SplitError or ConfigError."""
    pipeline = Pipeline.model_validate(run.pins["settings"]["pipeline"])
    return training_stream(pipeline, *side_rows(run.split, TRAIN), run.store.rows, batch, run.settings.seed)


def compiled_network(run: Run, piece: int | None = None, on: tuple[str, ...] = ("",)) -> PairNetwork:
    """Return the untrained network of a run, which embeds `piece` pictures at a time on each device of `on`, with its
    loss and optimizer: AdamW, warm-up, cosine to zero, averages of the weights."""
    settings = run.settings
    network = build_network(run)
    network.piece, network.devices = piece, on
    warm_up = max(1, round(settings.steps * WARM_UP_SHARE))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, settings.steps - warm_up), warmup_target=settings.learning_rate, warmup_steps=warm_up
    )
    optimizer = WatchedAdamW(schedule, weight_decay=settings.weight_decay, clipnorm=1.0, average=settings.average)
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    if settings.precision == "mixed_float16":
        optimizer = WatchedScale(optimizer)
    # The projective transform of the augmentation has no XLA kernel.
    network.compile(optimizer=optimizer, loss=make_loss(settings.loss), jit_compile=False)
    optimizer.build(network.trainable_variables)
    return network


def draw_curves(curves: Any, line: dict[str, Any]) -> None:
    """Add the numbers of one line of the log to TensorBoard."""
    with curves.as_default(step=line["step"]):
        for name, value in line.items():
            if name != "step":
                tf.summary.scalar(name, value)
    curves.flush()
