"""The gate: what all stages found, in one verdict that is kept as validation.json and shown as validation.html.

Errors stop the next stage unless their kind is allowed; warnings and notes are shown.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import polars as pl

from preprocess.anomalies import counted
from preprocess.common.config import Config
from preprocess.common.errors import StoreError, UserError
from preprocess.common.files import digest, exclusive, exists, read_json, write_json, write_text
from preprocess.common.places import Place
from preprocess.environment import ROOT, state
from preprocess.findings import Finding, Severity
from preprocess.page import Jpeg, page
from preprocess.validate import Judged, judge_table

FILE, PAGE = "validation.json", "validation.html"
TABLE, PICTURES = "table", "pictures"
LISTED = ("row", "key", "artist", "title", "style", "genre", "date", "side", "bytes")
"""What the table tells; whose bytes a file holds is known only once it was read."""
FEW = 6
"""Rows named on the command line; the page and the file have more."""


class Unfit(UserError):  # noqa: N818 - named for what it is about
    """The collection has errors that nobody has allowed."""


class Verdict(NamedTuple):
    """What one stage came to: its findings, and the kinds of errors that stop what comes next."""

    folder: Place
    findings: list[Finding]
    allowed: list[str]

    @property
    def stopping(self) -> dict[str, int]:
        """How many rows each kind of error that is not allowed concerns."""
        kinds: dict[str, set[int]] = {}
        for finding in self.findings:
            if finding.severity == Severity.ERROR and finding.kind not in self.allowed:
                kinds.setdefault(finding.kind, set()).update(finding.rows)
        return {kind: len(rows) for kind, rows in kinds.items()}

    def check(self) -> None:
        """Raise Unfit where an error stops what comes next."""
        if self.stopping:
            kinds = ", ".join(
                f"{kind} ({counted(rows, 'row', 'rows')})" if rows else kind for kind, rows in self.stopping.items()
            )
            flags = " ".join(f"--allow {kind}" for kind in self.stopping)
            raise Unfit(f"{self.folder.name} is not fit for the next stage: {kinds}; see {self.folder / PAGE}, put it "
                        f"right, or go on with {flags} (make ALLOW=\"{' '.join(self.stopping)}\" ...)")  # fmt: skip

    @property
    def summary(self) -> dict[str, Any]:
        """The verdict in figures."""
        counts = {f"{grade}s": sum(one.severity == grade for one in self.findings) for grade in Severity}
        return {"path": str(self.folder / FILE), "page": str(self.folder / PAGE), **counts, "stops": self.stopping}

    def text(self, quiet: bool) -> str:
        """Return the findings in lines, the gravest first, or errors alone, and where to read more."""
        told = [one for one in self.findings if one.severity == Severity.ERROR or not quiet]
        lines = [line_of(one, one.kind in self.allowed) for one in told]
        counts = ", ".join(counted(self.summary[f"{grade}s"], grade, f"{grade}s") for grade in Severity)
        return "\n".join([*lines, f"validate: {counts}: {self.folder / PAGE}"])


def gravest_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings by how grave they are, otherwise as they were found."""
    return sorted(findings, key=lambda one: list(Severity).index(one.severity))


def line_of(finding: Finding, allowed: bool) -> str:
    """Return a finding in one line, and its remedy in another."""
    few = ", ".join(map(str, finding.rows[:FEW])) + (", ..." if len(finding.rows) > FEW else "")
    rows = f" [row{'s' * (len(finding.rows) > 1)} {few}]" if finding.rows else ""
    grade = f"{finding.severity}{', allowed' if allowed and finding.severity == Severity.ERROR else ''}"
    return f"{grade}: {finding.kind}: {finding.what}{rows}" + (f"\n    {finding.remedy}" if finding.remedy else "")


def decide(
    config: Config, stage: str, inputs: object, judge: Callable[[], Judged], rows: pl.DataFrame,
    allow: Sequence[str] = (), jpeg: Jpeg | None = None, install: bool = False,
) -> Verdict:  # fmt: skip
    """Return the verdict on one stage, judging only where `inputs`, this code or what is allowed have changed.

    With `install`, it is judged also where TFDV was missing until now.
    `rows` are those of the manifest or the store, numbered in `row`; `jpeg` makes a small picture of a row, or None.
    """
    folder, allowed = config.store_folder, sorted({*config.validation.allow, *allow})
    made_from = digest([inputs, allowed, state(), recipe(config)])
    with exclusive(folder, StoreError):
        stages = read_json(folder / FILE)["stages"] if exists(folder / FILE) else {}
        if stages.get(stage, {}).get("inputs") == made_from and (state() or not install):
            return Verdict(folder, findings_kept(stages[stage]), allowed)
        judged = judge()
        verdict = Verdict(folder, gravest_first(judged.findings), allowed)
        if stage == TABLE:
            stages.pop(PICTURES, None)  # they were of another table
        made_from = digest([inputs, allowed, state(), recipe(config)])  # the environment may have been made just now
        stages[stage] = {"inputs": made_from, "rows": len(rows), "tfdv": judged.tfdv,
                         "findings": [asdict(one) for one in verdict.findings]}  # fmt: skip
        all_found = [one for name in (TABLE, PICTURES) if name in stages for one in findings_kept(stages[name])]
        tfdv = {name: found["tfdv"] for name, found in stages.items()}
        write_text(folder / PAGE, page(config.collection, gravest_first(all_found), allowed, tfdv, rows, jpeg))
        if not verdict.stopping:
            judged.accept()
        write_json(folder / FILE, {"collection": config.collection, "allowed": allowed, "stages": stages})
    return verdict


def decide_table(config: Config, manifest: pl.DataFrame, allow: Sequence[str] = (), install: bool = False) -> Verdict:
    """Return the verdict on a manifest."""
    rows = manifest.with_row_index("row").filter(~pl.col("removed"))
    listed = rows.select(*LISTED, pl.col("place").is_null()).write_csv()
    known_as = hashlib.sha256(listed.encode()).hexdigest()
    return decide(config, TABLE, known_as, lambda: judge_table(config, manifest, install), rows, allow, install=install)


def recipe(config: Config) -> str:
    """Return a digest of the code and the schema by which collections are judged."""
    files = [*ROOT.glob("preprocess/*.py"), *ROOT.glob("preprocess/*.j2"), *ROOT.glob("preprocess/tfdv/*"),
             *ROOT.glob("pipeline/**/*.py")]  # fmt: skip
    own = config.validation.schema_file
    files += [own] if own else []
    return digest([file.read_text(encoding="utf-8") for file in sorted(files) if file.is_file()])


def findings_kept(record: dict[str, Any]) -> list[Finding]:
    """Return the findings in what was recorded of a stage."""
    return [
        Finding(**one | {"severity": Severity(one["severity"]), "rows": tuple(one["rows"])})
        for one in record["findings"]
    ]
