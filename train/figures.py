"""The figures of an evaluated run: whether they are up to date, and as text. Quick: nothing here needs TensorFlow."""

from typing import Any

from preprocess.common.config import Config
from preprocess.common.files import digest, read_json
from train.run import Run

FORMAT = 5
"""Of metrics.json; what is kept in another is measured again."""
WAYS = {"platt": "Platt", "isotonic": "isotonic", "mean": "mean distance", "median": "median distance"}
WAY_HEAD = {"error": 9, "log loss": 9, "Brier": 9, "Cllr": 9, "least Cllr": 11, "accuracy": 9}
RESULTS = ("calibration.json", "evaluation.json", "familiar.safetensors", "metrics.json", "pairs.parquet")


def evaluation_settings(config: Config) -> dict[str, Any]:
    """Return the settings that decide how a run is measured."""
    return config.evaluate.model_dump() | {"evaluation_pairs": config.pipeline.evaluation_pairs}


def evaluation_inputs(run: Run, config: Config) -> str:
    """Return a digest of all that the figures of a finished run depend on."""
    return digest([FORMAT, evaluation_settings(config), read_json(run.path / "finished.json")])


def fresh_metrics(run: Run, config: Config) -> dict[str, Any] | None:
    """Return the metrics of a finished run where all results are there and up to date, else None."""
    if not all((run.path / name).exists() for name in RESULTS):
        return None
    metrics: dict[str, Any] = read_json(run.path / "metrics.json")
    return metrics if metrics["inputs"] == evaluation_inputs(run, config) else None


def way_text(way: str, figures: dict[str, float]) -> str:
    """Return the figures of one way of calibrating as a line; those of the report's thresholds are only accuracies."""
    names = ("calibration_error", "log_loss", "brier", "cllr", "least_cllr", "accuracy")
    widths = zip(names, WAY_HEAD.values(), strict=True)
    cells = [f"{figures[name]:>{width}.4f}" if name in figures else " " * width for name, width in widths]
    return f"{WAYS[way]:<16}{''.join(cells)}"


def figures_text(metrics: dict[str, Any]) -> str:
    """Return the metrics, as `evaluate` returns them, as lines of aligned text."""
    lines = [f"{'':<14}{'AUC':>24}{'accuracy':>24}{'equal error rate':>24}{'pairs':>9}"]
    for side, found in metrics["sides"].items():
        cells = [
            f"{found[name]['value']:.4f} [{found[name]['low']:.3f}, {found[name]['high']:.3f}]"
            for name in ("auc", "accuracy", "equal_error_rate")
        ]
        count = found["same_pairs"] + found["different_pairs"]
        lines.append(f"{side:<14}" + "".join(f"{cell:>24}" for cell in cells) + f"{count:>9}")
    for side, found in metrics["sides"].items():
        alone = found["auc_of_file_properties"]
        lines.append(f"{side:<18} AUC {alone['value']:.4f} [{alone['low']:.3f}, {alone['high']:.3f}] "
                     "by file properties alone")  # fmt: skip
    for side, found in metrics["sides"].items():
        lines += [f"{side:<18} AUC {plain['auc']:.4f}, accuracy {plain['accuracy']:.4f} by {baseline}, without learning"
                  for baseline, plain in found["without_learning"].items()]  # fmt: skip
    lines.append(
        f"{'':<18} {'calibrated by':<16}{'error':>8}{'log loss':>10}{'Brier':>8}{'Cllr':>8}{'least':>8}{'accuracy':>10}"
    )
    for side, found in metrics["sides"].items():
        lines += [f"{side:<18} {way_text(way, figures)}" for way, figures in found["calibrated_by"].items()]
    for side, found in metrics["validation"].items():
        lines.append(f"{side:<18} AUC {found['value']:.4f} [{found['low']:.3f}, {found['high']:.3f}]")
    lines.append(f"brackets: {100 * metrics['confidence']:.0f} % intervals over artists (unseen) or paintings (seen)")
    return "\n".join(lines)
