"""Convolutions in 16 bits: they learn, go on exactly, and a gradient that is not finite does no harm."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from preprocess.common.config import Config
from preprocess.common.errors import RunError
from tests.survival import changed, same_weights
from tests.test_pieces import batch_of, far, gradient, network_of
from tests.tiny import tiny_collection
from train.checkpoint import training_state
from train.export import export
from train.fit import compiled_network, fit
from train.run import Run, make_run

ROUNDING = {"mixed_bfloat16": 2**-8, "mixed_float16": 2**-11}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    tiny = tiny_collection(tmp_path_factory.mktemp("precision"))[0]
    return changed(tiny, "train.steps=4", "train.validate_every=2", "train.precision=mixed_float16",
                   "train.average=0.1")  # fmt: skip


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(config, tmp_path_factory.mktemp("runs") / "run")
    fit(run, config.pipeline)
    return run


@pytest.mark.parametrize("precision", ROUNDING)
def test_only_convolutions_have_sixteen_bits_and_pieces_have_the_gradient_of_the_whole(precision: str) -> None:
    network, batch = network_of("sigmoid", None, precision=precision), batch_of("groups")
    computed = {layer.name.partition("_")[0]: layer.compute_dtype for layer in network.embedder.layers}
    assert computed["stem"] == computed["conv2d"] == precision.removeprefix("mixed_")
    assert computed["embedding"] == computed["unit"] == network.verifier.compute_dtype == "float32"
    assert {weight.dtype for weight in network.weights} == {"float32"}
    whole = gradient(network, batch)
    assert 0 < far(whole, gradient(network_of("sigmoid", None), batch)) < 32 * ROUNDING[precision]
    assert far(gradient(network_of("sigmoid", 7, precision=precision), batch), whole) <= 4 * ROUNDING[precision]


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(run: Run, config: Config, tmp_path: Path) -> None:
    again = Run(tmp_path / "run", run.pins)
    shutil.copytree(run.path, again.path)
    for name in ("finished.json", "model.safetensors"):
        (again.path / name).unlink()
    shutil.rmtree(again.path / "checkpoints" / "step-00000004")
    fit(again, config.pipeline)
    assert same_weights(again.path, run.path)


def test_a_gradient_that_is_not_finite_lowers_the_scale_and_changes_neither_weight_nor_average(run: Run) -> None:
    network, batch = compiled_network(run), batch_of("groups")
    scale = network.optimizer.dynamic_scale
    assert any(variable is scale for variable in training_state(network).values())
    learned = [*network.weights, *network.optimizer.averages]
    before = [variable.numpy() for variable in learned]
    scale.assign(np.float32(3e38))
    network.train_on_batch(*batch)
    assert scale.numpy() == np.float32(1.5e38)
    assert int(network.optimizer.iterations.numpy()) == 0
    assert all(np.array_equal(variable.numpy(), was) for variable, was in zip(learned, before, strict=True))
    scale.assign(2.0**10)
    for _ in range(2):  # the warm-up begins at a rate of zero
        network.train_on_batch(*batch)
    assert int(network.optimizer.iterations.numpy()) == 2
    assert float(network.optimizer.gradient_norm.numpy()) < 100
    assert all((variable.numpy() != was).any() for variable, was in zip(learned, before, strict=True))


def test_a_format_that_would_say_something_else_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was trained with mixed_float16, which ONNX does not repeat; export another"):
        export(run.path, "onnx", tmp_path / "embedder.onnx")
    assert export(run.path, "keras", tmp_path / "embedder.keras")["difference"] <= 1e-5
