"""Where the work is done: dask workers on this machine, or those of a scheduler that is already there."""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from preprocess.common.errors import StoreError
from preprocess.shard import Job, build_shard

TRIES = 2
"""For a shard whose worker process dies: a second one, as the fault may have been another's hunger for memory."""
ROOT = Path(__file__).resolve().parents[1]
WHEEL = ("preprocess", "pipeline", "train", "pyproject.toml", "README.md", "LICENSE")


def run_jobs(jobs: Iterator[Job], client: Any, finished: Callable[[dict[str, Any]], None]) -> None:
    """Run the jobs on the workers of `client` and call `finished` with what each came to.

    As many are in flight as there are workers: no graph of all shards is ever built, and the 2 ms until the next comes
    are nothing to a shard's seconds. Raises StoreError.
    """
    from distributed import Future, KilledWorker, as_completed

    def submit(count: int) -> list[Future]:
        with interrupt_held():
            return [
                client.submit(build_shard, job, key=f"shard {job.number} of {job.folder.name}", pure=False)
                for job in islice(jobs, count)
            ]

    flying = as_completed(submit(workers_of(client)))
    for future in flying:
        try:
            finished(future.result())
        except KilledWorker as error:
            raise StoreError(f"{error.task}: its worker died {TRIES} times, killed from outside or out of memory; "
                             "set preprocess.workers lower and run again: what is done is kept") from None  # fmt: skip
        flying.update(submit(1 + max(0, workers_of(client) - flying.count() - 1)))


@contextmanager
def interrupt_held() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block: dask's futures, broken off half made, complain on standard error.

    By a handler, as a blocked signal would be taken by threads of other libraries. Where Ctrl-C means something else
    than KeyboardInterrupt here, nothing is done.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if held:
        raise KeyboardInterrupt


def workers_of(client: Any) -> int:
    """Return how many workers there are now."""
    return len(client.scheduler_info(n_workers=-1)["workers"])


def cluster_for(scheduler: str | None, workers: int) -> AbstractContextManager[Any]:
    """Return a dask client of the scheduler at that address, or without one of `workers` processes on this machine."""
    return existing_cluster(scheduler) if scheduler else local_cluster(workers)


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Yield a dask client of `workers` single-threaded processes on this machine, listening on loopback only."""
    import dask
    from distributed import Client, LocalCluster

    quiet = {
        "distributed.worker.memory.terminate": False, "distributed.logging.distributed": "error",
        "distributed.scheduler.allowed-failures": TRIES - 1,
        # Dask's own 64 KiB gives every picture's memory back at once, and costs a sixth of a worker's time.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 24,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 22,
        # What dask watches itself with, up to a hundred times a second, costs 2 % of the processors.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s", "distributed.admin.tick.cycle": "5s",
        "distributed.admin.system-monitor.interval": "5s", "distributed.admin.system-monitor.disk": False,
        # For its developers dask keeps the last thousand messages, and with them the rows of a thousand shards.
        "distributed.admin.low-level-log-length": 0,
    }  # fmt: skip
    # Workers inherit the block, so Ctrl-C reaches this process alone, which then ends them in good order. The tracker
    # is started before, as its first start unblocks the signal (Python 3.11).
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with (
            dask.config.set(quiet),
            LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=0, host="127.0.0.1",
                dashboard_address="127.0.0.1:0", silence_logs=50,
            ) as cluster,
            Client(cluster) as client,
        ):  # fmt: skip
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            yield client
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def existing_cluster(address: str) -> Iterator[Any]:
    """Yield a client of the dask scheduler at `address`, whose workers have been given this code as a wheel.

    Raises StoreError where there is no scheduler or no worker, or one that has several threads: the cap on memory holds
    for a process, which decodes one picture at a time.
    """
    from distributed import Client

    try:
        client = Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise StoreError(f"no dask scheduler answers at {address} ({error}); start one with 'dask scheduler'") from None
    with client:
        print(f"store: the dashboard of the cluster is at {client.dashboard_link}", file=sys.stderr)
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise StoreError(
                f"the scheduler at {address} has no workers; start some: dask worker {address} --nthreads 1"
            )
        for worker in workers.values():
            if worker["nthreads"] != 1:
                raise StoreError(f"the worker {worker['name']} at {address} has {worker['nthreads']} threads; "
                                 "start workers with --nthreads 1, and --nworkers for more than one")  # fmt: skip
        upload_code(client)
        yield client


def upload_code(client: Any) -> None:
    """Give this code to all workers, now and later ones, as a wheel; dask wants it to be called .zip.

    Raises StoreError where this is no checkout, from which a wheel can be built.
    """
    if not (ROOT / "pyproject.toml").exists():
        raise StoreError(f"{ROOT} is not a checkout of this project, and a cluster's workers get the code as a wheel "
                         "made from one; clone the project and run it there")  # fmt: skip
    with TemporaryDirectory() as folder:
        for name in WHEEL:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))  # building leaves its files beside the sources
        build = [sys.executable, "-c", "import setuptools.build_meta as build; print(build.build_wheel('.'))"]
        made = subprocess.run(build, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603 - fixed
        wheel = Path(folder, made.stdout.split()[-1])
        client.upload_file(str(wheel.rename(wheel.with_suffix(".zip"))))
