"""Several runs side by side, on one page that holds everything it shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from preprocess.common.errors import RunError
from preprocess.common.files import read_json, write_text
from preprocess.common.pages import templates
from train import plots
from train.report import SIDES, percent
from train.run import Run, open_run

TEMPLATE = "beside.html.j2"
SHARES = ("accuracy", "equal_error_rate")
FIGURES = {"auc": "AUC", "accuracy": "Accuracy", "equal_error_rate": "Equal error rate", "log_loss": "Log loss",
           "brier": "Brier score", "cllr": "Cllr"}  # fmt: skip


def write_beside(paths: Sequence[Path], out: Path) -> Path:
    """Write the figures, curves and differing settings of evaluated runs side by side to `out`, and return that.

    Raises RunError for fewer than two runs and for one that was not evaluated.
    """
    if len(paths) < 2:
        raise RunError("one run is nothing to compare; name two or more run directories")
    runs = [open_run(path) for path in paths]
    columns = [column(run, number) for number, run in enumerate(runs)]
    environment = templates(Path(__file__).parent)
    environment.filters["percent"] = percent
    page = environment.get_template(TEMPLATE).render(
        columns=columns, sides=[side for side in SIDES if any(side in each["sides"] for each in columns)],
        figures=FIGURES, shares=SHARES, settings=differing([flat(run.pins["settings"]) for run in runs]),
        colours=plots.COLOURS, one_store=len({run.pins["fingerprint"] for run in runs}) == 1,
    )  # fmt: skip
    write_text(out, page)
    return out


def column(run: Run, number: int) -> dict[str, Any]:
    """Return what the page shows of its run `number`. Raises RunError where it was not evaluated."""
    try:
        metrics, closer = (read_json(run.path / name) for name in ("metrics.json", "evaluation.json"))
    except FileNotFoundError:
        raise RunError(f"{run.path} has not been evaluated; run 'make evaluate'") from None
    pairs = pl.read_parquet(run.path / "pairs.parquet")
    sides = {side: metrics["sides"][name] | {"closer": closer[name]}
             for side, name in SIDES.items() if name in metrics["sides"]}  # fmt: skip
    scored = {}
    for side, found in sides.items():
        part = pairs.filter(pl.col("side") == SIDES[side])
        even = found["equal_error_rate"]["value"]
        scored[side] = plots.Scored(part["same"].to_numpy(), part["probability"].to_numpy(), even)
    log = run.logged()
    names = {f"auc_validation_{side}": side for side in SIDES}
    drawn = {"ROC curves": plots.draw_roc(scored), "Reliability": plots.draw_reliability(scored)}
    drawn |= {"Learning": plots.draw_training(log, names, "validation AUC")} if log else {}
    drawn = {title: plots.prefixed(text, f"run{number}") for title, text in drawn.items()}
    return {
        "name": run.path.name, "fingerprint": run.pins["fingerprint"][:12], "sides": sides, "plots": drawn,
        "confidence": metrics["confidence"], "calibration": metrics["calibration"], "versions": run.pins["versions"],
    }  # fmt: skip


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def differing(settings: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return, by name, those settings that are not the same in all runs, as text; empty where a run has none."""
    names = dict.fromkeys(name for each in settings for name in each)
    rows = {name: [str(each.get(name, "")) for each in settings] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}
