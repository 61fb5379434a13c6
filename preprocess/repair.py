"""Making damaged files of a sealed store again, from the pictures; the result must be what was sealed."""

import os
from collections.abc import Iterable

import polars as pl

from preprocess.account import Account
from preprocess.check import Damage, check_store
from preprocess.cluster import cluster_for, run_jobs
from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.common.files import exclusive, exists, local_copy, put_file, remove_tree, sha256_file
from preprocess.plan import Plan
from preprocess.recipe import recipe
from preprocess.seal import write_metadata
from preprocess.shard import STARTED
from preprocess.store import REMOVED, ROWS, Store, current_store, shard_of


def repair_store(config: Config, manifest: pl.DataFrame, scheduler: str | None = None) -> list[Damage]:
    """Make all damaged or missing files of the current store again, and return what was repaired.

    Files that the seal does not know are left alone. Raises StoreError where the pictures or the decoders are no longer
    those of the store: what comes out is not what was sealed then, and is put nowhere.
    """
    with exclusive(config.store_folder, StoreError):
        store = current_store(config.store_folder)
        damage = [one for one in check_store(store) if one.name in store.seal["files"]]
        if damage:
            plan = plan_of(store, config, manifest)
            others_build_there = exists(plan.folder / STARTED)
            plan.start()
            make_again(plan, store, {one.name for one in damage}, scheduler)
            put_back(plan, store, [one.name for one in damage])
            if not others_build_there:
                remove_tree(plan.folder)
        return damage


def plan_of(store: Store, config: Config, manifest: pl.DataFrame) -> Plan:
    """Return a plan for the rows and settings of `store`, with the files where `manifest` has them now."""
    inputs = store.seal["inputs"]
    settings = config.preprocess.model_copy(update={name: inputs[name] for name in config.preprocess.content})
    rows = manifest.head(store.seal["rows"])
    if sha256_file(store.path / ROWS) == store.seal["files"][ROWS]:
        rows = rows.with_columns(removed=store.rows["status"] == REMOVED)
    return Plan.of(config.model_copy(update={"preprocess": settings}), rows)


def make_again(plan: Plan, store: Store, names: set[str], scheduler: str | None) -> None:
    """Build the shards that `names` needs in the plan's folder, and the other files of the store."""
    shards = {shard_of(name) for name in names}
    missing = [job for job in plan.jobs() if (ROWS in names or job.number in shards) and not job.done()]
    if missing:
        workers = min(plan.config.preprocess.workers or os.cpu_count() or 1, len(missing))
        pictures = sum(len(job.rows) for job in missing)
        with (
            cluster_for(scheduler, workers) as client,
            Account(plan.config.store_folder, "repair", pictures, []) as account,
        ):
            run_jobs(iter(missing), client, account.add)
    if None in shards:
        rows = plan.rows(pl.concat(shard.rows for shard in plan.built())) if ROWS in names else store.rows
        write_metadata(plan.folder / "store", rows, store.seal["inputs"])


def put_back(plan: Plan, store: Store, names: Iterable[str]) -> None:
    """Put the files made again into `store`, if all of them are what was sealed. Raises StoreError."""
    made = plan.folder / "store"
    for name in names:
        if not exists(made / name) or sha256_file(made / name) != store.seal["files"][name]:
            why = "its pictures or their table have changed"
            for part, version in store.seal["recipe"].items():
                if recipe().get(part) != version:
                    why = f"{part} is {recipe().get(part)} here and was {version}"
            raise StoreError(f"{store.path / name} cannot be made again as it was sealed: {why}; nothing was changed: "
                             "restore that, or make a new store with 'make store'")  # fmt: skip
    for name in names:
        with local_copy(made / name) as path:
            put_file(path, store.path / name)
