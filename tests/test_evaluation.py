"""The pairs on which a side is measured."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipeline.evaluation import shares
from pipeline.streams import PairList, Sets, evaluation_pairs, load_evaluation_pairs, save_evaluation_pairs
from preprocess.common.errors import RunError
from tests.painters import SKEWED, below_two_words, counts_of_artists, owner_of, painters, real_table
from train.run import Run
from train.validation import side_pairs


def drawn(artists: Sets, most: int, seed: int = 0) -> PairList:
    return evaluation_pairs(artists.members.astype(np.int64), artists.owners.astype(np.int32), most, seed)


def couples(artists: Sets) -> int:
    return int((artists.counts * (artists.counts - 1) // 2).sum())


@settings(deadline=None)
@given(counts=counts_of_artists, most=st.integers(2, 400), seed=below_two_words)
def test_evaluation_pairs_are_distinct_half_same_and_as_many_as_asked(counts: list[int], most: int, seed: int) -> None:
    artists = painters(counts)
    pairs, owner = drawn(artists, most, seed), owner_of(artists)
    assert (pairs.left < pairs.right).all()
    assert len({*zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}) == len(pairs.left)
    assert ((owner[pairs.left] == owner[pairs.right]) == pairs.same).all()
    assert (owner[np.concatenate(pairs[:2])] >= 0).all()
    rows = len(artists.members)
    different = rows * (rows - 1) // 2 - couples(artists)
    assert pairs.same.sum() == (~pairs.same).sum() == min(most // 2, couples(artists), different)


def test_all_same_artist_pairs_are_taken_where_they_fit() -> None:
    artists = painters([3, 4, 5, 1])
    pairs = drawn(artists, 1000)
    assert pairs.same.sum() == couples(artists) == 3 + 6 + 10


def test_prolific_artists_are_bounded_and_all_others_give_all_they_have() -> None:
    artists = painters(SKEWED)
    pairs = drawn(artists, 2000)
    by_artist = np.bincount(owner_of(artists)[pairs.left[pairs.same]])
    possible = artists.counts * (artists.counts - 1) // 2
    bound = by_artist.max()
    assert by_artist.sum() == 1000
    assert (by_artist >= np.minimum(possible, bound - 1)).all()
    assert (by_artist == possible)[possible < bound - 1].all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(0, 500), below_two_words)
def test_shares_are_exact_and_as_even_as_can_be(most: list[int], total: int, seed: int) -> None:
    possible, total = np.array(most), min(total, sum(most))
    taken = shares(possible, total, np.random.default_rng(seed))
    assert taken.sum() == total
    assert (taken <= possible).all()
    assert (taken >= np.minimum(possible, taken.max() - 1)).all()


def test_pairs_are_drawn_evenly_from_all_there_are() -> None:
    artists = painters([9, 6, 2])
    same, different = np.zeros((27, 40)), np.zeros((40, 40))
    for seed in range(3000):
        pairs = drawn(artists, 30, seed)
        np.add.at(same, (pairs.left[pairs.same] % 27, pairs.right[pairs.same]), 1)
        np.add.at(different, (pairs.left[~pairs.same], pairs.right[~pairs.same]), 1)
    assert np.count_nonzero(different) == 9 * 6 + 9 * 2 + 6 * 2
    assert chisquare(different[different > 0]).pvalue > 1e-4
    first = same[:9, :9]
    assert np.count_nonzero(first) == 36
    assert chisquare(first[first > 0]).pvalue > 1e-4


def test_one_stranger_among_thousands_ends_the_search() -> None:
    """All different pairs have the one picture; drawing again and again until they are found would never end."""
    pairs = drawn(painters([5000, 1]), 120_000)
    assert pairs.same.sum() == (~pairs.same).sum() == 5000


def test_the_real_table_gives_exactly_the_stated_number(shared_data: Path) -> None:
    artists = real_table(shared_data).artists
    pairs = drawn(artists, 120_000)
    assert len(pairs.same) == 120_000
    assert len(np.unique(owner_of(artists)[pairs.left[pairs.same]])) == 1584


def test_pairs_are_the_same_each_time_whatever_the_order_of_rows_and_others_for_another_seed() -> None:
    rows, labels = np.arange(400), np.repeat(np.arange(20, dtype=np.int32), 20)
    mixed = np.random.default_rng(0).permutation(400)
    first, again = evaluation_pairs(rows, labels, 500, 1), evaluation_pairs(rows[mixed], labels[mixed], 500, 1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.left, evaluation_pairs(rows, labels, 500, 2).left)


def test_saved_pairs_are_read_back(tmp_path: Path) -> None:
    artists = painters([5, 6, 7])
    pairs = drawn(artists, 40)
    save_evaluation_pairs(tmp_path / "pairs.parquet", pairs)
    found = load_evaluation_pairs(tmp_path / "pairs.parquet", artists.members.astype(np.int64))
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(pairs, found, strict=True))
    assert pl.read_parquet(tmp_path / "pairs.parquet").schema == {
        "left": pl.Int64,
        "right": pl.Int64,
        "same": pl.Boolean,
    }


def test_saved_pairs_that_are_damaged_or_of_another_side_are_refused(tmp_path: Path) -> None:
    artists, path = painters([5, 6, 7]), tmp_path / "pairs.parquet"
    rows = artists.members.astype(np.int64)
    save_evaluation_pairs(path, drawn(artists, 40))
    with pytest.raises(RunError, match=r"pairs\.parquet has pictures of another side or split; remove it"):
        load_evaluation_pairs(path, rows[:-3])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"pairs\.parquet is damaged; remove it"):
        load_evaluation_pairs(path, rows)
    for column in (pl.Series("same", ["yes", "no"]), pl.Series("same", [True, None])):
        pl.DataFrame([pl.Series("left", rows[:2]), pl.Series("right", rows[2:4]), column]).write_parquet(path)
        with pytest.raises(RunError, match=r"must have the columns left, right and same; remove it"):
            load_evaluation_pairs(path, rows)


def test_a_runs_pairs_are_drawn_once_and_kept(tmp_path: Path) -> None:
    rows = np.arange(60, dtype=np.uint32)
    labels = (rows // 10).astype(np.int32)
    sides = ["test_seen", "train"] * 30
    pl.DataFrame({"row": rows, "label": labels, "side": sides}).write_parquet(tmp_path / "split.parquet")
    run = Run(tmp_path, {"settings": {"split": {"seed": 3}}})
    first, more = side_pairs(run, "test_seen", 20), side_pairs(run, "test_seen", 40)
    assert (len(first.same), len(more.same)) == (20, 40)
    kept = PairList(first.left[5:15], first.right[5:15], first.same[5:15])
    save_evaluation_pairs(tmp_path / "evaluation" / "test_seen-20.parquet", kept)
    assert np.array_equal(side_pairs(run, "test_seen", 20).left, kept.left)
