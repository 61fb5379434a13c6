"""Evaluation: calibrate on validation pairs, then measure on test pairs, for seen and unseen artists apart."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.reader import Reader
from pipeline.split import TEST, can_pair, side_rows
from pipeline.streams import PairList
from pipeline.validate.shortcuts import shortcut_scorer
from preprocess.common.config import Config
from preprocess.common.errors import RunError
from preprocess.common.files import exclusive, read_json, write_json, write_parquet
from train.calibrate import Calibration, calibrate
from train.figures import evaluation_inputs, evaluation_settings
from train.metrics import Figure, auc, clusters_of, equal_error_rate, intervals, rates
from train.predict import embed_rows, load_network, score_pairs
from train.run import Run
from train.validation import Validation, side_pairs


def evaluate(run: Run, config: Config) -> dict[str, Any]:
    """Calibrate and measure a finished run; write calibration.json, pairs.parquet and metrics.json; return the last.

    Raises RunError where the run is in use.
    """
    with exclusive(run.path, RunError):
        network = load_network(run)
        reader = Reader(run.store, run.settings.size)
        calibration = calibrated(Validation(run, reader, config.pipeline.evaluation_pairs), network)
        baseline = shortcut_scorer(run.store, run.split, run.pins["settings"]["split"]["seed"])
        sides, tables = {}, []
        for side in TEST:
            if can_pair(run.split, side):
                rows = side_rows(run.split, side)[0]
                pairs = side_pairs(run, side, config.pipeline.evaluation_pairs)
                embeddings = embed_rows(network, reader, rows, f"embed {side}")
                scores = score_pairs(network, run.settings.loss, rows, embeddings, pairs)
                sides[side] = measure(run, side, pairs, scores, baseline(pairs), calibration, config)
                tables.append(table(side, pairs, scores, calibration))
        write_parquet(run.path / "pairs.parquet", pl.concat(tables))
        write_json(run.path / "calibration.json", calibration.as_json())
        validation = read_json(run.path / "finished.json")["validation"]
        metrics = {"inputs": evaluation_inputs(run, config), "sides": sides, "validation": validation}
        metrics |= evaluation_settings(config)
        write_json(run.path / "metrics.json", metrics)
    return metrics


def calibrated(validation: Validation, network: Any) -> Calibration:
    """Return the calibration from all validation pairs, its sides and both kinds of pairs counting alike."""
    scores = validation.scores(network)
    same = np.concatenate([validation.pairs[side].same for side in scores])
    weights = np.concatenate([side_weights(validation.pairs[side]) for side in scores])
    return calibrate(same, np.concatenate(list(scores.values())), weights)


def side_weights(pairs: PairList) -> NDArray[np.float64]:
    """Return weights [m] that sum to 1, half for each kind of pair."""
    positives = int(pairs.same.sum())
    weights: NDArray[np.float64] = np.where(pairs.same, 0.5 / positives, 0.5 / (len(pairs.same) - positives))
    return weights


def measure(
    run: Run, side: str, pairs: PairList, scores: NDArray[np.float64], baseline: NDArray[np.float64],
    calibration: Calibration, config: Config,
) -> dict[str, Any]:  # fmt: skip
    """Return the figures of one side, each with value, low and high, and the counts they rest on.

    `scores` [m] are the network's, `baseline` [m] those of file properties alone.
    """
    # Of ranks, which a calibration with a negative slope would turn round; and of verdicts.
    ranked: dict[str, Figure] = {"auc": auc, "equal_error_rate": equal_error_rate}
    judged = rates(calibration.threshold)
    clusters = clusters_of(pairs, run.split["label"].to_numpy(), side)
    how = clusters, config.evaluate.bootstrap, config.evaluate.confidence
    found = intervals(ranked, pairs.same, scores, *how)
    found |= intervals(judged, pairs.same, calibration.probability(scores), *how)
    found["auc_of_file_properties"] = intervals({"auc": auc}, pairs.same, baseline, *how)["auc"]
    rows, labels = side_rows(run.split, side)
    counts = {
        "same_pairs": int(pairs.same.sum()), "different_pairs": int((~pairs.same).sum()), "paintings": len(rows),
        "artists": len(np.unique(labels)), "resampled": "artists" if side.endswith("_unseen") else "paintings",
    }  # fmt: skip
    return found | counts


def table(side: str, pairs: PairList, scores: Any, calibration: Calibration) -> pl.DataFrame:
    """Return the rows of pairs.parquet for one side: side, left, right, same, score, probability, said_same."""
    probability = calibration.probability(scores)
    return pl.DataFrame({
        "side": [side] * len(scores), "left": pairs.left, "right": pairs.right, "same": pairs.same, "score": scores,
        "probability": probability, "said_same": probability >= calibration.threshold,
    })  # fmt: skip
