"""What the benchmarks measure with."""

import sys
from pathlib import Path

import click
import pytest

from bench.goals import Goal
from bench.meter import run
from bench.stage import share_of_dask, stored

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
