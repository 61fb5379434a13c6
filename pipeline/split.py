"""The split: which picture is on which side. A function of the store and the settings, nothing else.

Artists are divided first: some are kept for validation and some for the test, never seen in training. Each other
artist's paintings are then divided into training, validation and test. Where a source prescribes its sides (MNIST), its
test pictures are the test of seen artists and nothing is unseen.

Shares are taken in the order of a keyed hash, so a picture keeps its side when others are added to another artist.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.copies import copies_of
from pipeline.copies.find import Copy
from preprocess.common.config import Config
from preprocess.common.errors import SplitError
from preprocess.store import STORED, Store

TRAIN = "train"
VALIDATION = ("validation_seen", "validation_unseen")
TEST = ("test_seen", "test_unseen")
SIDES = (TRAIN, *VALIDATION, *TEST)
DUPLICATE = "duplicate"
"""The picture is a copy of an earlier one by the same artist, or nearly, which is used in its place."""
DISPUTED = "disputed"
"""The picture has a copy, or nearly, under another artist, so neither label can be trusted."""
QUARANTINED = "quarantined"
FEWEST_TO_SHARE = 5
"""An artist with fewer paintings gives them all to training: one held out would make no pair."""


def make_split(store: Store, config: Config) -> pl.DataFrame:
    """Return the split of a store, whose copies are found before where that was not done yet (see copies_of).

    Raises StoreError where a picture is damaged, and SplitError (see divided).
    """
    return divided(store, config, copies_of(store))


def divided(store: Store, config: Config, copies: Sequence[Copy]) -> pl.DataFrame:
    """Return row (uint32), key, artist, label (int32), style and side (one of SIDES, or why it is on none).

    `copies` are rows that show one painting whatever their hashes; no picture is read. Raises SplitError where fewer
    than two artists with two paintings each are left to train on, or no test pairs.
    """
    rows = store.rows.select("row", "key", "artist", "label", "style", "status", "side", "phash")
    sides = np.full(len(rows), QUARANTINED, dtype=object)
    stored = np.flatnonzero(rows["status"].to_numpy() == STORED)
    sides[stored] = ""
    if store.hashes_meaningful and len(stored):
        hashes = np.array([int(text, 16) for text in rows["phash"].gather(stored)], np.uint64)
        known = np.searchsorted(stored, np.array([copy[:2] for copy in copies], np.int64).reshape(-1, 2))
        groups = near_duplicates(hashes, config.split.near_duplicate_bits, known)
        mark_duplicates(sides, stored, groups, rows["label"].to_numpy())
    if rows["side"].is_not_null().any():
        assign_prescribed(sides, rows, config)
    else:
        assign_unprescribed(sides, rows, config)
    split = rows.select("row", "key", "artist", "label", "style").with_columns(pl.Series("side", sides, pl.String))
    check_split(split)
    return split


def near_duplicates(hashes: NDArray[np.uint64], bits: int, known: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the number [n] of each picture's group.

    Pictures whose hashes [n] differ by at most `bits` are linked, and those at the places `known` [m, 2].
    """
    alone, first, own = np.unique(hashes, return_index=True, return_inverse=True)
    found = [known, np.stack([first[own], np.arange(len(hashes))], 1)]
    found += [first[pair] for pair in near(alone, bits)]
    pairs = np.concatenate(found)
    graph = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(len(hashes), len(hashes)))
    groups: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return groups


def near(hashes: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.intp]]:
    """Yield the places [m, 2] of `hashes` [n], which are all different, that differ by at most `bits`; some twice.

    Of bits + 1 parts of such hashes one at least is the same, so only those are compared that share a part.
    """
    for part in np.array_split(np.arange(64, dtype=np.uint64), bits + 1):
        shared = hashes & np.bitwise_or.reduce(np.uint64(1) << part)
        order = np.argsort(shared)
        at = np.arange(len(hashes))
        for apart in range(1, len(hashes)):
            at = at[at + apart < len(hashes)]
            at = at[shared[order[at]] == shared[order[at + apart]]]
            if not len(at):
                break
            pair = np.stack([order[at], order[at + apart]], 1)
            yield pair[np.bitwise_count(hashes[pair[:, 0]] ^ hashes[pair[:, 1]]) <= bits]


def mark_duplicates(
    sides: NDArray[np.object_], stored: NDArray[np.intp], groups: NDArray[np.int32], labels: NDArray[np.int32]
) -> None:
    """Keep the first picture of each group of one artist; take all of a group that artists share off every side."""
    order = np.argsort(groups, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(group) > 1:
            members = stored[group]
            one_artist = len(np.unique(labels[members])) == 1
            sides[members[1:] if one_artist else members] = DUPLICATE if one_artist else DISPUTED


def keyed_order(seed: int, names: Iterable[str]) -> list[str]:
    """Return `names` in an order that depends on the seed and, for any two of them, on nothing else."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).digest())


def assign_prescribed(sides: NDArray[np.object_], rows: pl.DataFrame, config: Config) -> None:
    """The source's test pictures are the test; a share of each label's training pictures is for validation."""
    official_test = rows["side"].to_numpy() == "test"
    sides[(sides == "") & official_test] = "test_seen"
    for keys in paintings_by_artist(sides, rows, config.split.seed).values():
        held_out = round(len(keys) * config.split.validation_paintings)
        sides[keys[:held_out]] = "validation_seen"
        sides[keys[held_out:]] = TRAIN


def assign_unprescribed(sides: NDArray[np.object_], rows: pl.DataFrame, config: Config) -> None:
    """Divide artists, then the paintings of those that are seen."""
    settings = config.split
    paintings = paintings_by_artist(sides, rows, settings.seed)
    # Only artists with a pair can be tested; those with one painting still serve training, as strangers.
    testable = keyed_order(settings.seed, [artist for artist, own in paintings.items() if len(own) >= 2])
    start, for_test = 0, round(len(testable) * settings.test_artists)
    if settings.folds:
        start, stop = (round(len(testable) * fold / settings.folds) for fold in (settings.fold, settings.fold + 1))
        for_test = stop - start
    testable = testable[start:] + testable[:start]
    for_validation = round(len(testable) * settings.validation_artists)
    unseen = dict.fromkeys(testable[:for_test], "test_unseen")
    unseen |= dict.fromkeys(testable[for_test : for_test + for_validation], "validation_unseen")
    for artist, own in paintings.items():
        if artist in unseen:
            sides[own] = unseen[artist]
            continue
        share = len(own) >= FEWEST_TO_SHARE
        test = max(1, round(len(own) * settings.test_paintings)) if share else 0
        validation = max(1, round(len(own) * settings.validation_paintings)) if share else 0
        sides[own[:test]] = "test_seen"
        sides[own[test : test + validation]] = "validation_seen"
        sides[own[test + validation :]] = TRAIN


def paintings_by_artist(sides: NDArray[np.object_], rows: pl.DataFrame, seed: int) -> dict[str, NDArray[np.intp]]:
    """Return, for each artist, the rows [n] that have no side yet, in keyed order."""
    free = rows.filter(pl.Series(sides == ""))
    position = dict(zip(free["key"], free["row"], strict=True))
    by_artist = {str(name[0]): part["key"] for name, part in free.group_by("artist", maintain_order=True)}
    return {
        artist: np.array([position[key] for key in keyed_order(seed, keys)], np.intp)
        for artist, keys in by_artist.items()
    }


def check_split(split: pl.DataFrame) -> None:
    """Raise SplitError where a side that is needed cannot make pairs of both kinds."""
    for names in ((TRAIN,), VALIDATION, TEST):
        if not any(can_pair(split, name) for name in names):
            raise SplitError(
                f"{' or '.join(names)}: needs at least two artists, and one of them with two paintings, on one side; "
                "add pictures, or change the shares under split in config.yaml"
            )


def can_pair(split: pl.DataFrame, side: str) -> bool:
    """Return whether a side holds a pair of one artist and a pair of two."""
    counts = split.filter(pl.col("side") == side)["label"].value_counts()["count"]
    return len(counts) >= 2 and bool((counts >= 2).any())


def side_rows(split: pl.DataFrame, *sides: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the rows [n], ascending, and labels [n] of one side of a split, or of several together."""
    part = split.filter(pl.col("side").is_in(sides))
    return part["row"].to_numpy().astype(np.int64), part["label"].to_numpy()


def summary(split: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a dictionary per side that occurs: side, paintings, artists, same-artist pairs."""
    table = []
    for side in (*SIDES, DUPLICATE, DISPUTED, QUARANTINED):
        counts = split.filter(pl.col("side") == side)["label"].value_counts()["count"].to_numpy().astype(np.int64)
        if len(counts):
            pairs = int((counts * (counts - 1) // 2).sum()) if side in SIDES else 0
            table.append({"side": side, "paintings": int(counts.sum()), "artists": len(counts), "same_pairs": pairs})
    return table


def summary_text(split: pl.DataFrame) -> str:
    """Return the summary as lines of aligned text."""
    lines = [f"{'side':<18} {'paintings':>9} {'artists':>8} {'same pairs':>11}"]
    lines += [
        f"{line['side']:<18} {line['paintings']:>9} {line['artists']:>8} {line['same_pairs']:>11}"
        for line in summary(split)
    ]
    return "\n".join(lines)
