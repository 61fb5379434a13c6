"""python -m train: from a sealed store to a verdict on two paintings."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preprocess.common.cli import as_json, fail, main, say, verb
from train.quiet import import_tensorflow

if TYPE_CHECKING:
    from preprocess.common.config import Config

run_option = click.option(
    "--run", "path", type=click.Path(path_type=Path), help="The run directory; by default the settings' own."
)


prior_option = click.option(
    "--prior", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.5, show_default=True,
    help="The probability of one artist before a look, such as 0.01.",
)  # fmt: skip
point_option = click.option(
    "--point", type=click.Choice(["accuracy", "equal-error", "few-false-alarms"]), default="accuracy",
    show_default=True, help="The operating point, chosen on validation pairs.",
)  # fmt: skip
sure_option = click.option(
    "--sure", type=click.FloatRange(0.5, 1, max_open=True), default=0.5, show_default=True,
    help="Call pairs undecided whose likelier answer is less probable than this.",
)  # fmt: skip


@click.group(help=__doc__)
def train() -> None:
    pass


@train.command()
@verb
@run_option
def fit(config: "Config", path: Path | None) -> None:
    """Train the model of the settings, from its last checkpoint: status 0 finished, 75 to be run again, 1 given up."""
    from train.run import ending, make_run
    from train.unattended import train_unattended

    run = make_run(config, path)
    if not run.finished and (status := train_unattended(run, config)):
        sys.exit(status)
    click.echo(f"train: {ending(run)}: {run.path}")


@train.command()
@verb
@run_option
@as_json
def evaluate(config: "Config", path: Path | None, machine: bool) -> None:
    """Calibrate on validation pairs and measure on test pairs."""
    from train.figures import figures_text, fresh_metrics
    from train.run import finished_run

    run = finished_run(config, path)
    metrics = fresh_metrics(run, config)
    if metrics is None:
        import_tensorflow()
        from train.evaluate import evaluate as measure
        from train.shortage import halving

        metrics = halving(measure)(run, config)
    say(metrics, machine, figures_text(metrics))


@train.group(invoke_without_command=True)
@verb
@run_option
def report(config: "Config", path: Path | None) -> None:
    """Write report.html and model-card.md of an evaluated run."""
    from train.card import write_card
    from train.report import write_report
    from train.run import finished_run

    run = finished_run(config, path)
    click.echo(f"report: {write_report(run)}, {write_card(run)}")


@report.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("compare.html"), show_default=True,
              help="The page to write.")  # fmt: skip
def report_compare(runs: tuple[Path, ...], out: Path) -> None:
    """Write a page with evaluated RUNS side by side."""
    from train.beside import write_beside

    click.echo(f"report: {write_beside(runs, out)}")


@train.command()
@click.option("--only", multiple=True, help="One experiment, such as digits; may be given again.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each experiment.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("data"), show_default=True,
              help="The folder of mnist, fashion-mnist and paintings-224.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), default=Path("config.yaml"), show_default=True,
              help="The configuration file.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting of every run.")
def experiments(only: tuple[str, ...], seeds: int, data: Path, config: Path, overrides: tuple[str, ...]) -> None:
    """Train and measure the experiments of the 2017 report over several seeds; run again, it goes on."""
    from train.experiments import EXPERIMENTS, present
    from train.experiments import experiments as conduct

    if unknown := set(only) - set(EXPERIMENTS):
        fail(f"no experiment {sorted(unknown)[0]!r}; there are {', '.join(EXPERIMENTS)}")
    names = only or present(data)
    if not names:
        fail(f"{data} has none of the collections; name their folder with --data")
    import_tensorflow()
    for line in conduct(names, config, data, overrides, seeds):
        click.echo(line)


@train.command()
@verb
@click.option("--kind", type=click.Choice(["small", "large"]), default="small", show_default=True,
              help="The network 'plain', 32 channels wide, or 64; 8 epochs.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of its first weights.")
@as_json
def classifier(config: "Config", kind: str, seed: int, machine: bool) -> None:
    """Train a stand-alone classifier, as the report had, and judge pairs by two classifications."""
    from preprocess.build import build_store
    from preprocess.manifest import make_manifest

    build_store(config, make_manifest(config))
    import_tensorflow()
    from train.classifier import classifier_text, classify

    answer = classify(config, kind, seed)
    say(answer, machine, classifier_text(answer))


@train.command()
@verb
@click.option("--folds", type=click.IntRange(2), default=10, show_default=True, help="Parts of the artists.")
def crossval(config: "Config", folds: int) -> None:
    """Train and measure once for each part of the artists, unseen in training; run again, it goes on."""
    import_tensorflow()
    from train.crossval import crossval as cross_validate

    for line in cross_validate(config, folds):
        click.echo(line)


@train.command()
@verb
@as_json
def status(config: "Config", machine: bool) -> None:
    """Say how far the store and the training of the settings are."""
    from train.status import status as look
    from train.status import status_text

    answer = look(config)
    say(answer, machine, status_text(answer))


@train.command()
@verb
def doctor(config: "Config") -> None:
    """Check Python, packages, disk, memory, store and GPU."""
    from train.doctor import examine

    findings = examine(config)
    for finding in findings:
        click.echo(f"{'needs care' if finding.remedy else 'fine':<11} {finding.subject}: {finding.what}")
    if ailing := [finding for finding in findings if finding.remedy]:
        fail("; ".join(f"{finding.subject}: {finding.remedy}" for finding in ailing))


@train.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@prior_option
@point_option
@sure_option
@as_json
def compare(run: Path, first: Path, second: Path, machine: bool, **how: Any) -> None:
    """Say how probable it is that one artist painted both pictures."""
    import_tensorflow()
    from train.compare import Bench, verdict_text
    from train.compare import compare as judge

    verdict = judge(run, first, second, Bench(**how))
    say(verdict, machine, verdict_text(verdict))


@train.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("pairs", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("verdicts.csv"), show_default=True,
              help="The table to write.")  # fmt: skip
@prior_option
@point_option
@sure_option
def predict(run: Path, pairs: Path, out: Path, **how: Any) -> None:
    """Judge the pairs of picture files in a CSV table with the columns first and second."""
    import_tensorflow()
    from train.compare import Bench, predict_table

    click.echo(f"predict: {predict_table(run, pairs, out, Bench(**how))}")


@train.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--known", type=click.Path(path_type=Path), required=True, help="A folder of one painter's pictures.")
@click.option("--suspected", type=click.Path(path_type=Path), required=True, help="A folder of doubtful ones.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("suspects.html"), show_default=True,
              help="The page to write.")  # fmt: skip
@prior_option
@point_option
def suspects(run: Path, known: Path, suspected: Path, out: Path, **how: Any) -> None:
    """Write a page with the probability of one hand for every pair of known and suspected pictures."""
    import_tensorflow()
    from train.compare import Bench
    from train.suspects import write_suspects

    click.echo(f"suspects: {write_suspects(run, known, suspected, out, Bench(**how))}")


@train.command()
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--test", "folder", type=click.Path(path_type=Path), default=Path("data/painter-by-numbers-test"),
              show_default=True, help="The folder of submission_info.csv and of the pictures or test.zip.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("submission.csv"), show_default=True,
              help="The table to write.")  # fmt: skip
@prior_option
@click.option("--mirror", "mirrored", is_flag=True, help="Look at every picture and at its mirror image.")
@verb
@as_json
def submit(config: "Config", runs: tuple[Path, ...], out: Path, machine: bool, **how: Any) -> None:
    """Write Kaggle's submission by the run of the settings, or by the average of RUNS."""
    from train.run import finished_run

    opened = [finished_run(config, path) for path in runs or (None,)]
    import_tensorflow()
    from train.submit import submission_text
    from train.submit import submit as write

    written = write(opened, out=out, settings=config.preprocess, **how)
    say(written, machine, submission_text(written))


@train.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["keras", "savedmodel", "onnx"]), required=True,
              help="For Keras, for TensorFlow, or for any runtime of ONNX.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Where to; by default into the run's folder export.")
@as_json
def export(run: Path, form: str, out: Path | None, machine: bool) -> None:
    """Write a run's embedder for other programs, and check that it still says the same."""
    import_tensorflow()
    from train.export import export as write

    written = write(run, form, out)
    say(written, machine, "export: {path}: embeddings differ by at most {difference:.1e}".format(**written))


if __name__ == "__main__":
    main(train, "train")
