"""Preprocessing in an object store: pictures and store at s3:// URLs, against a real endpoint on loopback."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.reader import Reader
from preprocess.build import build_store
from preprocess.check import check_store
from preprocess.common.config import Config
from preprocess.common.errors import SourceError, StoreError
from preprocess.common.files import list_files, put_file, read_bytes, write_bytes
from preprocess.manifest import make_manifest
from preprocess.sources import make_source
from preprocess.store import Store, current_store, shard_name
from tests.conftest import ROOT
from tests.helpers import command, remote_config, smooth, store_files

pytest_plugins = ["tests.s3"]


@pytest.fixture
def config(bucket: str, tmp_path: Path) -> Config:
    return remote_config(tmp_path, bucket)


def update(config: Config) -> Store:
    return build_store(config, make_manifest(config))


def test_the_store_in_a_bucket_has_the_bytes_of_the_local_one(config: Config, built: Store, tmp_path: Path) -> None:
    answer = command("store", "--config", tmp_path / "config.yaml")
    assert answer.out.startswith("store: 18 of 20 pictures: s3://"), answer
    store = current_store(config.store_folder)
    assert store_files(store) == store_files(built)
    assert check_store(store) == []
    kept = {name.split("/")[0] for name in list_files(config.store_folder)}
    assert kept == {"CURRENT", "manifest.parquet", "progress", store.fingerprint}
    again = command("store", "--config", tmp_path / "config.yaml")
    assert "need" not in again.err


@pytest.mark.parametrize("side", ["source", "store"])
def test_pictures_or_store_alone_may_be_in_a_bucket(side: str, config: Config, built: Store, tmp_path: Path) -> None:
    source = config.source.model_copy(update={"path": tmp_path / "pictures"})
    changes: dict[str, dict[str, Any]] = {"source": {"stores": tmp_path / "stores"}, "store": {"source": source}}
    store = update(config.model_copy(update=changes[side]))
    assert isinstance(store.path, Path) == (side == "source")
    assert store_files(store) == store_files(built)


def test_rows_are_read_from_a_bucket(config: Config, built: Store) -> None:
    rows = np.array([19, 0, 5, 5])
    assert (Reader(update(config), 40).read(rows) == Reader(built, 40).read(rows)).all()


def test_a_damaged_object_is_named_read_as_an_error_and_repaired(config: Config, tmp_path: Path) -> None:
    store = update(config)
    before = store_files(store)
    path = store.path / shard_name(40, 1)
    damaged = bytearray(read_bytes(path))
    damaged[30] ^= 1
    write_bytes(path, bytes(damaged))
    with pytest.raises(StoreError, match=r"row 5 of s3://.* is damaged"):
        Reader(store, 40).read([0, 5])
    answer = command("check-store", "--config", tmp_path / "config.yaml")
    assert answer.out == "images_40/c/1/0/0/0: changed (row 5)\n"
    assert command("repair", "--config", tmp_path / "config.yaml").status == 0
    assert store_files(store) == before


def test_a_replaced_picture_costs_its_shard_alone(config: Config, tmp_path: Path) -> None:
    first = update(config)
    before = store_files(first)
    smooth(66, 55, 44).save(tmp_path / "new.png")
    put_file(tmp_path / "new.png", config.source.path / "05.png")
    second = update(config)
    assert store_files(first) == before
    changed = {name for name, sha256 in second.seal["files"].items() if first.seal["files"][name] != sha256}
    shard = first.rows["key"].to_list().index("05.png") // 5
    assert changed == {shard_name(16, shard), shard_name(40, shard), "rows.parquet"}


def test_kills_cost_nothing_but_time(config: Config, built: Store, tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(3):
        build = start(tmp_path)
        until = time.monotonic() + rng.uniform(1.5, 5)
        while time.monotonic() < until and build.poll() is None:
            time.sleep(0.05)
        if build.poll() is None:
            os.killpg(build.pid, signal.SIGKILL)
            build.wait()
    assert start(tmp_path).wait(120) == 0
    assert store_files(current_store(config.store_folder)) == store_files(built)


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "preprocess", "store", "--config", folder / "config.yaml"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def test_folders_of_artists_may_be_in_a_bucket(config: Config, tmp_path: Path) -> None:
    folder = config.source.path.parent / "artists"
    for artist in ("Anna", "八大山人"):
        smooth(1, 30, 40).save(tmp_path / "one.png")
        put_file(tmp_path / "one.png", folder / artist / "one.png")
    write_bytes(folder / ".hidden/x.png", b"")
    source = config.source.model_copy(update={"kind": "folders", "path": folder})
    rows = make_source(config.model_copy(update={"source": source})).rows()
    assert rows["key"].to_list() == ["Anna/one.png", "八大山人/one.png"]


def test_what_an_object_store_cannot_be_is_one_line(config: Config, bucket: str, tmp_path: Path) -> None:
    write_bytes(config.source.path / "train.zip", b"")
    with pytest.raises(SourceError, match=r"train\.zip: archives in an object store are not read; unpack it there"):
        make_manifest(config)
    for kind in ("gallery", "idx"):
        answer = command("manifest", "--config", tmp_path / "config.yaml", "--set", f"source.kind={kind}")
        assert f"{bucket}/museum/pictures" in answer.complaint
    answer = command("manifest", "--config", tmp_path / "config.yaml", "--set", f"source.path={bucket}/nothing")
    assert f"{bucket}/nothing holds nothing; put the pictures there" in answer.complaint
