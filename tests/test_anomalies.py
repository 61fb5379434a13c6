"""What TensorFlow Data Validation says is told in plain words, with the rows behind it: here from what it said once.

That it still says so is tested in test_tfdv.py, where its environment is there.
"""

from typing import Any

import polars as pl
import pytest

from preprocess.anomalies import findings
from preprocess.findings import Finding, Severity
from preprocess.parsed import folded, with_years
from preprocess.skew import skewed
from preprocess.validate import told_once
from tests.tables import FAULTS, Fault, manifest, replaced


def numbered(columns: dict[str, Any]) -> pl.DataFrame:
    """Return a manifest as it is judged: with the numbers of its rows and its years."""
    return with_years(manifest(columns).with_row_index("row"))


def answer(said: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
    """Return an answer of run_tfdv.py; the styles of a good manifest are those that are known."""
    known = manifest({}).select(folded("style"))["style"].unique().to_list()
    anomalies = [{"feature": feature, "kind": kind, "long": ""} for feature, kind in said]
    least = {"domains": {"style": known}, "ranges": {"year": [300, 2026]}, "before": {}, "drift": [], "skew": []}
    return {"anomalies": anomalies, **least, **more}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_one_finding_that_names_its_rows(fault: Fault) -> None:
    (finding,) = findings(answer(fault.said), numbered(fault.columns))
    assert (finding.kind, finding.severity, finding.rows) == (fault.kind, fault.severity, fault.rows)
    assert finding.remedy


def test_a_column_that_was_there_before_or_is_needed_is_an_error() -> None:
    lost = [("style", "SCHEMA_MISSING_COLUMN"), ("artist", "FEATURE_TYPE_LOW_NUMBER_PRESENT")]
    found = findings(answer(lost, before={"style": None}), numbered({"style": [None] * 300}))
    assert [finding.severity for finding in found] == [Severity.ERROR] * 2
    assert found[0].what == "no row has a style, and before they had"


def test_repeated_file_names_are_counted_exactly() -> None:
    rows = numbered(replaced("key", {5: "3.jpg", 9: "3.jpg"}))
    (finding,) = findings(answer([("filename", "FEATURE_TYPE_LOW_UNIQUE")]), rows)
    assert finding.rows == (3, 5, 9)


def test_drifted_numbers_are_found_with_the_rows_beyond_what_was_usual() -> None:
    sizes = [50 * size if row >= 290 else size for row, size in enumerate(manifest({})["bytes"])]
    distance = {"feature": "log2_bytes", "value": 0.2167, "threshold": 0.15}
    before = {"log2_bytes": [13.6, 14.9, 16.8, 18.1]}
    said = answer(
        [("log2_bytes", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH")], drift=[distance], before=before
    )  # fmt: skip
    (finding,) = findings(said, numbered({"bytes": sizes}))
    assert finding.rows == tuple(range(290, 300))
    assert "file size" in finding.what
    assert "0.217" in finding.what


@pytest.mark.parametrize(("side", "severity"), [("test_seen", Severity.WARNING), ("test_unseen", Severity.NOTE)])
def test_a_side_that_differs_is_told_with_the_rows_that_set_it_apart(side: str, severity: Severity) -> None:
    rows = numbered({"side": ["train" if row % 3 else side for row in range(300)],
                     "style": ["Realism" if row % 3 else "Cubism" for row in range(300)]})  # fmt: skip
    skew = [{"side": side, "feature": name, "value": value, "threshold": 0.15}
            for name, value in (("style", 1.0), ("genre", 0.15))]  # fmt: skip
    (finding,) = skewed(answer([], skew=skew), rows)
    assert finding.severity == severity
    assert finding.rows == tuple(range(0, 300, 3))
    assert "'cubism'" in finding.what


def test_what_we_and_tfdv_find_is_told_once_and_as_an_error_where_it_is_one() -> None:
    ours = [Finding(kind, Severity.WARNING, "", "", rows, {}) for kind, rows in (("dates", (1, 2)), ("names", (3,)))]
    theirs = [Finding("type", Severity.ERROR, "", "", (1, 2), {}), Finding("names", Severity.NOTE, "", "", (3, 4), {})]
    assert told_once(ours, theirs) == [ours[1], theirs[0]]
    assert told_once(ours, []) == ours
