"""A run that was evaluated with made-up scores, and its page, for the tests of the report."""

import csv
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from pipeline.split import side_rows
from pipeline.streams import traits_of
from preprocess.common.config import Config
from preprocess.common.files import write_json
from train.calibrate import POINTS, Calibration
from train.evaluate import look_closer, measure, table
from train.quality import compared
from train.run import Run
from train.sides import Side
from train.validation import side_pairs

ARTISTS, PAINTINGS = 8, 5
TITLE = '<script>alert("{number}")</script>'
ARTIST = '"><img src="http://example.org/{number}"> & son'
SETTINGS = """
source: {kind: csv, path: pictures}
preprocess: {sizes: [16], rows_per_shard: 64}
split: {test_artists: 0.25, validation_artists: 0.25, test_paintings: 0.4, validation_paintings: 0.2}
train: {size: 16, steps: 40}
evaluate: {bootstrap: 20, confidence: 0.9}
"""


class Page(HTMLParser):
    """What a browser would make of a page: its elements, in order, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, *names: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements for name in names if name in attributes]


def paint(folder: Path) -> None:
    """Write pictures and their table, with names that attack the page, and one file that is no picture."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [("filename", "artist", "title")]
    for number in range(ARTISTS * PAINTINGS):
        rows.append((f"{number}.png", ARTIST.format(number=number // PAINTINGS), TITLE.format(number=number)))
        Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).save(folder / rows[-1][0])
    rows.append(("broken.png", ARTIST.format(number=0), "Lost"))
    (folder / "broken.png").write_bytes(b"<html>404</html>")
    with (folder / "train_info.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def pretend_evaluated(run: Run, config: Config) -> None:
    """Write calibration.json, pairs.parquet and metrics.json as evaluate does, but with made-up scores."""
    rng = np.random.default_rng(1)
    calibration = Calibration(2.0, 0.0, dict.fromkeys(POINTS, 0.5), 100)
    sides, tables, closer = {}, [], {}
    for name in ("test_seen", "test_unseen"):
        pairs = side_pairs(run, name, 1000)
        scores = np.where(pairs.same, 1.4, -0.6) + rng.normal(size=len(pairs.same))
        rows, labels = side_rows(run.split, name)
        embeddings = rng.normal(size=(len(rows), 4)).astype(np.float32)
        side = Side(rows, labels, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), pairs, scores)
        sides[name] = measure(run, name, side, rng.normal(size=len(scores)), calibration, config)
        sides[name] |= {"calibrated_by": compared(side.known, side.known)}
        sides[name] |= {"without_learning": {"pixels": {"auc": 0.6123, "accuracy": 0.5871}}}
        tables.append(table(name, side, calibration))
        closer[name] = look_closer(
            run, lambda cosine: cosine.astype(float), name, side, calibration, traits_of(run.store.rows), config
        )
    write_json(run.path / "evaluation.json", closer)
    write_json(run.path / "finished.json", {"step": 40})
    pl.concat(tables).write_parquet(run.path / "pairs.parquet")
    write_json(run.path / "calibration.json", calibration.as_json())
    write_json(
        run.path / "metrics.json",
        {
            "inputs": "-",
            "sides": sides,
            "confidence": 0.9,
            "bootstrap": 20,
            "evaluation_pairs": 200,
            "calibration": "platt",
        },
    )
