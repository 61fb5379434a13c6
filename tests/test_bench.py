"""What the benchmarks measure with."""

import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from bench import noise
from bench import train as training
from bench.goals import Goal
from bench.meter import run
from bench.pairs import goals
from bench.stage import share_of_dask, stored
from bench.ways.measure import anonymous, in_memory, shards
from bench.ways.run import run_way
from pipeline.reader import Reader
from preprocess.common.config import load_config
from preprocess.store import open_store
from tests.tiny import tiny_collection
from train.pulse import last_beat
from train.run import make_run

BURN = "import time\nwhile time.process_time() < 0.6: pass"
LEAVE = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"
HOLD = "held = bytearray(80_000_000)\nfor i in range(0, len(held), 4096): held[i] = 1\nimport time; time.sleep(1)"


def test_seconds_of_children_that_outlive_their_parent_are_counted() -> None:
    assert run([sys.executable, "-c", LEAVE]).cpu > 0.6


def test_memory_and_the_time_of_a_sign_are_watched(tmp_path: Path) -> None:
    usage = run(
        [sys.executable, "-c", f"open({str(tmp_path / 'sign')!r}, 'w')\n{HOLD}"], sign=(tmp_path / "sign").exists
    )
    assert 80e6 < usage.peak < 160e6
    assert 0 < usage.sign < usage.wall


def test_a_command_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(click.ClickException, match="no such thing"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_the_share_of_dask_is_the_time_between_jobs(tmp_path: Path) -> None:
    assert share_of_dask(tmp_path / "tasks") is None
    (tmp_path / "tasks").write_text("[10, 11]\n")
    assert share_of_dask(tmp_path / "tasks") is None
    (tmp_path / "tasks").write_text("[10, 11]\n[11.5, 14]\n")
    assert share_of_dask(tmp_path / "tasks") == pytest.approx(0.125)


def test_a_picture_is_stored_once_a_shard_lies_there(tmp_path: Path) -> None:
    shard = tmp_path / "x" / "images_64" / "c" / "0"
    shard.parent.mkdir(parents=True)
    (shard.parents[1] / "zarr.json").touch()
    (shard.parent / ".aside-1-0").touch()
    assert not stored(tmp_path)
    shard.touch()
    assert stored(tmp_path)


def test_a_goal_is_met_missed_or_not_measured() -> None:
    assert Goal("more", 2.0, least=1.5).met
    assert Goal("more", 1.0, least=1.5).met is False
    assert Goal("less", 2.0, most=1.5).met is False
    assert Goal("less", None, most=1.5).met is None


def test_a_store_of_noise_is_to_the_reader_what_it_is_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "SHARD_BYTES", 2000)
    path = noise.write_store(tmp_path, 8, 7000)
    reader, held = Reader(open_store(path), 8), in_memory(path, 8)
    assert len(held) == len(reader.stored) == 30
    assert len(shards(path, 8)) == 3
    assert np.array_equal(reader.read(range(30)), held)
    assert len(np.unique(held, axis=0)) == 30


def test_memory_that_children_hold_counts() -> None:
    before = anonymous()
    with subprocess.Popen([sys.executable, "-c", HOLD]) as child:
        most = before
        while child.poll() is None:
            most = max(most, anonymous())
    assert 80e6 < most - before < 160e6


def test_a_way_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(click.ClickException, match=r"bench\.ways\.nothing failed: .*No module named bench\.ways\.noth"):
        run_way("nothing")


def test_a_goal_against_a_peer_that_did_not_run_is_not_measured() -> None:
    def found(share: float) -> dict[str, float]:
        return {"share": share, "speed": 1.0, "memory": 1.0}

    wanted = goals({256: {"reader": found(0.8), "tfdata": found(0.4), "mosaicml": found(0.04)}})
    said = {goal.name: (goal.figure, goal.met) for goal in wanted}
    assert said["256 px: reader, times the limit"] == (0.8, True)
    assert said["256 px: tfdata, times the limit"] == (0.4, False)
    assert said["256 px: tfdata, times mosaicml"][1]
    assert said["256 px: tfdata, times ffcv_raw"] == (None, None)


def test_the_trainer_and_a_bare_loop_take_turns(tmp_path: Path) -> None:
    tiny_collection(tmp_path)
    config = load_config(tmp_path / "config.yaml", ["train.steps=100", "train.validate_every=4"])
    rounds = training.measure(config, 1)
    seen = last_beat(make_run(config, None).path)
    assert seen is not None
    assert seen[0].step == 8  # one round compiles
    ((trainer, bare, _),) = rounds
    assert 0 < trainer.waited < trainer.clock
    assert min(trainer.processors, bare.clock, bare.processors) > 0
    clocks = [(10, 9.5), (10, 9.9), (10, 8)]
    found = [training.Round(training.Spent(one, 2, one / 50), training.Spent(other, 2)) for one, other in clocks]
    assert [(goal.figure, goal.met) for goal in training.goals(found)] == [(0.95, False), (1, True), (0.02, True)]
