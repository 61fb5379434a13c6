"""Feeds as plain numpy iterators, for Keras on another backend than TensorFlow."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.tiny import tiny_collection

TRAIN = """
import hashlib, sys
from pathlib import Path
import keras
from pipeline.augmentation import drawer
from pipeline.feeds import load, numpy_batches
from pipeline.reader import Reader
from pipeline.split import TRAIN, make_split, side_rows
from pipeline.streams import training_stream
from preprocess.common.config import load_config
from preprocess.store import current_store
from train.losses import make_loss
from train.model import PairNetwork

config = load_config(Path(sys.argv[1]))
store = current_store(config.store_folder)
rows, labels = side_rows(make_split(store, config), TRAIN)
stream = training_stream(config.pipeline, rows, labels, store.rows, config.train.batch, 0)
reader, draw = Reader(store, 16), drawer("paintings", 0)
for source in (reader, load(reader, rows)):
    keras.utils.set_random_seed(0)
    network = PairNetwork(config.train)
    network.compile(optimizer=keras.optimizers.Adam(3e-3), loss=make_loss("sigmoid"))
    losses = []
    for start in (0, 30, 60):
        batches = numpy_batches(source, stream, draw, start, start + 30, 4)
        losses += network.fit(batches, epochs=1, steps_per_epoch=30, verbose=0).history["loss"]
    weights = b"".join(keras.ops.convert_to_numpy(weight).tobytes() for weight in network.weights)
    print(keras.backend.backend(), losses[0] > losses[-1], hashlib.sha256(weights).hexdigest())
"""


def test_numpy_batches_train_a_network_on_jax_from_store_and_memory_alike(tmp_path: Path) -> None:
    if find_spec("jax") is None:
        pytest.skip("jax is not installed, so Keras on another backend goes untested here: pip install jax")
    tiny_collection(tmp_path)
    answer = subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path / "config.yaml")], cwd=ROOT, capture_output=True, text=True,
        check=False, env=os.environ | {"KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    (used, learned, from_store), (_, _, from_memory) = map(str.split, answer.stdout.splitlines())
    assert (used, learned) == ("jax", "True")
    assert from_store == from_memory
