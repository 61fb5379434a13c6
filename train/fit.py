"""Training: steps in chunks, and after each chunk a validation, a line in the log and a checkpoint."""

import time
from typing import Any

import keras
import tensorflow as tf

from pipeline.dataset import store_errors, training_dataset
from pipeline.reader import Reader
from pipeline.split import TRAIN
from pipeline.streams import Stream, training_stream
from preprocess.common.config import Pipeline
from preprocess.common.errors import RunError
from preprocess.common.files import exclusive, write_json
from preprocess.common.progress import Progress
from train.augment import drawer
from train.checkpoint import load_latest, numbered, save_checkpoint, save_variables
from train.losses import make_loss
from train.model import PairNetwork, centre
from train.predict import build_network
from train.run import Run
from train.validation import Validation, side_rows

WARM_UP_SHARE = 0.05
NOT_DECAYED = ["bias", "gamma", "beta", "log_scale"]


def fit(run: Run, prefetch: int, evaluation_pairs: int) -> None:
    """Train `run` to its last step, from its last checkpoint. Raises RunError where another process trains it."""
    with exclusive(run.path, RunError):
        if run.finished:
            return
        settings = run.settings
        network = compiled_network(run)
        reader = Reader(run.store, settings.size)
        validation = Validation(run, reader, evaluation_pairs)
        checkpoints = run.path / "checkpoints"
        step = load_latest(checkpoints, network)
        if step == 0:
            centre(network, reader.read(make_stream(run).batch_at(0).rows))
        curves = tf.summary.create_file_writer(str(run.path / "tensorboard"))
        with Progress("train", settings.steps, "step", step) as progress:
            while step < settings.steps:
                stop = min(step + settings.validate_every, settings.steps)
                line = train_steps(run, network, reader, step, stop, prefetch, progress)
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
    run: Run, network: PairNetwork, reader: Reader, start: int, stop: int, prefetch: int, progress: Progress
) -> dict[str, Any]:
    """Train steps `start` to `stop` - 1 and return the line for the log."""
    settings = run.settings
    draw = drawer(settings.augment, settings.seed)
    dataset = training_dataset(reader, make_stream(run), draw, start, stop, prefetch)
    began = time.monotonic()
    tick = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: progress.advance(1))
    with store_errors():
        history = network.fit(dataset, epochs=1, verbose=0, callbacks=[tick], shuffle=False)
    seconds = time.monotonic() - began
    return {
        "step": stop, "loss": float(history.history["loss"][0]), "seconds": round(seconds, 3),
        "pictures_per_second": round((stop - start) * settings.batch / seconds, 1),
    }  # fmt: skip


def make_stream(run: Run) -> Stream:
    """Return the training stream that a run's settings ask for. Raises SplitError or ConfigError."""
    pipeline = Pipeline.model_validate(run.pins["settings"]["pipeline"])
    return training_stream(pipeline, *side_rows(run, TRAIN), run.store.rows, run.settings.batch, run.settings.seed)


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
