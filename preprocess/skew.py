"""Sides of the split that TensorFlow Data Validation finds unlike the training side, with the rows behind it."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from preprocess.anomalies import rows_where, said, values
from preprocess.findings import Finding, Severity


def skewed(answer: dict[str, Any], rows: pl.DataFrame) -> Iterator[Finding]:
    """Yield the features in which a side differs from the training side by more than its threshold.

    Sides of seen artists should be like the training side; others are by other people, and are only noted. `rows` has
    the `side` of each row.
    """
    for one in answer["skew"]:
        if one["value"] <= one["threshold"]:
            continue
        side, feature = one["side"], one["feature"]
        behind, what = most_different(rows.with_columns(values(feature).alias("value")), side)
        severity, remedy = skew_grade(side.endswith("_seen"))
        yield Finding(
            "skew", severity,
            f"the {said(feature)} of the side {side} differs from that of the training side{what} "
            f"({one['value']:.3f}, where up to {one['threshold']:g} passes)",
            remedy, behind,
            {"feature": said(feature), "side": side, "distance": round(one["value"], 4),
                     "threshold": one["threshold"]},
        )  # fmt: skip


def skew_grade(alike: bool) -> tuple[Severity, str]:
    """Return how grave it is that a side, `alike` where its artists are those of training, differs; and what to do."""
    if alike:
        return Severity.WARNING, "another split.seed draws other sides"
    return Severity.NOTE, "other artists paint otherwise; read the figures of this side with that in mind"


def most_different(rows: pl.DataFrame, side: str) -> tuple[tuple[int, ...], str]:
    """Return the rows of a side whose `value` sets it apart from the training side, and a few words about them.

    Of names, they have the one whose share differs most; of numbers, they lie beyond nine tenths of the training side.
    """
    trained, there = (rows.filter(pl.col("side") == name).drop_nulls("value") for name in ("train", side))
    if rows["value"].dtype != pl.String:
        middle = pl.col("value").is_between(trained["value"].quantile(0.05), trained["value"].quantile(0.95))
        return rows_where(there, ~middle) or tuple(there["row"].to_list()), ""
    share, other = (part["value"].value_counts(normalize=True, name="share") for part in (trained, there))
    shares = share.join(other, on="value", how="full", coalesce=True).fill_null(0)
    more = pl.col("share_right") - pl.col("share")
    name = shares.sort(more.abs(), more, "value")["value"][-1]
    same = pl.col("value") == name
    return rows_where(there, same) or rows_where(trained, same), f", most of all in how many are {name!r}"
