"""What a manifest alone shows: spellings, dates, rows without a file."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.findings import Finding, Severity
from preprocess.spelling import respelt, slips
from preprocess.table_checks import check_table
from preprocess.years import year_range

SPELLINGS = {
    "c.1645": (1645, 1645), "1955.0": (1955, 1955), "April 1951": (1951, 1951), "12/03/1889": (1889, 1889),
    "1889-03-12": (1889, 1889), "1880-03": (1880, 1880), "1880-1885": (1880, 1885), "1880\u201385": (1880, 1885),
    "1880-5": (1880, 1885), "between 1880 and 1885": (1880, 1885), "c. 1880 - c. 1885": (1880, 1885),
    "1880s": (1880, 1889), "mid-17th century": (1601, 1700), "21st c.": (2001, 2100), "904.0": (904, 904),
    "200 BC": (-200, -200), "1885-1880": (1885, 1880), "ific": (None, None), "": (None, None), "12": (None, None),
    "123456": (None, None),
}  # fmt: skip


def manifest(*rows: tuple[str, str | None]) -> pl.DataFrame:
    """Return what check_table looks at, for (artist, date) in `rows`."""
    artists, dates = zip(*rows, strict=True)
    keys = [f"{number}.jpg" for number in range(len(rows))]
    columns = {"key": keys, "artist": artists, "date": dates, "place": keys}
    return pl.DataFrame(columns, dict.fromkeys(columns, pl.String)).with_columns(removed=pl.lit(False))


def only(found: list[Finding], kind: str) -> Finding:
    """Return the one finding of a kind."""
    (finding,) = [finding for finding in found if finding.kind == kind]
    return finding


def kinds(found: list[Finding]) -> set[str]:
    """Return the kinds of what was found."""
    return {finding.kind for finding in found}


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_date_is_read_in_many_spellings(text: str) -> None:
    assert year_range(text) == SPELLINGS[text]


@given(st.text(max_size=20))
def test_any_date_is_read_or_left(text: str) -> None:
    first, last = year_range(text)
    assert (first is None) == (last is None)


def test_impossible_dates_are_named() -> None:
    dates = ["1880", "9999", "187.0", "1885-1880", "500 BC", None, "", "c.1880"]
    finding = only(check_table(manifest(*(("A", date) for date in dates))), "impossible-date")
    assert finding.rows == (1, 2, 3, 4)
    assert finding.severity == Severity.ERROR
    assert "'9999'" in finding.what
    few = only(check_table(manifest(*(("A", date) for date in [*dates, *["1880"] * 500]))), "impossible-date")
    assert few.rows == finding.rows
    assert few.severity == Severity.WARNING


def test_dates_far_from_an_artists_others_are_named() -> None:
    """904 is a year in which somebody painted, but not somebody who painted in 1900."""
    found = check_table(
        manifest(("A", "1900"), ("A", "904.0"), ("A", "1910"), ("A", "1890"), ("B", "904"), ("B", "910"))
    )
    assert only(found, "improbable-date").rows == (1,)
    assert "impossible-date" not in kinds(found)


def test_dates_without_a_year_are_named() -> None:
    found = check_table(manifest(("A", "1900"), ("A", "ific"), ("A", " "), ("A", None), ("B", "12")))
    assert only(found, "unread-date").rows == (1, 4)


def test_one_artist_under_two_spellings_is_found() -> None:
    found = check_table(manifest(("Anker, Albert", ""), ("Zorn", ""), ("Albert ANKER", ""), ("albert-anker", "")))
    finding = only(found, "two-spellings")
    assert finding.rows == (0, 2, 3)
    assert finding.severity == Severity.WARNING
    assert "'Anker, Albert'" in finding.what


def test_accents_and_letters_of_their_own_do_not_tell_artists_apart() -> None:
    assert respelt(["Émile Bernard", "Emile Bernard", "Søren Łebak", "Soren Lebak", "Zorn"]) == [
        ("Emile Bernard", "Émile Bernard"), ("Soren Lebak", "Søren Łebak"),
    ]  # fmt: skip


def test_a_slip_of_a_letter_is_found_and_another_person_is_not() -> None:
    near = ["Sandro Botticelli", "Sandro Boticelli", "Pieter Bruegel the Elder", "Pieter Brueghel the Elder"]
    others = [
        "Pieter Brueghel the Younger", "Claude Monet", "Edouard Manet", "Master of 1460", "Master of 1461", "Steen",
        "Sten", "ba52b0c14f0cb6b0e6c4ea15c2e0b9aa", "ba52b0c14f0cb6b0e6c4ea15c2e0b9ab",
    ]  # fmt: skip
    assert slips([*near, *others]) == [(near[2], near[3]), (near[1], near[0])]


def test_rows_without_a_file_are_named() -> None:
    rows = manifest(("A", ""), ("A", ""), ("B", "")).with_columns(place=pl.Series(["a.jpg", None, None]))
    assert only(check_table(rows), "no-file").rows == (1, 2)
    gone = rows.with_columns(removed=pl.Series([False, False, True]))
    assert only(check_table(gone), "no-file").rows == (1,)


def test_names_of_nobody_and_artists_with_one_painting_are_named() -> None:
    found = check_table(manifest(("Workshop of Rubens", ""), ("unknown-artist", ""), ("Zorn", ""), ("Zorn", "")))
    assert only(found, "nameless-artist").rows == (0, 1)
    assert only(found, "single-painting").rows == (0, 1)
    assert only(found, "single-painting").severity == Severity.NOTE


def test_the_real_table_has_the_slips_that_it_has(shared_data: Path) -> None:
    table = pl.read_csv(shared_data / "painter-by-numbers" / "train_info.csv", infer_schema=False)
    rows = table.rename({"filename": "key"}).with_columns(place=pl.col("key"), removed=pl.lit(False))
    found = check_table(rows)
    assert kinds(found) == {"impossible-date", "improbable-date", "unread-date"}
    wrong = only(found, "impossible-date").rows + only(found, "improbable-date").rows
    assert set(rows["date"].gather(list(wrong))) == {"187.0", "904.0", "930.0", "1059.0", "1860.0", "1959.0"}
    assert set(rows["date"].gather(list(only(found, "unread-date").rows))) == {"ific", "rain", "rver"}
