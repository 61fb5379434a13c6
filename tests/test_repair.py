"""Repair: damaged files come back exactly as they were sealed, or nothing is touched."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from preprocess.build import build_store
from preprocess.check import check_store
from preprocess.cluster import run_jobs
from preprocess.common.config import Config, load_config
from preprocess.common.errors import StoreError
from preprocess.common.files import sha256_file
from preprocess.manifest import make_manifest
from preprocess.repair import repair_store
from preprocess.shard import Job
from preprocess.store import Store, shard_name
from tests.helpers import collection, command, contents, raiser, smooth, write_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    collection(tmp_path / "pictures")
    return load_config(write_config(tmp_path, preprocess={"workers": 1}))


@pytest.fixture
def store(config: Config) -> Store:
    return build_store(config, make_manifest(config))


def flip(path: Path, place: int = 40) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)


def test_damaged_and_missing_shards_are_made_again(config: Config, store: Store) -> None:
    before = contents(store.path)
    flip(store.path / shard_name(16, 1))
    (store.path / shard_name(40, 3)).unlink()
    answer = command("repair", "--config", config.source.path.parent / "config.yaml")
    assert answer.out.splitlines() == [
        "images_16/c/1/0/0/0: changed (row 5)", "images_40/c/3/0/0/0: missing (rows 15 to 19)",
        "repair: 2 files were made again, all as sealed",
    ]  # fmt: skip
    assert contents(store.path) == before
    assert not list(config.store_folder.glob("building-*"))


def test_only_damaged_shards_are_decoded(config: Config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    def noted(jobs: Iterator[Job], client: object, finished: Callable[[dict[str, Any]], None]) -> None:
        asked = list(jobs)
        built.extend(job.number for job in asked)
        run_jobs(iter(asked), client, finished)

    monkeypatch.setattr("preprocess.repair.run_jobs", noted)
    flip(store.path / shard_name(40, 2))
    repair_store(config, make_manifest(config))
    assert built == [2]


def test_any_file_but_the_seal_can_be_made_again(config: Config, store: Store) -> None:
    before = contents(store.path)
    names = random.Random(0).sample(sorted(store.seal["files"]), 5)
    for name in {*names, "rows.parquet", "label/zarr.json", "zarr.json"}:
        flip(store.path / name)
    repair_store(config, make_manifest(config))
    assert contents(store.path) == before
    assert check_store(store) == []


def test_a_whole_store_needs_no_repair(config: Config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preprocess.repair.run_jobs", raiser(AssertionError("decoded")))
    answer = command("repair", "--config", config.source.path.parent / "config.yaml")
    assert answer.out == "repair: 0 files were made again, all as sealed\n"


def test_a_shard_whose_picture_has_changed_is_left_alone(config: Config, store: Store) -> None:
    key = store.rows["key"][6]
    smooth(99, 40, 40).save(config.source.path / key)
    flip(store.path / shard_name(16, 1))
    flip(store.path / shard_name(16, 2))
    damaged = contents(store.path)
    with pytest.raises(StoreError, match=r"images_16/c/1/0/0/0 cannot be made again as it was sealed: its pictures"):
        repair_store(config, make_manifest(config))
    assert contents(store.path) == damaged


def test_pictures_that_came_or_went_elsewhere_do_not_hinder_a_repair(config: Config, store: Store) -> None:
    before = contents(store.path)
    table = config.source.path / "train_info.csv"
    smooth(70, 40, 40).save(config.source.path / "new.png")
    (config.source.path / "15.png").unlink()
    rows = pl.read_csv(table, infer_schema=False).filter(pl.col("filename") != "15.png")
    pl.concat([rows, rows[:1].with_columns(filename=pl.lit("new.png"))]).write_csv(table)
    flip(store.path / shard_name(40, 0))
    repair_store(config, make_manifest(config))
    assert contents(store.path) == before


def test_other_decoders_are_named(config: Config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When what comes out differs, as other decoders would have it."""
    flip(store.path / shard_name(16, 0))
    monkeypatch.setattr("preprocess.repair.recipe", lambda: store.seal["recipe"] | {"pillow": "0.1"})
    monkeypatch.setattr("preprocess.repair.sha256_file", lambda path: sha256_file(path)[::-1])
    with pytest.raises(StoreError, match=r"pillow is 0\.1 here and was \d"):
        repair_store(config, make_manifest(config))


def test_a_file_that_is_not_in_the_seal_is_left_for_its_owner(config: Config, store: Store) -> None:
    (store.path / "notes.txt").write_text("mine")
    assert repair_store(config, make_manifest(config)) == []
    assert (store.path / "notes.txt").read_text() == "mine"
    answer = command("check-store", "--config", config.source.path.parent / "config.yaml")
    assert answer.out == "notes.txt: not in the seal\n"
    assert "remove those that are not in the seal" in answer.complaint


def test_a_repair_of_a_linked_shard_leaves_the_other_store_alone(config: Config, store: Store) -> None:
    """Both stores have the same file; each repair writes a new one in its own store only."""
    table = config.source.path / "train_info.csv"
    shutil.copy(table, table.with_suffix(".kept"))
    pl.read_csv(table, infer_schema=False).with_columns(title=pl.lit("x")).write_csv(table)
    second = build_store(config, make_manifest(config))
    assert (second.path / shard_name(16, 0)).samefile(store.path / shard_name(16, 0))
    flip(store.path / shard_name(16, 0))
    repair_store(config, make_manifest(config))
    assert check_store(second) == []
    assert [one.name for one in check_store(store)] == [shard_name(16, 0)]
