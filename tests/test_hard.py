"""Hard pairs: two artists with something in common, as many as pipeline.hard_share says."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.streams import Groups, Hard, Pairs, traits_of
from pipeline.traits import main_trait
from preprocess.common.errors import ConfigError
from tests.painters import POLICIES, below_two_words, hands, owner_of, painters, real_table

COUNTS = [6, 5, 4, 3, 2, 8, 7, 2, 9, 4]


def traits(rows: int, seed: int = 0, known: float = 0.7) -> np.ndarray:
    """Return style, genre and period of `rows` rows at random, some unknown."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, [[5], [3], [40]], (3, rows), dtype=np.int32)
    return np.where(rng.random((3, rows)) < known, numbers, -1).astype(np.int32)


def test_traits_are_numbered_and_dates_are_read() -> None:
    dates = ["c.1645", "1955.0", "1880-1885", "April 1951", "", None, "١٦٤٥", "1900", "1899.0", "904.0"]
    table = pl.DataFrame({
        "style": ["Realism", "Cubism", None, "", " Cubism "] * 2, "genre": [None] * 10, "date": dates,
    }, {"style": pl.String, "genre": pl.String, "date": pl.String})  # fmt: skip
    style, genre, period = traits_of(table)
    assert style.dtype == np.int32
    assert style.tolist() == [1, 0, -1, -1, 0] * 2
    assert (genre == -1).all()
    assert period.tolist() == [1, 4, 2, 4, -1, -1, -1, 3, 2, 0]


def test_most_dates_of_the_real_table_are_read(shared_data: Path) -> None:
    table = real_table(shared_data).table
    style, genre, period = traits_of(table)
    assert (style == -1).sum() == table["style"].is_null().sum()
    assert len(np.unique(genre[genre >= 0])) == table["genre"].drop_nulls().n_unique()
    unread = table.filter(pl.Series(period == -1) & pl.col("date").is_not_null())
    assert set(unread["date"]) == {"rain", "rver", "ific"}


def test_the_main_trait_is_the_commonest() -> None:
    artists = painters([3, 2, 4])
    trait = np.full(artists.members.max() + 1, -1, np.int32)
    trait[artists.members] = [7, 2, 2, -1, -1, 5, -1, -1, -1]
    assert main_trait(artists, trait).tolist() == [2, -1, 5]


@given(share=st.floats(0.01, 1), policy=st.sampled_from(POLICIES), seed=below_two_words, k=below_two_words)
def test_hard_pairs_are_of_two_artists_of_one_style_genre_or_period(
    share: float, policy: str, seed: int, k: int
) -> None:
    artists = painters(COUNTS)
    of_row = traits(int(artists.members.max()) + 1, seed)
    batch = Pairs(artists, 24, seed, policy, Hard(share, of_row)).batch_at(k)
    left, right = hands(batch)
    owner = owner_of(artists)
    assert ((owner[left] == owner[right]) == (batch.same == 1)).all()
    assert batch.same.sum() == 12
    assert not batch.same[batch.hard].any()
    assert ((of_row[:, left] == of_row[:, right]) & (of_row[:, left] >= 0)).any(axis=0)[batch.hard].all()
    assert int(12 * share) <= batch.hard.sum() <= int(12 * share) + 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.77, 1.0])
def test_the_share_of_hard_pairs_is_right_in_the_long_run(share: float) -> None:
    artists = painters(COUNTS)
    stream = Pairs(artists, 12, 0, "uniform", Hard(share, traits(int(artists.members.max()) + 1)))
    found = np.mean([stream.batch_at(k).hard.sum() / 6 for k in range(2000)])
    assert found == pytest.approx(share, abs=0.01)


def test_hard_pairs_know_all_kinds_of_traits_and_every_artist_who_shares_one() -> None:
    """Artists 0 and 1 share a style, 2 and 3 a genre, 4 and 5 a period; 6 shares nothing and 7 only with itself."""
    artists = painters([2] * 8)
    of_row = np.full((3, int(artists.members.max()) + 1), -1, np.int32)
    for artist, (kind, value) in enumerate([(0, 4), (0, 4), (1, 4), (1, 4), (2, 4), (2, 4), (0, 1), (1, 2)]):
        of_row[kind, artists.members[artists.owners == artist]] = value
    stream = Pairs(artists, 8, 0, "uniform", Hard(1.0, of_row))
    met = set()
    for k in range(100):
        batch = stream.batch_at(k)
        first, second = owner_of(artists)[np.stack(hands(batch))[:, batch.hard]]
        met |= {*zip(first.tolist(), second.tolist(), strict=True)}
    assert met == {(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)}


def test_the_ordinary_pairs_of_a_batch_stay_what_they_were() -> None:
    """So that one run with hard pairs and one without differ in nothing else."""
    artists = painters(COUNTS)
    hard = Pairs(artists, 24, 3, "root", Hard(0.4, traits(int(artists.members.max()) + 1)))
    for k in range(20):
        with_hard, without = hard.batch_at(k), Pairs(artists, 24, 3, "root").batch_at(k)
        ordinary = np.repeat(~with_hard.hard, 2)
        assert (with_hard.rows[ordinary] == without.rows[ordinary]).all()


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_groups_draw_that_share_of_artists_from_the_style_of_the_first(share: float) -> None:
    artists = painters([5] * 60)
    style = np.full((3, int(artists.members.max()) + 1), -1, np.int32)
    style[0, artists.members] = artists.owners % 2
    stream, owner = Groups(artists, 44, 4, 0, "uniform", Hard(share, style)), owner_of(artists)
    drawn = []
    for k in range(400):
        batch = stream.batch_at(k)
        ordered = list(dict.fromkeys(owner[batch.rows].tolist()))
        left, right = owner[np.stack(hands(batch))[:, batch.hard]]
        mates = {*left.tolist(), *right.tolist()} - {ordered[0]}
        assert {artist % 2 for artist in mates} <= {ordered[0] % 2}
        assert (left != right).all()
        assert len(ordered) == 11
        assert len(batch.rows) == 44 == len(np.unique(batch.rows))
        drawn.append(len(mates) / 10)
    assert np.mean(drawn) == pytest.approx(share, abs=0.01)


def test_groups_fill_up_where_a_style_runs_out() -> None:
    artists = painters([4] * 12)
    style = np.full((3, int(artists.members.max()) + 1), -1, np.int32)
    style[0, artists.members] = np.where(artists.owners < 3, 0, -1)
    stream, owner = Groups(artists, 24, 4, 0, "uniform", Hard(1.0, style)), owner_of(artists)
    for k in range(50):
        batch = stream.batch_at(k)
        assert set(owner[batch.rows].tolist()) > {0, 1, 2}
        assert len(batch.rows) == 24
        assert batch.hard.sum() == 3 * 16


def test_the_real_table_has_hard_pairs(shared_data: Path) -> None:
    real = real_table(shared_data)
    hard = Hard(0.5, traits_of(real.table))
    assert Pairs(real.artists, 64, 0, "root", hard).batch_at(5).hard.sum() == 16
    assert Groups(real.artists, 64, 4, 0, "root", hard).batch_at(5).hard.any()


@pytest.mark.parametrize("known", [False, True])
def test_a_wish_that_nothing_can_fulfil_is_refused(known: bool) -> None:
    artists = painters([3, 3, 3])
    of_row = np.full((3, int(artists.members.max()) + 1), -1, np.int32)
    if known:
        of_row[:, artists.members] = artists.owners
    with pytest.raises(
        ConfigError, match=r"hard_share is 0\.3, but no two artists share a style, genre or period; set it"
    ):
        Pairs(artists, 4, 0, "uniform", Hard(0.3, of_row))
    with pytest.raises(ConfigError, match=r"pipeline\.hard_share is 0\.3, but no two artists share a style; set it"):
        Groups(artists, 4, 2, 0, "uniform", Hard(0.3, of_row))
