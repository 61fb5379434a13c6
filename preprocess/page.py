"""The page of the gate: validation.html, which holds all that it shows."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from preprocess.anomalies import said
from preprocess.common.pages import templates
from preprocess.distributions import charts
from preprocess.findings import Finding, Severity

TEMPLATE = "validation.html.j2"
SHOWN = 8
"""Rows shown of each finding."""
MOST_PICTURES = 96
"""On the page: at about 3 kB each."""
COLUMNS = ("row", "key", "artist", "title", "style", "date", "side", "reason")

Jpeg = Callable[[int], bytes | None]
"""Makes a small picture, as JPEG, of a row; None where there is none."""


def page(
    collection: str, findings: Sequence[Finding], allowed: Sequence[str], tfdv: dict[str, Any], rows: pl.DataFrame,
    jpeg: Jpeg | None = None,
) -> str:  # fmt: skip
    """Return the page for findings, the gravest first, and for `rows`, whose numbers they name."""
    environment = templates(Path(__file__).parent)
    environment.filters |= {"sentence": sentence, "said": said}
    errors = [one for one in findings if one.severity == Severity.ERROR]
    return environment.get_template(TEMPLATE).render(
        collection=collection, rows=len(rows), artists=rows["artist"].n_unique(), allowed=allowed, tfdv=tfdv,
        stopping=[one for one in errors if one.kind not in allowed], columns=COLUMNS[1:],
        counts={grade: sum(one.severity == grade for one in findings) for grade in Severity},
        findings=list(zip(findings, shown(findings, rows, jpeg), strict=True)), charts=charts(rows),
    )  # fmt: skip


def shown(findings: Sequence[Finding], rows: pl.DataFrame, jpeg: Jpeg | None) -> list[list[dict[str, Any]]]:
    """Return the first rows of each finding in its order, with those of COLUMNS that are known and their pictures."""
    known = rows.select(name for name in COLUMNS if name in rows.columns)
    left = MOST_PICTURES
    found = []
    for finding in findings:
        first = pl.DataFrame({"row": finding.rows[:SHOWN]}, {"row": rows.schema["row"]})
        lines = first.join(known, on="row", maintain_order="left").to_dicts()
        for line in lines:
            data = jpeg(line["row"]) if jpeg and left else None
            left -= data is not None
            line["picture"] = data and f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        found.append(lines)
    return found


def sentence(text: str) -> str:
    """Return a text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(("...", ".", "?")) else ".")
