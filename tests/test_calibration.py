"""From a score to a probability: figures of its quality, priors, operating points."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from preprocess.common.files import write_json
from train.calibrate import MOST_FALSE_ALARMS, POINTS, WAYS, Calibration, calibrate, load_calibration
from train.metrics import rates
from train.quality import (
    Known,
    brier,
    calibration_error,
    cllr,
    compared,
    least_cllr,
    log_loss,
    weighted_median,
)

RNG = np.random.default_rng(0)
PROBABILITY = RNG.random(60_000)
TRUE = RNG.random(60_000) < PROBABILITY
EVEN = Calibration(1.0, 0.0, dict.fromkeys(POINTS, 0.5), 1)


def test_calibration_error_is_the_gap_between_what_is_said_and_what_is_so() -> None:
    assert calibration_error(TRUE, PROBABILITY) < 0.01
    said = np.where(np.arange(1000) < 500, 0.9, 0.2)
    same = np.arange(1000) % 500 < np.where(np.arange(1000) < 500, 300, 150)  # 60 % and 30 %
    assert calibration_error(same, said) == pytest.approx((0.3 + 0.1) / 2)


def test_calibration_error_weighs_pairs() -> None:
    same, said = np.array([True, False]), np.array([0.9, 0.2])
    assert calibration_error(same, said, np.array([3.0, 1.0])) == pytest.approx((3 * 0.1 + 0.2) / 4)


def test_equal_probabilities_are_never_torn_into_two_bins() -> None:
    """Torn, all that are true could come into one bin and all that are false into another."""
    same = np.arange(100) < 50
    assert calibration_error(same, np.full(100, 0.5)) == 0


def test_log_loss_and_brier_score_of_cases_computed_by_hand() -> None:
    same, said = np.array([True, False]), np.array([0.8, 0.4])
    assert log_loss(same, said) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert brier(same, said) == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert np.isfinite(log_loss(same, np.array([0.0, 1.0])))


def test_cllr_is_one_for_knowing_nothing_and_as_by_hand_else() -> None:
    same = np.array([True, True, False])
    assert cllr(same, np.full(3, 0.5)) == pytest.approx(1)
    ratios = np.array([4.0, 2.0, 0.5])
    expected = (np.log2(1 + 1 / ratios[:2]).mean() + np.log2(1 + ratios[2])) / 2
    assert cllr(same, ratios / (1 + ratios)) == pytest.approx(expected)
    assert cllr(same, np.array([1.0, 1.0, 0.0])) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(cllr(same, np.array([0.0, 1.0, 1.0])))


def test_least_cllr_is_what_no_calibration_can_save() -> None:
    skewed = PROBABILITY**3
    least = least_cllr(TRUE, PROBABILITY)
    assert least == pytest.approx(least_cllr(TRUE, skewed), abs=1e-9)
    assert least == pytest.approx(cllr(TRUE, PROBABILITY), abs=0.01)
    assert cllr(TRUE, skewed) > least + 0.05
    assert least_cllr(np.array([True, False]), np.array([0.6, 0.5])) == pytest.approx(0, abs=1e-9)


def test_a_prior_multiplies_the_odds() -> None:
    scores = np.array([-2.0, 0.0, 3.0])
    odds = np.exp(scores) * 0.01 / 0.99
    assert EVEN.probability(scores, 0.01) == pytest.approx(odds / (1 + odds))
    assert EVEN.probability(scores) == pytest.approx(1 / (1 + np.exp(-scores)))


def test_no_score_is_so_large_that_its_ratio_is_no_number() -> None:
    assert np.isfinite(np.exp(EVEN.evidence(np.array([-1e9, 1e9])))).all()


def learned(count: int = 4000) -> tuple[np.ndarray, np.ndarray, Calibration]:
    rng = np.random.default_rng(4)
    same = np.arange(count) < count / 2
    scores = np.where(same, 1.5, 0.0) + rng.normal(size=count)
    return same, scores, calibrate(same, scores, np.ones(count))


def test_operating_points_keep_their_promise_on_validation_pairs() -> None:
    same, scores, calibration = learned()
    found = {
        point: {
            name: rate(same, calibration.said_same(scores, point).astype(float), None)
            for name, rate in rates(0.5).items()
        }
        for point in POINTS
    }
    even = found["equal-error"]
    assert even["false_positives"] == pytest.approx(even["false_negatives"], abs=0.002)
    assert found["few-false-alarms"]["false_positives"] <= MOST_FALSE_ALARMS
    false_alarms, hits, _ = roc_curve(same, scores, drop_intermediate=False)
    assert found["few-false-alarms"]["true_positives"] == hits[false_alarms <= MOST_FALSE_ALARMS].max()
    assert found["accuracy"]["accuracy"] == max(each["accuracy"] for each in found.values())


def test_a_prior_moves_the_point_of_accuracy_and_no_point_of_rates() -> None:
    same, scores, calibration = learned()
    for point in ("equal-error", "few-false-alarms"):
        assert (calibration.said_same(scores, point, 0.01) == calibration.said_same(scores, point)).all()
    rare, usual = (calibration.said_same(scores, "accuracy", prior) for prior in (0.05, 0.5))

    def accuracy(said: np.ndarray) -> float:
        return float(0.05 * said[same].mean() + 0.95 * (~said[~same]).mean())

    assert accuracy(rare) > accuracy(usual)
    assert accuracy(rare) >= 0.95  # what always saying "different" reaches


def test_ways_of_calibrating_are_learned_from_other_pairs_than_they_are_measured_on() -> None:
    same, scores, _ = learned()
    weights = np.full(len(same), 1 / len(same))
    train, test = (Known(*(part[start::2] for part in (same, scores, 3 - scores, weights))) for start in (0, 1))
    found = compared(train, test)
    assert set(found) == {"platt", "isotonic", "mean", "median"}
    platt = calibrate(train.same, train.scores, train.weights)
    assert found["platt"]["log_loss"] == pytest.approx(log_loss(test.same, platt.probability(test.scores)))
    assert found["isotonic"]["calibration_error"] < 0.05
    assert all(np.isfinite(figure) for way in found.values() for figure in way.values())
    for name, limit in (("mean", train.distances.mean()), ("median", np.median(train.distances))):
        right = (test.distances <= limit) == test.same
        assert found[name]["accuracy"] == pytest.approx(right.mean(), abs=0.002)


def test_a_weighted_median_has_half_of_the_weight_below() -> None:
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([5.0, 1.0, 1.0])) == 3


def test_isotonic_calibration_follows_what_no_logistic_function_can() -> None:
    rng = np.random.default_rng(5)
    scores = rng.uniform(-6, 6, 40_000)
    same = rng.random(len(scores)) < np.where(scores > 1, 0.97, np.where(scores > -3, 0.6, 0.02))
    first, second = (slice(start, None, 2) for start in (0, 1))
    platt, stepped = (calibrate(same[first], scores[first], np.ones(20_000), way) for way in WAYS)
    errors = [calibration_error(same[second], way.probability(scores[second])) for way in (platt, stepped)]
    assert errors[1] < 0.015 < errors[0]
    assert (np.diff(stepped.evidence(np.sort(scores))) >= 0).all()


def test_isotonic_calibration_is_never_certain_and_survives_the_file(tmp_path: Path) -> None:
    same, scores = np.arange(10) >= 5, np.arange(10.0)
    found = calibrate(same, scores, np.ones(10), "isotonic")
    said = found.probability(np.array([-100.0, 4.5, 100.0]))
    assert said == pytest.approx([1 / 12, 0.5, 11 / 12])
    write_json(tmp_path / "calibration.json", found.as_json())
    assert np.array_equal(load_calibration(tmp_path).probability(np.array([-100.0, 4.5, 100.0])), said)
