"""Training: steps in chunks, and after each chunk a validation, a line in the log and a checkpoint."""

import sys
import time
from typing import Any

import keras
import tensorflow as tf

from pipeline.augmentation import drawer
from pipeline.dataset import store_errors, training_dataset
from pipeline.reader import Reader
from pipeline.split import TRAIN, side_rows
from pipeline.streams import Stream, outlook, training_stream
from preprocess.common.config import Pipeline, Span
from preprocess.common.errors import RunError
from preprocess.common.files import exclusive, write_json
from preprocess.common.progress import Progress
from train.checkpoint import load_latest, numbered, save_checkpoint, save_variables
from train.feed import Feed
from train.losses import make_loss
from train.model import PairNetwork, centre
from train.predict import build_network
from train.run import Run
from train.validation import Validation

WARM_UP_SHARE = 0.05
NOT_DECAYED = ["bias", "gamma", "beta", "log_scale"]


def fit(run: Run, pipeline: Pipeline) -> None:
    """Train `run` to its last step, from its last checkpoint; `pipeline` says how it is fed.

    Raises RunError where another process trains it, ConfigError where it cannot be fed as asked for.
    """
    with exclusive(run.path, RunError):
        if run.finished:
            return
        settings = run.settings
        network = compiled_network(run)
        feed = Feed(run, pipeline)
        validation = Validation(run, feed.validation(), pipeline.evaluation_pairs)
        checkpoints = run.path / "checkpoints"
        step = load_latest(checkpoints, network)
        if step == 0:
            start = settings.spans[0]
            network.train_on(start.size, None)
            centre(network, Reader(run.store, start.size).read(make_stream(run, start.batch).batch_at(0).rows))
        for span in settings.spans:
            stream, labels = make_stream(run, span.batch), side_rows(run.split, TRAIN)[1]
            print(outlook(stream, labels, span.start, span.stop), file=sys.stderr, flush=True)
        curves = tf.summary.create_file_writer(str(run.path / "tensorboard"))
        with Progress("train", settings.steps, "step", step) as progress:
            while step < settings.steps:
                stop = min(step + settings.validate_every, settings.steps)
                line = train_steps(run, network, feed, step, stop, progress)
                step = stop
                line |= validation.measure(network)
                progress.note = f"loss {line['loss']:.4f}, validation AUC {validation.headline(line):.4f}"
                # The checkpoint comes last: after a kill before it, the chunk is done again and its line replaced.
                run.log(line)
                draw_curves(curves, line)
                save_checkpoint(checkpoints, step, network)
        save_variables(run.path / "model.safetensors", numbered("network", network.weights))
        write_json(run.path / "finished.json", {"step": step, "validation": validation.with_intervals(network)})


def train_steps(
    run: Run, network: PairNetwork, feed: Feed, start: int, stop: int, progress: Progress
) -> dict[str, Any]:
    """Train steps `start` to `stop` - 1, each as its stage wants it, and return the line for the log."""
    began, loss, pictures = time.monotonic(), 0.0, 0
    for span in run.settings.spans:
        first, end = max(start, span.start), min(stop, span.stop)
        if first < end:
            loss += (end - first) * train_span(run, network, feed, span._replace(start=first, stop=end), progress)
            pictures += (end - first) * span.batch
    seconds = time.monotonic() - began
    return {
        "step": stop, "loss": loss / (stop - start), "seconds": round(seconds, 3),
        "pictures_per_second": round(pictures / seconds, 1),
    }  # fmt: skip


def train_span(run: Run, network: PairNetwork, feed: Feed, span: Span, progress: Progress) -> float:
    """Train the steps of `span` and return their mean loss."""
    source, table = feed.training(span.size)
    network.train_on(span.size, table)
    draw = drawer(run.settings.augment, run.settings.seed)
    stream = make_stream(run, span.batch)
    dataset = training_dataset(source, stream, draw, span.start, span.stop, feed.settings.prefetch)
    tick = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: progress.advance(1))
    with store_errors():
        history = network.fit(dataset, epochs=1, verbose=0, callbacks=[tick], shuffle=False)
    return float(history.history["loss"][0])


def make_stream(run: Run, batch: int) -> Stream:
    """Return the training stream that a run's settings ask for. Raises SplitError or ConfigError."""
    pipeline = Pipeline.model_validate(run.pins["settings"]["pipeline"])
    return training_stream(pipeline, *side_rows(run.split, TRAIN), run.store.rows, batch, run.settings.seed)


def compiled_network(run: Run) -> PairNetwork:
    """Return the untrained network of a run with its loss and optimizer: AdamW, warm-up, cosine to zero."""
    settings = run.settings
    network = build_network(run)
    warm_up = max(1, round(settings.steps * WARM_UP_SHARE))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, settings.steps - warm_up), warmup_target=settings.learning_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
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
