"""Whether an artist can be told from what a file is like rather than from what it shows.

A model that sees how much two files differ in size, shape, bytes, kind and border is fitted to pairs of the training
side and scored on pairs of unseen artists. What it reaches is what a network can reach without looking at a painting.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pipeline.evaluation import PairList, evaluation_pairs
from pipeline.reader import Reader
from pipeline.split import TEST, TRAIN, can_pair
from preprocess.findings import Finding, Severity
from preprocess.store import Store

UNSEEN = TEST[1]
TELLING = 0.6
"""AUC on unseen artists above which file properties are a shortcut; 0.5 is chance."""
BLAME = 0.01
"""Loss of AUC, when a property is shuffled, from which it is named."""
FEWEST_ARTISTS = 10
"""Unseen artists below which the AUC is chance as much as anything, and only noted."""
MOST_PAIRS = 10_000
BORDER_AT = 64
KINDS = ("format", "mode", "profile")
"""Properties that are the same or not, whatever the number."""
BLOCK = 1024


def shortcuts(store: Store, split: pl.DataFrame, seed: int) -> list[Finding]:
    """Return the finding about how well file properties tell unseen artists apart, and which ones do."""
    if not (can_pair(split, TRAIN) and can_pair(split, UNSEEN)):
        return []
    pairs = pairs_of(split, UNSEEN, seed)
    known = properties(store, split)
    model = fitted(known, split, seed)
    auc = float(roc_auc_score(pairs.same, scores(model, known, pairs)))
    rng = np.random.default_rng(seed)
    lost = {name: auc - shuffled_auc(model, known, pairs, name, rng) for name in known}
    blamed = sorted((name for name in known if lost[name] >= BLAME), key=lambda name: -lost[name])
    artists = split.filter(pl.col("side") == UNSEEN)["artist"].n_unique()
    grave = auc >= TELLING and artists >= FEWEST_ARTISTS
    losses = {f"loss without {name}": loss for name, loss in lost.items()}
    blame = f", mostly by {', '.join(blamed[:4])}" if blamed else ""
    return [
        Finding(
            "shortcut", Severity.WARNING if grave else Severity.NOTE,
            f"file properties alone tell pairs of {artists} unseen artists apart with an AUC of {auc:.3f}{blame}",
            "the report has it beside the model's AUC; where it is high, use files of one origin" if grave else "",
            (), {"auc": auc, "artists": artists, "pairs": len(pairs.same), **losses},
        )
    ]  # fmt: skip


def shortcut_scorer(store: Store, split: pl.DataFrame, seed: int) -> Callable[[PairList], NDArray[np.float64]]:
    """Return what gives each pair the score, 0 to 1, that its file properties alone earn it: a baseline to measure by.

    The model is fitted to pairs of the training side; a function of its arguments. Raises StoreError where a picture
    cannot be read.
    """
    known = properties(store, split)
    return partial(scores, fitted(known, split, seed), known)


def properties(store: Store, split: pl.DataFrame) -> dict[str, NDArray[np.float32]]:
    """Return the properties [rows of the store, values] of each file by name, zero where there is no picture.

    Logarithms of pixels and bytes; kinds as a number each; colour of the outermost pixels stored, mean and spread.
    """
    rows = store.rows
    width, height, size = (
        rows[name].cast(pl.Float64).fill_null(0).clip(1).to_numpy() for name in ("width", "height", "bytes")
    )
    border = borders_of(store, split.filter(pl.col("side") != "quarantined")["row"].to_numpy().astype(np.int64))
    found = {
        "size": np.log(np.stack([width, height], axis=1)),
        "aspect": np.log(width / height)[:, None],
        "bytes": np.log(size)[:, None],
        "JPEG quality": rows["quality"].cast(pl.Float64).fill_null(0).to_numpy()[:, None],
        "bytes per pixel": np.log(size / (width * height))[:, None],
        "border colour": border[:, :3],
        "border spread": border[:, 3:],
        **{name: rows[name].rank("dense").fill_null(0).to_numpy()[:, None] for name in KINDS},
    }
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def borders_of(store: Store, stored: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return mean red, green and blue and the spread of the outermost pixels [rows of the store, 4], 0 to 255."""
    reader = Reader(store, min(BORDER_AT, store.sizes[-1]))
    found = np.zeros((len(store.rows), 4), np.float32)
    for start in range(0, len(stored), BLOCK):
        rows = stored[start : start + BLOCK]
        pictures = reader.read(rows)
        edges = [pictures[:, 0], pictures[:, -1], pictures[:, :, 0], pictures[:, :, -1]]
        outermost = np.concatenate(edges, axis=1).astype(np.float32)
        found[rows, :3], found[rows, 3] = outermost.mean(axis=1), outermost.std(axis=1).mean(axis=1)
    return found


def differences(known: Mapping[str, NDArray[np.float32]], pairs: PairList) -> NDArray[np.float32]:
    """Return how far apart the properties of each pair are, [m, values]; of kinds, whether they differ."""
    apart = []
    for name, values in known.items():
        gap = np.abs(values[pairs.left] - values[pairs.right])
        apart.append(gap > 0 if name in KINDS else gap)
    return np.concatenate(apart, axis=1).astype(np.float32)


def fitted(known: Mapping[str, NDArray[np.float32]], split: pl.DataFrame, seed: int) -> HistGradientBoostingClassifier:
    """Return the model fitted to pairs of the training side."""
    pairs = pairs_of(split, TRAIN, seed)
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=seed, early_stopping=False)
    return model.fit(differences(known, pairs), pairs.same)


def scores(
    model: HistGradientBoostingClassifier, known: Mapping[str, NDArray[np.float32]], pairs: PairList
) -> NDArray[np.float64]:
    """Return the chance [m] that the model gives each pair to be of one artist."""
    return np.asarray(model.predict_proba(differences(known, pairs))[:, 1])


def shuffled_auc(
    model: HistGradientBoostingClassifier, known: Mapping[str, NDArray[np.float32]], pairs: PairList, name: str,
    rng: np.random.Generator,
) -> float:  # fmt: skip
    """Return the AUC where one property is that of other pictures of the side (Breiman 2001, "Random forests")."""
    rows = np.unique(np.concatenate([pairs.left, pairs.right]))
    values = known[name].copy()
    values[rows] = values[rng.permutation(rows)]
    return float(roc_auc_score(pairs.same, scores(model, {**known, name: values}, pairs)))


def pairs_of(split: pl.DataFrame, side: str, seed: int) -> PairList:
    """Return pairs of one side, half of them same-artist."""
    own = split.filter(pl.col("side") == side)
    return evaluation_pairs(own["row"].to_numpy().astype(np.int64), own["label"].to_numpy(), MOST_PAIRS, seed)
