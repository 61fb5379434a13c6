"""What a manifest alone shows, before any picture is read: names, dates, and rows without a file."""

from datetime import UTC, datetime

import polars as pl

from preprocess.anomalies import FEW
from preprocess.findings import Finding, Severity
from preprocess.spelling import respelt, slips
from preprocess.years import years

FIRST_YEAR = 300
"""The oldest painter known by name whose paintings are known, Gu Kaizhi, was born about 344."""
LIFETIME = 100
"""Years from most of an artist's paintings. The real table exceeds it six times, mostly by slips of a digit."""
NAMELESS = r"(?i)\b(unknown|anonymous|anonyme|unidentified|follower|workshop|circle|school|attributed|after)\b"
"""What stands for more than one person. Names of schools of painters, too, say nothing of a hand."""


def check_table(manifest: pl.DataFrame) -> list[Finding]:
    """Return what is odd about the rows of a manifest; its rows are numbered as the store's will be."""
    listed = manifest.with_row_index("row").filter(~pl.col("removed"))
    return [
        *fileless(listed), *impossible_dates(listed), *unread_dates(listed), *two_spellings(listed),
        *nameless_artists(listed), *single_paintings(listed),
    ]  # fmt: skip


def rows_of(table: pl.DataFrame) -> tuple[int, ...]:
    """Return the row numbers of what is left of a table."""
    return tuple(table["row"].to_list())


def fileless(listed: pl.DataFrame) -> list[Finding]:
    """Return the finding about rows of the table for which there is no file."""
    missing = listed.filter(pl.col("place").is_null())
    if missing.is_empty():
        return []
    return [
        Finding(
            "no-file", Severity.WARNING, f"rows without a file: {len(missing)} of {len(listed)}; they are quarantined",
            "add the files, or remove the rows from the table", rows_of(missing),
            {"rows": len(missing), "of": len(listed)},
        )
    ]  # fmt: skip


def impossible_dates(listed: pl.DataFrame) -> list[Finding]:
    """Return the findings about years in which nobody, or not this artist, can have painted."""
    this_year = datetime.now(UTC).year
    dated = listed.hstack(years(listed["date"])).drop_nulls("first")
    usual = pl.col("first").median().over("artist")
    dated = dated.with_columns(
        nobodys=(pl.col("first") < FIRST_YEAR) | (pl.col("last") > this_year) | (pl.col("first") > pl.col("last")),
        apart=(pl.col("first") - usual).abs(),
    )
    nobodys, others = dated.filter("nobodys"), dated.filter(~pl.col("nobodys") & (pl.col("apart") > LIFETIME))
    found = []
    if len(nobodys):
        found.append(Finding(
            "impossible-date", Severity.ERROR if len(nobodys) >= FEW * len(listed) else Severity.WARNING,
            f"dates before {FIRST_YEAR}, after {this_year} or running backwards: {len(nobodys)}; "
            + examples(nobodys["date"]),
            "correct the dates; they are used for hard pairs of one period only", rows_of(nobodys),
            {"rows": len(nobodys), "of": len(dated)},
        ))  # fmt: skip
    if len(others):
        found.append(Finding(
            "improbable-date", Severity.WARNING,
            f"dates more than {LIFETIME} years away from most of their artist's: {len(others)}; "
            + examples(others["date"]),
            "correct the dates, or the artist: a picture may be filed under the wrong one", rows_of(others),
            {"rows": len(others), "of": len(dated), "furthest": float(others["apart"].max() or 0)},  # type: ignore[arg-type]
        ))  # fmt: skip
    return found


def unread_dates(listed: pl.DataFrame) -> list[Finding]:
    """Return the finding about dates in which there is no year."""
    told = listed.filter(pl.col("date").str.strip_chars() != "")
    unread = told.filter(years(told["date"])["first"].is_null())
    if unread.is_empty():
        return []
    return [
        Finding(
            "unread-date", Severity.WARNING, f"dates without a year in them: {len(unread)}; {examples(unread['date'])}",
            "correct the dates; until then they count as unknown", rows_of(unread),
            {"rows": len(unread), "of": len(told)},
        )
    ]  # fmt: skip


def two_spellings(listed: pl.DataFrame) -> list[Finding]:
    """Return a finding for each two or more names that are probably one person's."""
    names = listed["artist"].unique().to_list()
    alike = [(group, "differ in spelling only") for group in respelt(names)]
    alike += [(pair, "differ in one letter") for pair in slips(names)]
    return [
        Finding(
            "two-spellings", Severity.WARNING,
            f"the artists {' and '.join(map(repr, group))} {how} and may be one person",
            "give all their rows one name, or leave it if they are two people",
            rows_of(listed.filter(pl.col("artist").is_in(group))), {"names": len(group)},
        )
        for group, how in alike
    ]  # fmt: skip


def nameless_artists(listed: pl.DataFrame) -> list[Finding]:
    """Return the finding about names that stand for more than one person."""
    nameless = listed.filter(pl.col("artist").str.replace_all("[-_]", " ").str.contains(NAMELESS))
    if nameless.is_empty():
        return []
    return [
        Finding(
            "nameless-artist", Severity.WARNING,
            f"pictures by somebody unnamed, perhaps by several: {len(nameless)}; {examples(nameless['artist'])}",
            "remove these rows: their pairs count as by one artist", rows_of(nameless),
            {"rows": len(nameless), "names": nameless["artist"].n_unique()},
        )
    ]  # fmt: skip


def single_paintings(listed: pl.DataFrame) -> list[Finding]:
    """Return the finding about artists with one painting."""
    single, artists = listed.filter(pl.len().over("artist") == 1), listed["artist"].n_unique()
    if single.is_empty():
        return []
    return [
        Finding(
            "single-painting", Severity.NOTE,
            f"artists with one painting, which makes no pair of one artist: {len(single)} of {artists}",
            "they serve as strangers in training", rows_of(single),
            {"artists": len(single), "of": artists},
        )
    ]  # fmt: skip


def examples(texts: pl.Series, most: int = 5) -> str:
    """Return some of the texts, quoted, in order of appearance."""
    different = texts.unique(maintain_order=True).to_list()
    return ", ".join(map(repr, different[:most])) + (", ..." if len(different) > most else "")
