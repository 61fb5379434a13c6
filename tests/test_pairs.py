"""The stream `pairs`: half same-artist, and nothing but identity tells the two kinds apart."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare
from sklearn.metrics import roc_auc_score

from pipeline.lottery import TICKETS, capped, draw_two, tickets_of
from pipeline.split import TRAIN, divided
from pipeline.streams import Pairs, Sets, rows_by_label
from preprocess.common.config import Config
from preprocess.common.errors import ConfigError, SplitError
from preprocess.store import Store
from tests.painters import (
    POLICIES,
    SKEWED,
    below_two_words,
    counts_of_artists,
    hands,
    owner_of,
    painters,
    real_table,
    seen,
)  # fmt: skip

SURE = 1e-4
"""The seeds are fixed, so a p-value below this is a bias and no accident."""


@given(counts=counts_of_artists, policy=st.sampled_from(POLICIES), seed=below_two_words, k=below_two_words)
def test_half_of_every_batch_is_same_artist_and_no_picture_meets_itself(
    counts: list[int], policy: str, seed: int, k: int
) -> None:
    artists = painters([*counts, 2, 2])
    owner, pictures = owner_of(artists), sum(count for count in [*counts, 2, 2] if count >= 2)
    pairs = max(2, min(64, pictures // 2) // 2 * 2)
    batch = Pairs(artists, pairs, seed, policy).batch_at(k)
    left, right = hands(batch)
    assert len(batch.rows) == 2 * pairs
    assert batch.same.sum() == pairs / 2
    assert (left != right).all()
    assert ((owner[left] == owner[right]) == (batch.same == 1)).all()
    assert not batch.hard.any()
    assert (batch.weight == 1).all()
    assert (artists.counts[owner[batch.rows]] >= 2).all(), "a single painting is in different pairs only"


def quarters(artists: Sets) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a cell for each row number, four to an artist, and the number of paintings in each cell."""
    place = np.arange(len(artists.members)) - np.repeat(artists.starts[:-1], artists.counts)
    cells = 4 * artists.owners + 4 * place // artists.counts[artists.owners]
    cell = np.full(int(artists.members.max()) + 1, -1)
    cell[artists.members] = cells
    return cell, np.bincount(cells, minlength=4 * len(artists.counts))


def assert_drawn_by_shares(artists: Sets, policy: str, pairs: int, batches: int) -> None:
    """On either hand of either kind of pair, artists and parts of their work come by their shares (chi-square)."""
    rows, same = seen(Pairs(artists, pairs, 3, policy), batches)
    tickets = capped(tickets_of(policy, artists.counts))
    share, owner = tickets / tickets.sum(), owner_of(artists)
    cell, sizes = quarters(artists)
    of_cell = np.repeat(share / artists.counts, 4) * sizes
    for hand in rows:
        for kind in (same, ~same):
            drawn = np.bincount(owner[hand[kind]], minlength=len(share))
            assert chisquare(drawn, share * kind.sum()).pvalue > SURE
            drawn = np.bincount(cell[hand[kind]], minlength=len(sizes))[sizes > 0]
            assert chisquare(drawn, of_cell[sizes > 0] * kind.sum()).pvalue > SURE


@pytest.mark.parametrize("policy", POLICIES)
def test_artists_are_drawn_by_their_shares_in_both_kinds_where_one_has_most(policy: str) -> None:
    assert_drawn_by_shares(painters(SKEWED), policy, 400, 100)


@pytest.mark.parametrize("policy", POLICIES)
def test_artists_are_drawn_by_their_shares_in_both_kinds_of_the_real_table(policy: str, shared_data: Path) -> None:
    assert_drawn_by_shares(real_table(shared_data).artists, policy, 8192, 60)


def test_every_painting_of_the_real_table_is_as_likely_in_both_kinds(shared_data: Path) -> None:
    artists = real_table(shared_data).artists
    rows, same = seen(Pairs(artists, 16384, 5, "proportional"), 60)
    for hand in rows:
        for kind in (same, ~same):
            assert chisquare(np.bincount(hand[kind], minlength=len(artists.members))).pvalue > SURE


def one_picture_aucs(stream: Pairs, groups: NDArray[np.int64], batches: int) -> tuple[list[float], float]:
    """Return how well a table tells same from different pairs by the left picture alone, and by the right one alone,
    and how far chance may stray from 0.5.

    The table is the share of same pairs of each group (a picture, or an artist), learned from the first half of the
    batches and scored on the second. By chance an AUC lies within 3.29 standard deviations of 0.5 in 99.9 % of trials
    (Hanley and McNeil 1982, for scores that say nothing); ties only narrow that.
    """
    rows, same = seen(stream, batches)
    half, found = rows.shape[1] // 2, []
    for group in groups[rows]:
        together = np.bincount(group[:half], same[:half], len(groups))
        share = (together + 1) / (np.bincount(group[:half], minlength=len(groups)) + 2)
        found.append(float(roc_auc_score(same[half:], share[group[half:]])))
    positives, negatives = int(same[half:].sum()), int((~same[half:]).sum())
    return found, 3.29 * float(np.sqrt((positives + negatives + 1) / (12 * positives * negatives)))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("counts", [SKEWED, [2, 300], [5, 5, 5, 80], [2, 3, 5, 8, 13, 21, 34, 2]])
def test_a_model_that_sees_one_picture_only_is_at_chance(counts: list[int], policy: str) -> None:
    artists = painters(counts)
    stream, owner = Pairs(artists, sum(counts) // 4 * 2, 7, policy), owner_of(artists)
    for groups in (owner, np.arange(len(owner))):
        aucs, margin = one_picture_aucs(stream, groups, 100_000 // stream.pairs)
        assert max(abs(auc - 0.5) for auc in aucs) < margin < 0.01


def test_a_model_that_sees_one_picture_of_the_real_table_is_at_chance(shared_data: Path) -> None:
    artists = real_table(shared_data).artists
    for policy in POLICIES:
        for groups in (owner_of(artists), np.arange(len(artists.members))):
            aucs, margin = one_picture_aucs(Pairs(artists, 8192, 11, policy), groups, 40)
            assert max(abs(auc - 0.5) for auc in aucs) < margin < 0.005


@given(st.lists(st.integers(2, 10_000), min_size=2, max_size=30), st.sampled_from(POLICIES))
def test_no_artist_has_more_than_half_and_the_others_keep_their_proportions(counts: list[int], policy: str) -> None:
    tickets = tickets_of(policy, np.array(counts))
    fair = capped(tickets)
    assert 2 * fair.max() <= fair.sum()
    others = np.arange(len(counts)) != tickets.argmax()
    assert (fair[others] == tickets[others]).all()
    if 2 * tickets.max() <= tickets.sum():
        assert (fair == tickets).all()
    else:
        assert 2 * fair.max() == fair.sum()


def test_policies_follow_the_number_of_paintings() -> None:
    counts = np.array([4, 16, 100])
    shares = {policy: (tickets_of(policy, counts) / tickets_of(policy, counts).sum()).tolist() for policy in TICKETS}
    assert shares["uniform"] == pytest.approx([1 / 3] * 3)
    assert shares["root"] == pytest.approx([2 / 16, 4 / 16, 10 / 16])
    assert shares["proportional"] == pytest.approx([4 / 120, 16 / 120, 100 / 120])
    assert tuple(TICKETS) == POLICIES


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12), below_two_words)
def test_two_artists_drawn_together_are_never_one(tickets: list[int], seed: int) -> None:
    first, second = draw_two(capped(np.array(tickets)), 500, np.random.default_rng(seed))
    assert (first != second).all()


def test_two_artists_share_all_pairs() -> None:
    rows, same = seen(Pairs(painters([2, 300]), 50, 0, "proportional"), 200)
    first, second = owner_of(painters([2, 300]))[rows]
    assert (first[~same] + second[~same] == 1).all()
    assert chisquare(np.bincount(first[same])).pvalue > SURE


def test_every_two_artists_meet_though_one_is_prolific() -> None:
    """Their places on the circle change from batch to batch; else those beside each other never would."""
    artists = painters([40, 15, 15, 15, 15])
    rows, same = seen(Pairs(artists, 32, 0, "proportional"), 200)
    first, second = owner_of(artists)[rows][:, ~same]
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == 5 * 4


def test_near_duplicates_never_meet(tmp_path: Path) -> None:
    """The split leaves one of them, so pairs drawn from a side have none to meet."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 400)
    hashes[1::4] = hashes[0::4] ^ 0b101
    hashes[6::8] = hashes[0::8] ^ (1 << 40)
    rows = pl.DataFrame({
        "key": [f"{number}.jpg" for number in range(400)], "artist": [f"{number // 40}" for number in range(400)],
        "phash": [f"{int(value):016x}" for value in hashes], "label": np.arange(400, dtype=np.int32) // 40,
    }).with_row_index("row").with_columns(
        pl.lit("stored").alias("status"), *(pl.lit(None, pl.String).alias(name) for name in ("style", "side"))
    )  # fmt: skip
    rows.write_parquet(tmp_path / "rows.parquet")
    split = divided(Store(tmp_path, {"inputs": {"hashes_meaningful": True}}), Config(), [])
    side = split.filter(pl.col("side") == TRAIN)
    artists = rows_by_label(side["row"].to_numpy(), side["label"].to_numpy())
    (left, right), _ = seen(Pairs(artists, len(side) // 4 * 2, 0), 400)
    assert len(np.unique(np.stack([left, right]))) == len(side) > 100
    assert np.bitwise_count(hashes[left] ^ hashes[right]).min() > Config().split.near_duplicate_bits


def distinct_seen(stream: Pairs, batches: int) -> tuple[int, int]:
    """Return how many paintings, and how many same-artist pairs, the first batches showed."""
    rows, same = seen(stream, batches)
    return len(np.unique(rows)), len(np.unique(np.sort(rows[:, same], axis=0), axis=1).T)


@pytest.mark.parametrize("policy", POLICIES)
def test_as_many_paintings_and_pairs_are_seen_as_expected(policy: str, shared_data: Path) -> None:
    """A hundredth is over five standard deviations at these numbers."""
    stream = Pairs(real_table(shared_data).artists, 4096, 1, policy)
    for batches in (1, 10, 60):
        assert distinct_seen(stream, batches) == pytest.approx(stream.coverage(batches), rel=0.01)


@pytest.mark.parametrize("policy", POLICIES)
def test_as_many_paintings_are_seen_as_expected_of_skewed_artists(policy: str) -> None:
    """The mean over seeds: the expectation is exact, and 0.025 is three standard errors of 100 seeds."""
    streams = [Pairs(painters(SKEWED), 20, seed, policy) for seed in range(100)]
    found = np.mean([distinct_seen(stream, 8) for stream in streams], axis=0)
    assert found == pytest.approx(streams[0].coverage(8), rel=0.025)


def test_in_the_long_run_everything_is_seen() -> None:
    stream = Pairs(painters([2, 3, 4]), 4, 0)
    assert stream.coverage(10_000) == pytest.approx((9, 1 + 3 + 6))
    assert distinct_seen(stream, 500) == (9, 1 + 3 + 6)


@pytest.mark.parametrize("counts", [[5], [1, 1, 1], [5, 1], []])
def test_what_makes_no_pairs_is_refused(counts: list[int]) -> None:
    with pytest.raises(SplitError, match=r"two artists with two paintings each.*; add pictures"):
        Pairs(painters(counts), 4, 0)


def test_a_batch_larger_than_the_collection_is_refused() -> None:
    assert len(Pairs(painters([6, 6, 1]), 6, 0).batch_at(0).rows) == 12
    with pytest.raises(SplitError, match=r"train\.batch is 16, but only 12 pictures are there.*; lower it"):
        Pairs(painters([6, 6, 1]), 8, 0)


def test_pairs_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.batch is 10.*take a multiple of 4"):
        Pairs(painters([6, 6]), 5, 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_batch_of_the_real_scale_is_well_formed(k: int) -> None:
    counts = np.random.default_rng(k).geometric(1 / 50, 1584) + 1
    artists = painters(counts.tolist())
    batch = Pairs(artists, 64, 0, "root").batch_at(k)
    left, right = owner_of(artists)[np.stack(hands(batch))]
    assert ((left == right) == (batch.same == 1)).all()
    assert batch.same.sum() == 32
