"""Manifests in which nothing is amiss, faults planted in them, and what TensorFlow Data Validation says of each."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from preprocess.findings import Severity

COUNT = 300


def manifest(rows: dict[str, Any], count: int = COUNT) -> pl.DataFrame:
    """Return a manifest of `count` rows in which nothing is amiss, with columns replaced by `rows`."""
    rng = np.random.default_rng(0)
    styles = ["Impressionism", "Ukiyo_e", "ArtNouveau(Modern)", "Naïve Art (Primitivism)"]
    columns = {
        "key": [f"{row}.jpg" for row in range(count)], "artist": [f"artist {row % 20}" for row in range(count)],
        "side": [None] * count, "title": ["a title"] * count, "style": [styles[row % 4] for row in range(count)],
        "genre": ["portrait"] * count, "date": [f"c.{1800 + row % 60}" for row in range(count)],
        "place": ["there"] * count, "bytes": rng.lognormal(11, 0.5, count).astype(int), "removed": [False] * count,
    }  # fmt: skip
    return pl.DataFrame(columns | rows).cast({"side": pl.String, "style": pl.String, "genre": pl.String})


def replaced(column: str, values: dict[int, str]) -> dict[str, Any]:
    """Return a column of a good manifest with the values of some rows replaced."""
    good = manifest({})[column].to_list()
    return {column: [values.get(row, value) for row, value in enumerate(good)]}


class Fault(NamedTuple):
    """A fault: the columns it is planted in, what TFDV 1.16.1 says, as (feature, kind), and what we make of that."""

    columns: dict[str, Any]
    said: list[tuple[str, str]]
    kind: str
    severity: Severity
    rows: tuple[int, ...]


FAULTS = {
    "a missing column": Fault(
        {"style": [None] * COUNT}, [("style", "SCHEMA_MISSING_COLUMN")], "missing-column", Severity.WARNING, ()
    ),
    "numbers for styles": Fault(
        {"style": ["3"] * COUNT}, [("style", "UNEXPECTED_DATA_TYPE")], "wrong-type", Severity.ERROR,
        tuple(range(COUNT)),
    ),
    "words for dates": Fault(
        replaced("date", dict.fromkeys(range(40), "spring")),
        [("year", "UNEXPECTED_DATA_TYPE"), ("year", "FLOAT_TYPE_STRING_NOT_FLOAT")], "wrong-type", Severity.ERROR,
        tuple(range(40)),
    ),
    "a flood of an unknown style": Fault(
        replaced("style", dict.fromkeys(range(100, 150), "Blobism")),
        [("style", "ENUM_TYPE_UNEXPECTED_STRING_VALUES")], "unknown-style", Severity.ERROR, tuple(range(100, 150)),
    ),
    "an impossible date": Fault(
        replaced("date", {17: "2999"}), [("year", "FLOAT_TYPE_BIG_FLOAT")], "impossible-date", Severity.WARNING, (17,)
    ),
    "impossible dates in a tenth of the rows": Fault(
        replaced("date", dict.fromkeys(range(30), "2999")), [("year", "FLOAT_TYPE_BIG_FLOAT")], "impossible-date",
        Severity.ERROR, tuple(range(30)),
    ),
}  # fmt: skip
