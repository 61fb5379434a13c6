"""train.patience: training ends early, at the same step however often it is killed, with the best validated weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.common.config import Config
from preprocess.common.files import read_json
from tests.survival import changed, same_weights, weights
from tests.tiny import tiny_collection
from train.checkpoint import arrays_of, checkpoint_path, load_variables, numbered, training_state
from train.fit import compiled_network, fit
from train.model import PairNetwork
from train.optimizer import averaged
from train.progress import progress, progress_text
from train.pulse import Pulse, Stopped
from train.run import Run, ending, make_run
from train.validation import Validation

AUCS = {2: 0.6, 4: 0.7, 6: 0.65, 8: 0.7, 10: 0.69, 12: 0.9, 14: 0.8}
"""By step; the equal one at step 8 is no better."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    tiny = tiny_collection(tmp_path_factory.mktemp("patience"))[0]
    return changed(tiny, "train.steps=14", "train.validate_every=2", "train.patience=3", "train.average=0.5")


@pytest.fixture(scope="module", autouse=True)
def scripted() -> Iterator[None]:
    """Validations find AUCS."""

    def measure(validation: Validation, network: PairNetwork) -> dict[str, float]:
        return {f"auc_{side}": AUCS[int(network.optimizer.iterations.numpy())] for side in validation.sides}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validation, "measure", measure)
        yield


def trained(config: Config, path: Path) -> Run:
    run = make_run(config, path)
    fit(run, config.pipeline)
    return run


@pytest.fixture(scope="module")
def early(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that lost patience."""
    return trained(config, tmp_path_factory.mktemp("runs") / "run")


def has_weights_of(run: Run, step: int) -> bool:
    """Return whether the final weights of a run are the averages in its checkpoint of `step`."""
    network = compiled_network(run)
    load_variables(checkpoint_path(run.path / "checkpoints", step) / "state.safetensors", training_state(network))
    with averaged(network):
        found = arrays_of(numbered("network", network.weights))
    return all(np.array_equal(array, found[name]) for name, array in weights(run.path).items())


def test_training_ends_after_so_many_validations_that_are_no_better_with_the_best_weights(early: Run) -> None:
    assert [line["step"] for line in early.logged()] == [2, 4, 6, 8, 10]
    assert read_json(early.path / "finished.json")["step"] == 4
    assert has_weights_of(early, 4)
    assert not has_weights_of(early, 10)


def test_a_plain_line_says_so(early: Run) -> None:
    said = "finished early, after 3 validations no better than that of step 4, whose weights were taken"
    assert ending(early) == said
    assert f"step 10 of 14, {said}" in progress_text(progress(early))
    assert progress(early)["seconds_left"] == 0


class Asked(Pulse):
    """Is asked to stop during the step after step `at`."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def beat(self, phase: Any, step: int | None = None) -> None:
        self.asked |= phase == "step" and step == self.at
        super().beat(phase, step)


def test_a_run_that_was_stopped_and_goes_on_ends_at_the_same_step_with_the_same_weights(
    early: Run, config: Config, tmp_path: Path
) -> None:
    run = make_run(config, tmp_path / "run")
    with pytest.raises(Stopped):
        fit(run, config.pipeline, pulse=Asked(9))
    assert not run.finished
    fit(run, config.pipeline)
    assert same_weights(run.path, early.path)
    assert [line["step"] for line in run.logged()] == [2, 4, 6, 8, 10]


def test_a_run_that_was_killed_after_its_last_validation_trains_no_more(
    early: Run, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(config, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("train.fit.finish", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(run, config.pipeline)
    monkeypatch.setattr("train.fit.train_steps", killed)
    fit(run, config.pipeline)
    assert same_weights(run.path, early.path)


def killed(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_a_run_that_never_loses_patience_ends_with_its_best_weights_too(config: Config, tmp_path: Path) -> None:
    run = trained(changed(config, "train.steps=14", "train.validate_every=2", "train.patience=5"), tmp_path / "run")
    assert [line["step"] for line in run.logged()] == list(AUCS)
    assert ending(run) == "finished, with the weights of step 12, the best of all validations"
    assert has_weights_of(run, 12)
