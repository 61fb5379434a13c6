"""The cap on memory: giants are stored where they fit and refused with the number where not; the peak is below."""

import os
from pathlib import Path

import pytest

from preprocess.account import accounts
from preprocess.build import build_store
from preprocess.common.config import load_config
from preprocess.manifest import make_manifest
from tests.helpers import command, smooth, write_config, write_table


@pytest.fixture
def collection(giants: Path, tmp_path: Path) -> Path:
    """A collection of the four giants and a small picture."""
    folder, names = tmp_path, sorted(path.name for path in giants.iterdir())
    (folder / "pictures").mkdir()
    for name in names:
        os.link(giants / name, folder / "pictures" / name)
    smooth(0, 60, 50).save(folder / "pictures/small.png")
    rows = [(name, f"artist {number % 2}", "", "", "", "") for number, name in enumerate([*names, "small.png"])]
    write_table(folder / "pictures/train_info.csv", rows)
    return folder


@pytest.mark.parametrize(
    ("cap", "stored"),
    [
        ("512MB", {"baseline.jpg", "progressive.jpg", "deep.tif", "small.png"}),
        ("1GB", {"baseline.jpg", "progressive.jpg", "whole.png", "deep.tif", "small.png"}),
    ],
)
def test_giants_are_stored_below_the_cap(cap: str, stored: set[str], collection: Path) -> None:
    """The peak is the sum of the worker's own and of its decoder's, both anonymous memory."""
    settings = {"sizes": [64, 256], "workers": 1, "memory_per_worker": cap, "rows_per_shard": 8}
    config = load_config(write_config(collection, preprocess=settings, train={"size": 64}))
    store = build_store(config, make_manifest(config))
    rows = {row["key"]: row for row in store.rows.iter_rows(named=True)}
    assert {key for key, row in rows.items() if row["status"] == "stored"} == stored
    for key in rows.keys() - stored:
        assert rows[key]["reason"].startswith("needs ")
        assert "preprocess.memory_per_worker" in rows[key]["reason"]
        assert (rows[key]["width"], rows[key]["height"]) == (12_000, 9_000)
    peak = accounts(config.store_folder)["store"]["memory_per_worker"]
    assert 50e6 < peak < config.preprocess.memory_per_worker


def test_a_cap_that_leaves_nothing_for_a_decoder_is_refused(tmp_path: Path) -> None:
    answer = command("store", "--config", write_config(tmp_path, preprocess={"memory_per_worker": "150MB"}))
    assert "preprocess.memory_per_worker should be greater than or equal to 200000000" in answer.complaint
