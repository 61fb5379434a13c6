"""Figures: right on cases computed by hand, with intervals that know that pairs share pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.streams import PairList, evaluation_pairs
from train.calibrate import calibrate
from train.metrics import Clusters, auc, clusters_of, confusion, equal_error_rate, intervals, rates

SAME = np.array([True, True, True, True, False, False, False, False])
SCORES = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1])


def test_auc_is_the_share_of_pairs_of_pairs_in_the_right_order() -> None:
    wins = sum(s > d for s in SCORES[SAME] for d in SCORES[~SAME])
    assert auc(SAME, SCORES) == pytest.approx(wins / 16)


def test_confusion_has_truth_in_rows() -> None:
    assert confusion(SAME, SCORES >= 0.5).tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert confusion(SAME, SCORES >= 0.35).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_accuracy_counts_both_kinds_half_whatever_their_numbers() -> None:
    same = np.array([True] * 2 + [False] * 98)
    scores = np.where(same, [0.9, 0.1] + [0.0] * 98, 0.2)
    assert rates(0.5)["accuracy"](same, scores, None) == pytest.approx((0.5 + 1.0) / 2)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [(SCORES, 0.25), (np.where(SAME, 1.0, 0.0), 0.0), (np.where(SAME, 0.0, 1.0), 1.0), (np.zeros(8), 0.5)],
)
def test_equal_error_rate(scores: np.ndarray, expected: float) -> None:
    assert equal_error_rate(SAME, scores) == pytest.approx(expected)


@given(st.integers(0, 10_000))
def test_equal_error_rate_of_mirrored_scores_is_its_complement(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same, scores = rng.permutation(np.arange(40) < 20), rng.random(40)
    assert equal_error_rate(same, scores) == pytest.approx(1 - equal_error_rate(same, -scores), abs=0.051)


def test_a_weight_of_two_is_a_pair_twice() -> None:
    weights = np.array([1.0, 2, 1, 1, 3, 1, 1, 1])
    twice = np.repeat(np.arange(8), weights.astype(int))
    for figure in (auc, equal_error_rate, *rates(0.5).values()):
        assert figure(SAME, SCORES, weights) == pytest.approx(figure(SAME[twice], SCORES[twice], None))


def simulated(seed: int, artists: int, paintings: int) -> tuple[PairList, np.ndarray, np.ndarray]:
    """Return pairs, labels and scores of artists whose works are points around the artist's own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(artists, dtype=np.int32), paintings)
    hands = rng.standard_normal((artists, 3))[labels] + 0.8 * rng.standard_normal((len(labels), 3))
    pairs = evaluation_pairs(np.arange(len(labels)), labels, 100_000, seed)
    return pairs, labels, -np.linalg.norm(hands[pairs.left] - hands[pairs.right], axis=1)


def test_intervals_over_artists_cover_the_truth() -> None:
    """Intervals that took pairs for independent would be several times too narrow and miss it most of the time."""
    truth = np.mean([auc(pairs.same, scores) for pairs, _, scores in (simulated(seed, 100, 4) for seed in range(20))])
    covered = narrow = 0
    for seed in range(40):
        pairs, labels, scores = simulated(1000 + seed, 12, 12)
        clusters = clusters_of(pairs, labels, "test_unseen")
        found = intervals({"auc": auc}, pairs.same, scores, clusters, 100, 0.95)["auc"]
        covered += bool(found["low"] <= truth <= found["high"])
        independent = Clusters(2 * np.arange(len(scores)), 2 * np.arange(len(scores)) + 1)
        wrong = intervals({"auc": auc}, pairs.same, scores, independent, 20, 0.95)["auc"]
        narrow += bool(wrong["low"] <= truth <= wrong["high"])
    assert covered >= 33
    assert narrow < covered - 5


def test_intervals_are_the_same_each_time_and_hold_the_value() -> None:
    pairs, labels, scores = simulated(0, 12, 8)
    clusters = clusters_of(pairs, labels, "test_seen")
    first, again = (intervals({"auc": auc}, pairs.same, scores, clusters, 50, 0.9) for _ in range(2))
    assert first == again
    assert first["auc"]["low"] < first["auc"]["value"] < first["auc"]["high"]


def test_seen_sides_resample_paintings_and_unseen_ones_artists() -> None:
    pairs, labels, _ = simulated(0, 5, 4)
    assert set(clusters_of(pairs, labels, "test_unseen").left) <= set(range(5))
    assert np.array_equal(clusters_of(pairs, labels, "test_seen").left, pairs.left)


def test_platt_scaling_recovers_the_probabilities_that_made_the_pairs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, 40_000)
    same = rng.random(40_000) < 1 / (1 + np.exp(-(1.5 * scores - 0.7)))
    found = calibrate(same, scores, np.ones(len(scores)))
    assert found.slope == pytest.approx(1.5, abs=0.05)
    assert found.intercept == pytest.approx(-0.7, abs=0.05)


def test_the_threshold_maximises_accuracy_on_the_pairs_it_was_learned_from() -> None:
    pairs, _, scores = simulated(3, 12, 8)
    found = calibrate(pairs.same, scores, np.ones(len(scores)))
    probabilities = found.probability(scores)
    best = max(rates(threshold)["accuracy"](pairs.same, probabilities, None) for threshold in np.linspace(0, 1, 201))
    assert rates(found.threshold)["accuracy"](pairs.same, probabilities, None) >= best


def test_calibration_survives_scores_that_say_nothing() -> None:
    found = calibrate(SAME, np.full(8, 0.3), np.ones(8))
    assert found.probability(np.array([0.3]))[0] == pytest.approx(0.5, abs=1e-6)
    assert 0 <= found.threshold <= 1
