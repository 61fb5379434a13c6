"""Where memory runs out in the middle, wherever that is, half as many pictures at once go on from the last step."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from pipeline.dataset import training_dataset
from preprocess.common.config import Config
from preprocess.common.files import write_json
from tests.conftest import SOAK_ONLY
from tests.survival import changed
from tests.tiny import tiny_collection
from train import predict
from train.fit import fit
from train.incidents import incidents
from train.microbatch import NAME, microbatch
from train.model import PairNetwork
from train.optimizer import WatchedAdamW
from train.run import Run, make_run
from train.shortage import halving
from train.supervise import Ending, Limits, Supervisor

AT = 3
"""Steps after which memory runs out, if more than half of the batch of 32 is embedded at once."""
TOO_MANY = 2**50


def out_of_memory() -> np.float32:
    """Fail as a step does that gets no memory."""
    raise MemoryError("planted")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    tiny = tiny_collection(tmp_path_factory.mktemp("memory"))[0]
    return changed(tiny, "train.steps=4", "train.validate_every=2", "pipeline.feed=stream")


def trained(config: Config, path: Path) -> Run:
    run = make_run(config, path)
    fit(run, config.pipeline)
    return run


@pytest.fixture(scope="module")
def undisturbed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(config, tmp_path_factory.mktemp("undisturbed") / "run").path


def hungry(x: Any, when: Any) -> Any:
    """Return `x`, after running out of memory where `when`."""
    return x + tf.cond(when, lambda: tf.numpy_function(out_of_memory, [], tf.float32), lambda: 0.0)


def really_hungry(x: Any, when: Any) -> Any:
    """The same, by asking TensorFlow for 4 PB, for which it waits ten seconds."""
    return x + tf.reduce_max(tf.fill([tf.where(when, tf.constant(TOO_MANY, tf.int64), 1)], 0.0))


def in_forward(patched: pytest.MonkeyPatch) -> None:
    embed = PairNetwork.embed

    def planted(self: PairNetwork, images: Any, drawn: Any = None) -> Any:
        found = embed(self, images, drawn)
        if drawn is None or self.piece:
            return found
        return really_hungry(found, tf.equal(self.optimizer.iterations.value, AT))

    patched.setattr(PairNetwork, "embed", planted)


def in_backward(patched: pytest.MonkeyPatch) -> None:
    embed = PairNetwork.embed

    def planted(self: PairNetwork, images: Any, drawn: Any = None) -> Any:
        found = embed(self, images, drawn)
        if drawn is None or self.piece:
            return found

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def same(x: Any) -> Any:
            return x, lambda upstream: hungry(
                tf.convert_to_tensor(upstream), tf.equal(self.optimizer.iterations.value, AT)
            )

        return same(found)

    patched.setattr(PairNetwork, "embed", planted)


def in_optimizer(patched: pytest.MonkeyPatch) -> None:
    """Once: the optimizer knows nothing of pieces."""
    update, once = WatchedAdamW.update_step, tf.Variable(True)

    def planted(self: WatchedAdamW, gradient: Any, variable: Any, rate: Any) -> None:
        if "log_scale" in variable.name:  # the last of all weights
            now = tf.logical_and(tf.equal(self.iterations.value, AT), once)
            once.assign(tf.logical_not(now) & once)
            gradient = hungry(gradient, now)
        update(self, gradient, variable, rate)

    patched.setattr(WatchedAdamW, "update_step", planted)


def in_evaluation(patched: pytest.MonkeyPatch) -> None:
    embed = predict.embed

    def planted(network: PairNetwork, images: Any) -> Any:
        if network.piece is None:
            hungry(tf.zeros([]), tf.constant(True))
        return embed(network, images)

    patched.setattr(predict, "embed", planted)


@pytest.mark.parametrize(
    ("plant", "starts", "noted"),
    [
        (in_forward, [0, 2, 3], 3),
        pytest.param(in_backward, [0, 2, 3], 3, marks=SOAK_ONLY),
        (in_optimizer, [0, 2, 2], 3),
        (in_evaluation, [0, 2], 2),
    ],
)
def test_half_as_many_go_on_from_the_last_step(
    plant: Callable[[pytest.MonkeyPatch], None], starts: list[int], noted: int, config: Config, undisturbed: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Only from the optimizer, which may have changed some weights and not others, it goes back to a checkpoint."""
    begun: list[int] = []

    def noting(*arguments: Any) -> Any:
        begun.append(arguments[3])
        return training_dataset(*arguments)

    monkeypatch.setattr("train.fit.training_dataset", noting)
    plant(monkeypatch)
    run = trained(config, tmp_path / "run")
    (incident,) = incidents(run.path)
    said = "OOM when allocating tensor with shape.1125899906842624.|MemoryError: planted|planted"
    assert re.match(f"out of memory: ({said})", str(incident["cause"]))
    assert incident["remedy"] == f"16 instead of 32 pictures at once, from step {noted}"
    assert microbatch(run.path) == 16
    assert begun == starts
    one, other = load_file(run.path / "model.safetensors"), load_file(undisturbed / "model.safetensors")
    assert all(np.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_one_picture_at_a_time_is_not_halved(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(config, tmp_path / "run")
    write_json(run.path / NAME, {"piece": 1})

    def planted(*_: Any) -> Any:
        raise MemoryError("planted")

    monkeypatch.setattr("train.fit.train_steps", planted)
    with pytest.raises(Exception, match="out of memory: planted"):
        fit(run, config.pipeline)
    assert incidents(run.path) == []


def test_measuring_a_finished_run_goes_on_with_half_as_many(config: Config, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run")
    tried: list[int | None] = []

    def measure(run: Run, name: str) -> str:
        tried.append(microbatch(run.path))
        if tried[-1] != 8:
            raise MemoryError("planted")
        return name

    assert halving(measure)(run, "measured") == "measured"
    assert tried == [None, 16, 8]
    assert [incident["cause"] for incident in incidents(run.path)] == ["out of memory: planted"] * 2
    write_json(run.path / NAME, {"piece": 1})
    with pytest.raises(MemoryError, match="planted"):
        halving(measure)(run, "measured")


@pytest.mark.parametrize(("kills", "piece"), [([2, 3, 3], 8), ([2, 2, 2], 16)])
def test_half_as_many_where_the_kernel_killed_it(
    kills: list[int], piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's SIGKILL says nothing of memory."""
    write_json(tmp_path / NAME, {"piece": 16})
    monkeypatch.setattr("train.supervise.kernel_kills", iter(kills).__next__)
    die = "import os, sys; open(sys.argv[1], 'x').close(); os.kill(os.getpid(), 9)"
    once = [sys.executable, "-c", f"import os, sys\nif not os.path.exists(sys.argv[1]): exec({die!r})", tmp_path / "x"]
    assert Supervisor(tmp_path, [str(word) for word in once], Limits(back_off=0.01)).supervise() == Ending(
        0, "finished"
    )
    assert microbatch(tmp_path) == piece
