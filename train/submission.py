"""Kaggle's submission: the pairs of one table scored from embeddings, streamed into another. No TensorFlow here."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit

from preprocess.common.errors import SourceError
from preprocess.common.files import written_aside
from preprocess.common.progress import Progress
from train.calibrate import Calibration, Numbers

HEADERS = (["index", "image1", "image2"], ["index", "img1", "img2"])
"""Of submission_info.csv: as in the competition, and as in copies that went round."""
ANSWER = ["index", "sameArtist"]
CHUNK = 250_000
"""Pairs at a time: polars reads some ahead, and four times as many take a gigabyte more."""
DENSE = 4
"""All products of two sets of pictures cost less than those of m pairs of them, one by one, up to so many times m."""
MOST_INDEX = 2**26
DECIMALS = 8
LATER = "download it again"

Chunk = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Index, left and right [m]; the hands are places among the pictures."""
Watch = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], None]
"""Is told left, right and evidence [m] of every chunk."""


class Judge(NamedTuple):
    """What one run says: embeddings float32 [n, d] of the pictures, of which some are not `usable` [n], what score a
    product [m] of two gets, and what the score is worth."""

    embeddings: NDArray[np.float32]
    usable: NDArray[np.bool_]
    score: Callable[[NDArray[np.float32]], Numbers]
    calibration: Calibration

    def evidence(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> Numbers:
        """Return the logarithm [m] of the likelihood ratio of pairs; 0, which tells nothing, without both pictures."""
        found = self.calibration.evidence(self.score(cosines(self.embeddings, left, right)))
        return np.where(self.usable[left] & self.usable[right], found, 0.0)


def cosines(embeddings: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the products [m] of embeddings [n, d] at the places left and right [m].

    Kaggle's pairs are all those within 13 groups of pictures: a chunk of them is a block of one matrix product.
    """
    rows, row_of = numbered(left, len(embeddings))
    columns, column_of = numbered(right, len(embeddings))
    if len(rows) * len(columns) <= DENSE * len(left):
        found: NDArray[np.float32] = (embeddings[rows] @ embeddings[columns].T)[row_of, column_of]
    else:
        found = np.einsum("md,md->m", embeddings[left], embeddings[right])
    return found.clip(-1, 1)


def numbered(places: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of `count` places occur, ascending, and where each of `places` [m] stands among them; np.unique
    sorts, which takes ten times as long."""
    occurs = np.zeros(count, bool)
    occurs[places] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[places]


def opened(path: Path, headers: Sequence[list[str]]) -> pl.LazyFrame:
    """Return a CSV table that is not read yet, every column of text but the first. Raises SourceError."""
    try:
        with path.open(encoding="utf-8") as file:
            found = file.readline().rstrip("\r\n").removeprefix("\ufeff").split(",")
    except (FileNotFoundError, IsADirectoryError):
        raise SourceError(f"{path} does not exist; {LATER}, or name the folder it is in with --test") from None
    except UnicodeDecodeError:
        raise SourceError(f"{path} is no CSV table in UTF-8; {LATER}") from None
    if found not in headers:
        wanted, there = ",".join(headers[0]), ",".join(found)[:80]
        raise SourceError(f"{path} should begin with the line {wanted!r}, not {there!r}; {LATER}")
    kinds = {"index": pl.Int64} | dict.fromkeys(found[1:], pl.String)
    return pl.scan_csv(path, schema=kinds)


def picture_names(path: Path) -> list[str]:
    """Return the names of all pictures in the pairs of a table, sorted. Raises SourceError."""
    table = opened(path, HEADERS)
    hands = [table.select(pl.col(name).alias("name")) for name in table.collect_schema().names()[1:]]
    try:
        names = pl.concat(hands).unique().collect(engine="streaming")["name"]
    except pl.exceptions.PolarsError as error:
        raise damaged(path, error) from None
    if names.null_count():
        raise SourceError(f"{path} has a row that does not name two pictures; {LATER}")
    if names.is_empty():
        raise SourceError(f"{path} has no pairs; {LATER}")
    return sorted(names)


def damaged(path: Path, error: Exception) -> SourceError:
    """Return the error to raise for a table that cannot be read."""
    return SourceError(f"{path} is damaged: {str(error).splitlines()[0][:160]}; {LATER}")


def read_chunks(path: Path, names: Sequence[str]) -> Iterator[Chunk]:
    """Yield the pairs of a table, in order; `names` are those of its pictures. Raises SourceError where an index is
    missing, negative, given twice or too large."""
    table = opened(path, HEADERS)
    known = pl.Enum(names)
    placed = table.with_columns(pl.nth(1, 2).cast(known).to_physical().cast(pl.Int64))
    seen = np.zeros(MOST_INDEX, bool)  # a page of it takes memory once it is written to
    try:
        for chunk in placed.collect_batches(chunk_size=CHUNK, maintain_order=True):
            index = chunk["index"]
            if index.null_count() or not index.is_between(0, MOST_INDEX - 1).all():
                raise SourceError(f"{path} has a row whose index is not from 0 to {MOST_INDEX - 1}; {LATER}")
            twice = index.filter(pl.Series(seen[index.to_numpy()]) | index.is_duplicated())
            if len(twice):
                raise SourceError(f"{path} has the index {twice[0]} in more than one row; {LATER}")
            seen[index.to_numpy()] = True
            yield index.to_numpy(), chunk[:, 1].to_numpy(), chunk[:, 2].to_numpy()
    except pl.exceptions.PolarsError as error:
        raise damaged(path, error) from None


def write_submission(
    out: Path, pairs: Path, names: Sequence[str], judges: Sequence[Judge], prior: float, sample: Path | None = None,
    watch: Watch | None = None,
) -> dict[str, int]:  # fmt: skip
    """Write the probability of each pair of the table `pairs`, at a `prior`, to `out`, which is replaced once it is
    whole; return the numbers of pairs and of those that have no evidence.

    Several judges are averaged by their evidence. The index must be that of the table `sample`, row by row, where there
    is one. `watch` is told what was found of every chunk. Raises SourceError.
    """
    wanted = read_index(sample) if sample else None
    done = blind = 0
    total = len(wanted) if wanted is not None else pl.scan_csv(pairs).select(pl.len()).collect().item()
    with written_aside(out) as aside, aside.open("wb") as file, Progress("score", total, "pair") as progress:
        file.write(f"{','.join(ANSWER)}\n".encode())
        for index, left, right in read_chunks(pairs, names):
            if wanted is not None:
                check_order(index, wanted[done : done + len(index)], done, pairs, sample)
            evidence = np.mean([judge.evidence(left, right) for judge in judges], axis=0)
            answer = pl.DataFrame(dict(zip(ANSWER, (index, expit(evidence + logit(prior))), strict=True)))
            answer.write_csv(file, include_header=False, float_precision=DECIMALS)
            if watch:
                watch(left, right, evidence.astype(np.float32))
            usable = np.all([judge.usable for judge in judges], axis=0)
            blind += int((~(usable[left] & usable[right])).sum())
            done += len(index)
            progress.advance(len(index))
        if wanted is not None and done < len(wanted):
            raise SourceError(f"{pairs} has {done} rows, and {sample} {len(wanted)}; {LATER}")
    return {"pairs": done, "without_evidence": blind}


def read_index(sample: Path) -> NDArray[np.uint32]:
    """Return the index [m] of Kaggle's sample. Raises SourceError."""
    try:
        index = opened(sample, [ANSWER]).select(pl.col("index").cast(pl.UInt32)).collect(engine="streaming")["index"]
    except pl.exceptions.PolarsError as error:
        raise damaged(sample, error) from None
    if index.null_count():
        raise SourceError(f"{sample} has a row without an index; {LATER}")
    return index.to_numpy()


def check_order(
    index: NDArray[np.int64], wanted: NDArray[np.uint32], before: int, pairs: Path, sample: Path | None
) -> None:
    """Raise SourceError where the index of some rows, `before` rows from the top, is not what the sample has there."""
    if not np.array_equal(index, wanted):
        count = min(len(index), len(wanted))
        row = int(np.argmax(np.append(index[:count] != wanted[:count], True)))
        has = f"{wanted[row]}" if row < len(wanted) else "ended"
        raise SourceError(f"{pairs}: row {before + row + 1} has index {index[row]}, where {sample} has {has}; {LATER}")
