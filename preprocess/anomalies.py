"""What TensorFlow Data Validation says, in plain words, with the rows behind it found by a query of our own."""

from collections.abc import Callable
from typing import Any

import polars as pl

from preprocess.findings import Finding, Severity
from preprocess.parsed import FOLDED, folded, known

WORDS = {
    "filename": "file name", "year": "date", "log2_bytes": "file size", "log2_width": "width", "log2_height": "height",
    "mean": "brightness", "colour": "colourfulness", "aspect": "shape",
}  # fmt: skip
"""What features are called where people read; the others are called by their names."""
MISSING_COLUMN = ("SCHEMA_MISSING_COLUMN", "FEATURE_TYPE_NOT_PRESENT", "FEATURE_TYPE_LOW_NUMBER_PRESENT")
WRONG_TYPE = (
    "UNEXPECTED_DATA_TYPE", "FLOAT_TYPE_STRING_NOT_FLOAT", "FLOAT_TYPE_NOT_FLOAT", "ENUM_TYPE_INT_NOT_STRING",
    "ENUM_TYPE_FLOAT_NOT_STRING",
)  # fmt: skip
NEEDED = ("filename", "artist")
FEW = 0.01
"""Impossible values in a smaller share of the rows are slips to be shown, not a broken table."""


def said(feature: str) -> str:
    """Return what a feature is called where people read."""
    return WORDS.get(feature, feature)


def values(feature: str) -> pl.Expr:
    """Return a feature as parsed.features makes it, from the columns of a manifest or of a store's rows."""
    if feature in FOLDED:
        return folded(feature)
    if feature.startswith("log2_"):
        return pl.col(feature.removeprefix("log2_")).replace(0, None).log(2)
    return pl.col("key" if feature == "filename" else feature)


def rows_where(rows: pl.DataFrame, condition: pl.Expr) -> tuple[int, ...]:
    """Return the numbers of the rows for which a condition holds."""
    return tuple(rows.filter(condition)["row"].to_list())


def findings(answer: dict[str, Any], rows: pl.DataFrame) -> list[Finding]:
    """Return TFDV's anomalies as findings, one per feature and kind of fault.

    `answer` is run_tfdv.py's, `rows` the manifest or store it judged, with the numbers of its rows in `row`.
    """
    found: dict[tuple[str, str], Finding] = {}
    for anomaly in answer["anomalies"]:
        for kinds, translate in TRANSLATIONS:
            if anomaly["kind"].startswith(kinds):
                finding = translate(anomaly, answer, rows)
                found.setdefault((anomaly["feature"], finding.kind), finding)
                break
    return list(found.values())


def missing_column(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """A column that is not there, or holds nothing. Its rows are all rows, so none is named."""
    feature = anomaly["feature"]
    lost = feature in answer["before"]
    grave = lost or feature in NEEDED
    return Finding(
        "missing-column", Severity.ERROR if grave else Severity.WARNING,
        f"no row has a {said(feature)}" + (", and before they had" if lost else ""),
        f"put the column {'date' if feature == 'year' else feature!r} back into the table"
        + ("" if grave else ", if it is known: hard pairs and the comparison of sides use it"),
        (), {"rows": len(rows), "column": said(feature)},
    )  # fmt: skip


def missing_values(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """A column that every row should have, and some have not."""
    feature = anomaly["feature"]
    bare = rows_where(rows, values(feature).is_null())
    return Finding(
        "missing-values", Severity.ERROR if feature in NEEDED else Severity.WARNING,
        f"{counted(len(bare), 'row has', 'rows have')} no {said(feature)}", f"fill in the {said(feature)} of each",
        bare, {"rows": len(bare), "column": said(feature)},
    )  # fmt: skip


def wrong_type(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """Words where numbers should be, or numbers where words should be."""
    feature = anomaly["feature"]
    if feature == "year":
        wrong = rows_where(rows, known("date").is_not_null() & pl.col("year").is_null())
        what = f"{counted(len(wrong), 'date is', 'dates are')} none: no year can be read from them"
        remedy = "write years into the column 'date', or leave it empty where there is none"
    else:
        wrong = rows_where(rows, values(feature).cast(pl.Float64, strict=False).is_not_null())
        what = f"the {said(feature)} of {counted(len(wrong), 'row', 'rows')} is a number where a name should be"
        remedy = f"write the names that the numbers stand for into the column {feature!r}"
    return Finding("wrong-type", Severity.ERROR, what, remedy, wrong, {"rows": len(wrong), "column": said(feature)})


def unknown_value(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """Styles or genres of which the schema has never heard, and too many of them."""
    feature = anomaly["feature"]
    strange = rows.filter(~values(feature).is_in(answer["domains"][feature]))
    often = strange[feature].value_counts(sort=True)
    names = ", ".join(f"{name!r} ({count})" for name, count in often.head(3).iter_rows())
    return Finding(
        f"unknown-{feature}", Severity.ERROR,
        f"{counted(len(strange), 'row has', 'rows have')} a {feature} that nobody knows: {names}"
        + (f" and {len(often) - 3} more" if len(often) > 3 else ""),
        f"correct the spelling; or, if this collection has {feature}s of its own, add them to a copy of "
        "preprocess/tfdv/schema.pbtxt and name it in validation.schema_file",
        tuple(strange["row"].to_list()), {"rows": len(strange), f"{feature}s": len(often)},
    )  # fmt: skip


def out_of_range(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """Numbers that cannot be, such as paintings of next year."""
    feature = anomaly["feature"]
    least, most = answer["ranges"][feature]
    odd = rows.filter(~values(feature).is_between(least, most))
    few = ", ".join(f"{value:g}" for value in odd.select(values(feature)).to_series().unique().sort().head(3))
    return Finding(
        "impossible-date" if feature == "year" else "out-of-range",
        Severity.ERROR if len(odd) >= FEW * len(rows) else Severity.WARNING,
        f"{counted(len(odd), 'row has', 'rows have')} a {said(feature)} that cannot be, such as {few}: "
        f"{least:g} to {most:g} is possible",
        "correct them in the table" if feature == "year" else "look at the files",
        tuple(odd["row"].to_list()), {"rows": len(odd)},
    )  # fmt: skip


def repeated(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """File names in more than one row."""
    twice = rows_where(rows, pl.col("key").is_duplicated())
    what = f"{counted(len(twice), 'row shares its file name', 'rows share their file names')} with another."
    return Finding("repeated-filename", Severity.ERROR, what, "keep one of each", twice, {"rows": len(twice)})


def drifted(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """A feature that is distributed otherwise than in the manifest before."""
    feature = anomaly["feature"]
    measure = next(one for one in answer["drift"] if one["feature"] == feature)
    if span := answer["before"].get(feature):
        moved = rows_where(rows, ~values(feature).is_between(span[0], span[3]))
        moved = moved or rows_where(rows, ~values(feature).is_between(span[1], span[2]))
        behind = "the rows are those beyond what was usual"
    else:
        name = anomaly["long"].rpartition(": ")[2]
        moved = rows_where(rows, values(feature) == name)
        behind = f"most of all in how many are {name!r}"
    return Finding(
        "drift", Severity.WARNING,
        f"the {said(feature)} is distributed otherwise than in the manifest before, {behind} "
        f"({measure['value']:.3f}, where up to {measure['threshold']:g} passes)",
        "look whether the new pictures are what they should be; if so, nothing is to be done",
        moved, {"distance": measure["value"], "threshold": measure["threshold"], "feature": said(feature)},
    )  # fmt: skip


def other(anomaly: dict[str, Any], answer: dict[str, Any], rows: pl.DataFrame) -> Finding:
    """Anything else: TFDV's own words."""
    what = f"the {said(anomaly['feature'])}: {anomaly['long']}"
    return Finding("schema", Severity.WARNING, what, "look at the column, or at the schema", (), {})


def counted(count: int, one: str, many: str) -> str:
    """Return "1 row has", "1,234 rows have"."""
    return f"{count:,} {one if count == 1 else many}"


TRANSLATIONS: tuple[
    tuple[str | tuple[str, ...], Callable[[dict[str, Any], dict[str, Any], pl.DataFrame], Finding]], ...
]
TRANSLATIONS = (
    (MISSING_COLUMN, missing_column),
    ("FEATURE_TYPE_LOW_FRACTION_PRESENT", missing_values),
    (WRONG_TYPE, wrong_type),
    ("ENUM_TYPE_UNEXPECTED_STRING_VALUES", unknown_value),
    (("FLOAT_TYPE_SMALL_FLOAT", "FLOAT_TYPE_BIG_FLOAT"), out_of_range),
    ("FEATURE_TYPE_LOW_UNIQUE", repeated),
    (("COMPARATOR_L_INFTY_HIGH", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"), drifted),
    ("", other),
)
