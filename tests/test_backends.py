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

PIECES = """
import jax, keras
import numpy as np
from jax.flatten_util import ravel_pytree
from pipeline.augmentation import drawer
from preprocess.common.config import Train
from train.losses import make_loss
from train.model import PairNetwork

keras.utils.set_random_seed(0)
network, loss = PairNetwork(Train.model_validate({"size": 32, "width": 8, "embedding": 16})), make_loss("sigmoid")
left, right = np.triu_indices(24, k=1)
inputs = {
    "images": np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8),
    "augment": drawer("strong", 0)(0, 24), "left": left, "right": right,
}
same = (left // 4 == right // 4)[:, None].astype(np.float32)
network(inputs)
others = [weight.value for weight in network.non_trainable_variables]

def gradient(piece):
    network.piece = piece

    def loss_of(weights):
        return loss(same, network.stateless_call(weights, others, inputs, training=True)[0])

    return ravel_pytree(jax.jit(jax.grad(loss_of))([weight.value for weight in network.trainable_variables]))[0]

whole = gradient(None)
print(*[float(np.linalg.norm(gradient(piece) - whole) / np.linalg.norm(whole)) for piece in (7, 12)])
"""


def on_jax(script: str, *arguments: str) -> str:
    """Return what a script prints where Keras runs on JAX; skips where that is not installed."""
    if find_spec("jax") is None:
        pytest.skip("jax is not installed, so Keras on another backend goes untested here: pip install jax")
    answer = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout


def test_numpy_batches_train_a_network_on_jax_from_store_and_memory_alike(tmp_path: Path) -> None:
    tiny_collection(tmp_path)
    lines = on_jax(TRAIN, str(tmp_path / "config.yaml")).splitlines()
    (used, learned, from_store), (_, _, from_memory) = map(str.split, lines)
    assert (used, learned) == ("jax", "True")
    assert from_store == from_memory


def test_pieces_have_the_gradient_of_the_whole_batch_on_jax_too() -> None:
    assert all(float(far) <= 1e-5 for far in on_jax(PIECES).split())
