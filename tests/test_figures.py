"""Figures: classes invented from the outlines of pictures, drawn as often as is asked, never twice alike."""

import gzip
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from pipeline.split import TEST, TRAIN, VALIDATION, make_split
from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.figures import draw, invent
from preprocess.figures.invention import Outlines, surface
from preprocess.figures.outlines import POINTS, extent, outline
from preprocess.manifest import make_manifest
from preprocess.sources.figures import Figures, invented
from preprocess.sources.idx import read_idx
from tests.test_idx import IMAGES, idx_bytes
from tests.tiny import write_settings

SIDE = 28


def blobs(number: int, seed: int = 0) -> np.ndarray:
    """Return pictures uint8 [1 + number, 28, 28]: a blank one, which makes no figure, and others of two ellipses."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    pictures = np.zeros((1 + number, SIDE, SIDE), np.uint8)
    for picture in pictures[1:]:
        for _ in range(2):
            (cx, cy), (a, b) = rng.uniform(8, 20, 2), rng.uniform(3, 9, 2)
            picture[((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] = 255
    return pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with training pictures only: neither labels nor a test side."""
    read_idx.cache_clear()
    invented.cache_clear()
    (tmp_path / "blobs").mkdir()
    write(tmp_path / "blobs", blobs(40))
    return tmp_path / "blobs"


def write(folder: Path, pictures: np.ndarray) -> None:
    """Write pictures as a collection's training pictures."""
    (folder / IMAGES).write_bytes(gzip.compress(idx_bytes(pictures)))


def drawing(source: Figures, place: str) -> np.ndarray:
    """Return a drawing."""
    with source.fetch(place) as path, Image.open(path) as image:
        return np.asarray(image)


def test_every_figure_has_its_drawings_and_no_prescribed_side(folder: Path) -> None:
    rows = Figures(folder, 3, 2, 0).rows()
    assert rows["key"].to_list() == ["00000/0", "00000/1", "00001/0", "00001/1", "00002/0", "00002/1"]
    assert rows["artist"].to_list() == ["00000", "00000", "00001", "00001", "00002", "00002"]
    assert rows["place"].equals(rows["key"])
    assert rows["side"].null_count() == 6


def test_a_drawing_is_a_function_of_seed_figure_and_number(folder: Path) -> None:
    places = [f"{figure:05}/{number}" for figure in range(6) for number in range(3)]
    first = {place: drawing(Figures(folder, 6, 3, 7), place).tobytes() for place in places}
    invented.cache_clear()
    again = {place: drawing(Figures(folder, 99, 9, 7), place).tobytes() for place in reversed(places)}
    assert first == again
    assert len(set(first.values())) == len(places)
    assert not set(first.values()).intersection(drawing(Figures(folder, 6, 3, 8), place).tobytes() for place in places)


def test_drawings_of_another_seed_show_other_figures(folder: Path) -> None:
    shown = [invented(Figures(folder, 6, 3, seed).file, seed, 3) for seed in (7, 8)]
    assert not np.array_equal(np.concatenate(shown[0].strokes + shown[0].filled),
                              np.concatenate(shown[1].strokes + shown[1].filled))  # fmt: skip


def test_other_pictures_and_another_seed_are_noticed(folder: Path) -> None:
    before = Figures(folder, 3, 2, 0).stamp("00001/1")
    assert before == Figures(folder, 9, 2, 0).stamp("00001/1") == Figures(folder, 3, 2, 0).rows().row(0)[-2:]
    assert Figures(folder, 3, 2, 1).stamp("00001/1") != before
    write(folder, blobs(40, seed=1))
    assert Figures(folder, 3, 2, 0).stamp("00001/1") != before
    (folder / IMAGES).unlink()
    assert Figures(folder, 3, 2, 0).stamp("00001/1") == (0, 0)


@pytest.mark.parametrize("place", ["", "1/1", "00001/", "00001/1/1", "../../etc/passwd", "0000x/1"])
def test_what_is_no_place_has_no_drawing(place: str, folder: Path) -> None:
    source = Figures(folder, 3, 2, 0)
    assert source.stamp(place) == (0, 0)
    with pytest.raises(UnreadablePicture, match="no such file"), source.fetch(place):
        pass


def test_pictures_without_outlines_are_passed_over_until_there_are_no_others(folder: Path) -> None:
    write(folder, blobs(1))
    read_idx.cache_clear()
    assert all(drawing(Figures(folder, 40, 2, 0), f"{figure:05}/0").any() for figure in range(40))
    write(folder, np.zeros((5, SIDE, SIDE), np.uint8))
    read_idx.cache_clear()
    invented.cache_clear()
    with pytest.raises(UnreadablePicture, match="none of 100 pictures has an outline"):
        drawing(Figures(folder, 3, 2, 0), "00000/0")


def test_a_collection_without_pictures_is_named_with_the_remedy(folder: Path) -> None:
    write(folder, np.zeros((0, SIDE, SIDE), np.uint8))
    read_idx.cache_clear()
    with pytest.raises(SourceError, match="holds no pictures; fetch it again"):
        Figures(folder, 3, 2, 0).rows()


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))), st.integers(0, 2**32))
def test_an_outline_of_any_picture_fills_its_box(picture: np.ndarray, seed: int) -> None:
    line = outline(picture, np.random.default_rng(seed))
    if line is not None:
        assert line.shape == (POINTS, 2)
        middle, sides = extent([line])
        assert middle == pytest.approx(0, abs=1e-9)
        assert sides.max() == pytest.approx(1)


@given(arrays(np.uint8, (12, 12)), st.integers(0, 2**32))
def test_any_picture_with_an_outline_makes_a_figure_that_can_be_drawn(picture: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    try:
        figure = invent(picture, rng)
    except UnreadablePicture:
        return
    drawn = draw(figure, picture, SIDE, rng)
    assert drawn.shape == (SIDE, SIDE)
    assert drawn.dtype == np.uint8


def test_a_symmetric_surface_is_its_own_mirror_image() -> None:
    for picture in blobs(20)[1:]:
        rim = surface(Outlines(picture, np.random.default_rng(3)), symmetric=True)
        assert rim == pytest.approx(rim[::-1] * [-1, 1])
        assert np.ptp(rim[:, 1]) >= 0.5


def test_strokes_keep_to_the_middle_and_things_fill_the_picture() -> None:
    reach: dict[bool, list[int]] = {True: [], False: []}
    for seed, picture in enumerate(blobs(200)[1:]):
        rng = np.random.default_rng(seed)
        figure = invent(picture, rng)
        lit = draw(figure, picture, SIDE, rng) > 0
        reach[bool(figure.strokes)].append(max(int(np.ptp(np.flatnonzero(lit.any(axis=axis)))) + 1 for axis in (0, 1)))
    assert min(len(found) for found in reach.values()) > 70
    assert 16 <= min(reach[True]) <= max(reach[True]) <= 24
    assert np.median(reach[False]) >= 26


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_drawings_of_one_figure_are_more_alike_than_those_of_two(name: str, shared_data: Path) -> None:
    source = Figures(shared_data / name, 60, 2, 0)
    drawn = np.stack([drawing(source, place) for place in source.rows()["place"]]).reshape(120, -1).astype(float)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    cosine = drawn @ drawn.T
    same = [cosine[2 * figure, 2 * figure + 1] for figure in range(60)]
    different = [cosine[2 * one, 2 * other + 1] for one, other in combinations(range(60), 2)]
    assert max(same) < 0.999, "drawn twice alike"
    assert np.mean(np.array(same)[:, None] > np.array(different)) > 0.8


def made(folder: Path, workers: int, seed: int = 0) -> Config:
    """Return the settings of a store of figures, which is built."""
    home = folder.parent / str(workers)
    home.mkdir(exist_ok=True)
    settings: dict[str, dict[str, object]] = {
        "source": {"kind": "figures", "path": str(folder)},
        "figures": {"classes": 12, "drawings": 3, "seed": seed},
        "preprocess": {"sizes": [28], "rows_per_shard": 16, "workers": workers},
    }
    config = load_config(write_settings(home, **settings))
    build_store(config, make_manifest(config))
    return config


def test_a_store_of_figures_is_the_same_whatever_the_workers_and_another_with_another_seed(folder: Path) -> None:
    stores = [build_store(config, make_manifest(config)) for config in (made(folder, 1), made(folder, 2))]
    assert stores[0].fingerprint == stores[1].fingerprint
    config = made(folder, 1, seed=1)
    assert config.collection == "blobs-figures"
    assert build_store(config, make_manifest(config)).fingerprint != stores[0].fingerprint


def test_some_figures_are_never_seen_in_training(folder: Path) -> None:
    config = made(folder, 1)
    split = make_split(build_store(config, make_manifest(config)), config)
    owners = {side: set(split.filter(split["side"] == side)["artist"]) for side in (TRAIN, VALIDATION[1], TEST[1])}
    assert all(owners.values())
    assert sum(map(len, owners.values())) == 12
