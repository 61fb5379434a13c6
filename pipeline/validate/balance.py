"""How paintings are spread over artists, and what the sampler's policies make of that."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.lottery import TICKETS, capped, tickets_of
from pipeline.split import TRAIN, summary
from preprocess.findings import Finding, Severity


def effective(weights: NDArray[np.integer]) -> float:
    """Return how many equal shares are as varied as `weights` [n]: the exponential of their Shannon entropy.

    The diversity of order 1 (Hill 1973, "Diversity and evenness"; Jost 2006, "Entropy and diversity").
    """
    shares = weights[weights > 0] / weights.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def balance(split: pl.DataFrame) -> list[Finding]:
    """Return the notes on paintings per artist, pairs per side, and the artists that training will see."""
    counts = split.filter(pl.col("side") == TRAIN)["label"].value_counts()["count"].to_numpy().astype(np.int64)
    sides = [line for line in summary(split) if line["same_pairs"]]
    pairs = ", ".join(f"{line['side']} {line['same_pairs']:,}" for line in sides)
    note = Finding(
        "pairs-per-side", Severity.NOTE, f"pairs of one artist: {pairs}", "", (),
        {f"{name} of {line['side']}": line[name] for line in sides for name in ("paintings", "artists", "same_pairs")},
    )  # fmt: skip
    if not len(counts):
        return [note]
    policies = {policy: effective(capped(tickets_of(policy, counts))) for policy in TICKETS}
    drawn = ", ".join(f"{policy} {number:.0f}" for policy, number in policies.items())
    return [
        note,
        Finding(
            "paintings-per-artist", Severity.NOTE,
            f"training has {len(counts)} artists of {counts.min()} to {counts.max()} paintings, median "
            f"{np.median(counts):g}; effective number of artists, by pipeline.artists: {drawn}",
            "choose pipeline.artists: uniform shows rare artists as often as prolific ones", (),
            {"artists": len(counts), "fewest": int(counts.min()), "median": float(np.median(counts)),
             "most": int(counts.max()), **{f"effective {policy}": number for policy, number in policies.items()}},
        ),
    ]  # fmt: skip
