"""How many pictures are embedded at once: found without risk, within the budget, remembered, and kept by the run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import ConfigError
from preprocess.common.files import read_json
from preprocess.common.learning import Train
from preprocess.manifest import make_manifest
from tests.conftest import SOAK
from tests.survival import supervised
from tests.tiny import paint, tiny_collection, write_settings
from train import microbatch as module
from train.memory import budget, processor, share_of, utilisation
from train.microbatch import Known, decide, halve, largest, microbatch, rough
from train.run import Run, make_run
from train.supervise import Limits
from train.worker import AUTO

MB = 10**6


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_collection(tmp_path_factory.mktemp("microbatch"))[0]


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Run:
    return make_run(config, tmp_path / "runs" / "run")


def needing(fixed: int, each: int, asked: list[int]) -> Callable[[int], int]:
    """Return a measure of a run that takes `fixed` bytes and so many for each picture; notes what it was asked."""

    def measure(piece: int) -> int:
        asked.append(piece)
        return fixed + each * piece

    return measure


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("batch", [64, 1000, 4096])
@pytest.mark.parametrize("room", [530 * MB, 540 * MB, 700 * MB, 2000 * MB, 30_000 * MB])
def test_the_piece_fills_the_room_and_never_passes_it(batch: int, room: int, killed: bool) -> None:
    asked: list[int] = []
    needs = needing(500 * MB, 3 * MB, asked)
    piece = largest(batch, room, lambda n: None if killed and needs(n) > room else needs(n))
    assert needs(piece) <= 0.95 * room
    assert piece == batch or needs(piece) >= 0.9 * room or needs(piece + 1) > 0.95 * room
    assert len(set(asked)) <= module.PROBES


def test_a_room_too_small_for_one_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.memory leaves 500\.0 MB, .*; raise it, or lower train\.size"):
        largest(64, 500 * MB, needing(500 * MB, MB, []))


def test_probes_are_remembered_for_every_budget_that_they_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def probed(job: dict[str, Any]) -> int | None:
        asked.append((job["piece"], job["room"]))
        return None if job["piece"] > 8 else 100

    monkeypatch.setattr(module, "probe", probed)

    def measure(piece: int, room: int, **changes: Any) -> int | None:
        return Known(run, {"pipeline": changes, "devices": 1}, room, lambda: None).measure(piece)

    assert [measure(8, 200), measure(8, 50), measure(16, 200), measure(16, 150)] == [100, 100, None, None]
    assert asked == [(8, 200), (16, 200)]
    measure(16, 300)  # might fit by now
    measure(8, 200, feed="device")
    assert asked[2:] == [(16, 300), (8, 200)]


def test_the_default_demo_needs_no_probe() -> None:
    train = Train()
    store = SimpleNamespace(seal={"stored": 1600}, size_for=lambda size: size)
    demo = SimpleNamespace(settings=train, store=store)
    assert rough(demo) < 2000 * MB  # type: ignore[arg-type]


def test_a_run_that_fits_for_certain_is_not_probed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "probe", pytest.fail)
    decide(run, AUTO, {}, lambda: None)
    assert microbatch(run.path) is None


def test_what_was_decided_is_kept_until_something_else_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(run, AUTO | {"microbatch": 12}, {}, lambda: None)
    assert microbatch(run.path) == 12
    assert halve(run.path, 5, "out of memory")
    decide(run, AUTO | {"microbatch": 12}, {}, lambda: None)
    assert microbatch(run.path) == 6
    decide(run, AUTO | {"microbatch": 7}, {}, lambda: None)
    assert microbatch(run.path) == 7


def test_a_probe_that_fails_for_another_reason_stops_no_training(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(module, "rough", lambda run: float("inf"))
    decide(run, AUTO, {"run": str(run.path / "none"), "pipeline": {}}, lambda: None)
    assert microbatch(run.path) is None
    assert re.search("a probe failed: error: .* is not a run directory", capsys.readouterr().err)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_shares_and_bytes_of_what_is_there() -> None:
    assert [share_of(asked, 1000, 0.8) for asked in ("auto", 0.5, 300, 3000)] == [800, 500, 300, 1000]
    used = processor()
    assert 0 < used.used <= used.peak
    assert used.used < budget(1.0)


def test_the_processor_s_use_and_peak_are_of_this_process() -> None:
    before = processor()
    held = bytearray(b"x") * (300 * MB)
    during = processor()
    del held
    after = processor()
    assert during.used - before.used >= 290 * MB
    assert after.peak >= before.used + 290 * MB
    assert after.used < during.used - 200 * MB


def test_gpus_are_watched_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert utilisation() is None
    fake = tmp_path / "nvidia-smi"
    fake.write_text('#!/bin/sh\ncase "$1" in *memory.free) echo 1000; echo 2000;; *gpu) echo 90; echo 60;; esac\n')
    fake.chmod(0o755)
    assert utilisation() == pytest.approx(0.75)
    assert budget(0.5) == 500 * 2**20
    fake.write_text("#!/bin/sh\nexit 9\n")
    assert utilisation() is None


ROOMS = ["740MB", *(f"{600 + 5 * number}MB" for number in range(1, SOAK))]


@pytest.mark.soak
def test_real_training_fills_its_memory_and_never_passes_it(tmp_path: Path) -> None:
    """A batch of 320 takes about 950 MB: too much for any of these budgets."""
    paint(tmp_path / "pictures", 40, 24)
    wide = {"size": 64, "width": 32, "embedding": 16, "batch": 320, "steps": 2, "validate_every": 2}
    sections: dict[str, Any] = {"train": wide, "preprocess": {"sizes": [64], "workers": 1}}
    config = load_config(write_settings(tmp_path, **sections))
    build_store(config, make_manifest(config))
    for room in ROOMS:
        settings = load_config(tmp_path / "config.yaml", [f"train.memory={room}"]).train
        memory = settings.model_dump(include={"microbatch", "memory", "devices"})
        run, ending = supervised(config, tmp_path / "runs" / room, Limits(), memory=memory)
        assert ending.status == 0
        assert not (run.path / "incidents.jsonl").exists()
        assert microbatch(run.path) in range(1, 320)
        peaks = [line["memory_peak"] for line in run.logged()]
        most = budget(settings.memory)
        assert 0.8 * most <= max(peaks) <= most, (room, peaks)
    (known,) = read_json(tmp_path / "runs" / "probes.json").values()
    print(json.dumps(known), [line["memory_peak"] for line in run.logged()])
