"""Checkpoints: whole or not at all, exact, and refused by other code, versions and runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from preprocess.common.errors import RunError
from preprocess.common.files import read_json, write_json
from tests.tiny import tiny_collection
from train import identity as identities
from train.checkpoint import Chunk, Record, arrays_of, checkpoints, note_validation, save_checkpoint, training_state
from train.fit import compiled_network
from train.identity import identity, refuse_another
from train.keeper import Keeper
from train.microbatch import NAME, decide, microbatch
from train.pulse import Pulse
from train.run import Run, make_run
from train.worker import AUTO

IDENTITY = {"recipe": "r", "versions": {"keras": "3.0"}, "code": {"train/fit.py": "f"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tiny_collection(tmp_path_factory.mktemp("checkpoints"))[0], None)


def keeper(run: Run, folder: Path, **changes: Any) -> Keeper:
    """Return the keeper of an untrained network, whose checkpoints are in `folder`."""
    return Keeper(Run(folder, run.pins), compiled_network(run), IDENTITY | changes, 10.0, Pulse())


def learned(keeper: Keeper) -> list[keras.Variable]:
    """Return all that a step changes: weights, moments, the number of steps."""
    return [*keeper.network.weights, *keeper.network.optimizer.variables]


def kept(folder: Path, step: int, auc: float | None = None) -> None:
    """Save a checkpoint of one number, which is its step."""
    record = Record(step, 0, 0, IDENTITY)
    save_checkpoint(folder, record, {"x": np.array([step])})
    if auc is not None:
        note_validation(folder, replace(record, auc=auc))


def steps(folder: Path) -> list[int]:
    return [record.step for _, record in checkpoints(folder)]


def test_a_checkpoint_gives_back_weights_optimizer_and_what_the_chunk_has_come_to(run: Run, tmp_path: Path) -> None:
    first, rng = keeper(run, tmp_path), np.random.default_rng(0)
    for variable in learned(first):
        variable.assign(rng.integers(1, 99, variable.shape).astype(variable.dtype))
    first.finished(7, Chunk(1.25, 96, 3.5))
    first.save()
    second = keeper(run, tmp_path)
    second.restore()
    assert (second.record, second.saved) == (first.record, 7)
    pairs = list(zip(learned(first), learned(second), strict=True))
    assert len(pairs) > 80
    assert all(np.array_equal(before.numpy(), after.numpy()) for before, after in pairs)


def test_a_checkpoint_holds_the_states_of_random_generators(tmp_path: Path) -> None:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dropout(0.5, seed=1)])
    network.compile(keras.optimizers.Adam(), "mse")
    names = [name for name in training_state(network) if name.startswith("random")]
    before = arrays_of(training_state(network))
    network(np.ones((2, 4)), training=True)
    after = arrays_of(training_state(network))
    assert names
    assert any((before[name] != after[name]).any() for name in names)


def test_a_checkpoint_holds_how_many_pictures_were_embedded_at_once(run: Run, tmp_path: Path) -> None:
    write_json(tmp_path / NAME, {"asked": AUTO, "piece": 6, "devices": 1, "room": 10**9})
    first = keeper(run, tmp_path)
    first.finished(7, Chunk())
    first.save()
    (tmp_path / NAME).unlink()
    assert microbatch(tmp_path) == 6
    decide(Run(tmp_path, run.pins), AUTO, {}, lambda: None)
    assert read_json(tmp_path / NAME) == first.record.microbatch


@pytest.mark.parametrize("name", ["state.safetensors", "record.json"])
def test_any_changed_byte_of_the_newest_checkpoint_is_found_and_the_one_before_used(name: str, tmp_path: Path) -> None:
    kept(tmp_path, 5)
    kept(tmp_path, 6)
    path = tmp_path / "step-00000006" / name
    whole = path.read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        if name.endswith("json") and same(data, whole):
            continue  # white space
        assert steps(tmp_path) == [5], place
    path.write_bytes(whole[: len(whole) // 2])
    assert steps(tmp_path) == [5]
    path.unlink()
    assert steps(tmp_path) == [5]


def same(data: bytes | bytearray, whole: bytes) -> bool:
    try:
        return bool(json.loads(data) == json.loads(whole))
    except ValueError:
        return False


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    for step, auc in enumerate([0.6, 0.9, None, 0.7, 0.8, None, None], 1):
        kept(tmp_path, step, auc)
    (tmp_path / ".aside-step-00000009").mkdir()
    kept(tmp_path, 8)
    assert steps(tmp_path) == [8, 7, 2]
    kept(tmp_path, 5)  # after 7 and 8 were damaged, or left behind by a remedy
    kept(tmp_path, 6)
    assert steps(tmp_path) == [6, 5, 2]
    kept(tmp_path, 7)
    kept(tmp_path, 8)
    assert {path.name for path in tmp_path.iterdir()} == {f"step-{step:08d}" for step in (2, 7, 8)}


def test_a_checkpoint_is_never_read_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever flush or rename a kill comes before, the checkpoints are those before, or those and the new one."""
    for last in range(1, 20):
        folder = tmp_path / str(last)
        kept(folder, 5)
        calls = 0

        def dying(function: Any, last: int = last) -> Any:
            def call(*arguments: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == last:
                    raise KeyboardInterrupt
                return function(*arguments)

            return call

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", dying(__import__("os").fsync))
            patched.setattr(Path, "rename", dying(Path.rename))
            patched.setattr(Path, "replace", dying(Path.replace))
            try:
                kept(folder, 6)
            except KeyboardInterrupt:
                pass
            else:
                break
        assert steps(folder) in ([5], [6, 5])
        kept(folder, 7)
        assert steps(folder)[0] == 7
        assert not list(folder.glob(".aside-*"))
    assert last > 4, "a checkpoint has two files, two folders and a rename"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"versions": {"keras": "3.1"}},
            r"was written with keras 3\.0, not 3\.1; install that, or remove .*checkpoints",
        ),
        ({"code": {"train/fit.py": "g"}}, r"was written by another train/fit\.py; go back to that code, or remove"),
        ({"recipe": "s"}, r"belongs to another run; remove"),
    ],
)
def test_other_code_versions_and_runs_are_refused(
    run: Run, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    kept(tmp_path / "checkpoints", 5)
    with pytest.raises(RunError, match=message):
        keeper(run, tmp_path, **change).restore()


def test_the_identity_is_that_of_versions_settings_and_of_the_code_that_trains(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = identity(run)
    assert {"train/fit.py", "train/model.py", "pipeline/reader.py", "pipeline/streams.py"} <= now["code"].keys()
    assert now["versions"]["keras"] == keras.__version__
    settings = run.pins["settings"] | {"train": run.pins["settings"]["train"] | {"seed": 5}}
    assert identity(Run(run.path, run.pins | {"settings": settings}))["recipe"] != now["recipe"]
    refuse_another(Path("c"), now, now | {"code": {**now["code"], "train/new.py": "n"}})
    monkeypatch.setattr(identities, "sha256_file", lambda path: path.name)
    with pytest.raises(RunError, match=r"another pipeline/__init__\.py, "):
        refuse_another(Path("c"), now, identity(run))


@pytest.mark.parametrize(
    ("back_to", "remedies", "restored"), [([], 0, 9), ([6], 1, 6), ([6, 2], 2, 2), ([9], 1, 9), ([0], 1, 0)]
)
def test_checkpoints_that_a_remedy_went_behind_are_passed_over(
    run: Run, tmp_path: Path, back_to: list[int], remedies: int, restored: int
) -> None:
    first = keeper(run, tmp_path)
    for step in (2, 6, 9):
        first.finished(step, Chunk())
        first.save()
        first.validated(0.9 if step == 2 else 0.5)
    write_json(tmp_path / "remedies.json", [{"back_to": step} for step in back_to])
    second = keeper(run, tmp_path)
    second.restore()
    assert (second.record.step, second.record.remedies) == (restored, remedies)
    assert max(steps(tmp_path / "checkpoints"), default=0) == restored
