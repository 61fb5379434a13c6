"""Building a store: the same bytes whoever builds it, nothing done twice, and a killed run that goes on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from preprocess import build as building
from preprocess.build import build_store
from preprocess.check import check_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import StoreError
from preprocess.manifest import make_manifest
from preprocess.plan import Plan
from preprocess.seal import seal
from preprocess.store import Store, current_store
from tests.conftest import ROOT, SOAK
from tests.helpers import collection, command, contents, raiser, smooth, store_files, write_config, write_table

Usage = namedtuple("Usage", "total used free")


def build_again(config: Config, **settings: object) -> Store:
    """Build with the settings of `config`, changed."""
    changed = config.model_copy(update={"preprocess": config.preprocess.model_copy(update=settings)})
    return build_store(changed, make_manifest(changed))


def refuse_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "build_shards", raiser(AssertionError("built again")))


def test_a_store_is_the_same_bytes_with_one_worker_as_with_two(built: Store, tmp_path: Path) -> None:
    collection(tmp_path / "pictures")
    config = load_config(write_config(tmp_path, preprocess={"workers": 1}))
    store = build_store(config, make_manifest(config))
    assert store.fingerprint == built.fingerprint
    assert contents(store.path) == contents(built.path)
    assert {path.name for path in config.store_folder.iterdir()} == {
        "manifest.parquet", ".lock", "CURRENT", "progress", store.fingerprint,
    }  # fmt: skip


def test_a_rerun_builds_nothing(built: Store, built_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.path.parent.rglob("*") if path.name != ".lock"}
    refuse_to_build(monkeypatch)
    assert build_again(built_config, workers=7).path == built.path
    assert {path: path.stat().st_mtime_ns for path in built.path.parent.rglob("*") if path.name != ".lock"} == before


def test_another_setting_makes_another_store_and_going_back_builds_nothing(
    built: Store, built_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = built_config.model_copy(update={"stores": tmp_path})
    shutil.copytree(built.path.parent, config.store_folder)
    other = build_again(config, square="pad")
    assert other.fingerprint != built.fingerprint
    assert current_store(config.store_folder).path == other.path
    first = config.store_folder / built.fingerprint
    assert contents(first) == contents(built.path)
    refuse_to_build(monkeypatch)
    assert build_again(config).path == first
    assert current_store(config.store_folder).path == first
    assert check_store(other) == []


def test_a_store_whose_seal_is_damaged_is_built_again(built: Store, built_config: Config, tmp_path: Path) -> None:
    config = built_config.model_copy(update={"stores": tmp_path})
    shutil.copytree(built.path.parent, config.store_folder)
    (config.store_folder / built.fingerprint / "seal.json").write_text("{")
    store = build_again(config)
    assert store.path.name == built.fingerprint
    assert check_store(store) == []


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """config.yaml of 40 pictures, one a shard: enough to stop a build in the middle."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(40):
        smooth(index, 500, 400).save(folder / f"{index:02d}.jpg", quality=90)
    write_table(folder / "train_info.csv", [(f"{i:02d}.jpg", f"artist {i % 3}", "", "", "", "") for i in range(40)])
    return write_config(tmp_path, preprocess={"rows_per_shard": 1})


@pytest.fixture
def running(many: Path) -> Iterator[subprocess.Popen[str]]:
    """`python -m preprocess store` in a process group of its own, when some of its shards are done and others not."""
    process = start(many)
    while len(records(many)) < 4 and process.poll() is None:
        time.sleep(0.002)
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def living(group: int) -> list[psutil.Process]:
    """Return the processes of a group that are still there after a while to end; zombies are not."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return psutil.wait_procs(found, timeout=20)[1]


def records(config: Path) -> dict[Path, int]:
    """Return the records of finished shards with their modification times."""
    found = config.parent.glob("stores/pictures/building-*/records/[0-9]*.json")
    return {path: path.stat().st_mtime_ns for path in found}


def test_a_killed_build_goes_on_to_the_same_bytes_without_doing_a_shard_twice(
    many: Path, running: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also: a second command meanwhile is refused, and room is needed only for what is left."""
    refused = command("store", "--config", many)
    assert f"{many.parent / 'stores/pictures'} is in use by another process" in refused.complaint
    assert refused.err.count("\n") == 1
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    done = records(many)
    assert 4 <= len(done) < 40
    (folder,) = many.parent.glob("stores/pictures/building-*")
    half_written = folder / "store/images_16/c/39/0/0/.aside-1-0"
    half_written.parent.mkdir(parents=True, exist_ok=True)
    half_written.write_bytes(b"half")

    at_the_end: dict[Path, int] = {}

    def watched(*arguments: Any) -> Store:
        at_the_end.update(records(many))
        return seal(*arguments)

    monkeypatch.setattr("preprocess.build.seal", watched)
    room = (40 - len(done)) * ((16 * 16 + 40 * 40) * 3 + 2 * (20 + 64))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, room))
    config = load_config(many)
    store = build_store(config, make_manifest(config))
    assert len(at_the_end) == 40
    assert {path: at_the_end[path] for path in done} == done
    assert check_store(store) == []
    assert not list(many.parent.glob("stores/pictures/building-*"))

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**9))
    elsewhere = config.model_copy(update={"stores": many.parent / "elsewhere"})
    assert build_store(elsewhere, make_manifest(elsewhere)).fingerprint == store.fingerprint


def start(config: Path, **environment: str) -> subprocess.Popen[str]:
    """Start `python -m preprocess store` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "preprocess", "store", "--config", config],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.soak
def test_kills_at_any_moment_cost_at_most_the_shards_in_flight(many: Path) -> None:
    """SIGKILL for all processes, 5 times or 5 times SOAK; when a build ends, another one starts from nothing."""
    config = load_config(many)
    expected, duration = undisturbed(many)
    rng = random.Random(0)
    kills = ends = 0
    while kills < 5 * SOAK or not ends:
        before = records(many)
        process = start(many)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=rng.uniform(0.1, 1.2) * duration if kills < 5 * SOAK else 120)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            # Once the store is current the records go, one after the other, and a kill may come between two.
            assert before.items() <= records(many).items() or current_store(config.store_folder).fingerprint
            continue
        assert process.returncode == 0, process.communicate()
        assert store_files(current_store(config.store_folder)) == expected
        assert {path.name for path in config.store_folder.iterdir()} >= {"CURRENT", "manifest.parquet"}
        assert not list(config.store_folder.glob("building-*"))
        shutil.rmtree(config.stores)
        ends += 1
    print(f"{kills} kills, {ends} builds ended, each with the bytes of one that nobody disturbed")


def undisturbed(config_path: Path) -> tuple[dict[str, str], float]:
    """Return the files of a store that was built in peace, and the seconds that took; the store is removed again."""
    started = time.monotonic()
    process = start(config_path)
    assert process.wait(120) == 0
    duration = time.monotonic() - started
    config = load_config(config_path)
    files = store_files(current_store(config.store_folder))
    shutil.rmtree(config.stores)
    return files, duration


FAILING_DISK = """
import errno, os
code, left = os.environ["FAULT"].split(":")
left = int(left)
fsync = os.fsync

def failing(descriptor):
    global left
    left -= 1
    if left == 0:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    return fsync(descriptor)

os.fsync = failing
"""


@pytest.mark.soak
def test_a_disk_that_fails_at_any_write_costs_nothing_but_a_rerun(many: Path, tmp_path: Path) -> None:
    """ENOSPC and EIO by turns at the n-th flush of every process: one line, status 2; the next run goes on."""
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty/sitecustomize.py").write_text(FAILING_DISK)
    config = load_config(many)
    expected, _ = undisturbed(many)
    rng = random.Random(0)
    failed = ends = 0
    for turn in range(4 * SOAK):
        fault = f"{('ENOSPC', 'EIO')[turn % 2]}:{rng.randrange(1, 40)}"
        process = start(many, FAULT=fault, PYTHONPATH=str(tmp_path / "faulty"))
        _, err = process.communicate(timeout=120)
        if process.returncode:
            failed += 1
            assert process.returncode == 2, err
            last = err.splitlines()[-1]
            assert last.startswith("error: "), err
            assert "run again: what is done is kept" in last
        else:
            assert store_files(current_store(config.store_folder)) == expected
            shutil.rmtree(config.stores)
            ends += 1
    process = start(many)
    assert process.wait(120) == 0
    assert store_files(current_store(config.store_folder)) == expected
    print(f"{failed} of {4 * SOAK} runs ended by a failing disk; {ends + 1} builds ended, each with the right bytes")


def test_a_kill_after_sealing_leaves_nothing_that_stands_in_the_way(built: Store, built_config: Config) -> None:
    """The folder of the build may outlive the rename of the store, with all its records but without the store."""
    left = Plan.of(built_config, make_manifest(built_config)).folder
    (left / "records").mkdir(parents=True)
    (left / "records/000000.json").write_text("{}")
    (left / "started.json").write_text("{}")
    assert build_again(built_config).path == built.path
    assert not left.exists()


def test_ctrl_c_ends_a_build_without_a_traceback_and_without_workers(
    many: Path, running: subprocess.Popen[str]
) -> None:
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == 1
    assert err.endswith("Aborted!\n")
    assert "Traceback" not in err
    assert not living(running.pid)
    assert not [path for path in many.parent.rglob(".*") if path.name != ".lock"]


def test_a_build_says_nothing_on_standard_error_but_its_progress(many: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "preprocess", "store", "--config", many, "--set", "preprocess.rows_per_shard=20"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    lines = answer.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["store", "store"]
    assert "40 pictures at [16, 40] px need 0.00 GB" in lines[0]
    assert "40/40" in lines[1]
    assert all(word in lines[1] for word in ("MB/s", "quarantined: 0", "MB a worker"))


def test_a_disk_that_is_too_small_is_said_before_decoding(
    built_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = built_config.model_copy(update={"stores": tmp_path})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 1000))
    monkeypatch.setattr(building, "run_jobs", raiser(AssertionError("decoded")))
    with pytest.raises(StoreError, match=r"has 0\.00 GB free and the store needs .*; free some space"):
        build_again(config)
