"""Building a store: dask decodes shards in parallel, each durable once its record exists; then everything is sealed."""

import os
import sys
import time
from contextlib import suppress
from typing import Any

import polars as pl

from preprocess.account import Account
from preprocess.cluster import cluster_for, run_jobs
from preprocess.common.config import Config
from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.common.files import exclusive, free_bytes, remove_tree, write_parquet
from preprocess.decoder import Decoder
from preprocess.manifest import hashed, manifest_path
from preprocess.plan import WHOLE, Part, Plan
from preprocess.seal import seal
from preprocess.shard import How, reasons, retryable
from preprocess.sharding import ALIGNED, CHECKSUM, ENTRY
from preprocess.store import Store, point_to, sealed_stores

SAMPLED_FOR_ESTIMATE = 8


def build_store(config: Config, manifest: pl.DataFrame, scheduler: str | None = None, retry: bool = False) -> Store:
    """Return the sealed store of `manifest` under the settings, building only what is missing.

    A run that was killed goes on from its finished shards; shards of an earlier store whose files are the same are
    taken over. `scheduler` is the address of a dask cluster; by default the work is done on this machine. With `retry`
    the shards of quarantined pictures are made again. Raises StoreError.
    """
    with exclusive(config.store_folder, StoreError):
        plan, sealed = planned(config, manifest)
        if not plan.manifest.equals(manifest):
            write_parquet(manifest_path(config), plan.manifest)
        store = same_store(plan, sealed)
        again = retryable(store.rows.to_dicts()) if store and retry else {}
        if again:
            counts = "; ".join(f"{count} {reason}" for reason, count in again.items())
            print(f"store: trying again {sum(again.values())} quarantined pictures: {counts}", file=sys.stderr)
        if store is None or again:
            start(plan, sealed, WHOLE, retry)
            build_shards(plan, WHOLE, scheduler)
            store = sealed_plan(plan)
        return made_current(plan, store)


def build_part(config: Config, manifest: pl.DataFrame, part: Part, scheduler: str | None = None) -> dict[str, Any]:
    """Build one part of the shards, as one of several jobs that know nothing of each other; seal nothing.

    Returns how many shards and pictures the part has. Raises StoreError.
    """
    plan, sealed = planned(config, manifest)
    jobs = list(plan.jobs(part))
    if same_store(plan, sealed) is None:
        start(plan, sealed, part, retry=False)
        build_shards(plan, part, scheduler)
    return {"shards": len(jobs), "pictures": sum(len(job.rows) for job in jobs)}


def seal_parts(config: Config, manifest: pl.DataFrame) -> Store:
    """Seal the store whose shards `build_part` has built. Raises StoreError naming those that are missing."""
    with exclusive(config.store_folder, StoreError):
        plan, sealed = planned(config, manifest)
        store = same_store(plan, sealed)
        if store is None:
            if missing := [job.number for job in plan.jobs() if not job.done()]:
                few = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
                raise StoreError(f"{plan.folder}: {len(missing)} shards are not built yet: {few}; run the jobs of "
                                 "their parts again: shard k belongs to part k modulo the number of parts")  # fmt: skip
            store = sealed_plan(plan)
        return made_current(plan, store)


def planned(config: Config, manifest: pl.DataFrame) -> tuple[Plan, list[Store]]:
    """Return the plan of a build, and the stores that are there already; files that they may hold are read to tell."""
    plan = Plan.of(config, manifest)
    sealed = sealed_stores(config.store_folder)
    known = hashed(manifest, plan.source, max((store.seal["rows"] for store in sealed), default=0))
    return Plan(config, known, plan.source), sealed


def same_store(plan: Plan, sealed: list[Store]) -> Store | None:
    """Return the sealed store of just these pictures under these settings, the current one where there are several."""
    inputs = plan.inputs
    return next((store for store in sealed if store.seal["inputs"] == inputs), None)


def start(plan: Plan, sealed: list[Store], part: Part, retry: bool) -> None:
    """Make the folder of a build, and fill it with what is in it or in earlier stores already."""
    plan.start()
    if retry:
        for job in plan.jobs(part):
            if (record := job.done()) and retryable(record["rows"]):
                job.record.unlink()
    for store in sealed:
        plan.adopt(store, part, retry)


def made_current(plan: Plan, store: Store) -> Store:
    """Make `store` the current one, and tidy up."""
    point_to(store)
    remove_tree(plan.folder)
    return store


def sealed_plan(plan: Plan) -> Store:
    """Seal a plan whose shards are all done. The manifest learns what was read, before anything relies on it."""
    shards = plan.built()
    decoded = pl.concat(shard.rows for shard in shards)
    known = Plan(plan.config, plan.manifest.with_columns(sha256=decoded["sha256"]), plan.source)
    write_parquet(manifest_path(plan.config), known.manifest)
    return seal(plan.folder, known.rows(decoded), known.inputs, shards)


def build_shards(plan: Plan, part: Part, scheduler: str | None) -> None:
    """Build those shards of a part that have no record yet."""
    done: list[dict[str, Any]] = []
    missing = set()
    for job in plan.jobs(part):
        if record := job.done():
            done.append({"pictures": len(job.rows), "reasons": reasons(record["rows"])})
        else:
            missing.add(job.number)
    if not missing:
        return
    workers = min(plan.config.preprocess.workers or os.cpu_count() or 1, len(missing))
    jobs = (job for job in plan.jobs(part) if job.number in missing)
    total = sum(len(job.rows) for job in plan.jobs(part))
    announce_cost(plan, total - sum(record["pictures"] for record in done), workers)
    name = "store" if part == WHOLE else f"{part.first}-of-{part.step}"
    with cluster_for(scheduler, workers) as client, Account(plan.config.store_folder, name, total, done) as account:
        run_jobs(jobs, client, account.add)


def announce_cost(plan: Plan, pictures: int, workers: int) -> None:
    """Print the disk and the time that so many pictures will need. Raises StoreError where the disk is too small."""
    settings = plan.config.preprocess
    disk = pictures * sum(size * size * 3 + CHECKSUM + ALIGNED + ENTRY for size in settings.sizes)
    free = free_bytes(plan.folder)
    places = plan.manifest["place"].drop_nulls()
    sample = places[:: max(1, len(places) // SAMPLED_FOR_ESTIMATE)][:SAMPLED_FOR_ESTIMATE].to_list()
    with Decoder(*How.of(settings)) as decoder:
        started = time.monotonic()
        for number, place in enumerate(sample):
            with suppress(UnreadablePicture), plan.source.fetch(place) as path:
                decoder.decode(path)
            if number == 0:  # which started the decoder
                started = time.monotonic()
        seconds = (time.monotonic() - started) / max(1, len(sample) - 1) * pictures / workers
    print(
        f"store: {pictures} pictures at {settings.sizes} px need {disk / 1e9:.2f} GB"
        + ("" if free is None else f" of {free / 1e9:.0f} GB free")
        + f", and about {seconds / 60:.1f} minutes with {workers} workers (estimated from {len(sample)} pictures)",
        file=sys.stderr,
    )
    if free is not None and disk > free:
        raise StoreError(f"{plan.folder.parent} has {free / 1e9:.2f} GB free and the store needs {disk / 1e9:.2f}; "
                         "free some space, set fewer preprocess.sizes, or another folder in stores")  # fmt: skip
