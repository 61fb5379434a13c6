"""Memory that ran out under TensorFlow: how that shows, and half as many pictures at once from then on."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import tensorflow as tf

from train.microbatch import halve
from train.run import Run

T = TypeVar("T")

OUT_OF_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


class OutOfMemory(Exception):  # noqa: N818 - named for what it is about
    """Memory ran out after `step` steps; the message says for what."""

    def __init__(self, step: int, error: BaseException) -> None:
        said = re.search(r"OOM .*? and type \w+|MemoryError: .*", str(error)) or re.search(r".+", str(error))
        super().__init__(f"out of memory: {said[0] if said else type(error).__name__}")
        self.step = step


def halving(work: Callable[..., T]) -> Callable[..., T]:
    """Return `work`, whose first argument is a finished run, so that it begins again with half as many pictures at once
    where memory runs out; with one picture at a time it raises what it met."""

    @wraps(work)
    def patient(run: Run, *rest: Any) -> T:
        while True:
            try:
                return work(run, *rest)
            except OUT_OF_MEMORY as error:
                if not halve(run.path, run.settings.steps, str(OutOfMemory(run.settings.steps, error))):
                    raise

    return patient
