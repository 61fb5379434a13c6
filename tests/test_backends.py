"""Keras on another backend than TensorFlow: the same numbers, and training from plain numpy iterators."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

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
from preprocess.common.learning import Train
from train.losses import make_loss
from train.model import PairNetwork

keras.utils.set_random_seed(0)
network, loss = PairNetwork(Train.model_validate({"size": 16, "width": 8, "embedding": 16})), make_loss("sigmoid")
left, right = np.triu_indices(24, k=1)
inputs = {
    "images": np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8),
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
print(float(np.linalg.norm(gradient(7) - whole) / np.linalg.norm(whole)))
"""


FORWARD = """
import json
import keras, numpy as np
from pipeline.augmentation import drawer
from preprocess.common.learning import Train
from train.losses import make_loss
from train.model import PairNetwork

rng = np.random.default_rng(0)
batch = {
    "images": rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8), "left": np.arange(0, 16, 2, dtype=np.int32),
    "right": np.arange(1, 16, 2, dtype=np.int32), "augment": drawer("strong", 0)(7, 16),
}
for loss in ("sigmoid", "contrastive"):
    network = PairNetwork(Train(size=16, width=8, embedding=16, loss=loss))
    network(batch)
    for weight in network.weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    for training in (False, True):
        output = network(batch, training=training)
        value = make_loss(loss)(np.arange(8)[:, None] % 2, output)
        print(json.dumps([*keras.ops.convert_to_numpy(output).ravel().tolist(), float(value)]))
"""


def run_on(backend: str, script: str, *arguments: object) -> list[str]:
    """Return the lines that a script prints with Keras on a backend."""
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # compiles in half the time
    answer = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"KERAS_BACKEND": backend} | quick,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout.splitlines()


def test_network_augmentation_and_losses_give_the_same_numbers_on_jax() -> None:
    ours, theirs = (np.array(list(map(json.loads, run_on(backend, FORWARD)))) for backend in ("tensorflow", "jax"))
    assert np.ptp(ours, axis=1).min() > 0.01
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4)


def test_numpy_batches_train_a_network_on_jax_from_store_and_memory_alike(tmp_path: Path) -> None:
    tiny_collection(tmp_path)
    (used, learned, from_store), (_, _, from_memory) = map(str.split, run_on("jax", TRAIN, tmp_path / "config.yaml"))
    assert (used, learned) == ("jax", "True")
    assert from_store == from_memory


def test_pieces_have_the_gradient_of_the_whole_batch_on_jax_too() -> None:
    (line,) = run_on("jax", PIECES)
    assert float(line) <= 1e-5
