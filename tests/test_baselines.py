"""What pairs tell without learning, on pictures whose answer is known."""

import numpy as np
import pytest

from pipeline.streams import PairList
from tests.helpers import smooth
from train.baselines import BASELINES, Features, cosines, small


def pictures(count: int, size: int) -> np.ndarray:
    """Return soft pictures uint8 [count, size, size, 3]."""
    return np.stack([np.asarray(smooth(seed, size, size)) for seed in range(count)])


@pytest.mark.parametrize("name", BASELINES)
def test_a_picture_is_nearer_to_its_noisy_copy_than_to_any_other(name: str) -> None:
    clean = pictures(8, 32)
    noise = np.random.default_rng(0).normal(0, 3, clean.shape)
    noisy = (clean + noise).clip(0, 255).astype(np.uint8)
    features = BASELINES[name](np.concatenate([clean, noisy]))
    left, right = (index.ravel() for index in np.mgrid[0:8, 8:16])
    pairs = PairList(left, right, right - left == 8)
    found = cosines(features, features.mean(axis=0), np.arange(16), pairs).reshape(8, 8)
    assert np.array_equal(found.argmax(axis=1), np.arange(8))


def test_gradients_know_no_colour_and_colours_no_place() -> None:
    images = pictures(4, 32)
    turned = images[:, :, :, ::-1]
    assert np.abs(BASELINES["gradients"](images) - BASELINES["gradients"](turned)).mean() < 1e-3

    def colours(given: np.ndarray) -> Features:
        return BASELINES["gradients and colours"](given)[:, -64:]

    shuffled = images.reshape(4, -1, 3)[:, np.random.default_rng(0).permutation(1024)].reshape(images.shape)
    np.testing.assert_array_equal(colours(images), colours(shuffled))
    assert np.abs(colours(images) - colours(turned)).max() > 0.1


def test_cosines_are_seen_from_the_centre() -> None:
    features = np.array([[2, 1], [1, 2], [0, 1]], np.float32)
    pairs = PairList(np.array([5, 5]), np.array([7, 9]), np.array([True, False]))
    found = cosines(features, np.array([1, 1], np.float32), np.array([5, 7, 9]), pairs)
    np.testing.assert_allclose(found, [0, -1], atol=1e-6)


def test_large_pictures_are_averaged_and_small_ones_left() -> None:
    large = pictures(3, 64)
    halved = large.reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(small(large) - halved).mean() < 2
    assert small(large[:, :28, :28]).shape == (3, 28, 28, 3)
