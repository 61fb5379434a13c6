"""The split: no picture, near-duplicate or unseen artist on two sides."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.copies.find import Copy
from pipeline.split import (
    DISPUTED,
    DUPLICATE,
    QUARANTINED,
    SIDES,
    TRAIN,
    divided,
    near_duplicates,
    summary,
    summary_text,
)
from preprocess.common.config import Config, Split
from preprocess.common.errors import SplitError
from preprocess.store import Store

NAMES = [f"artist {number}" for number in range(40)]


def fake_store(folder: Path, rows: pl.DataFrame, hashes_meaningful: bool = True) -> Store:
    """Return a store that has rows but no pictures, which is all the split looks at."""
    defaults = {"style": None, "status": "stored", "side": None, "phash": None}
    missing = [pl.lit(value, pl.String).alias(name) for name, value in defaults.items() if name not in rows.columns]
    labels = (rows["artist"].rank("dense").cast(pl.Int32) - 1).alias("label")
    rows.with_row_index("row").with_columns(labels, *missing).write_parquet(folder / "rows.parquet")
    return Store(folder, {"inputs": {"hashes_meaningful": hashes_meaningful}})


def collection(counts: list[int], seed: int = 0) -> pl.DataFrame:
    """Return artists with these numbers of paintings, hashes far apart."""
    rng = np.random.default_rng(seed)
    artists = [NAMES[artist] for artist, count in enumerate(counts) for _ in range(count)]
    hashes = [f"{int(value):016x}" for value in rng.integers(0, 2**63, len(artists))]
    return pl.DataFrame(
        {"key": [f"{number}.jpg" for number in range(len(artists))], "artist": artists, "phash": hashes}
    )


def test_unseen_artists_are_on_one_side_only(tmp_path: Path) -> None:
    split = divided(fake_store(tmp_path, collection([10] * 20)), Config(), [])
    unseen = split.filter(pl.col("side").str.ends_with("_unseen"))
    assert unseen.group_by("artist").agg(pl.col("side").n_unique())["side"].max() == 1
    rest = split.filter(~pl.col("side").str.ends_with("_unseen"))
    assert set(unseen["artist"]).isdisjoint(rest["artist"])
    assert unseen.filter(pl.col("side") == "test_unseen")["artist"].n_unique() == 4
    assert unseen.filter(pl.col("side") == "validation_unseen")["artist"].n_unique() == 3


def test_every_artist_is_unseen_in_one_fold(tmp_path: Path) -> None:
    store = fake_store(tmp_path, collection([10] * 23))
    tested = []
    for fold in range(5):
        split = divided(store, Config(split=Split(folds=5, fold=fold)), [])
        artists = split.filter(pl.col("side") == "test_unseen")["artist"].unique().to_list()
        assert len(artists) in (4, 5)
        assert split.filter(pl.col("side") == "validation_unseen")["artist"].n_unique() == round(23 * 0.15)
        tested += artists
    assert sorted(tested) == sorted(NAMES[:23])


def test_seen_artists_have_paintings_on_each_seen_side(tmp_path: Path) -> None:
    split = divided(fake_store(tmp_path, collection([10] * 20)), Config(), [])
    seen = split.filter(~pl.col("side").str.ends_with("_unseen"))
    assert seen.group_by("artist").agg(pl.col("side").n_unique())["side"].to_list() == [3] * 13
    assert (seen["side"] == TRAIN).sum() == 13 * 8


def test_the_split_depends_on_the_seed_alone(tmp_path: Path) -> None:
    store = fake_store(tmp_path, collection([10] * 20))
    other = Config(split=Split(seed=1))
    assert divided(store, Config(), []).equals(divided(store, Config(), []))
    assert not divided(store, Config(), []).equals(divided(store, other, []))


def test_a_new_artist_moves_no_painting_of_a_seen_one(tmp_path: Path) -> None:
    """Order is keyed by name: artists who come or go cannot carry a test picture into training."""
    few, more = collection([12] * 20), collection([12] * 21)
    (tmp_path / "few").mkdir()
    (tmp_path / "more").mkdir()
    before = divided(fake_store(tmp_path / "few", few), Config(), [])
    after = divided(fake_store(tmp_path / "more", more), Config(), [])
    both = before.join(after, on="key", suffix="_after").filter(
        ~pl.col("side").str.ends_with("_unseen") & ~pl.col("side_after").str.ends_with("_unseen")
    )
    assert len(both) > 100
    assert (both["side"] == both["side_after"]).all()


def test_near_duplicates_of_one_artist_leave_one(tmp_path: Path) -> None:
    rows = collection([10] * 20)
    hashes = rows["phash"].to_list()
    hashes[3] = f"{int(hashes[5], 16) ^ 0b111:016x}"
    split = divided(fake_store(tmp_path, rows.with_columns(pl.Series("phash", hashes))), Config(), [])
    assert split["side"][5] == DUPLICATE
    assert split["side"][3] in SIDES
    assert (split["side"] == DUPLICATE).sum() == 1


def test_one_picture_under_two_artists_is_on_no_side(tmp_path: Path) -> None:
    rows = collection([10] * 20)
    hashes = rows["phash"].to_list()
    hashes[3] = hashes[55]
    split = divided(fake_store(tmp_path, rows.with_columns(pl.Series("phash", hashes))), Config(), [])
    assert split["side"][3] == split["side"][55] == DISPUTED


def test_copies_whose_hashes_differ_are_like_near_duplicates(tmp_path: Path) -> None:
    """Rows 3 and 5 are by one artist; 12 and 55 by two, and 57 is a copy of 55 by hash alone."""
    rows = collection([10] * 20)
    hashes = rows["phash"].to_list()
    hashes[57] = hashes[55]
    status = ["quarantined" if row == 1 else "stored" for row in range(len(rows))]
    columns = pl.Series("status", status), pl.Series("phash", hashes)
    copies = [Copy(3, 5, 0.9, False), Copy(55, 12, 0.7, True)]
    split = divided(fake_store(tmp_path, rows.with_columns(columns)), Config(), copies)
    assert split.filter(pl.col("side") == DUPLICATE)["row"].to_list() == [5]
    assert split.filter(pl.col("side") == DISPUTED)["row"].to_list() == [12, 55, 57]
    assert split["side"][3] in SIDES


def test_hashes_that_mean_nothing_are_not_looked_at(tmp_path: Path) -> None:
    rows = collection([10] * 20).with_columns(pl.lit(None, pl.String).alias("phash"))
    split = divided(fake_store(tmp_path, rows, hashes_meaningful=False), Config(), [])
    assert set(split["side"]) <= set(SIDES)


def test_quarantined_rows_are_on_no_side(tmp_path: Path) -> None:
    rows = collection([10] * 20)
    status = ["quarantined" if number % 7 == 0 else "stored" for number in range(len(rows))]
    hashes = [None if state == "quarantined" else text for state, text in zip(status, rows["phash"], strict=True)]
    store = fake_store(tmp_path, rows.with_columns(pl.Series("status", status), pl.Series("phash", hashes)))
    split = divided(store, Config(), [])
    assert ((split["side"] == QUARANTINED) == (pl.Series(status) == "quarantined")).all()


def test_prescribed_sides_are_kept(tmp_path: Path) -> None:
    rows = collection([40] * 5).with_columns(pl.Series("side", ["train", "train", "train", "test"] * 50))
    split = divided(fake_store(tmp_path, rows), Config(), [])
    assert ((split["side"] == "test_seen") == (rows["side"] == "test")).all()
    assert set(split["side"]) == {TRAIN, "validation_seen", "test_seen"}


@pytest.mark.parametrize("counts", [[30], [1] * 30, [2]])
def test_too_few_artists_or_paintings_are_refused(tmp_path: Path, counts: list[int]) -> None:
    with pytest.raises(SplitError, match=r"needs at least two artists.*add pictures"):
        divided(fake_store(tmp_path, collection(counts)), Config(), [])


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 15), min_size=12, max_size=40), seed=st.integers(0, 10_000))
def test_every_row_has_one_side_and_unseen_artists_never_train(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], seed: int
) -> None:
    store = fake_store(tmp_path_factory.mktemp("split"), collection(counts, seed))
    try:
        split = divided(store, Config(split=Split(seed=seed)), [])
    except SplitError:
        assert sum(count >= 2 for count in counts) < 12
        return
    assert split["row"].to_list() == list(range(sum(counts)))
    unseen = split.filter(pl.col("side").str.ends_with("_unseen"))
    assert set(unseen["artist"]).isdisjoint(split.filter(~pl.col("side").str.ends_with("_unseen"))["artist"])
    assert sum(line["paintings"] for line in summary(split)) == sum(counts)


@given(st.integers(2, 60), st.integers(0, 8), st.integers(0, 1000))
@settings(deadline=None)
def test_near_duplicates_are_the_connected_groups(count: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    flipped = np.uint64(1) << rng.integers(0, 64, (count, 5)).astype(np.uint64)
    hashes = rng.integers(0, 2**63, 1 + seed % 9).astype(np.uint64)[rng.integers(0, 1 + seed % 9, count)]
    hashes ^= np.bitwise_or.reduce(flipped, axis=1, where=rng.random((count, 5)) < 0.5)
    known = rng.integers(0, count, (seed % 4, 2))
    groups = near_duplicates(hashes, bits, known)
    linked = np.bitwise_count(hashes[:, None] ^ hashes) <= bits
    linked[known[:, 0], known[:, 1]] = linked[known[:, 1], known[:, 0]] = True
    assert (groups[:, None] == groups)[linked].all()
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group).tolist()
        reached, frontier = {members[0]}, [members[0]]
        while frontier:
            near = set(np.flatnonzero(linked[frontier.pop()]).tolist()) - reached
            reached |= near
            frontier += near
        assert reached == set(members)


def test_the_summary_counts_pairs(tmp_path: Path) -> None:
    split = divided(fake_store(tmp_path, collection([10] * 20)), Config(), [])
    lines = {line["side"]: line for line in summary(split)}
    assert lines["test_unseen"] == {"side": "test_unseen", "paintings": 40, "artists": 4, "same_pairs": 180}
    assert "test_unseen" in summary_text(split)


def test_the_real_table_splits_without_leaks(tmp_path: Path, shared_data: Path) -> None:
    table = pl.read_csv(shared_data / "painter-by-numbers" / "train_info.csv", infer_schema=False)
    rng = np.random.default_rng(0)
    hashes = pl.Series("phash", [f"{int(value):016x}" for value in rng.integers(0, 2**63, len(table))])
    rows = table.select(pl.col("filename").alias("key"), "artist").with_columns(hashes)
    split = divided(fake_store(tmp_path, rows), Config(), [])
    unseen = split.filter(pl.col("side").str.ends_with("_unseen"))
    assert set(unseen["artist"]).isdisjoint(split.filter(~pl.col("side").str.ends_with("_unseen"))["artist"])
    assert split.filter(pl.col("side") == "test_unseen")["artist"].n_unique() == round(0.2 * 1584)
