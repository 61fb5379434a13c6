"""Runs side by side, what the report of 2017 reached, and the map of pictures."""

import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from preprocess.common.files import read_json, write_json
from tests.helpers import command
from train.beside import differing, flat
from train.history import HISTORY
from train.layout import laid_out


@pytest.fixture
def other(judge: Path, tmp_path: Path) -> Path:
    """A copy of the run with another rate and another figure."""
    copy = judge.with_name(f"other-{tmp_path.name}")
    shutil.copytree(judge, copy)
    pins = read_json(copy / "run.json")
    pins["settings"]["train"]["learning_rate"] = "<b>0.5</b>"
    write_json(copy / "run.json", pins)
    metrics = read_json(copy / "metrics.json")
    metrics["sides"]["test_unseen"]["auc"] = {"value": 0.12345, "low": 0.111, "high": 0.222}
    write_json(copy / "metrics.json", metrics)
    return copy


def test_two_runs_stand_side_by_side_with_what_differs(judge: Path, other: Path, tmp_path: Path) -> None:
    said = command("report", "compare", judge, other, "--out", tmp_path / "page.html", program="train")
    assert said.status == 0, said
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    mine = read_json(judge / "metrics.json")["sides"]["test_unseen"]["auc"]["value"]
    row = re.search(r'<th scope="row">AUC</th>(.*?)</tr>', text)
    assert row
    assert re.findall(r"<td>([0-9.]+)<small>", row[1]) == [f"{mine:.4f}", "0.1235"]
    settings = re.findall(r'<th scope="row"><code>([^<]+)</code></th>(.*?)</tr>', text)
    assert settings == [
        ("train.learning_rate", "<td><code>0.005</code></td><td><code>&lt;b&gt;0.5&lt;/b&gt;</code></td>")
    ]
    assert [count for _, count in Counter(re.findall(r'\bid="([^"]+)"', text)).most_common(1)] == [1]
    assert "trained from one store" in text


def test_one_run_and_one_that_was_not_evaluated_are_refused(judge: Path, other: Path) -> None:
    assert "one run is nothing to compare" in command("report", "compare", judge, program="train").complaint
    (other / "metrics.json").unlink()
    said = command("report", "compare", judge, other, program="train")
    assert "has not been evaluated; run 'make evaluate'" in said.complaint


def test_settings_that_one_run_does_not_have_differ() -> None:
    runs = [flat({"train": {"batch": 4, "seed": 0}}), flat({"train": {"batch": 4, "mixed": True}})]
    assert differing(runs) == {"train.seed": ["0", ""], "train.mixed": ["", "True"]}


@pytest.mark.parametrize("name", HISTORY)
def test_the_matrices_of_2017_have_truth_in_rows(name: str) -> None:
    """Half of its pairs were same: only with rows as truth do both rows sum to that."""
    matrix = np.array(HISTORY[name]["matrix"])
    assert matrix.sum(axis=1).tolist() == [matrix.sum() / 2] * 2
    assert np.trace(matrix) / matrix.sum() == pytest.approx(HISTORY[name]["accuracy"], abs=5e-6)


def test_the_map_is_the_same_each_time_and_keeps_neighbours_together() -> None:
    rng = np.random.default_rng(0)
    hands = np.repeat(np.arange(4), 12)
    vectors = (np.eye(4)[hands] + 0.05 * rng.normal(size=(48, 4))).astype(np.float32)
    rows = np.arange(100, 148)
    found = laid_out(rows, vectors, 3)
    assert found == laid_out(rows, vectors, 3)
    places = np.array(found["places"])
    assert found["rows"] == rows.tolist()
    assert places.min() == 0
    assert places.max() == 100
    gaps = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(48)
    assert (hands[gaps.argmin(axis=1)] == hands).mean() > 0.9


def test_a_map_has_few_pictures_and_can_have_very_few(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    assert len(laid_out(np.arange(4), vectors[:4], 0)["places"]) == 4
    monkeypatch.setattr("train.layout.MOST", 9)
    found = laid_out(np.arange(30), vectors, 0)
    assert len(found["places"]) == len(set(found["rows"])) == 9
