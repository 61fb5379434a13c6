"""Preprocessing in Google's storage: pictures and store at gs:// URLs, against an emulator on loopback."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.reader import Reader
from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.common.files import read_bytes, write_bytes
from preprocess.store import Store, current_store, shard_name
from tests.helpers import command, remote_config, store_files

pytest_plugins = ["tests.s3"]


@pytest.fixture
def config(gs_bucket: str, tmp_path: Path) -> Config:
    return remote_config(tmp_path, gs_bucket)


def test_a_store_of_google_is_built_read_checked_and_repaired(config: Config, built: Store, tmp_path: Path) -> None:
    answer = command("store", "--config", tmp_path / "config.yaml")
    assert answer.out.startswith("store: 18 of 20 pictures: gs://"), answer
    store = current_store(config.store_folder)
    assert store_files(store) == store_files(built)
    rows = np.array([19, 0, 5, 5])
    assert (Reader(store, 40).read(rows) == Reader(built, 40).read(rows)).all()
    path = store.path / shard_name(40, 1)
    damaged = bytearray(read_bytes(path))
    damaged[30] ^= 1
    write_bytes(path, bytes(damaged))
    with pytest.raises(StoreError, match=r"row 5 of gs://.* is damaged"):
        Reader(store, 40).read([0, 5])
    (store.path / shard_name(40, 2)).unlink()
    with pytest.raises(StoreError, match=r"row 10 of gs://.* is damaged"):
        Reader(store, 40).read([10])
    answer = command("check-store", "--config", tmp_path / "config.yaml")
    assert answer.out == "images_40/c/1/0/0/0: changed (row 5)\nimages_40/c/2/0/0/0: missing (rows 10 to 14)\n"
    assert command("repair", "--config", tmp_path / "config.yaml").status == 0
    assert store_files(store) == store_files(built)
