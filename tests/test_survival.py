"""Training under its supervisor: whatever happens to it, it ends with the weights of a run that nobody disturbed."""

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import NamedTuple

import pytest

from preprocess.common.config import Config
from preprocess.common.files import read_json
from tests.conftest import SOAK, SOAK_ONLY
from tests.survival import QUICK, changed, faults, same_weights, start_fit, supervised
from tests.tiny import tiny_collection
from train.checkpoint import checkpoints
from train.incidents import incidents
from train.run import open_run
from train.supervise import Ending

CHANGES = ("train.steps=24", "train.validate_every=8", "pipeline.feed=stream")


class Undisturbed(NamedTuple):
    """A run, and how many seconds it took from the command to its end."""

    path: Path
    seconds: float


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return changed(tiny_collection(tmp_path_factory.mktemp("survival"))[0], *CHANGES)


@pytest.fixture(scope="module")
def undisturbed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Return a finished run that nobody disturbed."""
    path, started = tmp_path_factory.mktemp("undisturbed") / "run", time.monotonic()
    assert start_fit(config, path, *CHANGES).wait() == 0
    assert incidents(path) == []
    return Undisturbed(path, time.monotonic() - started)


@pytest.mark.soak
def test_a_trainer_survives_all_that_may_befall_it(config: Config, undisturbed: Undisturbed, tmp_path: Path) -> None:
    planted = {
        "7:SIGSEGV": "crashed with SIGSEGV", "11:gil": "no sign of life for", "24:full": "",
    }  # fmt: skip
    if SOAK > 1:
        planted |= {
            "0:full": "", "0:read": "no sign of life for", "3:SIGSTOP": "no sign of life for",
            "14:SIGKILL": "killed by SIGKILL", "validate:raise": "ended with status 1",
        }  # fmt: skip
    with faults(tmp_path, " ".join(planted)) as marks:
        run, ending = supervised(config, tmp_path / "run")
        assert {path.name for path in marks.iterdir()} == {fault.replace(":", "-") for fault in planted}
    assert ending == Ending(0, "finished")
    assert same_weights(run.path, undisturbed.path)
    found = [str(incident["cause"]) for incident in incidents(run.path)]
    for cause in planted.values():
        assert sum(one.startswith(cause) for one in found) >= sum(one == cause for one in planted.values()), found
    assert [line["step"] for line in run.logged()] == [8, 16, 24]
    for one, other in zip(run.logged(), open_run(undisturbed.path).logged(), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["auc_validation_unseen"] == other["auc_validation_unseen"]


def test_a_crash_that_comes_again_and_again_is_given_up(config: Config, tmp_path: Path) -> None:
    with faults(tmp_path, "start:SIGSEGV compile:raise"):
        run, ending = supervised(config, tmp_path / "run", QUICK._replace(tries=1))
    assert ending == Ending(1, "ended with status 1; its traceback is above")
    assert incidents(run.path)[-1]["remedy"] == "given up after 1 restarts"


@pytest.mark.parametrize(
    ("planted", "name"), [("5:terminate", "SIGTERM"), pytest.param("compile:ctrl-c", "SIGINT", marks=SOAK_ONLY)]
)
def test_a_signal_saves_and_asks_to_be_run_again(
    config: Config, undisturbed: Undisturbed, tmp_path: Path, planted: str, name: str
) -> None:
    """In a step and in compilation; the last line says how far it got, and the next call goes on from there."""
    path, told = tmp_path / "run", tmp_path / "told"
    with faults(tmp_path, planted):
        process = start_fit(
            config, path, *CHANGES, "train.max_hours=9", f"train.notify=echo $PAINTINGS_STATUS >> {told}"
        )
    _, err = process.communicate()
    assert process.returncode == 75, err
    kept = max((record.step for _, record in checkpoints(path / "checkpoints")), default=0)
    assert f"train: stopped ({name}); step {kept} of 24 is kept; run it again to go on: {path}" in err
    assert kept >= 5 if name == "SIGTERM" else kept == 0
    assert "Traceback" not in err
    assert not told.exists()
    process = start_fit(config, path, *CHANGES, f"train.notify=echo $PAINTINGS_STATUS >> {told}")
    out, err = process.communicate()
    assert (process.returncode, out) == (0, f"train: finished: {path}\n"), err
    assert same_weights(path, undisturbed.path)
    assert told.read_text() == "0\n"


def test_a_mistake_is_one_line_and_is_not_tried_again(config: Config, tmp_path: Path) -> None:
    told = tmp_path / "told"
    notify = f"train.notify=echo $PAINTINGS_STATUS $PAINTINGS_RUN > {told}"
    process = start_fit(config, tmp_path / "run", "train.model=Nothing", notify)
    _, err = process.communicate()
    assert process.returncode == 2
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        "error: train.model should be 'compact', 'plain', 'parts' or a class of keras.applications, got 'Nothing'"
    ]
    assert "Traceback" not in err
    assert incidents(tmp_path / "run") == []
    assert told.read_text() == f"2 {tmp_path / 'run'}\n"


@pytest.mark.soak
def test_kills_at_any_moment_cost_at_most_one_interval(
    config: Config, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """SIGKILL by turns for the trainer alone and for all, 5 times or 5 times SOAK; when a run ends, another begins.

    Every run ends with the weights of the undisturbed one; none begins behind a checkpoint that was there.
    """
    rng, path = random.Random(0), tmp_path / "run"
    kills = ends = 0
    while kills < 5 * SOAK or not ends:
        before = kept(path)
        process = start_fit(config, path, *CHANGES, "train.checkpoint_minutes=0.0001")
        if kills < 5 * SOAK:
            with suppress(TimeoutExpired):
                process.wait(rng.uniform(0.1, 1.2) * undisturbed.seconds)
            if process.poll() is None:
                kill(process.pid, path, alone=kills % 2 == 0)
                kills += 1
        process.wait()  # where the trainer alone was killed, its supervisor goes on
        assert kept(path) >= before
        if process.returncode == -signal.SIGKILL:
            continue
        assert process.returncode == 0, process.communicate()
        assert same_weights(path, undisturbed.path)
        ends += 1
        shutil.rmtree(path)
    print(f"{kills} kills, {ends} runs ended, each with the weights of one that nobody disturbed")


def kill(group: int, path: Path, alone: bool) -> None:
    """Kill the trainer of a run, or all of the group."""
    with suppress(OSError, ValueError):
        pid = read_json(path / "heartbeat")["pid"]
        if alone and os.getpgid(pid) == group:
            os.kill(pid, signal.SIGKILL)
            return
    os.killpg(group, signal.SIGKILL)


def kept(path: Path) -> int:
    return max((record.step for _, record in checkpoints(path / "checkpoints")), default=0)
