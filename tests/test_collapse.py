"""Collapses are noticed within 200 steps, healthy runs are left alone, and the remedies are bounded and repeatable."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.dataset import training_dataset
from preprocess.common.config import Config
from tests.survival import changed, weights
from tests.tiny import tiny_collection
from train import remedies as remedying
from train.checkpoint import Chunk
from train.fit import compiled_network, fit
from train.health import Collapse, Health, ailment, effective_rank
from train.incidents import incidents
from train.keeper import Keeper
from train.pulse import Pulse, Stopped
from train.remedies import GivenUp, remedied, remedies
from train.run import Run, make_run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return changed(tiny_collection(tmp_path_factory.mktemp("collapse"))[0], "train.steps=24", "train.validate_every=8")


def points(*, around: float = 0.0, directions: int = 16, count: int = 64) -> np.ndarray:
    """Return unit vectors float32 [count, 16] that vary in some directions, `around` away from the origin."""
    rng = np.random.default_rng(0)
    found = np.zeros((count, 16))
    found[:, :directions] = rng.normal(size=(count, directions))
    found[:, 0] += around
    unit: np.ndarray = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


VARIED = np.linspace(-1.0, 1.0, 2016)


@pytest.mark.parametrize(
    ("embeddings", "outputs", "gradient", "sign"),
    [
        (points(), VARIED, 0.1, None),
        (points(around=5.0), VARIED, 0.1, None),
        (points(directions=2), VARIED, 1e-6, None),
        (points(around=200.0), VARIED, 0.1, "all embeddings lie near one point"),
        (points(directions=1), VARIED, 0.1, "all embeddings lie on one line"),
        (points(), VARIED * 1e-6 + 0.5, 0.1, "every pair gets the same answer"),
        (points(), VARIED, 0.0, "the gradient has vanished"),
        (points(), VARIED, float("inf"), "values are not finite"),
        (points() * np.float32("nan"), VARIED, 0.1, "values are not finite"),
        (points(), VARIED * np.nan, 0.1, "values are not finite"),
    ],
)
def test_each_sign_of_a_collapse_is_told_from_health(
    embeddings: np.ndarray, outputs: np.ndarray, gradient: float, sign: str | None
) -> None:
    found = ailment(embeddings, outputs, gradient)
    assert (found is None) if sign is None else (found is not None and found.startswith(sign))


def test_the_effective_rank_counts_directions() -> None:
    assert effective_rank(np.eye(8, dtype=np.float32).repeat(8, axis=0)) == pytest.approx(7, rel=1e-3)
    assert effective_rank(np.zeros((8, 4), np.float32)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("step", "loss", "auc", "collapsed"),
    [(300, 0.693, 0.51, True), (299, 0.693, 0.51, False), (300, 0.4, 0.51, False), (300, 0.693, 0.53, False)],
)
def test_a_validation_at_chance_with_the_loss_of_a_constant_is_a_collapse(
    step: int, loss: float, auc: float, collapsed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is enough by itself: a run that knows its training pictures by heart learns too much, not nothing."""
    health: Any = object.__new__(Health)
    health.loss, health.network = "sigmoid", None
    found = {"auc_validation_seen": 0.4, "auc_validation_unseen": auc}
    health.validation = SimpleNamespace(measure=lambda network: found)
    monkeypatch.setattr(Health, "check", lambda self, step: None)
    line = {"step": step, "loss": loss}
    if collapsed:
        with pytest.raises(Collapse, match="validation AUC is at chance, 0\\.510"):
            health.check_validation(line)
    else:
        health.check_validation(line)


def plain(images: Any, width: int) -> Any:
    """A network as in the report: no normalisation anywhere, so that a large step kills its rectifiers for good."""
    x = layers.Rescaling(1 / 255)(images)
    for channels in (8, 16):
        x = layers.MaxPooling2D()(layers.Conv2D(channels, 3, padding="same", activation="relu")(x))
    return layers.Dense(32, activation="relu")(layers.Flatten()(x))


def test_a_real_collapse_is_noticed_within_200_steps_and_healed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("train.model.compact", plain)
    monkeypatch.setattr("train.fit.centre", lambda network, pictures: None)
    settings = ["train.steps=200", "train.validate_every=200", "train.learning_rate=0.5"]
    run = make_run(changed(config, *settings), tmp_path / "run")
    fit(run, config.pipeline)
    done = remedies(run)
    assert done
    assert all(remedy["step"] <= 200 for remedy in done)
    assert done[0]["back_to"] == 0
    assert "all embeddings lie near one point" in done[0]["cause"]
    assert [remedy["learning_rate"] for remedy in done] == pytest.approx(
        [0.5 * 0.3 ** (n + 1) for n in range(len(done))]
    )
    assert len({remedy["seed"] for remedy in done} | {0}) == 1 + len(done)
    (line,) = run.logged()
    assert line["remedies"] == len(done)
    assert line["auc_validation_unseen"] > 0.6
    first = incidents(run.path)[0]
    assert first["remedy"] == f"back to step 0 with learning_rate 0.15 and seed {done[0]['seed']}, remedy 1 of 4"
    assert f"train: step {first['step']}: {first['cause']}; {first['remedy']}" in capsys.readouterr().err


def test_a_healthy_run_meets_no_detector(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    check = Health.check

    def noted(self: Health, step: int) -> None:
        looked.append(step)
        check(self, step)

    monkeypatch.setattr(Health, "check", noted)
    run = make_run(changed(config, "train.steps=200", "train.validate_every=150"), tmp_path / "run")
    fit(run, config.pipeline)
    assert looked == [100, 150, 200, 200]
    assert incidents(run.path) == []
    assert "remedies" not in run.logged()[-1]


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """From step 13 on the pairs of a run weigh NaN, as long as its seed is one of `seeds`; None: whatever it is."""
    poison = SimpleNamespace(seeds={0})

    def poisoned_dataset(source: Any, stream: Any, draw: Any, start: int, stop: int, prefetch: int) -> Any:
        made = training_dataset(source, stream, draw, start, stop, prefetch)
        if poison.seeds is not None and stream.seed not in poison.seeds:
            return made
        factors = tf.data.Dataset.range(start, stop).map(lambda k: tf.where(k < 13, 1.0, float("nan")))
        return tf.data.Dataset.zip(made, factors).map(
            lambda example, factor: (example[0], example[1], example[2] * factor)
        )

    monkeypatch.setattr("train.fit.training_dataset", poisoned_dataset)
    return poison


def test_a_loss_that_is_no_number_leads_back_to_the_last_validated_checkpoint(
    config: Config, tmp_path: Path, poisoned: SimpleNamespace
) -> None:
    """With a smaller learning rate and other batches; resumed in the middle, it is the same run."""
    run = make_run(config, tmp_path / "run")
    fit(run, config.pipeline, minutes=1e-6)
    (remedy,) = remedies(run)
    assert (remedy["step"], remedy["cause"], remedy["back_to"]) == (14, "the loss is not finite", 8)
    assert [(line["step"], line.get("remedies", 0)) for line in run.logged()] == [(8, 0), (16, 1), (24, 1)]
    assert all(np.isfinite(array).all() for array in weights(run.path).values())

    class Asked(Pulse):
        def beat(self, phase: Any, step: int | None = None) -> None:
            self.asked |= phase == "step" and step == 19
            super().beat(phase, step)

    again = make_run(config, tmp_path / "again")
    with pytest.raises(Stopped):
        fit(again, config.pipeline, pulse=Asked())
    assert not again.finished
    fit(again, config.pipeline)
    assert remedies(again) == remedies(run)
    assert all(np.array_equal(array, weights(again.path)[name]) for name, array in weights(run.path).items())


def test_what_no_remedy_helps_is_given_up(
    config: Config, tmp_path: Path, poisoned: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned.seeds = None
    monkeypatch.setattr(remedying, "MOST", 1)
    run = make_run(config, tmp_path / "run")
    with pytest.raises(GivenUp):
        fit(run, config.pipeline)
    assert len(remedies(run)) == 1
    assert [incident["remedy"] for incident in incidents(run.path)][-1] == "given up after 1 remedies"
    assert not run.finished


def test_remedies_change_the_learning_rate_and_the_seed_and_nothing_else(config: Config, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run")
    assert remedied(run, 0) is run
    first, second = (remedied(run, count).settings for count in (1, 2))
    assert (first.learning_rate, second.learning_rate) == pytest.approx((0.3 * 2e-3, 0.09 * 2e-3))
    assert len({run.settings.seed, first.seed, second.seed}) == 3
    assert first.model_copy(update={"seed": 0, "learning_rate": 2e-3}) == run.settings


def test_weights_that_are_no_numbers_are_never_saved(config: Config, tmp_path: Path) -> None:
    run = Run(tmp_path, make_run(config, tmp_path / "run").pins)
    keeper = Keeper(run, compiled_network(run), {}, 10.0, Pulse())
    keeper.network.verifier.bias.assign(np.nan)
    keeper.finished(3, Chunk())
    with pytest.raises(Collapse, match="weights are not finite"):
        keeper.save()
    assert not keeper.folder.exists()
