"""What is found in a table before its pictures are read, and in what they turned out to be: TFDV's part and ours."""

import hashlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import polars as pl

from preprocess import anomalies
from preprocess.common.config import Config
from preprocess.common.files import exists, read_json, write_json
from preprocess.common.places import Place
from preprocess.environment import Unavailable, make_environment, python, run_tfdv
from preprocess.findings import Finding, Severity
from preprocess.parsed import features, with_years
from preprocess.skew import skewed
from preprocess.table_checks import check_table

FEWEST_TO_COMPARE = 100
"""Pictures of a side; fewer differ from others by chance."""


class Judged(NamedTuple):
    """What was found in one stage, what TFDV measured (version, null where it was skipped; drift, skew, seconds), and
    what to do once the collection is accepted, so that the next one is compared with it."""

    findings: list[Finding]
    tfdv: dict[str, Any]
    accept: Callable[[], None]


class Memory:
    """The statistics of what was accepted last, and of what was before it, beside the manifest; one file per stage."""

    def __init__(self, config: Config, stage: str) -> None:
        self.path: Place = config.store_folder / f"statistics-{stage}.json"
        self.kept: dict[str, Any] = read_json(self.path) if exists(self.path) else {"of": None, "now": None}

    def before(self, table: str) -> str | None:
        """Return the statistics that came before those of a table, known by its digest."""
        text: str | None = self.kept["before" if self.kept["of"] == table else "now"]
        return text

    def accept(self, table: str, statistics: str) -> None:
        """Keep the statistics of a table, unless they are the same table's as before."""
        if self.kept["of"] != table:
            write_json(self.path, {"of": table, "now": statistics, "before": self.kept["now"]})


def judge_table(config: Config, manifest: pl.DataFrame, install: bool = False) -> Judged:
    """Return what the manifest is found to be; with `install`, TFDV's environment is made first where it is missing."""
    rows = manifest.drop("side").with_row_index("row").filter(~pl.col("removed"))
    judged = ask_tfdv(config, rows, "table" if config.source.kind in ("csv", "gallery") else "folders", install)
    return judged._replace(findings=told_once(check_table(manifest), judged.findings))


def told_once(own: list[Finding], theirs: list[Finding]) -> list[Finding]:
    """Return our own findings and TFDV's, but of one kind ours, and about the same rows the one that is an error."""
    graver = {finding.rows for finding in theirs if finding.severity == Severity.ERROR and finding.rows}
    kept = [finding for finding in own if finding.severity == Severity.ERROR or finding.rows not in graver]
    known = {finding.kind for finding in kept}
    return [*kept, *(finding for finding in theirs if finding.kind not in known)]


def ask_tfdv(config: Config, rows: pl.DataFrame, stage: str, install: bool = False) -> Judged:
    """Return TFDV's findings and measurements; where it is not to be had, a note that says so and what would help.

    `rows` are those of a manifest or of a store, with their numbers in `row`; where they have a `side`, sides are
    compared.
    """
    started = time.monotonic()
    rows, small = with_sides_to_compare(with_years(rows))
    table = features(rows)
    memory, known_as = Memory(config, stage), hashlib.sha256(table.write_csv().encode()).hexdigest()
    try:
        executable = make_environment() if install else python()
        answer = run_tfdv(executable, table, stage, config.validation.schema_file, memory.before(known_as))
    except Unavailable as error:
        note = Finding("tfdv-skipped", Severity.NOTE, f"TensorFlow Data Validation was skipped: {error}",
                       "the project's own checks were made all the same", (), {})  # fmt: skip
        return Judged([note], {"version": None, "drift": [], "skew": []}, lambda: None)
    found = [*anomalies.findings(answer, rows), *skewed(answer, rows), *small]
    measured = {name: answer[name] for name in ("version", "drift", "skew")}
    seconds = round(time.monotonic() - started, 1)
    return Judged(found, measured | {"seconds": seconds}, lambda: memory.accept(known_as, answer["statistics"]))


def with_sides_to_compare(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Finding]]:
    """Return `rows` with the `side` null where it is too small to be compared, and a note of that."""
    if "side" not in rows.columns:
        return rows, []
    sizes = rows["side"].drop_nulls().value_counts().sort("side")
    small = sizes.filter(pl.col("count") < FEWEST_TO_COMPARE)
    large = pl.col("side").is_in(sizes.filter(pl.col("count") >= FEWEST_TO_COMPARE)["side"].implode())
    kept = pl.when(large).then("side").alias("side")
    if small.is_empty():
        return rows, []
    few = ", ".join(f"{side} ({count})" for side, count in small.iter_rows())
    note = Finding(
        "small-side", Severity.NOTE, f"too few pictures to compare what they are like with the training side: {few}",
        f"fewer than {FEWEST_TO_COMPARE} differ by chance", (), dict(small.iter_rows()),
    )  # fmt: skip
    return rows.with_columns(kept), [note]
