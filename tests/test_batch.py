"""Batch use: parts that know nothing of each other, and workers of a dask scheduler that is already there."""

import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from preprocess.build import build_part, build_store, seal_parts
from preprocess.cluster import local_cluster, run_jobs, workers_of
from preprocess.common.config import Config, load_config
from preprocess.common.errors import StoreError
from preprocess.manifest import make_manifest
from preprocess.plan import Part, Plan
from preprocess.shard import Job, build_shard
from preprocess.store import Store, current_store
from tests.conftest import ROOT
from tests.helpers import collection, command, smooth, store_files, write_config, write_table


@pytest.fixture
def config(tmp_path: Path) -> Config:
    collection(tmp_path / "pictures")
    return load_config(write_config(tmp_path, preprocess={"workers": 1}))


def test_parts_in_any_order_and_a_seal_make_the_same_store(config: Config, built: Store) -> None:
    make_manifest(config)
    path = config.source.path.parent / "config.yaml"
    for index in (2, 0):
        answer = command("store", "--shards", f"{index}/3", "--config", path)
        assert answer.out.startswith(f"store: part {index} of 3, {2 - (index > 0)} shards")
    refused = command("seal", "--config", path)
    assert "1 shards are not built yet: 1; run the jobs of their parts again" in refused.complaint
    command("store", "--shards", "1/3", "--config", path)
    assert command("seal", "--config", path).out.startswith("store: 18 of 20 pictures")
    assert store_files(current_store(config.store_folder)) == store_files(built)
    assert {path.name for path in config.store_folder.iterdir()} >= {"CURRENT"}
    assert not list(config.store_folder.glob("building-*"))
    assert command("seal", "--config", path).status == 0


def test_a_part_decodes_only_its_shards_and_a_rerun_none(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = make_manifest(config)
    assert build_part(config, manifest, Part(1, 3)) == {"shards": 1, "pictures": 5}
    plan = Plan.of(config, manifest)
    assert [job.number for job in plan.jobs() if job.done()] == [1]
    monkeypatch.setattr("preprocess.build.run_jobs", lambda *_: pytest.fail("decoded again"))
    build_part(config, manifest, Part(1, 3))


def test_two_jobs_on_the_same_shards_at_once_do_no_harm(config: Config, built: Store) -> None:
    make_manifest(config)
    command_line = [sys.executable, "-m", "preprocess", "store", "--shards", "0/1"]
    command_line += ["--config", str(config.source.path.parent / "config.yaml")]
    running = [subprocess.Popen(command_line, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert store_files(seal_parts(config, make_manifest(config))) == store_files(built)


@pytest.mark.parametrize("part", ["3/3", "1", "a/b", "-1/3", "1/0"])
def test_a_part_that_is_none_is_refused(part: str, config: Config) -> None:
    answer = command("store", "--shards", part, "--config", config.source.path.parent / "config.yaml")
    assert answer.status == 2
    assert "takes I/N with I from 0 to N - 1" in answer.err


def test_parts_want_a_manifest_that_is_there(config: Config) -> None:
    answer = command("store", "--shards", "0/2", "--config", config.source.path.parent / "config.yaml")
    assert "run 'python -m preprocess manifest' first" in answer.complaint


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 3])
def test_there_are_as_many_local_workers_as_asked_for(workers: int) -> None:
    with local_cluster(workers) as client:
        assert workers_of(client) == workers


def test_the_rows_of_a_shard_are_let_go_once_it_is_built(tmp_path: Path) -> None:
    collection(tmp_path / "pictures")
    config = load_config(write_config(tmp_path, preprocess={"workers": 1, "rows_per_shard": 1}))
    plan = Plan.of(config, make_manifest(config))
    plan.start()
    with local_cluster(1) as client:
        run_jobs(plan.jobs(), client, lambda _: None)
        left = [job for job in gc.get_objects() if isinstance(job, Job) and job.folder == plan.folder]
        assert len(left) < 5  # of 20; some are still on their way


def test_ctrl_c_waits_until_a_shard_is_handed_over(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, handed = Plan.of(config, make_manifest(config)), []
    plan.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with local_cluster(1) as client:
            submit = client.submit

            def interrupted(*given: Any, **named: Any) -> Any:
                os.kill(os.getpid(), signal.SIGINT)
                handed.append(submit(*given, **named))
                return handed[-1]

            monkeypatch.setattr(client, "submit", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run_jobs(plan.jobs(), client, lambda _: None)
        assert len(handed) == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


class Cluster:
    """A real dask scheduler with workers on loopback, each a process of its own outside the project's folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.run("scheduler", "--host", self.address, "--dashboard-address", "127.0.0.1:0")

    def run(self, what: str, *options: object) -> subprocess.Popen[bytes]:
        """Start `dask what options`; it is killed at the end of the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", what, *map(str, options)], cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.stack.callback(end, process)
        return process

    def worker(self, threads: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker without a nanny, so that a kill is the end of it."""
        return self.run("worker", self.address, "--nthreads", threads, "--no-nanny", "--no-dashboard",
                        "--host", "127.0.0.1", "--local-directory", self.folder)  # fmt: skip

    def wait_for(self, workers: int) -> None:
        from distributed import Client

        with Client(self.address, timeout=60) as client:
            client.wait_for_workers(workers, timeout=60)


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("cluster"), stack)


def test_a_cluster_builds_the_same_store_with_code_that_its_workers_did_not_have(
    cluster: Cluster, config: Config, built: Store
) -> None:
    cluster.worker()
    cluster.worker()
    cluster.wait_for(2)
    answer = command("store", "--scheduler", cluster.address, "--config", config.source.path.parent / "config.yaml")
    assert answer.out.startswith("store: 18 of 20 pictures"), answer
    assert "the dashboard of the cluster is at http://127.0.0.1:" in answer.err
    assert store_files(current_store(config.store_folder)) == store_files(built)


def test_a_worker_killed_in_the_middle_costs_only_its_shard(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(60):
        smooth(index, 500, 400).save(folder / f"{index:02d}.jpg", quality=90)
    write_table(folder / "train_info.csv", [(f"{i:02d}.jpg", f"artist {i % 3}", "", "", "", "") for i in range(60)])
    path = write_config(tmp_path, preprocess={"rows_per_shard": 2})
    config = load_config(path)
    doomed = cluster.worker()
    cluster.worker()
    cluster.wait_for(2)
    build = subprocess.Popen(
        [sys.executable, "-m", "preprocess", "store", "--scheduler", cluster.address, "--config", path],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(list(config.store_folder.glob("building-*/records/*.json"))) < 5 and build.poll() is None:
        time.sleep(0.005)
    assert build.poll() is None
    os.killpg(doomed.pid, signal.SIGKILL)
    _, err = build.communicate(timeout=120)
    assert build.returncode == 0, err
    local = config.model_copy(update={"stores": tmp_path / "local"})
    assert store_files(current_store(config.store_folder)) == store_files(build_store(local, make_manifest(local)))


def test_a_worker_with_several_threads_is_refused(cluster: Cluster, config: Config) -> None:
    cluster.worker(threads=2)
    cluster.wait_for(1)
    answer = command("store", "--scheduler", cluster.address, "--config", config.source.path.parent / "config.yaml")
    assert "has 2 threads; start workers with --nthreads 1" in answer.complaint


def test_a_scheduler_that_is_not_there_or_has_no_workers_is_one_line(cluster: Cluster, config: Config) -> None:
    path = config.source.path.parent / "config.yaml"
    answer = command("store", "--scheduler", f"tcp://127.0.0.1:{free_port()}", "--config", path)
    assert "no dask scheduler answers at tcp://127.0.0.1:" in answer.complaint
    answer = command("store", "--scheduler", cluster.address, "--config", path)
    assert f"{cluster.address} has no workers; start some: dask worker" in answer.complaint


def test_a_worker_with_other_decoders_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan.of(config, make_manifest(config))
    plan.start()
    job = next(plan.jobs())
    monkeypatch.setattr("preprocess.shard.recipe", lambda: job.recipe | {"pillow": "0.1"})
    with pytest.raises(StoreError, match=r"has pillow 0\.1, not .*, and would decode other pixels"):
        build_shard(job)
    assert not job.done()


def test_the_recipe_is_the_same_whatever_was_imported_before() -> None:
    """TensorFlow has a zlib of its own, and a worker of a process that has loaded it has not."""
    say = "from preprocess.recipe import recipe; print(recipe())"
    told = {
        subprocess.check_output([sys.executable, "-c", f"import {first}; {say}"], cwd=ROOT, stderr=subprocess.DEVNULL)
        for first in ("zlib", "tensorflow")
    }
    assert len(told) == 1


def test_a_worker_that_does_not_see_the_folder_is_refused(config: Config) -> None:
    job = next(Plan.of(config, make_manifest(config)).jobs())
    with pytest.raises(StoreError, match=r"does not see .*; use a folder that all machines share"):
        build_shard(job)
    assert not job.folder.exists()


def test_workers_end_with_the_command(config: Config) -> None:
    """And so do their decoders."""
    process = subprocess.Popen(
        [sys.executable, "-m", "preprocess", "store", "--config", config.source.path.parent / "config.yaml"],
        cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert process.wait(120) == 0
    left = [one for one in psutil.process_iter(["pid"]) if one.pid != process.pid and group_of(one.pid) == process.pid]
    assert psutil.wait_procs(left, timeout=20)[1] == []


def group_of(pid: int) -> int:
    """Return the process group of a process, or 0 where it is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
