"""`pipeline show`: a batch as a picture, before and after augmentation."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops
from PIL import Image, ImageColor
from scipy.ndimage import label

from pipeline.augmentation import DRAWN, LIMITS, drawer, varied_by_numpy
from pipeline.reader import Reader
from pipeline.show import COLOURS, DIFFERENT, SAME, resized, show
from pipeline.split import TRAIN, make_split, side_rows
from pipeline.streams import training_stream
from preprocess.common.config import Config, load_config
from preprocess.store import Store
from tests.helpers import command
from tests.tiny import tiny_collection
from train.augment import augment
from train.model import resized as resized_on_the_device

Made = tuple[Config, Store]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return tiny_collection(tmp_path_factory.mktemp("show"))


def drawn_sheet(made: Made, k: int, out: Path, *changes: str) -> np.ndarray:
    config = load_config(made[0].stores.parent / "config.yaml", changes)
    show(config, k, out)
    with Image.open(out) as sheet:
        return np.asarray(sheet.convert("RGB"))


def batch_of(made: Made, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of batch `k`, as stored and as fed, of the tiny settings."""
    config, store = made
    rows = side_rows(make_split(store, config), TRAIN)
    batch = training_stream(config.pipeline, *rows, store.rows, 32, config.train.seed).batch_at(k)
    stored = Reader(store, 16).read(batch.rows)
    drawn = drawer(config.train.augment, config.train.seed)(k, 32)
    return stored, np.asarray(augment(stored.astype(np.float32), drawn)).round()


def found_in(sheet: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    """Return where on a sheet a picture of 16 pixels is drawn at four times its size, to the nearest grey level."""
    wide = picture.repeat(4, axis=0).repeat(4, axis=1).astype(int)
    corner = np.abs(sheet[:-63, :-63].astype(int) - wide[0, 0]).max(axis=2) <= 1
    return [
        (x, y)
        for y, x in np.argwhere(corner).tolist()
        if np.abs(sheet[y : y + 64, x : x + 64].astype(int) - wide).max() <= 1
    ]


def test_every_picture_is_drawn_as_stored_and_below_as_the_trainer_varies_it(made: Made, tmp_path: Path) -> None:
    sheet = drawn_sheet(made, 5, tmp_path / "batch.png")
    for stored, fed in zip(*batch_of(made, 5), strict=True):
        (above,) = found_in(sheet, stored)
        assert (above[0], above[1] + 68) in found_in(sheet, fed)


def frames(sheet: np.ndarray, colour: str) -> int:
    """Return how many frames of that colour there are; letters have it, too, but are small."""
    pieces, _ = label((sheet == ImageColor.getrgb(colour)).all(axis=2))
    return int((np.bincount(pieces.ravel())[1:] > 1000).sum())


def test_pictures_that_belong_together_share_a_frame(made: Made, tmp_path: Path) -> None:
    groups = drawn_sheet(made, 5, tmp_path / "a.png")
    assert [frames(groups, colour) for colour in COLOURS] == [1] * 8, "eight artists of four"
    pairs = drawn_sheet(made, 5, tmp_path / "b.png", "pipeline.stream=pairs")
    assert frames(pairs, SAME) == frames(pairs, DIFFERENT) == 8


def test_a_batch_of_an_earlier_stage_has_its_size_and_number(made: Made, tmp_path: Path) -> None:
    stages = "train.stages=[{until: 0.5, size: 12, batch: 8}]"
    config = load_config(made[0].stores.parent / "config.yaml", [stages])
    assert "batch 2 of pictures: 8 pictures of 12 pixels" in show(config, 2, tmp_path / "batch.png")
    assert "batch 3 of pictures: 32 pictures of 16 pixels" in show(config, 3, tmp_path / "batch.png")


def test_the_command_says_what_it_drew(made: Made, tmp_path: Path) -> None:
    config = made[0].stores.parent / "config.yaml"
    answer = command("show", 3, "--config", config, "--out", tmp_path / "new" / "b.png", program="pipeline")
    assert answer.status == 0
    assert answer.out.startswith(
        "show: batch 3 of pictures: 32 pictures of 16 pixels, 48 same-artist and 448 different"
    )
    assert (tmp_path / "new" / "b.png").exists()
    assert command("show", -1, "--config", config, program="pipeline").status == 2


@pytest.mark.parametrize("kind", list(LIMITS))
@pytest.mark.parametrize("size", [16, 33])
def test_numpy_and_the_device_vary_pictures_alike(kind: str, size: int) -> None:
    pictures = np.random.default_rng(0).uniform(0, 255, (24, size, size, 3)).astype(np.float32)
    drawn = drawer(kind, 3)(5, 24)
    device = ops.convert_to_numpy(augment(ops.convert_to_tensor(pictures), drawn))
    assert np.abs(varied_by_numpy(pictures, drawn) - device).max() < 0.01


def test_numpy_and_the_device_resize_alike() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    device = ops.convert_to_numpy(resized_on_the_device(pictures, 24))
    assert np.abs(resized(pictures, 24) - device).max() <= 1


def test_strong_augmentation_crops_scales_and_leans_but_keeps_the_palette() -> None:
    strong, plain = LIMITS["strong"], LIMITS["paintings"]
    assert all(strong[name][0] < strong[name][1] for name in DRAWN)
    assert strong["zoom"][1] <= 1, "nothing from beyond the picture's edge"
    assert all(plain[name][0] <= strong[name][0] and strong[name][1] <= plain[name][1] for name in DRAWN[5:])
    assert np.degrees(strong["hue"][1]) < 10
