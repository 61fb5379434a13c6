"""How a collection is distributed: bars to look at, made by polars alone, so that they are there without TFDV too."""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from preprocess.parsed import known, with_years

MOST_NAMES = 12
PERIOD = 25
"""Years."""
EARLY = 1400
HOLDINGS = (1, 2, 5, 10, 25, 50, 100)
"""Paintings of an artist, from which bars begin."""
TONE = 16
"""Of 256 levels of brightness and colourfulness in one bar."""


class Bar(NamedTuple):
    """One bar: its label, the number it stands for, and its length, 0 to 1, beside the longest."""

    label: str
    number: int
    length: float


def whole(value: object) -> int:
    """Return a statistic of a column of numbers as an integer; polars cannot tell that it is one."""
    return int(value)  # type: ignore[call-overload,no-any-return]


class Chart(NamedTuple):
    """Bars with a title and a few words below; `named` bars have names, others stand in an order."""

    title: str
    words: str
    bars: list[Bar]
    named: bool


def charts(rows: pl.DataFrame) -> list[Chart]:
    """Return the charts for the rows of a manifest or a store; what is known of no row has none."""
    rows = with_years(rows)
    drawn = [holdings(rows), names(rows, "style"), names(rows, "genre"), periods(rows)]
    drawn += [doublings(rows, "bytes", "File size", in_bytes)]
    if "width" in rows.columns:
        longer = rows.with_columns(side_length=pl.max_horizontal("width", "height"))
        drawn += [doublings(longer, "side_length", "Longer side", in_pixels), tones(rows, "mean", "Brightness"),
                  tones(rows, "colour", "Colourfulness")]  # fmt: skip
    return [chart for chart in drawn if chart.bars]


def holdings(rows: pl.DataFrame) -> Chart:
    """Return how many artists have how many paintings."""
    counts = rows["artist"].value_counts()["count"]
    ends = [*(first - 1 for first in HOLDINGS[1:]), whole(counts.max())]
    found = {
        (str(first) if first == end else f"{first}+" if first == HOLDINGS[-1] else f"{first} to {end}"):
        int(counts.is_between(first, end).sum())
        for first, end in zip(HOLDINGS, ends, strict=True)
    }  # fmt: skip
    words = f"{len(counts):,} artists by their number of paintings; half have {whole(counts.median())} or fewer"
    return Chart("Paintings per artist", words, bars(found), named=False)


def names(rows: pl.DataFrame, column: str) -> Chart:
    """Return the commonest values of a column of text."""
    told = rows.select(known(column))[column].drop_nulls()
    often = told.value_counts(sort=True).sort("count", column, descending=[True, False])
    found = dict(often.head(MOST_NAMES).iter_rows())
    if rest := int(often["count"][MOST_NAMES:].sum()):
        found[f"{len(often) - MOST_NAMES} others"] = rest
    words = f"{len(often):,} in all; {len(rows) - len(told):,} of {len(rows):,} rows have none"
    return Chart(f"{column.capitalize()}s", words, bars(found), named=True)


def periods(rows: pl.DataFrame) -> Chart:
    """Return the paintings by the quarter century in which they were made, early ones together."""
    dated = rows["year"].drop_nulls()
    latest = max(EARLY, whole(dated.max() or EARLY))
    found = {f"before {EARLY}": int((dated < EARLY).sum())} if (dated < EARLY).any() else {}
    first = max(EARLY, whole(dated.min() or EARLY) // PERIOD * PERIOD)
    for start in range(first, min(latest, 2100) + 1, PERIOD):
        found[str(start)] = int(dated.is_between(start, start + PERIOD - 1).sum())
    words = f"by the {PERIOD} years that begin there; {len(rows) - len(dated):,} of {len(rows):,} rows have no year"
    return Chart("Dates", words, bars(found) if len(dated) else [], named=False)


def doublings(rows: pl.DataFrame, column: str, title: str, told: Callable[[float], str]) -> Chart:
    """Return a size in bars of which each reaches twice as far as the one before; `told` says a size in words."""
    sizes = rows[column].drop_nulls().cast(pl.Float64)
    sizes = sizes.filter(sizes > 0)
    if sizes.is_empty():
        return Chart(title, "", [], named=False)
    steps = sizes.log(2).floor().cast(pl.Int32)
    low, high = whole(steps.min()), whole(steps.max())
    found = {told(2.0**step): int((steps == step).sum()) for step in range(low, high + 1)}
    words = f"each bar reaches to twice its beginning; half are below {told(whole(sizes.median()))}"
    return Chart(title, words, bars(found), named=False)


def in_bytes(size: float) -> str:
    """Return a number of bytes in words."""
    thousands = 0 if size < 1000 else 1 if size < 1e6 else 2
    return f"{size / 1000**thousands:,.3g} {('B', 'kB', 'MB')[thousands]}"


def in_pixels(size: float) -> str:
    """Return a number of pixels in words."""
    return f"{size:,.0f} px"


def tones(rows: pl.DataFrame, column: str, title: str) -> Chart:
    """Return a quantity on the scale 0 to 255."""
    steps = (rows[column].drop_nulls() // TONE).cast(pl.Int32)
    found = {str(step * TONE): int((steps == step).sum()) for step in range(256 // TONE)}
    words = f"0 to 255; half are below {whole(rows[column].median())}" if len(steps) else ""
    return Chart(title, words, bars(found) if len(steps) else [], named=False)


def bars(found: dict[str, int]) -> list[Bar]:
    """Return bars as long as their counts."""
    longest = max(found.values(), default=0)
    return [Bar(label, count, count / longest) for label, count in found.items()] if longest else []
