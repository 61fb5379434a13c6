"""Zero-shot: a network and a calibration from one collection, measured on the test side of another."""

from typing import Any

import numpy as np

from pipeline.evaluation import evaluation_pairs
from pipeline.reader import Reader
from pipeline.split import TEST, TRAIN, VALIDATION, can_pair, make_split, side_rows
from preprocess.common.config import Config
from preprocess.common.files import write_json
from preprocess.store import store_of
from train.baselines import Yardstick
from train.calibrate import load_calibration
from train.familiar import load_familiar, sample
from train.metrics import auc, clusters_of, intervals, rates
from train.predict import embed_rows, load_network, score_pairs
from train.quality import calibration_error
from train.run import Run
from train.sides import Side, look


def transfer(run: Run, config: Config) -> dict[str, Any]:
    """Measure an evaluated run on the current store of another collection; write transfer-<collection>.json in the run
    directory, and return it: by test side AUC, accuracy, calibration error, and those of the baselines without
    learning, whose centres and thresholds come from the run's own collection too.

    Raises RunError where the run is not calibrated, StoreError where the other collection has no store.
    """
    network, size = load_network(run), run.settings.size
    calibration = load_calibration(run.path)
    own, most = Reader(run.store, size), config.pipeline.evaluation_pairs
    seed = run.pins["settings"]["split"]["seed"]
    familiar = load_familiar(run.path)
    yardstick = Yardstick.made(
        own, sample(side_rows(run.split, TRAIN)[0], seed), look(run, network, own, VALIDATION, most, familiar)
    )
    store = store_of(config)
    split, reader = make_split(store, config), Reader(store, size)
    sides = {}
    for name in TEST:
        if not can_pair(split, name):
            continue
        rows, labels = side_rows(split, name)
        pairs = evaluation_pairs(rows, labels, most, config.split.seed)
        embeddings = familiar.weighed(embed_rows(network, reader, rows, f"embed {name} of {config.collection}"))
        side = Side(rows, labels, embeddings, pairs, score_pairs(network, run.settings.loss, rows, embeddings, pairs))
        how = clusters_of(pairs, split["label"].to_numpy(), name), config.evaluate.bootstrap, config.evaluate.confidence
        probability = calibration.probability(side.scores)
        found = intervals({"auc": auc}, pairs.same, side.scores, *how)
        found |= intervals({"accuracy": rates(calibration.threshold)["accuracy"]}, pairs.same, probability, *how)
        sides[name] = found | {
            "calibration_error": calibration_error(pairs.same, probability),
            "without_learning": yardstick.figures(reader, name, side), "pairs": len(pairs.same),
            "classes": len(np.unique(labels)),
        }  # fmt: skip
    answer = {"collection": config.collection, "fingerprint": store.fingerprint, "sides": sides}
    write_json(run.path / f"transfer-{config.collection}.json", answer)
    return answer
