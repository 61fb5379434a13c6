"""The experiments of the 2017 report, each over several seeds: trained where not trained yet, measured, and tabled.

Every run has a directory of its own and goes on where it stopped, so the whole goes on where it stopped.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import RunError, SourceError
from preprocess.manifest import make_manifest
from train.figures import fresh_metrics
from train.run import Run, make_run
from train.unattended import train_unattended


class Experiment(NamedTuple):
    """One collection to learn from and one to be measured on.

    recipe of config.yaml and folder of the data; `onto` the experiment whose test side is measured, by default its
    own; the setting that tells the seeds apart; the report's accuracy.
    """

    name: str
    recipe: str
    folder: str
    reported: float
    side: str = "test_seen"
    onto: str | None = None
    seeded: str = "train.seed"
    more: tuple[str, ...] = ()


EXPERIMENTS = {
    each.name: each
    for each in (
        Experiment("digits", "digits", "mnist", 0.937),
        Experiment("fashion", "fashion", "fashion-mnist", 0.861),
        Experiment("digits-to-fashion", "digits-figures", "mnist", 0.616, onto="fashion"),
        Experiment("fashion-to-digits", "fashion-figures", "fashion-mnist", 0.54, onto="digits"),
        Experiment("paintings", "paintings", "paintings-224", 0.57, "test_unseen", None, "split.seed",
                   ("preprocess.sizes=[64,128,224]",)),
    )
}  # fmt: skip


class Result(NamedTuple):
    """One run of an experiment, measured; `plain` are the figures without learning by baseline."""

    auc: float
    accuracy: float
    calibration_error: float
    plain: dict[str, dict[str, float]]


def settings(experiment: Experiment, config: Path, data: Path, given: Sequence[str], seed: int) -> Config:
    """Return the settings of one run. Raises SourceError where its data is not there, ConfigError."""
    folder = data.absolute() / experiment.folder
    if not folder.is_dir():
        raise SourceError(f"{folder} is not there; put the collection of experiment '{experiment.name}' there, "
                          "name its parent with --data, or choose others with --only")  # fmt: skip
    own = (f"recipe={experiment.recipe}", f"source.path={folder}", f"{experiment.seeded}={seed}")
    return load_config(config, [*own, *experiment.more, *given])


def conduct(experiment: Experiment, config: Path, data: Path, given: Sequence[str], seed: int) -> Result:
    """Return the result of one run, after training and measuring it where that is not done yet.

    Raises RunError where it cannot be trained to its end; run again, it goes on.
    """
    chosen = settings(experiment, config, data, given, seed)
    run = finished(chosen)
    metrics = measured(run, chosen)
    if experiment.onto:
        other = settings(EXPERIMENTS[experiment.onto], config, data, given, 0)
        build_store(other, make_manifest(other))
        from train.transfer import transfer

        found = judged = transfer(run, other)["sides"][experiment.side]
    else:
        found = metrics["sides"][experiment.side]
        judged = found["calibrated_by"][metrics["calibration"]]
    return Result(
        found["auc"]["value"], found["accuracy"]["value"], judged["calibration_error"], found["without_learning"]
    )


def finished(config: Config) -> Run:
    """Return the run of these settings, its store built and it trained where that was not done yet.

    Raises RunError where it cannot be trained to its end; run again, it goes on.
    """
    build_store(config, make_manifest(config))
    run = make_run(config, None)
    if not run.finished and (status := train_unattended(run, config)):
        raise RunError(f"{run.path} ended with status {status}; run it again to go on")
    return run


def measured(run: Run, config: Config) -> dict[str, Any]:
    """Return the metrics of a finished run."""
    if found := fresh_metrics(run, config):
        return found
    from train.evaluate import evaluate
    from train.shortage import halving

    return halving(evaluate)(run, config)


def table(name: str, results: dict[int, Result]) -> Iterator[str]:
    """Yield the lines of an experiment's table: every seed, and mean and standard error over them."""
    experiment = EXPERIMENTS[name]
    yield f"{name}: the report of 2017 has an accuracy of {experiment.reported}"
    yield f"  {'seed':<10}{'AUC':>8}{'accuracy':>10}{'cal. error':>12}"
    for seed, result in results.items():
        yield f"  {seed:<10}{result.auc:>8.4f}{result.accuracy:>10.4f}{result.calibration_error:>12.4f}"
    columns = list(zip(*(result[:3] for result in results.values()), strict=True))
    yield f"  {'mean':<10}{mean(columns[0]):>8.4f}{mean(columns[1]):>10.4f}{mean(columns[2]):>12.4f}"
    if len(results) > 1:
        spread = [stdev(column) / len(results) ** 0.5 for column in columns]
        yield f"  {'std. error':<10}{spread[0]:>8.4f}{spread[1]:>10.4f}{spread[2]:>12.4f}"
    for baseline in next(iter(results.values())).plain:
        plain = [result.plain[baseline] for result in results.values()]
        area, accuracy = (mean(each[figure] for each in plain) for figure in ("auc", "accuracy"))
        yield f"  {area:>18.4f}{accuracy:>10.4f}  by {baseline}, without learning"


def present(data: Path) -> list[str]:
    """Return the names of the experiments whose collections are in `data`; say on standard error which are not."""
    there = {name: (data / each.folder).is_dir() for name, each in EXPERIMENTS.items()}
    names = [name for name, each in EXPERIMENTS.items() if there[name] and there[each.onto or name]]
    for name in sorted(EXPERIMENTS.keys() - set(names)):
        print(f"experiments: {name} is left out: no {data / EXPERIMENTS[name].folder}", file=sys.stderr)
    return names


def experiments(names: Sequence[str], config: Path, data: Path, given: Sequence[str], seeds: int) -> Iterator[str]:
    """Conduct experiments by name, each with seeds 0 to `seeds` - 1; yield the lines of their tables."""
    for name in names:
        results = {}
        for seed in range(seeds):
            print(f"experiments: {name}, seed {seed}", file=sys.stderr, flush=True)
            results[seed] = conduct(EXPERIMENTS[name], config, data, given, seed)
        yield from table(name, results)
