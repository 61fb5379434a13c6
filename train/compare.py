"""The verdict on two picture files."""

from pathlib import Path
from typing import Any

from train.calibrate import load_calibration
from train.predict import embed, load_network, read_pictures, score
from train.run import open_run


def compare(path: Path, first: Path, second: Path) -> dict[str, Any]:
    """Return score, probability (0 to 1, at even odds), threshold and decision for two picture files.

    Raises RunError for a run without a calibrated model, SourceError for a file that is not a readable picture.
    """
    run = open_run(path)
    calibration = load_calibration(path)
    pictures = read_pictures(run, [first, second])
    network = load_network(run)
    embeddings = embed(network, pictures)
    scores = score(network, run.settings.loss, embeddings[:1], embeddings[1:])
    probability = float(calibration.probability(scores)[0])
    return {
        "first": str(first), "second": str(second), "score": float(scores[0]), "probability": probability,
        "threshold": calibration.threshold, "decision": "same" if probability >= calibration.threshold else "different",
    }  # fmt: skip
