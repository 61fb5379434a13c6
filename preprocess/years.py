"""The years in a table's dates: plain, as floats, as guesses, ranges, decades and centuries."""

import re

import polars as pl

YEARS = {"first": pl.Int32, "last": pl.Int32}
ISO = re.compile(r"(?P<first>\d{4})-\d{1,2}-\d{1,2}")
CENTURY = re.compile(r"(?P<number>\d{1,2})(?:st|nd|rd|th)\s+c(?:ent(?:ury)?)?\b", re.IGNORECASE)
DECADE = re.compile(r"(?P<first>\d{3}0)['’]?s\b", re.IGNORECASE)  # noqa: RUF001 - museums write both apostrophes
YEAR_OR_RANGE = re.compile(
    r"(?<!\d)(?P<first>\d{3,4})(?:\.0+)?(?!\d)"
    r"(?:\s*(?:-|–|—|/|\bto\b|\band\b|\bor\b)\s*(?:c\.?|ca\.?)?\s*(?P<last>\d{1,4})(?:\.0+)?(?!\d))?"  # noqa: RUF001
)
BEFORE_CHRIST = re.compile(r"\bB\.?\s?C\.?", re.IGNORECASE)


def years(dates: pl.Series) -> pl.DataFrame:
    """Return the first and last year, int32 [n], that each of `dates` [n] speaks of; null where it names none.

    "c.1645", "1955.0", "April 1951", "1889-03-12" are one year; "1880-1885", "1880-5", "1880s" and "19th century"
    are several; what is before Christ is negative. A range may come out backwards: then the table has it so.
    """
    known = {text: year_range(text) for text in dates.drop_nulls().unique()}
    found = [known.get(text, (None, None)) for text in dates]
    return pl.DataFrame(found, YEARS, orient="row")


def year_range(text: str) -> tuple[int | None, int | None]:
    """Return the first and last year that a date speaks of."""
    if iso := ISO.search(text):
        return int(iso["first"]), int(iso["first"])
    if decade := DECADE.search(text):
        return int(decade["first"]), int(decade["first"]) + 9
    if century := CENTURY.search(text):
        return 100 * int(century["number"]) - 99, 100 * int(century["number"])
    found = YEAR_OR_RANGE.search(text)
    if not found:
        return None, None
    first, last = found["first"], found["last"] or found["first"]
    if len(last) < len(first):  # "1880-5" and "1880-85" leave out what stays the same
        last = max(first, first[: -len(last)] + last)  # "1880-03" is a month
    if BEFORE_CHRIST.search(text):
        return -int(first), -int(last)
    return int(first), int(last)
