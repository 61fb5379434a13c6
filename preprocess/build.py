"""Building a store: dask decodes shards in parallel, each durable once its record exists; then everything is sealed."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import zarr

from preprocess.common.config import Config
from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.common.files import digest, exclusive, fsync_file, fsync_folder, read_json, sha256_file, write_json, written_aside
from preprocess.common.progress import Progress
from preprocess.images import make_squares
from preprocess.manifest import manifest_digest
from preprocess.shard import Job, build_shard
from preprocess.sources import Source, make_source
from preprocess.store import FORMAT, ROWS, SEAL, STORED, Store, create_arrays, find_store, point_to

SHARDS_IN_FLIGHT_PER_WORKER = 2
"""One being built, one waiting: workers never idle, and memory stays that of a few shards."""
SAMPLED_FOR_ESTIMATE = 8
RECORDS, BUILDING = "records", "building"


def build_store(config: Config, manifest: pl.DataFrame) -> Store:
    """Return the sealed store of `manifest` under the settings, building only what is missing.

    A run that was killed goes on from its finished shards. Raises StoreError.
    """
    source = make_source(config)
    inputs = store_inputs(config, manifest, source)
    with exclusive(config.store_folder, StoreError):
        store = find_store(config.store_folder, inputs)
        if store is None:
            workers = config.preprocess.workers or os.cpu_count() or 1
            announce_cost(config, manifest, source, workers)
            store = build(config, manifest, source, inputs, workers)
        point_to(store)
    return store


def store_inputs(config: Config, manifest: pl.DataFrame, source: Source) -> dict[str, Any]:
    """Return all that a store's bytes depend on, but for the decoders' versions."""
    settings = config.preprocess.model_dump(exclude={"workers"})
    return settings | {"manifest": manifest_digest(manifest), "hashes_meaningful": source.hashes_meaningful}


def announce_cost(config: Config, manifest: pl.DataFrame, source: Source, workers: int) -> None:
    """Print the disk and the time the store will need. Raises StoreError where the disk is too small."""
    settings = config.preprocess
    disk = len(manifest) * sum(size * size * 3 + 20 for size in settings.sizes)
    free = shutil.disk_usage(config.store_folder).free
    readable = manifest.filter(pl.col("problem").is_null())
    step = max(1, len(readable) // SAMPLED_FOR_ESTIMATE)
    started = time.monotonic()
    for key in readable["key"].gather_every(step)[:SAMPLED_FOR_ESTIMATE]:
        try:
            with source.open(key) as image:
                make_squares(image, settings.sizes, settings.square, settings.max_megapixels)
        except UnreadablePicture:
            continue
    seconds = (time.monotonic() - started) / SAMPLED_FOR_ESTIMATE * len(readable) / workers
    print(
        f"store: {len(manifest)} pictures at {settings.sizes} px need {disk / 1e9:.2f} GB of {free / 1e9:.0f} GB free, and about "
        f"{seconds / 60:.1f} minutes with {workers} workers (estimated from {SAMPLED_FOR_ESTIMATE} pictures)",
        file=sys.stderr,
    )
    if disk > free:
        raise StoreError(f"{config.store_folder} has {free / 1e9:.2f} GB free and the store needs {disk / 1e9:.2f}; "
                         "free some space, set fewer preprocess.sizes, or another folder in stores")  # fmt: skip


def build(config: Config, manifest: pl.DataFrame, source: Source, inputs: dict[str, Any], workers: int) -> Store:
    """Build all shards that have no record yet, then seal."""
    folder = config.store_folder / f"{BUILDING}-{digest([inputs, recipe()])[:16]}"
    store = folder / "store"
    settings = config.preprocess
    if not (folder / "started.json").exists():
        create_arrays(store, len(manifest), settings.sizes, settings.rows_per_shard)
        write_json(folder / "started.json", {"inputs": inputs, "recipe": recipe()})
    jobs = [
        Job(source, store, folder / RECORDS / f"{shard:06d}.json", shard, tuple(part.select("key", "problem").iter_rows()),
            tuple(settings.sizes), settings.square, settings.max_megapixels)
        for shard, part in enumerate(manifest.iter_slices(settings.rows_per_shard))
    ]  # fmt: skip
    run_jobs(jobs, workers)
    return seal(config.store_folder, folder, manifest, inputs, [read_json(job.record) for job in jobs])


def run_jobs(jobs: list[Job], workers: int) -> None:
    """Run the jobs that have no record yet on local dask processes, a few in flight at a time."""
    waiting = iter([job for job in jobs if not job.record.exists()])
    done = [read_json(job.record) for job in jobs if job.record.exists()]
    failed = sum(record["quarantined"] for record in done)
    total = sum(len(job.rows) for job in jobs)
    with Progress("store", total, "picture", sum(len(record["rows"]) for record in done)) as progress:
        if len(done) == len(jobs):
            return
        with local_cluster(min(workers, len(jobs) - len(done))) as client:
            from distributed import as_completed

            first = [job for _, job in zip(range(workers * SHARDS_IN_FLIGHT_PER_WORKER), waiting, strict=False)]
            finished = as_completed([client.submit(build_shard, job, pure=False) for job in first])
            for future in finished:
                stored, quarantined = future.result()
                failed += quarantined
                progress.advance(stored + quarantined, f"quarantined: {failed}")
                for job in (job for _, job in zip(range(1), waiting, strict=False)):
                    finished.add(client.submit(build_shard, job, pure=False))


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Yield a dask client of `workers` single-threaded processes on this machine, listening on loopback only."""
    import dask
    from distributed import Client, LocalCluster

    quiet = {"distributed.worker.memory.terminate": False, "distributed.logging.distributed": "error"}
    with (
        dask.config.set(quiet),
        LocalCluster(workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        yield client


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
    labels = zarr.open_group(path).create_array(
        "label", data=manifest["label"].to_numpy(), dimension_names=["row"], overwrite=True
    )
    assert labels.shape == (len(manifest),)
    found = pl.DataFrame([row for record in records for row in record["rows"]], infer_schema_length=None)
    rows = manifest.drop("mtime_ns", "problem").with_row_index("row").hstack(found)
    with written_aside(path / ROWS) as aside:
        rows.write_parquet(aside)
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
    path.rename(sealed)
    fsync_folder(collection)
    shutil.rmtree(folder)
    return Store(sealed, contents)
