"""Likeness, shortcuts and balance, each on pictures or numbers whose answer is known."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageOps
from sklearn.metrics import roc_auc_score

from pipeline.copies.find import CROPS, THUMB, WHOLE, candidates, find_copies, through
from pipeline.copies.likeness import likeness
from pipeline.split import make_split
from pipeline.validate.balance import balance, effective
from pipeline.validate.borders import banded
from pipeline.validate.leakage import leakage
from pipeline.validate.shortcuts import pairs_of, shortcut_scorer, shortcuts
from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.findings import Severity
from preprocess.manifest import make_manifest
from preprocess.store import Store
from tests.helpers import Pixels, smooth, write_config

SMALL = {"preprocess": {"sizes": [16, 32], "rows_per_shard": 512, "workers": 1}, "train": {"size": 16}}

STRETCHED = SMALL | {"preprocess": {"sizes": [16, 32], "rows_per_shard": 512, "workers": 1, "square": "stretch"}}
"""So that the borders are in the squares."""


def textured(seed: int, size: int = 128) -> Pixels:
    """Return a picture with detail of every size."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8) for cells in (5, 11, 23, 47)]
    resized = [np.asarray(Image.fromarray(layer).resize((size, size)), np.float32) for layer in layers]
    return np.asarray(np.mean(resized, axis=0), np.uint8)


def cut(picture: Pixels, left: float, top: float, share: float) -> Pixels:
    """Return a crop of a picture, at the picture's size."""
    size = len(picture)
    box = (left * size, top * size, (left + share) * size, (top + share) * size)
    return np.asarray(Image.fromarray(picture).resize((size, size), box=box))


def tondo(seed: int) -> Pixels:
    """Return something faint in the middle of a dark disc on white: all of these have the same silhouette."""
    y, x = np.mgrid[0:128, 0:128] - 63.5
    distance = (x**2 + y**2)[..., None]
    picture = textured(seed).astype(np.float32)
    inside = 60 + (picture - picture.mean()) * np.exp(-distance / 20**2)
    return np.where(distance < 60**2, inside, 250).clip(0, 255).astype(np.uint8)


def test_a_picture_is_like_itself_whatever_its_brightness() -> None:
    picture = textured(0)
    faded = (picture * 0.6 + 60).astype(np.uint8)
    assert likeness(picture, picture, WHOLE) > 0.99
    assert likeness(picture, faded, WHOLE) > 0.95


def test_a_crop_is_found_near_where_it_is_looked_for() -> None:
    picture = textured(1)
    assert likeness(picture, cut(picture, 0.08, 0.02, 0.88), CROPS[4]) > 0.9


def test_different_pictures_of_one_shape_are_not_alike() -> None:
    """Their outlines agree along all edges; as wholes they correlate above 0.9."""
    one, other = tondo(2), tondo(3)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9
    assert likeness(one, other, WHOLE) < 0.5


def test_flat_pictures_are_like_nothing() -> None:
    flat = np.full((128, 128, 3), 90, np.uint8)
    assert likeness(flat, flat, WHOLE) == 0


def test_each_pair_is_a_candidate_once_and_no_picture_its_own() -> None:
    pictures = [textured(seed, 64) for seed in range(30)]
    pictures += [pictures[4][:, ::-1], cut(pictures[7], 0.1, 0, 0.9), pictures[9]]
    grey = np.stack(pictures).mean(axis=3, dtype=np.float32)
    found = candidates(through(grey, WHOLE, THUMB))
    pairs = {frozenset(pair) for pair in zip(found.whole.tolist(), found.part.tolist(), strict=True)}
    assert {frozenset((4, 30)), frozenset((7, 31)), frozenset((9, 32))} <= pairs
    assert len(pairs) == len(found.whole)
    assert all(len(pair) == 2 for pair in pairs)
    assert found.mirrored[[30 in pair for pair in map(tuple, np.stack(found[:2], 1))]].tolist() == [True]


@pytest.mark.parametrize("count", [0, 1])
def test_so_few_pictures_have_no_copies(count: int) -> None:
    grey = np.stack([textured(seed, THUMB) for seed in range(2)]).mean(axis=3, dtype=np.float32)
    assert len(candidates(grey[:count]).whole) == 0


def test_bands_are_found_along_the_edges_they_are_at() -> None:
    pictures = np.stack([textured(seed, 64) for seed in range(4)])
    pictures[1, :4] = 250
    pictures[2, :, -4:] = (10, 20, 30)
    pictures[3] = 77
    assert banded(pictures, padded=False).tolist() == [[False] * 4, [True, False, False, False],
                                                       [False, False, False, True], [False] * 4]  # fmt: skip
    pictures[1, :4] = 128
    assert banded(pictures, padded=False)[1, 0]
    assert not banded(pictures, padded=True)[1].any()


def built(folder: Path, telling: str) -> tuple[Config, Store]:
    """Return a store of soft pictures by 60 artists, of which only what is `telling` of a file depends on the artist.

    "size", "quality" (of the JPEG), "border" (its colour) or "nothing".
    """
    rng = np.random.default_rng(5)
    for artist in range(60):
        own, quality, colour = rng.integers(40, 200, 2), int(rng.integers(40, 96)), tuple(rng.integers(0, 256, 3))
        (folder / "pictures" / f"artist {artist:02d}").mkdir(parents=True)
        for number in range(6):
            width, height = own + rng.integers(0, 4, 2) if telling == "size" else rng.integers(40, 200, 2)
            picture = smooth(10 * artist + number, int(width), int(height))
            if telling == "border":
                picture = ImageOps.expand(picture.crop((4, 4, picture.width - 4, picture.height - 4)), 4, colour)
            saved = quality + int(rng.integers(-1, 2)) if telling == "quality" else 75
            picture.save(folder / "pictures" / f"artist {artist:02d}" / f"{number}.jpg", quality=saved)
    config = load_config(write_config(folder, source={"kind": "folders", "path": "pictures"}, **STRETCHED))
    return config, build_store(config, make_manifest(config))


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Store]:
    """A store in which the size of a file betrays its artist."""
    return built(tmp_path_factory.mktemp("sized"), "size")


def test_sizes_that_betray_artists_are_a_shortcut_and_blamed(sized: tuple[Config, Store]) -> None:
    config, store = sized
    (finding,) = shortcuts(store, make_split(store, config), seed=0)
    assert finding.severity == Severity.WARNING
    assert float(finding.figures["auc"]) > 0.9
    assert finding.what.split("mostly by ")[1].split(",")[0] in ("size", "aspect", "bytes")


@pytest.mark.parametrize(
    ("telling", "blamed"), [("quality", {"JPEG quality"}), ("border", {"border colour", "border spread"})]
)
def test_another_trace_of_the_artist_is_a_shortcut_and_blamed(telling: str, blamed: set[str], tmp_path: Path) -> None:
    config, store = built(tmp_path, telling)
    (finding,) = shortcuts(store, make_split(store, config), seed=0)
    assert finding.severity == Severity.WARNING
    assert float(finding.figures["auc"]) > 0.7
    assert finding.what.split("mostly by ")[1].split(",")[0] in blamed


def test_sizes_that_say_nothing_are_no_shortcut(tmp_path: Path) -> None:
    config, store = built(tmp_path, "nothing")
    (finding,) = shortcuts(store, make_split(store, config), seed=0)
    assert finding.severity == Severity.NOTE
    assert 0.35 < float(finding.figures["auc"]) < 0.6


def test_the_baseline_gives_the_scores_of_which_the_finding_tells(sized: tuple[Config, Store]) -> None:
    config, store = sized
    split = make_split(store, config)
    pairs = pairs_of(split, "test_unseen", seed=0)
    scores = shortcut_scorer(store, split, seed=0)(pairs)
    (finding,) = shortcuts(store, split, seed=0)
    assert roc_auc_score(pairs.same, scores) == finding.figures["auc"]
    assert np.array_equal(scores, shortcut_scorer(store, split, seed=0)(pairs))


def test_the_effective_number_is_that_of_equal_shares() -> None:
    assert effective(np.array([7, 7, 7, 7, 0])) == pytest.approx(4)
    assert effective(np.array([1000, 1, 1])) < 1.05


def test_policies_are_told_by_the_artists_they_amount_to() -> None:
    rows = pl.DataFrame({"label": np.repeat(np.arange(4), [100, 10, 5, 5]), "side": ["train"] * 120})
    figures = {finding.kind: finding.figures for finding in balance(rows)}
    assert figures["pairs-per-side"]["same_pairs of train"] == 4950 + 45 + 10 + 10
    told = figures["paintings-per-artist"]
    assert told["effective uniform"] == pytest.approx(4)
    assert 4 > float(told["effective root"]) > float(told["effective proportional"]) > 1
    assert told["median"] == 7.5


def test_the_known_pair_of_the_real_paintings_is_found(shared_data: Path, tmp_path: Path) -> None:
    """Two files of paintings-224 are the same byte for byte, under Hiroshige and Kunisada. Gerrit Dou's and
    Levitzky's round portraits are not alike; Boucher's Rinaldo and Armida is there as in a mirror."""
    artists = ["hiroshige", "utagawa-kunisada", "gerrit-dou", "dmitry-levitzky", "francois-boucher", "canaletto"]
    for artist in artists:
        (tmp_path / "pictures" / artist).mkdir(parents=True)
        for path in (shared_data / "paintings-224" / artist).glob("*.jpg"):
            (tmp_path / "pictures" / artist / path.name).write_bytes(path.read_bytes())
    source = {"kind": "folders", "path": "pictures"}
    config = load_config(write_config(tmp_path, source=source, preprocess={"sizes": [64, 128], "rows_per_shard": 256}))
    store = build_store(config, make_manifest(config))
    found = {finding.kind: finding for finding in leakage(store, make_split(store, config))}
    assert not any(finding.severity == Severity.ERROR for finding in found.values())
    keys = store.rows["key"].gather(list(found["two-artists"].rows)).to_list()
    assert [key.split("/")[0] for key in keys] == ["hiroshige", "utagawa-kunisada"]
    assert all("view-of-tsukuda-with-lady-on-a-balcony" in key for key in keys)
    copies = find_copies(store, np.arange(len(store.rows)))
    mirrored = [copy for copy in copies if copy.mirrored]
    assert all("rinaldo" in str(store.rows["key"][row]) for copy in mirrored for row in copy[:2])
    assert len(mirrored) == 1
    assert not any("gerrit-dou" in str(store.rows["key"][copy.whole]) for copy in copies)
    assert 8 <= len(copies) <= 20
