"""A collection that changes: rows keep their numbers, what is the same is linked, what was sealed stays as it was."""

import json
import os
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from preprocess.build import build_part, build_store
from preprocess.check import check_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import StoreError
from preprocess.manifest import make_manifest
from preprocess.plan import WHOLE, Part, Plan
from preprocess.store import Store, current_store, shard_name
from tests.helpers import collection, command, encoded, smooth, store_files, write_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    collection(tmp_path / "pictures")
    return load_config(write_config(tmp_path, preprocess={"workers": 1}))


@pytest.fixture
def first(config: Config) -> Store:
    return update(config)


def update(config: Config) -> Store:
    return build_store(config, make_manifest(config))


def linked(one: Store, other: Store, size: int = 40) -> list[bool]:
    """Return for each shard of `one` whether the same file is in `other`."""
    same = []
    for number in range(len(one.seal["shards"])):
        paths = [store.path / shard_name(size, number) for store in (one, other)]
        same.append(all(path.exists() for path in paths) and paths[0].samefile(paths[1]))
    return same


def edit_table(config: Config, change: object) -> None:
    table = config.source.path / "train_info.csv"
    change(pl.read_csv(table, infer_schema=False)).write_csv(table)  # type: ignore[operator]


def from_nothing(config: Config, folder: Path, order: list[str]) -> dict[str, str]:
    """Return the files of a store of the same pictures, built elsewhere from nothing, in the given order of rows."""
    edit_table(config, lambda table: table.join(pl.DataFrame({"filename": order}), on="filename", how="right"))
    return store_files(update(config.model_copy(update={"stores": folder})))


def test_a_repaired_picture_is_noticed_and_only_its_shard_is_built_again(
    config: Config, first: Store, tmp_path: Path
) -> None:
    before = store_files(first)
    smooth(77, 60, 60).save(config.source.path / "broken.jpg")
    second = update(config)
    row = second.rows["key"].to_list().index("broken.jpg")
    assert second.rows["status"][row] == "stored"
    assert second.rows["key"].equals(first.rows["key"])
    assert linked(second, first) == [number != row // 5 for number in range(4)]
    assert check_store(second) == check_store(first) == []
    assert store_files(first) == before
    assert store_files(second) == from_nothing(config, tmp_path / "anew", second.rows["key"].to_list())
    assert current_store(config.store_folder).path == second.path


def test_a_picture_with_another_time_and_the_same_bytes_builds_nothing(config: Config, first: Store) -> None:
    path = config.source.path / "04.jpg"
    path.write_bytes(path.read_bytes())
    assert update(config).path == first.path
    manifest = pl.read_parquet(config.store_folder / "manifest.parquet")
    assert manifest["sha256"].null_count() == 0


def test_new_pictures_append_and_only_the_last_shards_are_built(config: Config, first: Store, tmp_path: Path) -> None:
    for number in range(3):
        smooth(60 + number, 50, 40).save(config.source.path / f"0new{number}.png")
    new = [{"filename": f"0new{number}.png", "artist": "Anna"} for number in range(3)]
    edit_table(config, lambda table: pl.concat([pl.DataFrame(new), table], how="diagonal"))
    second = update(config)
    assert second.rows["key"].to_list() == [*first.rows["key"], "0new0.png", "0new1.png", "0new2.png"]
    assert linked(second, first) == [True, True, True, True, False]
    assert store_files(second) == from_nothing(config, tmp_path / "anew", second.rows["key"].to_list())


def test_a_removed_picture_is_marked_and_leaves_its_row(config: Config, first: Store) -> None:
    (config.source.path / "05.png").unlink()
    edit_table(config, lambda table: table.filter(pl.col("filename") != "05.png"))
    second = update(config)
    row = first.rows["key"].to_list().index("05.png")
    assert second.rows["key"].equals(first.rows["key"])
    assert second.rows.row(row, named=True)["status"] == "removed"
    assert second.rows.row(row, named=True)["reason"] == "no longer in the source"
    assert second.seal["stored"] == first.seal["stored"] - 1
    with pytest.raises(StoreError, match="the chunk is missing"):
        second.picture(row, 40)
    assert linked(second, first) == [number != row // 5 for number in range(4)]
    answer = command("store", "--config", config.source.path.parent / "config.yaml")
    assert "17 of 20 pictures, 1 no longer in the source" in answer.out


def test_a_changed_table_links_every_shard(config: Config, first: Store) -> None:
    edit_table(config, lambda table: table.with_columns(artist=pl.col("artist").str.to_uppercase()))
    second = update(config)
    assert second.fingerprint != first.fingerprint
    assert linked(second, first) == [True] * 4
    assert second.rows["artist"][0] == first.rows["artist"][0].upper()
    assert check_store(second) == []


def test_a_damaged_shard_is_built_again_and_not_handed_on(config: Config, first: Store) -> None:
    path = first.path / shard_name(16, 2)
    path.write_bytes(path.read_bytes()[:-9])
    (first.path / shard_name(40, 0)).unlink()
    edit_table(config, lambda table: table.with_columns(title=pl.lit("x")))
    second = update(config)
    assert check_store(second) == []
    assert linked(second, first, 16) == linked(second, first, 40) == [False, True, False, True]


def test_rehash_finds_a_change_that_size_and_time_hide(config: Config, first: Store) -> None:
    path = config.source.path / "05.png"
    stamp = path.stat()
    other = bytearray(path.read_bytes())
    other[-1] ^= 1  # in the checksum of the last block, which no decoder minds
    path.write_bytes(other)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert update(config).path == first.path
    answer = command("store", "--rehash", "--json", "--config", config.source.path.parent / "config.yaml")
    assert json.loads(answer.out)["path"] != str(first.path)


def test_pictures_that_failed_are_tried_again_when_asked(config: Config, tmp_path: Path) -> None:
    """Here one that needs more memory than there was; without being asked, more memory changes nothing."""
    large = encoded(Image.new("RGB", (6000, 6000), "teal"), "JPEG", progressive=True, subsampling="4:4:4")
    (config.source.path / "02.jpg").write_bytes(large.getvalue())
    little = load_config(write_config(tmp_path, preprocess={"workers": 1, "memory_per_worker": "256MB"}))
    first = update(little)
    row = first.rows["key"].to_list().index("02.jpg")
    assert first.rows["reason"][row].startswith("needs ")
    assert update(config).path == first.path
    answer = command("store", "--retry", "--config", write_config(tmp_path))
    assert "trying again 3 quarantined pictures: " in answer.err
    assert f"1 {first.rows['reason'][row]}" in answer.err
    second = current_store(config.store_folder)
    assert second.rows["status"][row] == "stored"
    assert second.rows["key"].equals(first.rows["key"])
    again = command("store", "--retry", "--config", write_config(tmp_path))
    assert "trying again 2 quarantined pictures: " in again.err
    assert current_store(config.store_folder).path == second.path
    assert update(config).path == second.path


def test_a_picture_that_changes_while_it_is_read_ends_the_build_with_its_name(
    config: Config, first: Store, tmp_path: Path
) -> None:
    manifest = make_manifest(config)
    smooth(5, 64, 64).save(config.source.path / "07.png")
    elsewhere = config.model_copy(update={"stores": tmp_path / "elsewhere"})
    with pytest.raises(StoreError, match=r"07\.png changed while it was read; run 'make store' again"):
        build_store(elsewhere, manifest)


def test_an_unfinished_build_uses_what_still_fits_when_the_collection_changed(config: Config, tmp_path: Path) -> None:
    """A picture replaced after a kill costs its shard, not the build."""
    build_part(config, make_manifest(config), Part(0, 2))
    smooth(88, 50, 50).save(config.source.path / "03.png")
    plan = Plan.of(config, make_manifest(config))
    done = [job.number for job in plan.jobs(WHOLE) if job.done()]
    assert done == [0, 2] if plan.manifest["key"].to_list().index("03.png") // 5 == 1 else done == [2]
    store = update(config)
    assert check_store(store) == []
    assert store_files(store) == from_nothing(config, tmp_path / "anew", store.rows["key"].to_list())
