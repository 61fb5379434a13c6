"""The stream `instances`, where every picture is a class of its own, and the variants of shapes that it is shown in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.augmentation import LIMITS, drawer, varied_by_numpy
from pipeline.instances import Instances
from pipeline.shapes import BENDS, SHAPES, TONES, shaped
from pipeline.streams import training_stream
from preprocess.common.config import Pipeline
from preprocess.common.errors import SplitError
from tests.painters import below_two_words, hands, real_table

SIDE = 28


def drawn(**given: float) -> np.ndarray:
    """Return one row of draws that changes nothing but what is given; "bend_x" and "bend_y" are of all places."""
    row = dict.fromkeys(SHAPES, 0.0)
    row |= {name: given[name[:6]] for name in BENDS if name[:6] in given} | {k: v for k, v in given.items() if k in row}
    return np.array([list(row.values())], np.float32)


def square(low: int = 0, high: int = 255) -> np.ndarray:
    """Return a picture [1, 28, 28, 3] of a light square on dark ground."""
    picture = np.full((1, SIDE, SIDE, 3), low, np.float32)
    picture[:, 10:18, 10:18] = high
    return picture


@given(pictures=st.integers(2, 300), share=st.floats(0.01, 1), seed=below_two_words, k=below_two_words)
@settings(deadline=None)
def test_every_picture_of_a_batch_is_there_twice_and_same_only_with_itself(
    pictures: int, share: float, seed: int, k: int
) -> None:
    rows, size = np.arange(pictures) * 3 + 7, 2 * max(2, int(share * pictures))
    batch = Instances(rows, size, seed).batch_at(k)
    assert (np.unique(batch.rows, return_counts=True)[1] == 2).all()
    assert np.isin(batch.rows, rows).all()
    assert len(batch.rows) == size
    assert len(batch.same) == size * (size - 1) // 2
    left, right = hands(batch)
    assert np.array_equal(left == right, batch.same == 1)


def test_all_pictures_are_alike_likely_and_as_many_seen_as_expected() -> None:
    stream = Instances(np.arange(500), 64, 3)
    counts = np.bincount(np.concatenate([stream.batch_at(k).rows for k in range(2000)]), minlength=500) / 2
    expected = 2000 * 32 / 500
    # each is in a batch with chance 32/500, apart from the others: chi-square of 499 degrees, five deviations
    statistic = ((counts - expected) ** 2).sum() / (expected * (1 - 32 / 500))
    assert abs(statistic - 499) < 5 * (2 * 499) ** 0.5
    shown = len(np.unique(np.concatenate([stream.batch_at(k).rows for k in range(10)])))
    assert stream.coverage(10).paintings == pytest.approx(shown, rel=0.1)
    assert stream.coverage(10).same_pairs == 0


def test_the_settings_choose_it(shared_data: object) -> None:
    real = real_table(shared_data)  # type: ignore[arg-type]
    rows = np.arange(len(real.labels))
    stream = training_stream(Pipeline(stream="instances"), rows, real.labels, real.table, 64, 5)
    assert np.array_equal(stream.batch_at(9).rows, Instances(rows, 64, 5).batch_at(9).rows)


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(SplitError, match=r"train\.batch is 64, but only 31 pictures are there to train on; lower it"):
        Instances(np.arange(31), 64, 0)


def test_the_two_of_one_picture_are_varied_apart() -> None:
    pictures = np.repeat(square(), 2, axis=0)
    first, second = varied_by_numpy(pictures, drawer("shapes", 0)(4, 2))
    assert np.abs(first - second).max() > 30


def test_the_trainer_varies_shapes_too() -> None:
    neutral = np.array([[low for low, _ in LIMITS["none"].values()]], np.float32)
    thicker = varied_by_numpy(square(), np.concatenate([neutral, drawn(thickness=1.0)], axis=1))
    assert (thicker[0, :, :, 0] > 200).sum() == 100


def test_nothing_drawn_is_nothing_changed() -> None:
    picture = np.random.default_rng(0).uniform(1, 255, (1, SIDE, SIDE, 3)).astype(np.float32)
    assert shaped(picture, drawn(), np) == pytest.approx(picture, abs=0.3)


def test_a_bend_of_all_places_is_a_shift() -> None:
    picture = square()
    moved = shaped(picture, drawn(bend_x=3 / SIDE, bend_y=-2 / SIDE), np)
    inside = np.roll(picture, (2, -3), (1, 2))
    assert moved[:, 5:-5, 5:-5] == pytest.approx(inside[:, 5:-5, 5:-5], abs=0.5)


def test_a_bend_of_one_place_leaves_the_far_side_nearly_alone() -> None:
    picture = np.random.default_rng(0).uniform(1, 255, (1, SIDE, SIDE, 3)).astype(np.float32)
    draws = drawn()
    draws[0, len(TONES)] = 0.09  # the left upper corner
    change = np.abs(shaped(picture, draws, np) - picture)
    assert change[0, :6, :6].mean() > 5 * change[0, 14:, 14:].mean()


@pytest.mark.parametrize(("thickness", "side"), [(1.0, 10), (0.0, 8), (-1.0, 6)])
def test_thickness_adds_or_takes_a_pixel_all_around(thickness: float, side: int) -> None:
    out = shaped(square(), drawn(thickness=thickness), np)
    assert (out[0, :, :, 0] > 200).sum() == side**2


def test_gamma_keeps_black_and_white_and_moves_the_rest() -> None:
    tones = square(64, 255)
    darker, lighter = (shaped(tones, drawn(gamma=gamma), np) for gamma in (0.7, -0.7))
    assert darker.max() == pytest.approx(lighter.max()) == pytest.approx(255)
    assert darker.min() == pytest.approx(255 * (64 / 255) ** np.exp(0.7), rel=1e-3)
    assert lighter.min() == pytest.approx(255 * (64 / 255) ** np.exp(-0.7), rel=1e-3)


def test_blur_spreads_what_there_is() -> None:
    picture = np.ones((1, SIDE, SIDE, 3), np.float32)
    picture[0, 14, 14] = 255
    blurred = shaped(picture, drawn(blur=1.0), np)
    assert blurred[0, 13:16, 13:16] == pytest.approx(np.full((3, 3, 3), (255 + 8) / 9), rel=0.01)
