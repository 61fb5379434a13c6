"""The stream `groups`: some paintings each of many artists, exactly as many rows as asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipeline.sets import Sets
from pipeline.streams import Groups
from preprocess.common.errors import SplitError
from tests.painters import POLICIES, SKEWED, below_two_words, counts_of_artists, owner_of, painters, real_table

SURE = 1e-4


@given(
    counts=counts_of_artists.filter(lambda counts: max(counts) >= 2),
    share=st.floats(0.1, 1),
    per_artist=st.integers(2, 5),
    policy=st.sampled_from(POLICIES),
    seed=below_two_words,
    k=below_two_words,
)
def test_a_batch_has_exactly_its_size_and_no_row_twice(
    counts: list[int], share: float, per_artist: int, policy: str, seed: int, k: int
) -> None:
    artists, size = painters(counts), max(2, round(share * sum(counts)))
    batch = Groups(artists, size, per_artist, seed, policy).batch_at(k)
    owner = owner_of(artists)[batch.rows]
    assert len(batch.rows) == size == len(set(batch.rows.tolist()))
    assert (owner >= 0).all()
    pairs = {*zip(batch.left.tolist(), batch.right.tolist(), strict=True)}
    assert len(batch.left) == len(pairs) == size * (size - 1) // 2
    assert ((owner[batch.left] == owner[batch.right]) == (batch.same == 1)).all()
    assert not batch.hard.any()
    given_by = np.bincount(owner, minlength=len(counts))
    if np.minimum(counts, per_artist).sum() >= size:
        assert given_by.max() <= per_artist


def test_small_artists_give_what_they_have_and_others_fill_up() -> None:
    stream = Groups(painters([1, 2, 3] * 10), 30, 4, 0)
    for k in range(20):
        batch = stream.batch_at(k)
        given_by = np.bincount(owner_of(stream.artists)[batch.rows], minlength=30)
        part = (given_by > 0) & (given_by < stream.artists.counts)
        assert part.sum() <= 1, "only the artist who completes the batch gives less than there is"


def test_artists_give_more_where_there_are_too_few_of_them() -> None:
    batch = Groups(painters([50, 50]), 40, 4, 0).batch_at(0)
    assert (batch.rows < 50).sum() == 20
    batch = Groups(painters([500, 2]), 40, 4, 0).batch_at(0)
    assert (batch.rows < 500).sum() == 38


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data(), below_two_words)
def test_some_of_several_sets_are_members_without_repetition(counts: list[int], data: st.DataObject, seed: int) -> None:
    sets = painters(counts)
    takes = np.array([data.draw(st.integers(1, count)) for count in counts])
    drawn = sets.some_of(np.arange(len(counts)), takes, np.random.default_rng(seed))
    assert len(set(drawn.tolist())) == takes.sum()
    assert (owner_of(sets)[drawn] == np.repeat(np.arange(len(counts)), takes)).all()


def test_all_subsets_are_alike_likely() -> None:
    sets, rng = painters([5]), np.random.default_rng(0)
    drawn = sets.some_of(np.zeros(20_000, np.int64), np.full(20_000, 3), rng).reshape(-1, 3)
    numbers = np.unique((1 << drawn).sum(axis=1), return_counts=True)[1]
    assert len(numbers) == 10
    assert chisquare(numbers).pvalue > SURE


def test_two_of_a_set_are_all_ordered_pairs_alike() -> None:
    sets, rng = painters([4, 4]), np.random.default_rng(0)
    first, second = sets.two_of(np.zeros(20_000, np.int64), rng)
    numbers = np.bincount(4 * first + second, minlength=16).reshape(4, 4)
    assert not numbers.diagonal().any()
    assert chisquare(numbers[~np.eye(4, dtype=bool)]).pvalue > SURE


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_decides_how_often_an_artist_comes_first(policy: str) -> None:
    """The first artist of a batch is drawn by the shares; those after, from the others by theirs."""
    artists = painters([2, 8, 32, 50])
    stream, owner = Groups(artists, 4, 2, 0, policy), owner_of(artists)
    first = [owner[stream.batch_at(k).rows[0]] for k in range(4000)]
    weights = {"uniform": [1, 1, 1, 1], "root": [2**0.5, 8**0.5, 32**0.5, 50**0.5], "proportional": [2, 8, 32, 50]}
    expected = 4000 * np.array(weights[policy]) / sum(weights[policy])
    assert chisquare(np.bincount(first, minlength=4), expected).pvalue > SURE


def test_paintings_of_an_artist_are_drawn_evenly() -> None:
    artists = painters([9] * 12)
    stream = Groups(artists, 32, 4, 2)
    rows = np.concatenate([stream.batch_at(k).rows for k in range(500)])
    assert chisquare(np.unique(rows, return_counts=True)[1]).pvalue > SURE


def seen(stream: Groups, batches: int) -> tuple[int, int]:
    """Return how many paintings, and how many same-artist pairs, the first batches showed."""
    rows: set[int] = set()
    couples: set[tuple[int, int]] = set()
    for k in range(batches):
        batch = stream.batch_at(k)
        rows.update(batch.rows.tolist())
        same = batch.same == 1
        ends = np.sort(np.stack([batch.rows[batch.left[same]], batch.rows[batch.right[same]]]), axis=0)
        couples.update(zip(*ends.tolist(), strict=True))
    return len(rows), len(couples)


def assert_covers(artists: Sets, size: int, batches: int, policy: str, tolerance: float) -> None:
    stream = Groups(artists, size, 4, 1, policy)
    assert seen(stream, batches) == pytest.approx(stream.coverage(batches), rel=tolerance)


@pytest.mark.parametrize("policy", POLICIES)
def test_as_many_paintings_and_pairs_are_seen_as_expected(policy: str, shared_data: Path) -> None:
    """Two hundredths: the formula is an approximation, and the last artist of a batch gives only a part."""
    assert_covers(real_table(shared_data).artists, 256, 400, policy, 0.02)


@pytest.mark.parametrize("policy", POLICIES)
def test_coverage_holds_where_small_artists_give_what_they_have(policy: str) -> None:
    assert_covers(painters([1, 2, 3, 5, 9, 30] * 40), 64, 60, policy, 0.04)


def test_a_batch_of_the_whole_collection_has_seen_it_all() -> None:
    stream = Groups(painters(SKEWED), sum(SKEWED), 4, 0)
    everything = sum(SKEWED), sum(count * (count - 1) // 2 for count in SKEWED)
    assert stream.coverage(1) == pytest.approx(everything)
    assert seen(stream, 1) == everything


@pytest.mark.parametrize("counts", [[5], [1, 1, 1], []])
def test_what_makes_no_pairs_is_refused(counts: list[int]) -> None:
    with pytest.raises(SplitError, match="add pictures"):
        Groups(painters(counts), 4, 2, 0)


def test_a_batch_larger_than_the_collection_is_refused() -> None:
    with pytest.raises(SplitError, match=r"train\.batch is 64, but only 12 pictures are there to train on; lower it"):
        Groups(painters([6, 6]), 64, 8, 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_batch_of_the_real_scale_is_well_formed(k: int) -> None:
    counts = np.random.default_rng(k).geometric(1 / 50, 1584)
    artists = painters(counts.tolist())
    batch = Groups(artists, 128, 4, 0, "proportional").batch_at(k)
    owner = owner_of(artists)[batch.rows]
    assert len(np.unique(batch.rows)) == 128
    assert np.bincount(owner).max() <= 4
    assert ((owner[batch.left] == owner[batch.right]) == (batch.same == 1)).all()
