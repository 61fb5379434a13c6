"""Building a store: dask decodes shards in parallel, each durable once its record exists; then everything is sealed."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import polars as pl
import zarr

from preprocess.common.config import Config
from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.common.files import (
    ASIDE,
    digest,
    exclusive,
    fsync_file,
    fsync_folder,
    read_json,
    sha256_file,
    write_json,
    write_parquet,
)
from preprocess.common.progress import Progress
from preprocess.images import make_squares
from preprocess.manifest import manifest_digest
from preprocess.shard import FOUND, Job, build_shard
from preprocess.sources import Source, make_source
from preprocess.store import FORMAT, ROWS, SEAL, STORED, Store, create_arrays, find_store, point_to

TRIES = 2
"""For a shard whose worker process dies: a second one, as the fault may have been another's hunger for memory."""
SAMPLED_FOR_ESTIMATE = 8
BYTES_AROUND_CHUNK = 20
"""A CRC-32C, and an entry in the shard's index."""
RECORDS, BUILDING, STARTED = "records", "building", "started.json"


def build_store(config: Config, manifest: pl.DataFrame) -> Store:
    """Return the sealed store of `manifest` under the settings, building only what is missing.

    A run that was killed goes on from its finished shards. Raises StoreError.
    """
    source = make_source(config)
    inputs = store_inputs(config, manifest, source)
    folder = config.store_folder / f"{BUILDING}-{digest([inputs, recipe()])[:16]}"
    with exclusive(config.store_folder, StoreError):
        store = find_store(config.store_folder, inputs) or build(config, manifest, source, inputs, folder)
        point_to(store)
        shutil.rmtree(folder, ignore_errors=True)
    return store


def store_inputs(config: Config, manifest: pl.DataFrame, source: Source) -> dict[str, Any]:
    """Return all that a store's bytes depend on, but for the decoders' versions."""
    settings = config.preprocess.model_dump(exclude={"workers"})
    return settings | {"manifest": manifest_digest(manifest), "hashes_meaningful": source.hashes_meaningful}


def build(config: Config, manifest: pl.DataFrame, source: Source, inputs: dict[str, Any], folder: Path) -> Store:
    """Build in `folder` all shards that have no record yet, then seal."""
    store = folder / "store"
    settings = config.preprocess
    if not (folder / STARTED).exists() or not store.exists():  # none: a kill came between sealing and tidying up
        shutil.rmtree(folder, ignore_errors=True)
        create_arrays(store, len(manifest), settings.sizes, settings.rows_per_shard)
        write_json(folder / STARTED, {"inputs": inputs, "recipe": recipe()})
    for half_written in folder.rglob(f"{ASIDE}*"):  # by a run that was killed; the seal would list it
        half_written.unlink()
    how = tuple(settings.sizes), settings.square, settings.max_megapixels
    jobs = [
        Job(
            source,
            store,
            folder / RECORDS / f"{shard:06d}.json",
            tuple(part.select("key", "problem").iter_rows()),
            *how,
        )
        for shard, part in enumerate(manifest.iter_slices(settings.rows_per_shard))
    ]
    done = [read_json(job.record) for job in jobs if job.record.exists()]
    if missing := [job for job in jobs if not job.record.exists()]:
        workers = settings.workers or os.cpu_count() or 1
        announce_cost(missing, workers)
        run_jobs(missing, workers, len(manifest), sum(record["quarantined"] for record in done))
    return seal(config.store_folder, folder, manifest, inputs, [read_json(job.record) for job in jobs])


def announce_cost(jobs: list[Job], workers: int) -> None:
    """Print the disk and the time these jobs will need. Raises StoreError where the disk is too small."""
    first = jobs[0]
    count = sum(len(job.rows) for job in jobs)
    disk = count * sum(size * size * 3 + BYTES_AROUND_CHUNK for size in first.sizes)
    free = shutil.disk_usage(first.store).free
    readable = [key for job in jobs for key, problem in job.rows if not problem]
    sample = readable[:: max(1, len(readable) // SAMPLED_FOR_ESTIMATE)][:SAMPLED_FOR_ESTIMATE]
    started = time.monotonic()
    for key in sample:
        with suppress(UnreadablePicture), first.source.open(key) as image:
            make_squares(image, first.sizes, first.square, first.max_megapixels)
    seconds = (time.monotonic() - started) / max(1, len(sample)) * len(readable) / workers
    print(
        f"store: {count} pictures at {list(first.sizes)} px need {disk / 1e9:.2f} GB of {free / 1e9:.0f} GB free, "
        f"and about {seconds / 60:.1f} minutes with {workers} workers (estimated from {len(sample)} pictures)",
        file=sys.stderr,
    )
    if disk > free:
        raise StoreError(f"{first.store.parents[1]} has {free / 1e9:.2f} GB free and the store needs {disk / 1e9:.2f}; "
                         "free some space, set fewer preprocess.sizes, or another folder in stores")  # fmt: skip


def run_jobs(jobs: list[Job], workers: int, total: int, quarantined: int) -> None:
    """Run the jobs on local dask processes, one in flight for each: none waits behind another that kills its worker, to
    be blamed for it, and the 2 ms until the next comes are nothing to a shard's seconds.

    What is left of `total` pictures was done before, `quarantined` of them in vain.
    """
    from distributed import Future, KilledWorker, as_completed

    waiting = iter(jobs)
    with (
        Progress("store", total, "picture", total - sum(len(job.rows) for job in jobs)) as progress,
        local_cluster(min(workers, len(jobs))) as client,
    ):

        def submit_next(count: int) -> list[Future]:
            return [
                client.submit(build_shard, job, key=f"pictures {job.rows[0][0]!r} to {job.rows[-1][0]!r}", pure=False)
                for job in islice(waiting, count)
            ]

        finished = as_completed(submit_next(workers))
        for future in finished:
            try:
                stored, failed = future.result()
            except KilledWorker as error:
                raise StoreError(
                    f"{error.task}: the worker process died {TRIES} times, out of memory or by a picture that crashes "
                    "its decoder; set preprocess.workers or preprocess.max_megapixels lower, or remove the picture"
                ) from None
            quarantined += failed
            progress.advance(stored + failed, f"quarantined: {quarantined}")
            finished.update(submit_next(1))


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Yield a dask client of `workers` single-threaded processes on this machine, listening on loopback only."""
    import dask
    from distributed import Client, LocalCluster

    quiet = {
        "distributed.worker.memory.terminate": False, "distributed.logging.distributed": "error",
        "distributed.scheduler.allowed-failures": TRIES - 1,
    }  # fmt: skip
    # Workers inherit the block, so Ctrl-C reaches this process alone, which then ends them in good order. The tracker
    # is started before, as its first start unblocks the signal (Python 3.11).
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with (
            dask.config.set(quiet),
            LocalCluster(
                workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50
            ) as cluster,
            Client(cluster) as client,
        ):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            yield client
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def recipe() -> dict[str, str]:
    """Return the versions of the libraries that decide a store's bytes."""
    from importlib.metadata import version

    from PIL import features

    decoders = ("jpg", "libjpeg_turbo", "zlib", "libtiff", "webp", "jpg_2000", "littlecms2")
    versions = {name: str(features.version(name)) for name in decoders}
    return versions | {name: version(name) for name in ("pillow", "zarr", "tensorstore")}


def seal(collection: Path, folder: Path, manifest: pl.DataFrame, inputs: dict[str, Any], records: list[Any]) -> Store:
    """Write labels, rows and the seal beside the finished shards, and give the store its name."""
    path = folder / "store"
    labels = manifest["label"].to_numpy()
    zarr.open_group(path).create_array("label", data=labels, dimension_names=["row"], overwrite=True)
    found = pl.DataFrame([row for record in records for row in record["rows"]], FOUND)
    rows = manifest.drop("mtime_ns", "problem").with_row_index("row").hstack(found)
    write_parquet(path / ROWS, rows)
    files = {name: sha256 for record in records for name, sha256 in record["files"].items()}
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        if file.is_file() and name not in files and name != SEAL:
            fsync_file(file)
            files[name] = sha256_file(file)
    contents = {
        "format": FORMAT, "inputs": inputs, "recipe": recipe(), "rows": len(rows),
        "stored": rows.filter(pl.col("status") == STORED).height, "files": files,
    }  # fmt: skip
    write_json(path / SEAL, contents)
    sealed = collection / digest(contents)
    shutil.rmtree(sealed, ignore_errors=True)  # there only if its own seal was damaged
    path.rename(sealed)
    fsync_folder(collection)
    return Store(sealed, contents)
