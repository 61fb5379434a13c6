"""When training is kept: its last finished step, every few minutes and whenever something long or risky comes next."""

import math
import shutil
import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from preprocess.common.learning import Train
from preprocess.common.progress import Progress
from train.checkpoint import (
    NOTHING,
    STATE,
    Chunk,
    Record,
    arrays_of,
    best,
    checkpoints,
    load_variables,
    note_validation,
    save_checkpoint,
    training_state,
)
from train.health import CHECK_EVERY, Collapse, Health
from train.identity import refuse_another
from train.microbatch import decided
from train.model import PairNetwork
from train.outage import patiently
from train.pulse import Pulse, Stopped
from train.remedies import remedies, stands
from train.run import Run

SHARE = 0.01
"""Most of the time that saving by the clock may take."""


class Keeper:
    """Holds what `record` says of the last finished step, and its checkpoints."""

    def __init__(self, run: Run, network: PairNetwork, identity: dict[str, Any], minutes: float, pulse: Pulse) -> None:
        self.folder, self.network, self.pulse = run.path / "checkpoints", network, pulse
        self.done = remedies(run)
        self.record = Record(0, run.settings.seed, len(self.done), identity, microbatch=decided(run.path))
        self.saved = 0
        self.every, self.at = 60 * minutes, time.monotonic()

    def restore(self) -> None:
        """Go to the newest whole checkpoint that stands, and remove the others; where there is none, nothing changes.

        Raises RunError where it was written by other code or versions.
        """
        for path, record in checkpoints(self.folder):
            if not stands(record, self.done):
                shutil.rmtree(path)
                continue
            refuse_another(path, record.identity, self.record.identity)
            load_variables(path / STATE, training_state(self.network))
            now = self.record
            self.record = replace(
                record, seed=now.seed, remedies=now.remedies, identity=now.identity, microbatch=now.microbatch
            )
            self.saved = record.step
            break
        self.pulse.beat("start", self.record.step)

    def finished(self, step: int, chunk: Chunk) -> None:
        """Note that `step` steps are finished."""
        self.record = replace(self.record, step=step, chunk=chunk, auc=None)

    def save(self) -> None:
        """Save the last finished step, unless it is. Raises Collapse where its weights are not finite."""
        if self.saved == self.record.step:
            return
        self.pulse.beat("save", self.record.step)
        began = time.monotonic()
        arrays = arrays_of(training_state(self.network))
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise Collapse(self.record.step, "weights are not finite")
        patiently(lambda: save_checkpoint(self.folder, self.record, arrays), self.pulse)
        self.saved, self.at = self.record.step, time.monotonic()
        self.every = max(self.every, (self.at - began) / SHARE)

    def save_if_due(self) -> None:
        """Save where the last time is long enough ago; end where the trainer was asked to."""
        if self.pulse.asked or time.monotonic() - self.at >= self.every:
            self.save()
        if self.pulse.asked:
            raise Stopped

    def validated(self, auc: float) -> None:
        """Note the AUC of the last finished step, which is saved, and that a chunk begins."""
        self.record = replace(self.record, auc=auc)
        note_validation(self.folder, self.record)

    def chunk_end(self, settings: Train) -> int:
        """Return the step after which validation comes next: the last finished one, where that was not validated."""
        next_step = self.record.step + (self.record.step == 0 or self.record.auc is not None)
        return min(-(-next_step // settings.validate_every) * settings.validate_every, settings.steps)

    def over(self, settings: Train) -> bool:
        """Return whether training ends with the last finished step: it is the last one, or train.patience is lost."""
        if self.record.auc is None:
            return False
        if self.record.step == settings.steps or settings.patience is None:
            return self.record.step == settings.steps
        found = best(checkpoints(self.folder))
        return found is not None and self.record.step - found[1].step >= settings.patience * settings.validate_every

    def take_best(self) -> int:
        """Give the network what the checkpoint of the best AUC has, and return its step."""
        found = best(checkpoints(self.folder))
        if found is None:  # damaged, like all others
            return self.record.step
        load_variables(found[0] / STATE, training_state(self.network))
        return found[1].step

    @property
    def chunk(self) -> Chunk:
        """What the chunk of the next step has come to: nothing where a validation was the last thing done."""
        return NOTHING if self.record.auc is not None else self.record.chunk


class EachStep(keras.callbacks.Callback):  # type: ignore[misc]
    """What happens after every step of one call of Keras' fit, from step `first` on with `batch` pictures each."""

    def __init__(self, keeper: Keeper, health: Health, progress: Progress, first: int, batch: int) -> None:
        super().__init__()
        self.keeper, self.health, self.progress, self.first, self.batch = keeper, health, progress, first, batch
        self.before, self.began, self.waited = keeper.chunk, time.monotonic(), keeper.network.waited

    def on_train_begin(self, logs: Any = None) -> None:
        """Say that the first step is compiled."""
        self.keeper.pulse.beat("compile")

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Count the step, look after the health, and keep the step if it is time. Raises Collapse, Stopped."""
        done = batch + 1  # steps of this call; logs["loss"] is their mean
        step, loss = self.first + done, float(logs["loss"])
        if not math.isfinite(loss):
            raise Collapse(step, "the loss is not finite")
        self.keeper.finished(
            step,
            Chunk(
                self.before.loss + done * loss, self.before.pictures + done * self.batch,
                self.before.seconds + time.monotonic() - self.began,
                self.before.waited + self.keeper.network.waited - self.waited,
            ),
        )  # fmt: skip
        self.keeper.pulse.beat("step", step)
        self.progress.advance(1)
        if step % CHECK_EVERY == 0:
            self.keeper.pulse.beat("check")
            self.health.check(step)
        self.keeper.save_if_due()
