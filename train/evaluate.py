"""Evaluation: calibrate on validation pairs, then measure on test pairs, for seen and unseen artists apart."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.reader import Reader
from pipeline.split import TEST, TRAIN, VALIDATION, side_rows
from pipeline.streams import traits_of
from pipeline.validate.shortcuts import shortcut_scorer
from preprocess.common.config import Config
from preprocess.common.errors import RunError
from preprocess.common.files import exclusive, read_json, write_json, write_parquet
from train.baselines import Yardstick
from train.calibrate import POINTS, Calibration, Numbers, calibrate
from train.confusions import Tally, artist_table, hard_figures, style_table
from train.familiar import Familiar, sample
from train.figures import evaluation_inputs, evaluation_settings
from train.layout import laid_out
from train.metrics import Figure, auc, clusters_of, equal_error_rate, intervals, rates
from train.predict import embed_rows, load_network, score_cosines
from train.quality import FIGURES, RESAMPLED, compared
from train.retrieval import retrieval
from train.run import Run
from train.sides import Side, look, together


def evaluate(run: Run, config: Config) -> dict[str, Any]:
    """Calibrate and measure a finished run; write calibration.json, familiar.safetensors, pairs.parquet,
    evaluation.json and, last, metrics.json; return that.

    Raises RunError where the run is in use.
    """
    with exclusive(run.path, RunError):
        network, reader = load_network(run), Reader(run.store, run.settings.size)
        seed, most = run.pins["settings"]["split"]["seed"], config.pipeline.evaluation_pairs
        known = sample(side_rows(run.split, TRAIN)[0], seed)
        familiar = Familiar(embed_rows(network, reader, known, "embed train"), crowding=config.evaluate.crowding)
        validated = look(run, network, reader, VALIDATION, most, familiar)
        learned = together(validated)
        calibration = calibrate(learned.same, learned.scores, learned.weights, config.evaluate.calibration)
        yardstick = Yardstick.made(reader, known, validated)
        baseline = shortcut_scorer(run.store, run.split, seed)
        sides, tables, closer = {}, [], {}
        traits, score = traits_of(run.store.rows), partial(score_cosines, network, run.settings.loss)
        for name, side in look(run, network, reader, TEST, most, familiar).items():
            sides[name] = measure(run, name, side, baseline(side.pairs), calibration, config)
            sides[name] |= {"calibrated_by": compared(learned, side.known)}
            sides[name] |= {"without_learning": yardstick.figures(reader, name, side)}
            tables.append(table(name, side, calibration))
            closer[name] = look_closer(run, score, name, side, calibration, traits, config)
        familiar.limited(np.concatenate([side.embeddings for side in validated.values()])).write(run.path)
        write_parquet(run.path / "pairs.parquet", pl.concat(tables))
        write_json(run.path / "calibration.json", calibration.as_json())
        write_json(run.path / "evaluation.json", closer)
        validation = read_json(run.path / "finished.json")["validation"]
        metrics = {"inputs": evaluation_inputs(run, config), "sides": sides, "validation": validation}
        metrics |= evaluation_settings(config)
        write_json(run.path / "metrics.json", metrics)
    return metrics


def measure(
    run: Run, name: str, side: Side, baseline: NDArray[np.float64], calibration: Calibration, config: Config
) -> dict[str, Any]:
    """Return the figures of one side, each with value, low and high, and the counts they rest on.

    `baseline` [m] are the scores of its pairs by file properties alone.
    """
    # Of ranks, which a calibration with a negative slope would turn round; of verdicts; and of probabilities.
    ranked: dict[str, Figure] = {"auc": auc, "equal_error_rate": equal_error_rate}
    judged = rates(calibration.threshold) | {name: FIGURES[name] for name in RESAMPLED}
    same, probability = side.pairs.same, calibration.probability(side.scores)
    how = (
        clusters_of(side.pairs, run.split["label"].to_numpy(), name),
        config.evaluate.bootstrap,
        config.evaluate.confidence,
    )
    found: dict[str, Any] = intervals(ranked, same, side.scores, *how)
    found |= intervals(judged, same, probability, *how)
    found["auc_of_file_properties"] = intervals({"auc": auc}, same, baseline, *how)["auc"]
    found["points"] = {point: errors(calibration.points[point], same, probability) for point in POINTS}
    return found | {
        "same_pairs": int(same.sum()), "different_pairs": int((~same).sum()), "paintings": len(side.rows),
        "artists": len(np.unique(side.labels)), "resampled": "artists" if name.endswith("_unseen") else "paintings",
    }  # fmt: skip


def look_closer(
    run: Run, score: Callable[[Any], Numbers], name: str, side: Side, calibration: Calibration,
    traits: NDArray[np.int32], config: Config,
) -> dict[str, Any]:  # fmt: skip
    """Return what evaluation.json says of one side: hard pairs, retrieval, artists, styles and the map; `score` gives
    the score of a cosine."""
    clusters = clusters_of(side.pairs, run.split["label"].to_numpy(), name)
    tally = Tally(side.embeddings, side.labels, score, calibration)
    rows = run.split[side.rows[tally.rows]]
    return {
        "hard": hard_figures(
            side.pairs,
            side.scores,
            calibration,
            traits,
            clusters,
            config.evaluate.bootstrap,
            config.evaluate.confidence,
        ),
        "retrieval": retrieval(side.embeddings, side.labels),
        "artists": artist_table(tally, dict(rows.select("label", "artist").unique().iter_rows())),
        "styles": style_table(tally, rows["style"].to_list()),
        "map": laid_out(side.rows, side.embeddings, run.pins["settings"]["split"]["seed"]),
    }


def errors(threshold: float, same: NDArray[np.bool_], probability: NDArray[np.float64]) -> dict[str, float]:
    """Return accuracy and both rates of errors, 0 to 1, of pairs [m] at a threshold of the probability."""
    names = ("accuracy", "false_positives", "false_negatives")
    return {"threshold": threshold} | {name: rates(threshold)[name](same, probability, None) for name in names}


def table(name: str, side: Side, calibration: Calibration) -> pl.DataFrame:
    """Return the rows of pairs.parquet for one side: side, left, right, same, score, probability, said_same."""
    return pl.DataFrame({
        "side": [name] * len(side.scores), **side.pairs._asdict(), "score": side.scores,
        "probability": calibration.probability(side.scores), "said_same": calibration.said_same(side.scores),
    })  # fmt: skip
