"""Networks, losses and augmentation, on the default Keras backend."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from pipeline.augmentation import varied_by_numpy
from preprocess.common.errors import ConfigError
from preprocess.common.learning import Train
from train.augment import DRAWN, LIMITS, augment, drawer
from train.losses import Contrastive, DistanceVerifier, SigmoidVerifier, make_loss
from train.model import PairNetwork, build_embedder, centre, resized
from train.predict import embed

SMALL = Train(size=32, width=8, embedding=16)
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def same_first_weights() -> None:
    keras.utils.set_random_seed(0)


def values(**changes: float) -> np.ndarray:
    """Return draws [1, 9] that change nothing but what is named."""
    neutral = {name: LIMITS["none"][name][0] for name in DRAWN} | changes
    return np.array([[neutral[name] for name in DRAWN]], np.float32)


@pytest.mark.parametrize("size", [16, 33, 64])
def test_embeddings_are_unit_vectors_at_any_size(size: int) -> None:
    embedder = build_embedder(SMALL.model_copy(update={"size": size}))
    out = ops.convert_to_numpy(embedder(RNG.uniform(0, 255, (3, size, size, 3)).astype(np.float32)))
    assert out.shape == (3, 16)
    assert np.linalg.norm(out, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("model", ["compact", "plain", "parts"])
def test_a_picture_is_embedded_alike_whatever_its_neighbours(model: str) -> None:
    embedder = build_embedder(SMALL.model_copy(update={"model": model}))
    together = ops.convert_to_numpy(embedder(PICTURES.astype(np.float32), training=True))
    alone = ops.convert_to_numpy(embedder(PICTURES[:1].astype(np.float32), training=True))
    assert together[:1] == pytest.approx(alone, abs=1e-5)


def test_the_place_of_a_mark_counts_for_the_plain_network_more_than_for_the_compact_one() -> None:
    pictures = np.zeros((2, 32, 32, 3), np.float32)
    pictures[0, 8:12, 8:12] = pictures[1, 16:20, 16:20] = 255
    moved = {}
    for model in ("compact", "plain"):
        first, second = ops.convert_to_numpy(build_embedder(SMALL.model_copy(update={"model": model}))(pictures))
        moved[model] = np.linalg.norm(first - second)
    assert moved["plain"] > 3 * moved["compact"]


def test_pictures_that_share_some_parts_are_alike_in_just_those() -> None:
    embedder = build_embedder(SMALL.model_copy(update={"model": "parts", "size": 64, "embedding": 4 * 64}))
    whole = RNG.uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    half = whole.copy()
    half[:, 32:] = 255 - half[:, 32:]
    first, second = (ops.convert_to_numpy(embedder(each)).reshape(64, 4) for each in (whole, half))
    cosines = (first * second).sum(axis=1) * 64
    assert np.linalg.norm(first, axis=1) == pytest.approx(1 / 8, abs=1e-5)
    assert cosines[:16].mean() > cosines[-16:].mean() + 0.1


def test_an_embedding_that_parts_cannot_share_evenly_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.embedding should be a multiple of 16, the parts of a picture"):
        build_embedder(SMALL.model_copy(update={"model": "parts", "size": 32, "embedding": 40}))


def test_a_network_of_keras_applications_embeds_with_frozen_batch_norms() -> None:
    embedder = build_embedder(SMALL.model_copy(update={"model": "MobileNetV2"}))
    pictures = PICTURES.astype(np.float32)
    together = ops.convert_to_numpy(embedder(pictures, training=True))
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert ops.convert_to_numpy(embedder(pictures[:1], training=True)) == pytest.approx(together[:1], abs=1e-4)


@pytest.mark.parametrize("model", ["MobilNet", "keras", "vgg16"])
def test_an_unknown_model_is_refused_by_name(model: str) -> None:
    with pytest.raises(ConfigError, match=model):
        build_embedder(SMALL.model_copy(update={"model": model}))


def test_the_pair_network_compares_the_rows_it_is_told_to() -> None:
    network = PairNetwork(SMALL)
    left, right = np.array([0, 2, 5], np.int32), np.array([1, 2, 0], np.int32)
    out = ops.convert_to_numpy(network({"images": PICTURES, "left": left, "right": right}))
    embeddings = ops.convert_to_numpy(network.embedder(PICTURES.astype(np.float32)))
    cosine = (embeddings[left] * embeddings[right]).sum(axis=1)
    scale, bias = np.exp(network.verifier.log_scale.numpy()), network.verifier.bias.numpy()
    assert out[:, 0] == pytest.approx(scale * cosine + bias, abs=1e-4)
    assert out[1, 0] == pytest.approx(scale + bias, abs=1e-4)


def test_centred_embeddings_differ_from_the_first_step() -> None:
    """Uncentred ones all lie near one point, where training may stay: the collapse of the 2017 report."""
    network = PairNetwork(SMALL)
    embeddings = ops.convert_to_numpy(network.embedder(PICTURES.astype(np.float32)))
    centre(network, PICTURES)
    centred = ops.convert_to_numpy(network.embedder(PICTURES.astype(np.float32)))
    assert np.linalg.norm(embeddings.mean(axis=0)) > 0.7
    assert np.linalg.norm(centred.mean(axis=0)) < 0.5


def test_parts_are_centred_together() -> None:
    network = PairNetwork(SMALL.model_copy(update={"model": "parts", "embedding": 128}))
    embedder = network.embedder
    before = keras.Model(embedder.input, embedder.get_layer("embedding").output)
    centre(network, PICTURES)
    outputs = ops.convert_to_numpy(before(PICTURES.astype(np.float32)))
    assert outputs.mean(axis=(0, 1, 2)) == pytest.approx(0, abs=1e-5)


def test_contrastive_loss_is_the_papers() -> None:
    same, distance = np.array([[1.0], [0.0], [0.0]]), np.array([[0.5], [0.25], [1.5]])
    found = ops.convert_to_numpy(Contrastive().call(ops.convert_to_tensor(same), ops.convert_to_tensor(distance)))
    assert found.tolist() == [0.125, 0.28125, 0.0]


def test_the_distance_of_a_picture_to_itself_has_a_finite_slope() -> None:
    import tensorflow as tf

    point = tf.Variable(np.full((1, 4), 0.5, np.float32))
    with tf.GradientTape() as tape:
        distance = DistanceVerifier()(point, tf.constant(np.full((1, 4), 0.5, np.float32)))
    assert np.isfinite(tape.gradient(distance, point).numpy()).all()


def test_the_sigmoid_verifier_learns_scale_and_bias() -> None:
    verifier = SigmoidVerifier()
    verifier(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    assert {variable.name for variable in verifier.trainable_variables} == {"log_scale", "bias"}


def test_weights_of_pairs_reach_the_loss() -> None:
    network = PairNetwork(SMALL)
    network.compile(optimizer="sgd", loss=make_loss("sigmoid"), jit_compile=False)
    inputs = {"images": PICTURES, "left": np.array([0, 1], np.int32), "right": np.array([2, 3], np.int32)}
    inputs["augment"] = np.repeat(values(), 6, axis=0)
    logits = ops.convert_to_numpy(network(inputs))[:, 0].astype(np.float64)
    losses = np.log1p(np.exp(-logits * [1, -1]))
    found = network.test_on_batch(inputs, np.array([1.0, 0.0]), np.array([0.5, 1.5]))
    assert float(found) == pytest.approx((losses * [0.5, 1.5]).mean(), abs=1e-4)


def test_neutral_draws_change_nothing() -> None:
    pictures = PICTURES.astype(np.float32)
    out = ops.convert_to_numpy(augment(ops.convert_to_tensor(pictures), np.repeat(values(), 6, axis=0)))
    assert out == pytest.approx(pictures, abs=1e-2)


def test_mirror_mirrors() -> None:
    pictures = PICTURES[:1].astype(np.float32)
    out = ops.convert_to_numpy(augment(ops.convert_to_tensor(pictures), values(mirror=1.0)))
    assert out == pytest.approx(pictures[:, :, ::-1], abs=1e-2)


def test_shifts_move_by_whole_pixels_and_resample_nothing() -> None:
    pictures = PICTURES[:1].astype(np.float32)
    out = ops.convert_to_numpy(augment(ops.convert_to_tensor(pictures), values(shift_x=0.7, shift_y=-0.4)))
    assert out[:, 4:, :-4] == pytest.approx(np.roll(pictures, (1, -2), axis=(1, 2))[:, 4:, :-4], abs=1e-2)


def test_a_view_shows_a_part_pixel_by_pixel_where_the_shifts_say() -> None:
    pictures = PICTURES.astype(np.float32)
    drawn = np.concatenate([values(shift_x=1, shift_y=-1), values(), values(shift_x=-1, shift_y=1, mirror=1)])
    out = ops.convert_to_numpy(augment(ops.convert_to_tensor(pictures[:3]), drawn, 0.5))
    corners = [pictures[0, :16, 16:], pictures[1, 8:24, 8:24], pictures[2, 16:, 15::-1]]
    assert out == pytest.approx(np.stack(corners), abs=1e-2)
    assert varied_by_numpy(pictures[:3], drawn, 0.5) == pytest.approx(out, abs=1e-2)


def test_training_sees_views_and_evaluation_whole_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    network = PairNetwork(SMALL.model_copy(update={"view": 0.5}))
    embedder, seen = network.embedder, []

    def noted(images: Any, **how: Any) -> Any:
        seen.append(images.shape[1])
        return embedder(images, **how)

    for name in ("embedder", "evaluator"):
        monkeypatch.setattr(network, name, noted)
    inputs = {"images": PICTURES, "left": np.array([0]), "right": np.array([1]), "augment": np.repeat(values(), 6, 0)}
    for training in (True, False):
        network(inputs, training=training)
    assert seen[-2:] == [16, 32]


def test_after_training_a_picture_is_the_mean_of_its_corners() -> None:
    network = PairNetwork(SMALL.model_copy(update={"corners": 0.625}))
    whole = PICTURES.astype(np.float32)
    mean = sum(network.embedder(whole[:, y : y + 20, x : x + 20]) for y in (0, 12) for x in (0, 12))
    mean = ops.convert_to_numpy(mean) / np.linalg.norm(mean, axis=1, keepdims=True)
    assert embed(network, PICTURES) == pytest.approx(mean, abs=1e-5)
    assert len(network.weights) == len(PairNetwork(SMALL).weights)


def test_a_full_turn_of_hue_changes_nothing_and_a_third_swaps_the_channels() -> None:
    picture = ops.convert_to_tensor(np.tile(np.array([60, 120, 150], np.float32), (1, 8, 8, 1)))
    full, third = (ops.convert_to_numpy(augment(picture, values(hue=2 * np.pi / n)))[0, 0, 0].tolist() for n in (1, 3))
    assert full == pytest.approx([60, 120, 150], abs=1e-2)
    assert third == pytest.approx([150, 60, 120], abs=1e-2)


def test_zoom_and_shift_show_a_corner() -> None:
    pictures = np.zeros((1, 32, 32, 3), np.float32)
    pictures[:, :16, :16] = 200
    out = ops.convert_to_numpy(augment(ops.convert_to_tensor(pictures), values(zoom=0.5, shift_x=-1, shift_y=-1)))
    assert out.mean() == pytest.approx(200, abs=10)


def test_brightness_contrast_and_saturation_do_what_they_say() -> None:
    picture = ops.convert_to_tensor(np.tile(np.array([100, 120, 140], np.float32), (1, 8, 8, 1)))
    assert ops.convert_to_numpy(augment(picture, values(brightness=0.1)))[0, 0, 0].tolist() == pytest.approx(
        [125.5, 145.5, 165.5]
    )
    assert ops.convert_to_numpy(augment(picture, values(contrast=0.5)))[0, 0, 0].tolist() == pytest.approx(
        [110, 120, 130]
    )
    assert ops.convert_to_numpy(augment(picture, values(saturation=0.0)))[0, 0, 0].tolist() == pytest.approx([120] * 3)


@pytest.mark.parametrize("kind", list(LIMITS))
def test_draws_depend_on_seed_and_step_and_keep_their_limits(kind: str) -> None:
    first = drawer(kind, 3)(17, 64)
    assert np.array_equal(first, drawer(kind, 3)(17, 64))
    for column, (low, high) in zip(first.T, LIMITS[kind].values(), strict=True):
        assert column.min() >= low - 1e-6
        assert column.max() <= high + 1e-6
    if kind != "none":
        assert not np.array_equal(first, drawer(kind, 3)(18, 64))
        assert not np.array_equal(first, drawer(kind, 4)(17, 64))


def test_pictures_are_resized_on_the_device() -> None:
    out = ops.convert_to_numpy(resized(np.full((2, 64, 64, 3), 77, np.uint8), 24))
    assert out.shape == (2, 24, 24, 3)
    assert out == pytest.approx(77, abs=1e-3)


def test_the_network_saves_no_picture_statistics() -> None:
    assert not [layer for layer in build_embedder(SMALL).layers if isinstance(layer, keras.layers.BatchNormalization)]
