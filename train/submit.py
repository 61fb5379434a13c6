"""python -m train submit: from Kaggle's test folder to submission.csv."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from preprocess.common.config import Preprocess
from train.calibrate import load_calibration
from train.competition import Truth
from train.familiar import load_familiar
from train.predict import load_network, score_cosines
from train.run import Run
from train.submission import Judge, picture_names, write_submission
from train.testset import embed_pictures, find

PAIRS, SAMPLE, TRUTH = "submission_info.csv", "sample_submission.csv", "all_data_info.csv"


def submit(
    runs: Sequence[Run], folder: Path, out: Path, settings: Preprocess, prior: float, mirrored: bool
) -> dict[str, Any]:
    """Write what the runs, averaged, say of the pairs in Kaggle's test folder to the CSV table `out`.

    Returns path, pairs, pictures, quarantined (numbers by reason), without_evidence (pairs that got the prior, as one
    of their pictures cannot be used), and where `all_data_info.csv` is there, auc: see Truth. Raises RunError and
    SourceError.
    """
    pairs, sample, truth = (folder / name for name in (PAIRS, SAMPLE, TRUTH))
    names = picture_names(pairs)
    source, places = find(folder, pairs, names)
    told = Truth(truth, names) if truth.exists() else None
    judges: list[Judge] = []
    quarantined: Counter[str] = Counter()
    for run in runs:
        calibration, network = load_calibration(run.path), load_network(run)
        embeddings, usable, reasons = embed_pictures(run, network, source, places, settings, mirrored)
        embeddings = load_familiar(run.path).weighed(embeddings)
        judges.append(Judge(embeddings, usable, partial(score_cosines, network, run.settings.loss), calibration))
        quarantined |= Counter(reasons)
    found = write_submission(
        out, pairs, names, judges, prior, sample if sample.exists() else None, told.note if told else None
    )
    auc = {"auc": told.figures()} if told else {}
    return {"path": str(out), **found, "pictures": len(names), "quarantined": dict(quarantined), **auc}


def submission_text(found: dict[str, Any]) -> str:
    """Return what `submit` returns in words."""
    lines = ["submit: {path}: {pairs:,} pairs of {pictures:,} pictures".format(**found)]
    lines += [f"quarantined: {count:,} x {reason}" for reason, count in found["quarantined"].items()]
    if found["without_evidence"]:
        lines.append(f"{found['without_evidence']:,} pairs got the prior, as a picture of theirs cannot be used")
    lines += [
        f"AUC {auc['auc']:.4f} of {auc['pairs']:,} pairs ({kind}{' artists' if kind != 'all' else ''})"
        for kind, auc in found.get("auc", {}).items()
    ]
    return "\n".join(lines)
