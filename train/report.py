"""The report: one HTML file that holds everything it shows, for painters first and engineers next."""

import base64
import io
import os
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from PIL import Image

from pipeline.reader import Reader
from pipeline.split import summary
from preprocess.common.config import Preprocess
from preprocess.common.errors import RunError
from preprocess.common.files import digest, exclusive, exists, read_json, write_text
from preprocess.common.pages import templates
from preprocess.gate import PAGE
from preprocess.store import QUARANTINED
from train import plots
from train.calibrate import load_calibration
from train.figures import WAYS
from train.history import HISTORY, PAINTED
from train.incidents import incidents
from train.run import Run, ending

HERE = Path(__file__).parent
TEMPLATE = "report.html.j2"
SCRIPT = "sort.js.j2"
MADE_FROM = (TEMPLATE, "report-closer.html.j2", SCRIPT, "report.py", "plots.py", "history.py")
SIDES = {"unseen": "test_unseen", "seen": "test_seen"}
PAIRS_PER_GALLERY, PAIRS_PER_ARTIST = 6, 2
PICTURE, MAPPED = 224, 44
"""Pixels of a picture on the page, at most, and of one on the map."""


def write_report(run: Run) -> Path:
    """Bring report.html of an evaluated run up to date and return its path. Raises RunError."""
    path = run.path / "report.html"
    with exclusive(run.path, RunError):
        try:
            metrics = read_json(run.path / "metrics.json")
        except FileNotFoundError:
            raise RunError(f"{run.path} has not been evaluated; run 'make evaluate'") from None
        judged, closer = validation_page(run), read_json(run.path / "evaluation.json")
        script = (HERE / SCRIPT).read_text(encoding="utf-8")
        inputs = digest([metrics, judged, closer, *((HERE / name).read_text(encoding="utf-8") for name in MADE_FROM)])
        if not (path.exists() and f'<meta name="inputs" content="{inputs}">' in path.read_text(encoding="utf-8")):
            environment = templates(HERE)
            environment.filters |= {"percent": percent, "readable": readable}
            shown = context(run, metrics, closer) | {"inputs": inputs, "judged": judged}
            shown |= {"script": script, "script_hash": base64.b64encode(sha256(script.encode()).digest()).decode()}
            write_text(path, environment.get_template(TEMPLATE).render(shown))
    return path


def validation_page(run: Run) -> str | None:
    """Return where validation.html of the run's collection is, seen from the report; None where nothing was judged."""
    page = run.store.path.parent / PAGE
    if not exists(page):
        return None
    return Path(os.path.relpath(page, run.path)).as_posix() if isinstance(page, Path) else str(page)


def context(run: Run, metrics: dict[str, Any], closer: dict[str, Any]) -> dict[str, Any]:
    """Return all that the template shows."""
    sides = {side: metrics["sides"][name] for side, name in SIDES.items() if name in metrics["sides"]}
    pairs = pl.read_parquet(run.path / "pairs.parquet")
    parts = {side: pairs.filter(pl.col("side") == SIDES[side]) for side in sides}
    calibration = load_calibration(run.path)
    shown_side = next(iter(parts))
    reasons = run.store.rows.filter(pl.col("status") == QUARANTINED)["reason"].value_counts().sort("count", "reason")
    return {
        "name": run.path.name, "collection": run.store.path.parent.name, "fingerprint": run.store.fingerprint,
        "colours": plots.COLOURS, "sides": sides, "metrics": metrics, "square": run.store.square,
        "prescribed": run.store.rows["side"].is_not_null().any(), "calibration": calibration,
        "matrices": {side: matrix(part) for side, part in parts.items()},
        "plots": drawn(run, sides, parts, calibration.threshold),
        "gallery_side": shown_side, "galleries": galleries(run, parts[shown_side], calibration.threshold),
        "closer": {side: closer[SIDES[side]] for side in sides}, "history": HISTORY.get(run.store.path.parent.name),
        "ways": WAYS, "map": embedding_map(run, closer[SIDES[shown_side]]["map"]), "painted": PAINTED,
        "incidents": incidents(run.path), "ending": ending(run),
        "devices": " or ".join(map(str, sorted({line.get("devices", 1) for line in run.logged()}))),
        "split": summary(run.split), "seal": run.store.seal, "reasons": reasons.reverse().rows(named=True),
        "versions": run.pins["versions"], "settings": settings_text(run, metrics),
    }  # fmt: skip


def matrix(part: pl.DataFrame) -> list[list[int]]:
    """Return the numbers of pairs [[TN, FP], [FN, TP]], rows as truth."""
    return [[part.filter(same=same, said_same=said).height for said in (False, True)] for same in (False, True)]


def drawn(run: Run, sides: dict[str, Any], parts: dict[str, pl.DataFrame], threshold: float) -> dict[str, Any]:
    """Return the plots as SVG text, by what they show."""
    scored = {}
    for side, part in parts.items():
        same, probability = part["same"].to_numpy(), part["probability"].to_numpy()
        scored[side] = plots.Scored(same, probability, sides[side]["equal_error_rate"]["value"])
    log, steps = run.logged(), [int(each["step"]) for each in incidents(run.path)]
    curves = {f"auc_validation_{side}": side for side in SIDES}
    return {
        "roc": plots.draw_roc(scored), "det": plots.draw_det(scored), "reliability": plots.draw_reliability(scored),
        "scores": {side: plots.draw_scores(side, part, threshold) for side, part in scored.items()},
        "training": [plots.draw_training(log, {"loss": "ink"}, "training loss", steps),
                     plots.draw_training(log, curves, "validation AUC", steps)] if log else [],
    }  # fmt: skip


def galleries(run: Run, part: pl.DataFrame, threshold: float) -> dict[Any, list[dict[str, Any]]]:
    """Return the most confident pairs of `part` with their pictures, by what is true and what was said (True: same),
    and as "undecided" those with probabilities nearest to the `threshold`."""
    artists = dict(run.split.select("row", "artist").iter_rows())
    chosen: dict[Any, list[dict[str, Any]]] = {
        (same, said): most_confident(part.filter(same=same, said_same=said), artists)
        for same, said in product((True, False), repeat=2)
    }
    near = part.sort((pl.col("probability") - threshold).abs(), "left", "right")
    chosen["undecided"] = various(near, artists)
    wanted = sorted({row for pairs in chosen.values() for pair in pairs for row in (pair["left"], pair["right"])})
    reader = Reader(run.store, min(PICTURE, max(run.store.sizes)))
    pictures = dict(zip(wanted, map(data_uri, reader.read(wanted)), strict=True))
    titles = dict(run.store.rows.select("row", pl.coalesce("title", "key")).iter_rows())

    def hand(row: int) -> dict[str, Any]:
        return {"picture": pictures[row], "artist": readable(artists[row]), "title": titles[row], "size": reader.size}

    for pair in (pair for pairs in chosen.values() for pair in pairs):
        pair["hands"] = [hand(pair["left"]), hand(pair["right"])]
    return chosen


def most_confident(part: pl.DataFrame, artists: dict[int, str]) -> list[dict[str, Any]]:
    """Return the first pairs of `part`, all said to be alike, by confidence; no picture twice, few of one artist."""
    descending = [bool(part["said_same"].any()), False, False]
    return various(part.sort("probability", "left", "right", descending=descending), artists)


def various(ordered: pl.DataFrame, artists: dict[int, str]) -> list[dict[str, Any]]:
    """Return the first of some pairs, in their order; no picture twice, few of one artist."""
    shown: list[dict[str, Any]] = []
    used: list[int | str] = []
    for pair in ordered.iter_rows(named=True):
        rows = pair["left"], pair["right"]
        if not set(rows).intersection(used) and all(used.count(artists[row]) < PAIRS_PER_ARTIST for row in rows):
            shown.append(pair)
            used += [*rows, *{artists[row] for row in rows}]
        if len(shown) == PAIRS_PER_GALLERY:
            break
    return shown


def embedding_map(run: Run, placed: dict[str, Any]) -> list[dict[str, Any]]:
    """Return picture, artist, title, and place from left and top in percent, of the pictures that are on the map."""
    reader = Reader(run.store, min(run.store.sizes))
    pictures = reader.read(placed["rows"])
    known = run.store.rows.select("row", "artist", pl.coalesce("title", "key").alias("title"))[placed["rows"]]
    return [
        {"picture": data_uri(picture, MAPPED), "artist": readable(row["artist"]), "title": row["title"], "x": x, "y": y}
        for picture, row, (x, y) in zip(pictures, known.iter_rows(named=True), placed["places"], strict=True)
    ]


def data_uri(pixels: np.ndarray[Any, np.dtype[np.uint8]], most: int = PICTURE) -> str:
    """Return a picture uint8 [size, size, 3] as a JPEG of at most `most` pixels inside a data URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((most, most))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def readable(artist: str) -> str:
    """Return the name of an artist for people: "claude-monet" becomes "Claude Monet", others stay."""
    return artist.replace("-", " ").title() if "-" in artist and artist.islower() and " " not in artist else artist


def percent(share: float) -> str:
    """Return a share, 0 to 1, in percent; never 0 or 100 % for what is only nearly so."""
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "<0.1\u00a0%" if share < 0.5 else ">99.9\u00a0%"
    return f"{100 * share:.1f}\u00a0%"


def settings_text(run: Run, metrics: dict[str, Any]) -> str:
    """Return, as it would stand in config.yaml, everything this run was made with but its source."""
    sealed = {key: value for key, value in run.store.seal["inputs"].items() if key in Preprocess.model_fields}
    evaluate = {name: metrics[name] for name in ("bootstrap", "confidence")}
    settings = {"preprocess": sealed, **run.pins["settings"], "evaluate": evaluate}
    settings["pipeline"] = settings["pipeline"] | {"evaluation_pairs": metrics["evaluation_pairs"]}
    return str(yaml.safe_dump(settings, sort_keys=False, width=88, default_flow_style=None))
