"""A full disk and a store that is gone for a while: training waits and loses nothing."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.openshards import Unreadable
from pipeline.reader import Reader
from pipeline.shards import Shards
from preprocess.common.config import Config
from preprocess.common.errors import StoreError, StoreGone
from tests.conftest import Once
from tests.survival import changed, weights
from tests.tiny import tiny_collection
from train import outage
from train.fit import fit
from train.incidents import incidents
from train.outage import patiently
from train.pulse import Phase, Pulse, last_beat
from train.run import Run, make_run


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return changed(tiny_collection(tmp_path)[0], "pipeline.feed=stream")


@pytest.fixture
def undisturbed(once: Once) -> dict[str, np.ndarray]:
    """The weights of a run that nothing befell."""

    def trained(folder: Path) -> None:
        config = changed(tiny_collection(folder)[0], "pipeline.feed=stream")
        fit(make_run(config, folder / "run"), config.pipeline)

    return weights(once("outages", trained) / "run")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long training waited each time, which takes no time here."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def test_a_full_disk_is_waited_for_and_costs_no_step(
    config: Config,
    undisturbed: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is in memory is saved once there is room: no step is done again."""
    run = make_run(config, tmp_path / "run")
    room, beats = [False], []
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if not room[0] and "checkpoints" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    def sleep(seconds: float) -> None:
        beats.append(last_beat(run.path))
        room[0] = len(beats) == 2

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(time, "sleep", sleep)
    fit(run, config.pipeline, pulse=Pulse(run.path / "heartbeat"))
    assert [(beat[0].phase, beat[0].step) for beat in beats if beat] == [("wait", 3), ("wait", 3)]
    assert capsys.readouterr().err.count("the disk is full; waiting for room") == 1
    assert all((array == undisturbed[name]).all() for name, array in weights(run.path).items())


def test_other_errors_of_the_disk_are_not_waited_for(waits: list[float]) -> None:
    def fail() -> None:
        raise OSError(errno.EROFS, "read-only")

    with pytest.raises(OSError, match="read-only"):
        patiently(fail, Pulse())
    assert waits == []


def stale(path: Path) -> Any:
    """Return a read_into whose files, opened before or not, are those of a mount that is gone while `path` is."""
    read_into = Shards.read_into

    def read(self: Shards, rows: Any, out: Any) -> None:
        if not path.exists():
            raise Unreadable.because(int(rows[0]), OSError(errno.ESTALE, os.strerror(errno.ESTALE)))
        read_into(self, rows, out)

    return read


def test_a_store_that_comes_back_is_waited_for(
    config: Config,
    undisturbed: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run(config, tmp_path / "run")
    away = tmp_path / "away"
    waits: list[float] = []
    log = Run.log

    def lose(run: Run, line: dict[str, Any]) -> None:
        log(run, line)
        if line["step"] == 3 and not waits:
            run.store.path.rename(away)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            away.rename(run.store.path)

    monkeypatch.setattr(Run, "log", lose)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(Shards, "read_into", stale(run.store.path))
    fit(run, config.pipeline)
    assert waits == [outage.WAIT_SECONDS] * 3
    (incident,) = incidents(run.path)
    assert "cannot be read: Stale file handle; look after the disk, mount or network" in str(incident["cause"])
    assert incident["remedy"] == "waiting for the store"
    assert capsys.readouterr().err.count("; waiting for it") == 1
    assert [line["step"] for line in run.logged()] == [3, 6]
    assert all((array == undisturbed[name]).all() for name, array in weights(run.path).items())


class Noted(Pulse):
    """Knows which steps were finished, and when."""

    def __init__(self, path: Path) -> None:
        self.steps: list[int] = []
        super().__init__()
        self.path = path

    def beat(self, phase: Phase, step: int | None = None) -> None:
        super().beat(phase, step)
        if phase == "step":
            self.steps.append(self.step)
            if self.steps == [1, 2]:
                self.path.rename(self.path.with_name("away"))
        elif phase == "wait":
            self.path.with_name("away").rename(self.path)


def test_steps_before_the_store_went_are_not_done_again(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    config = changed(config, "pipeline.feed=stream", "pipeline.prefetch=1", "train.steps=30", "train.validate_every=30")
    run = make_run(config, tmp_path / "run")
    monkeypatch.setattr(Shards, "read_into", stale(run.store.path))
    pulse = Noted(run.store.path)
    fit(run, config.pipeline, pulse=pulse)
    assert pulse.steps == list(range(1, 31))
    assert len(waits) == 1
    assert run.logged()[0]["step"] == 30


def test_a_damaged_store_is_no_outage(config: Config, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run")
    (shard,) = (path for path in run.store.path.glob("images_16/c/0/**/*") if path.is_file())
    data = bytearray(shard.read_bytes())
    data[: len(data) // 2] = bytes(len(data) // 2)
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"is damaged: .*; run 'make check-store'") as error:
        fit(run, config.pipeline)
    assert not isinstance(error.value, StoreGone)


def test_what_is_gone_is_told_from_what_is_damaged(config: Config, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run")
    store = run.store
    assert len(store.rows) == 141
    store.path.rename(tmp_path / "away")
    with pytest.raises(StoreGone, match=r"zarr\.json cannot be read: No such file"):
        Reader(store, 16)
