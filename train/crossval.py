"""Leave-artists-out cross-validation: every artist is unseen once, as Labeled Faces in the Wild reports."""

import sys
from collections.abc import Iterator
from statistics import mean, stdev

from preprocess.common.config import Config
from train.experiments import finished, measured

SIDE = "test_unseen"


def crossval(config: Config, folds: int) -> Iterator[str]:
    """Train and measure a run for each of `folds` parts of the artists, kept from its training; yield a line for each,
    and one with mean and standard error over them.

    Raises SplitError where a part is too small to make pairs, RunError where training does not come to its end.
    """
    names = ("auc", "accuracy", "equal_error_rate")
    yield f"{'fold':<12}{'AUC':>9}{'accuracy':>10}{'equal error':>13}{'artists':>9}"
    found = []
    for fold in range(folds):
        print(f"crossval: fold {fold} of {folds}", file=sys.stderr, flush=True)
        split = config.split.model_copy(update={"folds": folds, "fold": fold})
        chosen = config.model_copy(update={"split": split})
        side = measured(finished(chosen), chosen)["sides"][SIDE]
        found.append([float(side[name]["value"]) for name in names])
        area, accuracy, equal = found[-1]
        yield f"{fold:<12}{area:>9.4f}{accuracy:>10.4f}{equal:>13.4f}{side['artists']:>9}"
    columns = list(zip(*found, strict=True))
    for name, (area, accuracy, equal) in (
        ("mean", [mean(column) for column in columns]),
        ("std. error", [stdev(column) / folds**0.5 for column in columns]),
    ):
        yield f"{name:<12}{area:>9.4f}{accuracy:>10.4f}{equal:>13.4f}"
