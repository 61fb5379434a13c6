"""What evaluation looks at closer: hard pairs, who is confused with whom, retrieval."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.streams import PairList
from preprocess.common.files import read_json
from train.calibrate import POINTS, Calibration
from train.confusions import FEWEST, Tally, artist_table, hard_figures, style_table
from train.metrics import Clusters
from train.retrieval import retrieval

CALIBRATION = Calibration(10.0, -5.0, dict.fromkeys(POINTS, 0.5), 1)
"""Calls a pair the same from a score of one half."""


def points(artists: int, pictures: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(artists, dtype=np.int32), pictures)
    vectors = rng.normal(size=(artists, 6))[labels] + noise * rng.normal(size=(len(labels), 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_retrieval_is_as_by_hand() -> None:
    angles = np.radians([0, 10, 25, 45, 70])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = retrieval(vectors, np.array([0, 1, 0, 1, 2], np.int32))
    # asked with 0: 1 0 1 2; with 10: 0 0 1 2; with 25: 1 1 0 2, as 10 is nearer than 45; with 45: 0 2 1 0
    assert [found[name] for name in ("recall@1", "recall@5", "asked", "pictures")] == [0, 1, 4, 5]
    assert found["map"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 3) / 4)


def test_mean_average_precision_is_that_of_scikit_learn() -> None:
    vectors, labels = points(6, 5, 0.8)
    cosines = vectors @ vectors.T
    others = ~np.eye(len(labels), dtype=bool)
    expected = [
        average_precision_score(labels[rest] == labels[row], cosines[row, rest]) for row, rest in enumerate(others)
    ]
    assert retrieval(vectors, labels)["map"] == pytest.approx(np.mean(expected))


def test_few_are_asked_with_but_all_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.retrieval.ASKED", 7)
    vectors, labels = points(6, 5, 0.8)
    assert {name: retrieval(vectors, labels)[name] for name in ("asked", "pictures")} == {"asked": 7, "pictures": 30}


def tally(vectors: np.ndarray, labels: np.ndarray) -> Tally:
    return Tally(vectors, labels, lambda cosine: cosine.astype(np.float64), CALIBRATION)


def counted(vectors: np.ndarray, chosen: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[int, int]:
    """Return by loops how many pairs there are between two sets of pictures, and how many have a cosine of one half."""
    pairs = [(a, b) for a in np.flatnonzero(left) for b in np.flatnonzero(right) if a != b and chosen[a, b]]
    return len(pairs), sum(float(vectors[a] @ vectors[b]) >= 0.5 for a, b in pairs)


@pytest.mark.parametrize("others_only", [True, False])
def test_pairs_are_counted_between_groups_and_none_with_itself(
    others_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.confusions.BLOCK", 7)
    vectors, labels = points(5, 4, 0.7)
    groups = np.random.default_rng(3).integers(-1, 3, len(labels))
    pairs, same = tally(vectors, labels).between(groups, others_only)
    chosen = labels[:, None] != labels if others_only else np.ones((20, 20), bool)
    for a in range(3):
        for b in range(3):
            assert (pairs[a, b], same[a, b]) == counted(vectors, chosen, groups == a, groups == b)


def test_an_artist_is_told_with_the_one_most_confused_with() -> None:
    base = np.eye(4)
    twin = 0.8 * base[0] + 0.6 * base[3]
    hands = np.stack([base[0], base[1], twin, base[2]])
    labels = np.repeat(np.arange(4, dtype=np.int32), [3, 3, 3, 1])
    table = artist_table(tally(hands[labels].astype(np.float32), labels), dict(enumerate("abcd")))
    assert [(row["artist"], row["confused_with"], row["confused"]) for row in table[:3:2]] == [
        ("a", "c", 1),
        ("c", "a", 1),
    ]
    assert table[0]["recognised"] == 1
    assert table[0]["false_alarms"] == pytest.approx(3 / 7)
    assert table[1]["confused"] == 0
    assert table[3]["recognised"] is None


def test_styles_are_compared_by_pairs_of_two_artists() -> None:
    vectors, labels = points(4, 3, 0.01)
    styles = ["Rococo" if label < 2 else "Cubism" if label == 2 else None for label in labels]
    found = style_table(tally(vectors, labels), styles)
    assert found["names"] == ["Rococo", "Cubism"]
    assert found["pairs"] == [[18, 18], [18, 0]]
    assert found["called_same"][1][1] is None


def test_hard_pairs_are_all_same_ones_and_different_ones_with_something_in_common() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 50, (2, 600))
    same = np.arange(600) < 300
    style = rng.integers(-1, 3, 50)
    traits = np.stack([style, np.full(50, -1), np.arange(50)]).astype(np.int32)
    alike = (style[left] == style[right]) & (style[left] >= 0)
    scores = rng.normal(size=600) + same + 0.5 * alike
    pairs, clusters = PairList(left, right, same), Clusters(left, right)
    found = hard_figures(pairs, scores, CALIBRATION, traits, clusters, 20, 0.9)
    assert set(found) == {"style"}
    kept = same | alike
    assert found["style"]["auc"]["value"] == pytest.approx(roc_auc_score(same[kept], scores[kept]))
    assert found["style"]["different_pairs"] == (alike & ~same).sum() >= FEWEST
    assert found["style"]["auc"]["low"] < found["style"]["auc"]["value"] < found["style"]["auc"]["high"]


def test_evaluation_keeps_what_it_looked_at(judge: Path) -> None:
    found = read_json(judge / "evaluation.json")
    assert set(found) == set(read_json(judge / "metrics.json")["sides"])
    for side in found.values():
        assert 0 <= side["retrieval"]["recall@1"] <= side["retrieval"]["recall@5"] <= 1
        assert all(
            row["artist"].startswith("artist-") and row["confused_with"] != row["artist"] for row in side["artists"]
        )
