"""The verdict on two picture files, or on a list of pairs of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from preprocess.common.errors import SourceError
from preprocess.common.files import write_text
from train.calibrate import DEFAULT_POINT, EVEN, Calibration, load_calibration
from train.familiar import load_familiar
from train.predict import embed, load_network, read_pictures, score
from train.run import Run, open_run

AT_ONCE = 64


class Bench(NamedTuple):
    """How to judge: the probability of one artist before a look, the operating point, and how sure a verdict must be.

    A pair is undecided where neither answer has a probability of `sure`, 0.5 to 1; at 0.5 all are decided.
    """

    prior: float = EVEN
    point: str = DEFAULT_POINT
    sure: float = EVEN


def judged(calibration: Calibration, scores: NDArray[np.float64], bench: Bench) -> list[dict[str, Any]]:
    """Return of each score [m] probability, likelihood_ratio and decision ("same", "different" or "undecided")."""
    probabilities = calibration.probability(scores, bench.prior)
    decided = np.maximum(probabilities, 1 - probabilities) >= bench.sure
    words = np.where(calibration.said_same(scores, bench.point, bench.prior), "same", "different")
    words = np.where(decided, words, "undecided")
    columns = probabilities, np.exp(calibration.evidence(scores)), words
    return [
        {"probability": float(probability), "likelihood_ratio": float(ratio), "decision": str(word)}
        for probability, ratio, word in zip(*columns, strict=True)
    ]


def compare(path: Path, first: Path, second: Path, bench: Bench = Bench()) -> dict[str, Any]:  # noqa: B008 - frozen
    """Return the verdict on two picture files, see `predict`, and how it was reached.

    Raises RunError for a run without a calibrated model, SourceError for a file that is not a readable picture.
    """
    calibration = load_calibration(path)
    (verdict,) = predict(path, [(first, second)], bench)
    return verdict | {"threshold": calibration.points[bench.point], "operating_point": bench.point}


def predict(path: Path, pairs: Sequence[tuple[Path, Path]], bench: Bench = Bench()) -> list[dict[str, Any]]:  # noqa: B008
    """Return first, second, score, prior, probability (0 to 1), likelihood_ratio, decision and unlike_training, the
    files that look unlike anything in training, of each pair of picture files.

    Raises RunError for a run without a calibrated model, SourceError for a file that is not a readable picture.
    """
    run = open_run(path)
    calibration, familiar = load_calibration(path), load_familiar(path)
    files = sorted({file for pair in pairs for file in pair})
    place = {file: number for number, file in enumerate(files)}
    network = load_network(run)
    embeddings = embed_files(run, network, files)
    strange = familiar.strange(embeddings)
    left, right = np.array([[place[file] for file in pair] for pair in pairs]).T
    embeddings = familiar.weighed(embeddings)
    scores = score(network, run.settings.loss, embeddings[left], embeddings[right])
    return [
        {"first": str(pair[0]), "second": str(pair[1]), "score": float(found), "prior": bench.prior, **verdict}
        | {"unlike_training": [str(file) for file in dict.fromkeys(pair) if strange[place[file]]]}
        for pair, found, verdict in zip(pairs, scores, judged(calibration, scores, bench), strict=True)
    ]


def predict_table(path: Path, listed: Path, out: Path, bench: Bench) -> Path:
    """Judge the pairs in the CSV table `listed`, whose columns `first` and `second` name picture files from where the
    table lies; write what `predict` returns to the CSV table `out`, durably, and return it. Raises SourceError."""
    pairs = read_pairs(listed)
    found = predict(path, [(listed.parent / first, listed.parent / second) for first, second in pairs], bench)
    rows = [
        verdict | {"first": first, "second": second, "unlike_training": len(verdict["unlike_training"])}
        for (first, second), verdict in zip(pairs, found, strict=True)
    ]
    write_text(out, pl.DataFrame(rows).write_csv())
    return out


def read_pairs(listed: Path) -> list[tuple[str, str]]:
    """Return the pairs of names in a CSV table. Raises SourceError where it is none, or lacks a column or a name."""
    try:
        table = pl.read_csv(listed, infer_schema=False).select("first", "second")
    except (FileNotFoundError, IsADirectoryError):
        raise SourceError(f"{listed} does not exist; name a CSV table with the columns first and second") from None
    except pl.exceptions.PolarsError:
        raise SourceError(f"{listed} is no CSV table with the columns first and second; write one") from None
    for row, pair in enumerate(table.iter_rows(), start=1):
        if not all(pair):
            raise SourceError(f"{listed}: row {row} does not name two picture files; fill it in or remove the row")
    if table.is_empty():
        raise SourceError(f"{listed} has no rows; name two picture files in each")
    return table.rows()


def embed_files(run: Run, network: Any, files: Sequence[Path]) -> NDArray[np.float32]:
    """Return the embeddings float32 [n, d] of picture files. Raises SourceError for one that is not readable."""
    starts = range(0, len(files), AT_ONCE)
    return np.concatenate([embed(network, read_pictures(run, files[start : start + AT_ONCE])) for start in starts])


def verdict_text(verdict: dict[str, Any]) -> str:
    """Return the verdict of `compare` in words."""
    ratio = verdict["likelihood_ratio"]
    times, kind, other = (ratio, "one artist", "two") if ratio >= 1 else (1 / ratio, "two artists", "one")
    prior = "" if verdict["prior"] == EVEN else f" at a prior of {verdict['prior']:.3g}"
    lines = [
        f"{verdict['probability']:.1%} that one artist painted both{prior}: {verdict['decision']}",
        f"{times:,.3g} times as likely with {kind} as with {other}; operating point {verdict['operating_point']}, "
        f"threshold {verdict['threshold']:.1%} at even odds",
    ]
    strange = [f"note: {file} looks unlike anything in training; distrust this" for file in verdict["unlike_training"]]
    return "\n".join([*lines, *strange])
