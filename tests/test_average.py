"""Averaged weights: what is validated, kept and used in the end, while training goes on from those of the last step."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from preprocess.common.config import Config
from preprocess.common.files import read_json
from tests.survival import changed, weights
from tests.test_backends import run_on
from tests.test_pieces import batch_of
from tests.tiny import tiny_collection
from train.checkpoint import arrays_of, checkpoints, load_variables, numbered, training_state
from train.feed import Feed
from train.fit import compiled_network, fit
from train.health import Collapse, Health
from train.optimizer import WatchedAdamW, averaged
from train.predict import load_network
from train.run import Run, make_run
from train.validation import Validation

ON_JAX = """
import keras, numpy as np
from train.optimizer import WatchedAdamW, WatchedScale, averaged

keras.utils.set_random_seed(0)
network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
optimizer = WatchedScale(WatchedAdamW(0.1, average=1.0), initial_scale=8.0)
network.compile(optimizer, "mse")
optimizer.build(network.trainable_variables)
rng, seen = np.random.default_rng(0), []
for step in range(6):
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
    network.fit(x, y * (np.inf if step == 3 else 1), epochs=1, verbose=0)
    if step != 3:
        seen.append(network.get_weights()[0])
with averaged(network):
    print(keras.backend.backend(), np.abs(network.get_weights()[0] - np.mean(seen, axis=0)).max())
print(len({array.tobytes() for array in seen}), (network.get_weights()[0] == seen[-1]).all())
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return changed(tiny_collection(tmp_path_factory.mktemp("average"))[0], "train.average=0.1")


@pytest.fixture(scope="module")
def run(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of six steps, validated at the third and the last."""
    run = make_run(config, tmp_path_factory.mktemp("runs") / "run")
    fit(run, config.pipeline)
    return run


@pytest.mark.parametrize(
    ("average", "shares"), [(1.0, [1, 1, 1, 1, 1]), (0.5, [1, 2, 3, 4, 5]), (1e-6, [0, 0, 0, 0, 1])]
)
def test_averages_weigh_the_steps_so_far_by_the_share_that_is_asked_for(average: float, shares: list[int]) -> None:
    """Closed forms: all alike, the more the later, and hardly any but the last."""
    weight, rng, seen = keras.Variable(np.zeros(3, np.float32)), np.random.default_rng(0), []
    optimizer = WatchedAdamW(0.1, average=average)
    optimizer.build([weight])
    for _ in shares:
        optimizer.apply([ops.convert_to_tensor(rng.normal(size=3).astype(np.float32))])
        seen.append(weight.numpy().copy())
    expected = np.average(seen, axis=0, weights=shares)
    np.testing.assert_allclose(optimizer.averages[0].numpy(), expected, atol=1e-5)
    assert np.ptp(seen, axis=0).min() > 0.05


def test_the_averages_take_the_weights_place_and_give_it_back_whatever_happens(run: Run) -> None:
    network = compiled_network(run)
    for _ in range(3):
        network.train_on_batch(*batch_of("groups"))
    before = arrays_of(training_state(network))

    def look_and_fail() -> None:
        with averaged(network):
            pairs = zip(network.trainable_variables, network.optimizer.averages, strict=True)
            assert all(np.array_equal(weight.numpy(), average.numpy()) for weight, average in pairs)
            assert any((array != before[name]).any() for name, array in arrays_of(training_state(network)).items())
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        look_and_fail()
    assert all(np.array_equal(array, before[name]) for name, array in arrays_of(training_state(network)).items())


def test_a_run_ends_with_the_averages_of_its_last_checkpoint_which_goes_on_from_the_weights(run: Run) -> None:
    network = compiled_network(run)
    (path, record), *_ = checkpoints(run.path / "checkpoints")
    load_variables(path / "state.safetensors", training_state(network))
    trained = arrays_of(numbered("network", network.weights))
    with averaged(network):
        expected = arrays_of(numbered("network", network.weights))
    final = weights(run.path)
    assert record.step == 6
    assert all(np.array_equal(array, expected[name]) for name, array in final.items())
    assert sum((array != trained[name]).any() for name, array in final.items()) > len(final) / 2


def test_what_is_validated_is_what_is_kept(run: Run, config: Config) -> None:
    validation = Validation(run, Feed(run, config.pipeline).validation(), config.pipeline.evaluation_pairs)
    found, line = validation.measure(load_network(run)), run.logged()[-1]
    assert {name: line[name] for name in found} == found
    final = read_json(run.path / "finished.json")["validation"]
    assert {f"auc_{side}": figures["value"] for side, figures in final.items()} == found


def test_without_an_average_training_is_the_same_and_the_last_weights_are_kept(
    run: Run, config: Config, tmp_path: Path
) -> None:
    without = make_run(changed(config, "train.average=null"), tmp_path / "run")
    fit(without, config.pipeline)
    assert [line["loss"] for line in without.logged()] == [line["loss"] for line in run.logged()]
    network = compiled_network(without)
    (path, _), *_ = checkpoints(without.path / "checkpoints")
    load_variables(path / "state.safetensors", training_state(network))
    trained = arrays_of(numbered("network", network.weights))
    assert not network.optimizer.averages
    assert all(np.array_equal(array, trained[name]) for name, array in weights(without.path).items())


def test_detectors_of_a_collapse_look_at_the_weights_in_training(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, looked = make_run(config, tmp_path / "run"), []
    monkeypatch.setattr(
        Health, "check", lambda health, step: looked.append(arrays_of(numbered("network", health.network.weights)))
    )
    fit(run, config.pipeline)
    for (path, _), seen in zip(checkpoints(run.path / "checkpoints"), reversed(looked), strict=True):
        network = compiled_network(run)
        load_variables(path / "state.safetensors", training_state(network))
        assert all(np.array_equal(array, seen[name])
                   for name, array in arrays_of(numbered("network", network.weights)).items())  # fmt: skip


def test_weights_at_chance_are_not_hidden_by_good_averages(
    run: Run, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = compiled_network(run)
    health = Health(network, Validation(run, Feed(run, config.pipeline).validation(), 200))
    monkeypatch.setattr(Health, "check", lambda self, step: None)
    network.verifier.log_scale.assign(-100.0)  # the same answer for every pair
    line = {"step": 300, "loss": 0.6931, "auc_validation_seen": 0.9, "auc_validation_unseen": 0.9}
    with pytest.raises(Collapse, match=r"validation AUC is at chance, 0\.500, with the loss of a constant"):
        health.check_validation(line)
    health.check_validation(line | {"loss": 0.5})
    health.check_validation(line | {"step": 299})


def test_averages_are_kept_on_jax_too_and_leave_out_steps_that_were_not_taken() -> None:
    (used, far), (steps, back) = map(str.split, run_on("jax", ON_JAX))
    assert (used, steps, back) == ("jax", "5", "True")
    assert float(far) < 1e-6
