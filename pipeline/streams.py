"""Streams of row numbers: what training and evaluation import, and the stream that the settings ask for."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.batches import Batch, Stream, generator, in_order, slice_of
from pipeline.coverage import Coverage
from pipeline.evaluation import PairList, evaluation_pairs, load_evaluation_pairs, save_evaluation_pairs
from pipeline.groups import Groups
from pipeline.pairs import Pairs
from pipeline.sets import Sets, rows_by_label
from pipeline.traits import Hard, traits_of
from preprocess.common.config import Pipeline

__all__ = [
    "Batch", "Coverage", "Groups", "Hard", "PairList", "Pairs", "Sets", "Stream", "evaluation_pairs", "generator",
    "in_order", "load_evaluation_pairs", "outlook", "rows_by_label", "save_evaluation_pairs", "slice_of",
    "training_stream", "traits_of",
]  # fmt: skip
SAMPLE = 20
"""Batches from which the share of hard pairs is told."""


def training_stream(
    settings: Pipeline, rows: NDArray[np.int64], labels: NDArray[np.int32], table: pl.DataFrame, batch: int, seed: int
) -> Stream:
    """Return the stream of batches of `batch` pictures from the rows [n] and labels [n] of the training side.

    `table` has style, genre and date of every row of the store. Raises SplitError or ConfigError.
    """
    artists = rows_by_label(rows, labels)
    hard = Hard(settings.hard_share, traits_of(table)) if settings.hard_share > 0 else None
    if settings.stream == "pairs":
        return Pairs(artists, batch // 2, seed, settings.artists, hard)
    return Groups(artists, batch, settings.paintings_per_artist, seed, settings.artists, hard)


def outlook(stream: Stream, labels: NDArray[np.int32], start: int, stop: int) -> str:
    """Return in words how much of the training side, whose rows have `labels` [n], batches `start` to `stop` - 1 are
    expected to show, and how many of the different pairs are hard."""
    counts = np.unique(labels, return_counts=True)[1]
    seen, couples = stream.coverage(stop - start), int((counts * (counts - 1) // 2).sum())
    sample = [stream.batch_at(k) for k in range(start, min(stop, start + SAMPLE))]
    hard = sum(int(batch.hard.sum()) for batch in sample) / sum(int((batch.same == 0).sum()) for batch in sample)
    return (
        f"stream: batches {start} to {stop - 1} are to show about {seen.paintings:,.0f} of {len(labels):,} paintings "
        f"and {seen.same_pairs:,.0f} of {couples:,} same-artist pairs; {hard:.0%} of the different pairs are hard"
    )
