"""How often training comes to nothing: as in the report of 2017, and by the recipes of config.yaml.

    python -m bench.collapse --data ../shared/data            40 runs of either kind, half an hour on 2 cores

A run ends as soon as it has learned: when the lower end of the 95 % interval of its validation AUC (of unseen artists,
where there are any) is above 0.9 on the MNIST sets and 0.6 on paintings. Otherwise after 300 steps. Stores and runs lie
in a temporary folder of at most 2 GB, removed at the end.
"""

import contextlib
import io
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from bench.goals import Goal, goals_table, table
from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.manifest import make_manifest

if TYPE_CHECKING:
    from bench.attempts import Outcome  # which imports TensorFlow

CONFIG = Path(__file__).resolve().parents[1] / "config.yaml"
LEARNED = "learned"
REPORTED = ("pipeline.stream=pairs", "train.loss=contrastive", "train.augment=none")


class Collection(NamedTuple):
    """A collection to learn from: its recipe, folder under --data (None: the gallery), and the AUC that is enough."""

    name: str
    recipe: str
    folder: str | None
    enough: float
    more: tuple[str, ...] = ()


COLLECTIONS = (
    Collection("digits", "digits", "mnist", 0.9),
    Collection("fashion", "fashion", "fashion-mnist", 0.9),
    Collection("gallery", "demo", None, 0.6),
    Collection("paintings-224", "paintings", "paintings-224", 0.6, ("preprocess.sizes=[64,128,224]",)),
)


def settings(collection: Collection, data: Path, work: Path, *more: str) -> Config:
    """Return the settings of a run on a collection."""
    source = work / "gallery" if collection.folder is None else data.resolve() / collection.folder
    given = (f"recipe={collection.recipe}", f"source.path={source}", f"stores={work / 'stores'}",
             f"runs={work / 'runs'}", "pipeline.evaluation_pairs=20000")  # fmt: skip
    return load_config(CONFIG, [*given, *collection.more, *more])


def rows(collection: Collection, data: Path, work: Path, seeds: int) -> Iterator[list[str]]:
    """Yield the row of the table of every run."""
    from bench.attempts import attempt
    from train.run import make_run

    config = settings(collection, data, work)
    build_store(config, make_manifest(config))
    for as_reported in (True, False):
        for seed in range(seeds):
            chosen = settings(collection, data, work, f"train.seed={seed}", *(REPORTED if as_reported else ()))
            with contextlib.redirect_stderr(io.StringIO()):
                found = attempt(make_run(chosen, None), chosen, collection.enough, as_reported)
            how = "as in the report" if as_reported else f"recipe {collection.recipe}"
            said = outcome(found, collection.enough)
            row = [collection.name, how, str(seed), said, str(found.step), f"{found.auc:.3f}", f"{found.low:.3f}"]
            click.echo(" ".join([*row, found.sign]), err=True)
            yield [*row, found.sign]


def outcome(found: "Outcome", enough: float) -> str:
    """Return in words what became of a run."""
    if found.low > enough:
        return LEARNED
    return "one constant" if found.constant else "at chance" if found.low <= 0.5 else "not yet"


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of the real collections.")
@click.option("--seeds", default=10, show_default=True, help="Runs of either kind on each collection.")
@click.option("--only", type=click.Choice([each.name for each in COLLECTIONS]), help="One collection.")
def collapse(data: Path | None, seeds: int, only: str | None) -> None:
    """Count the runs that learn, as in the report and by our recipes."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    chosen = [each for each in COLLECTIONS if only in (None, each.name) and (data or each.folder is None)]
    lines: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        for collection in chosen:
            lines += rows(collection, data or Path(), Path(work), seeds)
    table(["collection", "how", "seed", "outcome", "steps", "validation AUC", "its lower bound", "detectors"], lines)
    counts = Counter((name, how, said) for name, how, _, said, *_ in lines)
    table(["collection", "how", "outcome", "runs"], [[*key, str(runs)] for key, runs in counts.items()])
    goals_table([
        Goal(f"{each.name}: runs that learned", counts[each.name, f"recipe {each.recipe}", LEARNED], least=seeds)
        for each in chosen
    ])  # fmt: skip


if __name__ == "__main__":
    collapse()
