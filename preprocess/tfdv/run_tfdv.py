"""Judge a table with TensorFlow Data Validation. Run by path, in an environment of its own; nothing imports it.

    python run_tfdv.py TABLE.csv SCHEMA.pbtxt ENVIRONMENT OUT.json [--previous STATISTICS.pbtxt]

TABLE has a header; an empty field is a missing value. Its column `side`, if there, is no feature: it divides the rows
into sides, and each is compared with the side "train", also in features of other environments.

OUT gets {"version", "rows", "anomalies": [{feature, kind, long}], "drift" and "skew": [{feature, measure, value,
threshold}], the latter with "side", "domains": {feature: [values]}, "ranges": {feature: [least, most]}, "before":
{feature: [least, a tenth, nine tenths, most]} of earlier numbers, "statistics": the text of a statistics proto}.
"""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped,unused-ignore]
import tensorflow_data_validation as tfdv  # type: ignore[import-not-found]
from google.protobuf import text_format  # type: ignore[import-untyped,unused-ignore]
from tensorflow_metadata.proto.v0 import (  # type: ignore[import-not-found]
    anomalies_pb2,
    schema_pb2,
    statistics_pb2,
)

NAMES = ("filename", "artist", "title", "side")
"""Columns that are text even where all of it looks like numbers."""
ENOUGH_NUMBERS = 0.99
"""A column that should be numbers is read as such where at least this share of its values are."""
NEARLY_ALL = 0.97
"""TFDV estimates how many values are unique, up to a percent or so wrongly; who calls this counts exactly."""
LEAST, MOST = -1e300, 1e300
"""Ends of a range that has none; JSON knows no infinity."""
Measure = anomalies_pb2.DriftSkewInfo.Measurement


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("table", "schema", "environment", "out"):
        parser.add_argument(name)
    parser.add_argument("--previous")
    given = parser.parse_args()
    schema = text_format.Parse(Path(given.schema).read_text(encoding="utf-8"), schema_pb2.Schema())
    table = read_table(given.table, schema)
    sides = table.pop("side") if "side" in table else None
    complete(schema, len(table))
    previous = None
    if given.previous:
        text = Path(given.previous).read_text(encoding="utf-8")
        previous = text_format.Parse(text, statistics_pb2.DatasetFeatureStatisticsList())
    elsewhere = [feature.name for feature in schema.feature if given.environment in feature.not_in_environment]
    found = tfdv.generate_statistics_from_dataframe(table.drop(columns=elsewhere, errors="ignore"))
    judged = tfdv.validate_statistics(found, schema, given.environment, previous_statistics=previous)
    answer = {
        "version": tfdv.__version__, "rows": len(table), "anomalies": anomalies(judged),
        "drift": measured(judged, "drift_measurements"), "skew": [] if sides is None else skew(table, sides, schema),
        "domains": {domain.name: list(domain.value) for domain in schema.string_domain}, "ranges": ranges(schema),
        "before": {} if previous is None else spans(previous),
        "statistics": text_format.MessageToString(found),
    }  # fmt: skip
    Path(given.out).write_text(json.dumps(answer), encoding="utf-8")


def read_table(path: str, schema: Any) -> pd.DataFrame:
    """Return the table; columns that should be numbers are, unless too many of their values are something else."""
    table = pd.read_csv(
        path, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""], low_memory=False, encoding="utf-8"
    )
    for feature in schema.feature:
        if feature.type == schema_pb2.FLOAT and feature.name in table:
            numbers = pd.to_numeric(table[feature.name], errors="coerce").astype("float64")
            if numbers.count() >= ENOUGH_NUMBERS * table[feature.name].count():
                table[feature.name] = numbers
    return table


def complete(schema: Any, rows: int) -> None:
    """Put into the schema what no file can say: how many rows there are, and which year it is."""
    for feature in schema.feature:
        if feature.HasField("unique_constraints"):
            feature.unique_constraints.min = int(NEARLY_ALL * rows)
            feature.unique_constraints.max = 2 * rows
        if feature.name == "year" and not feature.float_domain.HasField("max"):
            feature.float_domain.max = date.today().year


def anomalies(judged: Any) -> list[dict[str, str]]:
    """Return every reason for which a feature is an anomaly."""
    kinds = anomalies_pb2.AnomalyInfo.Type
    return [
        {"feature": info.path.step[0] if info.path.step else name, "kind": kinds.Name(reason.type),
         "long": reason.description}
        for name, info in sorted(judged.anomaly_info.items()) for reason in info.reason
    ]  # fmt: skip


def ranges(schema: Any) -> dict[str, list[float]]:
    """Return the least and the most that each feature with a range may be."""
    domains = {feature.name: feature.float_domain for feature in schema.feature if feature.HasField("float_domain")}
    return {
        name: [domain.min if domain.HasField("min") else LEAST, domain.max if domain.HasField("max") else MOST]
        for name, domain in domains.items()
    }


def spans(statistics: Any) -> dict[str, list[float] | None]:
    """Return what numbers each feature had: the least, a tenth below, a tenth above, the most; None for text."""
    found: dict[str, list[float] | None] = {}
    for feature in statistics.datasets[0].features:
        numbers = feature.num_stats
        tenths = [one.buckets for one in numbers.histograms if one.type == one.QUANTILES and len(one.buckets) > 1]
        found[feature.path.step[0]] = (
            [numbers.min, tenths[0][0].high_value, tenths[0][-1].low_value, numbers.max] if tenths else None
        )
    return found


def measured(judged: Any, what: str) -> list[dict[str, Any]]:
    """Return the distances measured, also those below their thresholds, by feature."""
    return [
        {"feature": info.path.step[0], "measure": Measure.Type.Name(one.type), "value": one.value,
         "threshold": one.threshold}
        for info in judged.drift_skew_info for one in getattr(info, what)
    ]  # fmt: skip


def skew(table: pd.DataFrame, sides: pd.Series, schema: Any) -> list[dict[str, Any]]:
    """Return the distances of every other side from the training side."""
    statistics = {
        side: tfdv.generate_statistics_from_dataframe(part.reset_index(drop=True))
        for side, part in table.groupby(sides)
    }
    if "train" not in statistics:
        return []
    training = statistics.pop("train")
    return [
        {"side": side} | one
        for side, served in statistics.items()
        for one in measured(tfdv.validate_statistics(training, schema, serving_statistics=served), "skew_measurements")
    ]


if __name__ == "__main__":
    main()
