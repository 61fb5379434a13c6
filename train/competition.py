"""The competition's own figure, offline: the AUC of all its pairs, where the table that tells the artists is there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from preprocess.common.errors import SourceError

COLUMNS = ("new_filename", "artist", "artist_group")
SEEN = ("train_only", "train_and_test")
KINDS = ("unseen", "mixed", "seen")
"""By how many of the two artists have paintings in Kaggle's training set: none, one, both."""


class Truth:
    """Who painted the test pictures, and what was said of each pair."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        """Read Kaggle's all_data_info.csv about the pictures `names` [n]. Raises SourceError."""
        try:
            table = pl.read_csv(path, infer_schema=False).select(COLUMNS)
        except pl.exceptions.PolarsError:
            raise SourceError(f"{path} has not the columns {', '.join(COLUMNS)}; download it again") from None
        found = pl.DataFrame({"new_filename": names}).join(
            table.unique("new_filename", keep="first"), "new_filename", how="left", maintain_order="left"
        )
        if found["artist"].null_count():
            lost = found.filter(pl.col("artist").is_null())["new_filename"][0]
            raise SourceError(f"{path} does not say who painted {lost!r}; download it again, or take the table away")
        self.artist = found["artist"].rank("dense").to_numpy()
        self.seen = found["artist_group"].is_in(SEEN).to_numpy()
        self.same: list[NDArray[np.bool_]] = []
        self.kind: list[NDArray[np.int8]] = []
        self.evidence: list[NDArray[np.float32]] = []

    def note(self, left: NDArray[np.int64], right: NDArray[np.int64], evidence: NDArray[np.float32]) -> None:
        """Remember pairs, as places among the names, and what was said of them, all [m]: 6 bytes a pair."""
        self.same.append(self.artist[left] == self.artist[right])
        self.kind.append(self.seen[left].astype(np.int8) + self.seen[right])
        self.evidence.append(evidence)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return AUC and numbers of pairs: of all, and of those kinds that have same and different ones."""
        same, kind, evidence = np.concatenate(self.same), np.concatenate(self.kind), np.concatenate(self.evidence)
        kinds = {"all": np.ones(len(same), bool)} | {name: kind == number for number, name in enumerate(KINDS)}
        found = {}
        for name, chosen in kinds.items():
            if 0 < same[chosen].sum() < chosen.sum():
                auc = float(roc_auc_score(same[chosen], evidence[chosen]))
                found[name] = {"auc": auc, "pairs": int(chosen.sum()), "same_pairs": int(same[chosen].sum())}
        return found
