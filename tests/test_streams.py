"""Streams: what a batch holds, and that batch k is a function of (settings, seed, k)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from pipeline.streams import (
    Batch,
    Groups,
    Pairs,
    different_pairs,
    evaluation_pairs,
    in_order,
    largest_bound,
    rows_by_label,
)
from preprocess.common.errors import SplitError

counts_of_artists = st.lists(st.integers(1, 12), min_size=2, max_size=20).filter(lambda counts: max(counts) >= 2)


def artists(counts: list[int]) -> list[NDArray[np.int64]]:
    """Return consecutive rows for artists with these numbers of paintings, with gaps between artists."""
    starts = np.cumsum([0, *counts[:-1]]) + 10 * np.arange(len(counts))
    return [np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]


def owner_of(own: list[NDArray[np.int64]]) -> dict[int, int]:
    return {int(row): artist for artist, rows in enumerate(own) for row in rows}


def equal(first: Batch, second: Batch) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in Batch._fields)


@given(counts=counts_of_artists, seed=st.integers(0, 2**40), k=st.integers(0, 2**40))
def test_groups_batch_has_exactly_its_size_and_no_row_twice(counts: list[int], seed: int, k: int) -> None:
    own = artists(counts)
    size = max(2, sum(counts) // 2)
    batch = Groups(own, size, 3, seed).batch(k)
    owners = owner_of(own)
    assert len(batch.rows) == size == len(set(batch.rows.tolist()))
    assert (
        len(batch.left) == size * (size - 1) // 2 == len({*zip(batch.left.tolist(), batch.right.tolist(), strict=True)})
    )
    truth = [
        owners[int(a)] == owners[int(b)] for a, b in zip(batch.rows[batch.left], batch.rows[batch.right], strict=True)
    ]
    assert batch.same.tolist() == truth


@given(counts=counts_of_artists, seed=st.integers(0, 2**40), k=st.integers(0, 2**40))
def test_pairs_batch_is_half_same_artist_and_never_a_picture_with_itself(counts: list[int], seed: int, k: int) -> None:
    own = artists([*counts, 2, 2])
    batch = Pairs(own, 16, seed).batch(k)
    owners = owner_of(own)
    left, right = batch.rows[batch.left], batch.rows[batch.right]
    assert batch.same.sum() == 8
    assert (left != right).all()
    assert batch.same.tolist() == [owners[int(a)] == owners[int(b)] for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("make", [lambda own, seed: Pairs(own, 8, seed), lambda own, seed: Groups(own, 16, 4, seed)])
def test_a_batch_depends_on_seed_and_number_only(make: object) -> None:
    own = artists([5] * 12)
    stream, again = make(own, 7), make(own, 7)  # type: ignore[operator]
    backwards = {k: again.batch(k) for k in reversed(range(20))}
    assert all(equal(stream.batch(k), backwards[k]) for k in range(20))
    distinct = {make(own, seed).batch(k).rows.tobytes() for seed in range(20) for k in range(20)}  # type: ignore[operator]
    assert len(distinct) == 400


def test_both_kinds_of_pairs_weigh_the_same() -> None:
    batch = Groups(artists([6] * 30), 64, 4, 0).batch(3)
    assert batch.weight[batch.same == 1].sum() == pytest.approx(batch.weight[batch.same == 0].sum())
    assert batch.weight.mean() == pytest.approx(1)


def test_an_artist_is_as_likely_in_same_as_in_different_pairs() -> None:
    """A model that sees one picture only must be at chance: whose it is says nothing about the kind of pair."""
    own = artists([2, 3, 5, 8, 13, 21, 34, 2])
    owners = owner_of(own)
    stream = Pairs(own, 64, 1)
    seen = np.zeros((2, len(own)))
    for k in range(600):
        batch = stream.batch(k)
        for side in (batch.left, batch.right):
            for row, same in zip(batch.rows[side], batch.same, strict=True):
                seen[int(same), owners[int(row)]] += 1
    for kind in seen:
        assert chisquare(kind[::1]).pvalue > 1e-4
    assert chisquare(seen[0], seen[1]).pvalue > 1e-6


def test_paintings_of_an_artist_are_drawn_evenly() -> None:
    own = artists([7] * 4)
    stream = Pairs(own, 64, 2)
    rows = np.concatenate([stream.batch(k).rows for k in range(200)])
    assert chisquare(np.unique(rows, return_counts=True)[1]).pvalue > 1e-4


@pytest.mark.parametrize("counts", [[5], [1, 1, 1], []])
def test_streams_refuse_what_makes_no_pairs(counts: list[int]) -> None:
    own = artists(counts) if counts else []
    with pytest.raises(SplitError, match="add pictures"):
        Pairs(own, 4, 0)
    if counts:
        with pytest.raises(SplitError, match="add pictures"):
            Groups(own, 4, 2, 0)


def test_groups_refuses_a_batch_larger_than_the_side() -> None:
    with pytest.raises(SplitError, match=r"train\.batch is 64, but only 12 pictures"):
        Groups(artists([6, 6]), 64, 8, 0)


@settings(deadline=None)
@given(counts=counts_of_artists, most=st.integers(2, 200), seed=st.integers(0, 1000))
def test_evaluation_pairs_are_distinct_half_same_and_bounded(counts: list[int], most: int, seed: int) -> None:
    own = artists(counts)
    rows = np.concatenate(own)
    labels = np.repeat(np.arange(len(own), dtype=np.int32), counts)
    pairs = evaluation_pairs(rows, labels, most, seed)
    owners = owner_of(own)
    assert (pairs.left < pairs.right).all()
    assert len({*zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}) == len(pairs.left)
    assert pairs.same.tolist() == [
        owners[int(a)] == owners[int(b)] for a, b in zip(pairs.left, pairs.right, strict=True)
    ]
    possible = np.array([count * (count - 1) // 2 for count in counts])
    assert pairs.same.sum() <= max(most // 2, np.count_nonzero(possible))
    if possible.sum() <= most // 2:
        assert pairs.same.sum() == possible.sum()
    different = sum(counts) * (sum(counts) - 1) // 2 - possible.sum()
    assert (~pairs.same).sum() == min(pairs.same.sum(), different)


def test_evaluation_pairs_are_the_same_each_time_and_other_for_another_seed() -> None:
    rows, labels = np.arange(400), np.repeat(np.arange(20, dtype=np.int32), 20)
    first, again, other = (evaluation_pairs(rows, labels, 500, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.left, other.left)


def test_large_sides_draw_different_pairs_without_repeating_any() -> None:
    rows, labels = np.arange(5000) * 3, np.arange(5000, dtype=np.int32) % 7
    left, right = different_pairs(rows, labels, 20_000, np.random.default_rng(0))
    assert len({*zip(left.tolist(), right.tolist(), strict=True)}) == 20_000
    assert (labels[left // 3] != labels[right // 3]).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 500))
def test_largest_bound_is_the_largest_that_fits(counts: list[int], total: int) -> None:
    numbers = np.array(counts)
    bound = largest_bound(numbers, total)
    assert bound == 1 or np.minimum(numbers, bound).sum() <= total
    assert bound >= numbers.max() or (bound >= 1 and np.minimum(numbers, bound + 1).sum() > total)


def test_rows_in_order_cover_all_once() -> None:
    batches = in_order(np.arange(10), 4)
    assert [batch.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_rows_by_label_groups_rows() -> None:
    groups = rows_by_label(np.array([4, 7, 9, 11]), np.array([2, 0, 2, 0], np.int32))
    assert [group.tolist() for group in groups] == [[7, 11], [4, 9]]
