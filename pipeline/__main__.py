"""python -m pipeline: what is fed to the trainer, to look at."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from preprocess.common.cli import as_json, main, say, verb
from preprocess.options import gate

if TYPE_CHECKING:
    from preprocess.common.config import Config
    from preprocess.gate import Verdict


@click.group(help=__doc__)
def pipeline() -> None:
    pass


@pipeline.command()
@verb
@as_json
def split(config: "Config", machine: bool) -> None:
    """Print how paintings and artists are divided into sides."""
    from pipeline.split import make_split, summary, summary_text
    from preprocess.store import store_of

    made = make_split(store_of(config), config)
    say({"sides": summary(made)}, machine, summary_text(made))


@pipeline.command()
@click.argument("k", type=click.IntRange(0, 2**32 - 1))
@click.option("--out", type=click.Path(path_type=Path), default=Path("batch.png"), show_default=True,
              help="The PNG to write.")  # fmt: skip
@verb
def show(config: "Config", k: int, out: Path) -> None:
    """Draw batch K of the training stream as a PNG, before and after augmentation."""
    from pipeline.show import show as draw

    click.echo(f"show: {draw(config, k, out)}")


@pipeline.command()
@gate
def validate(config: "Config", allow: tuple[str, ...], install: bool) -> "Verdict":
    """Judge the stored pictures and the split; errors leave with status 2 unless --allow names them."""
    from pipeline.gate import decide_pictures

    return decide_pictures(config, allow, install)


if __name__ == "__main__":
    main(pipeline, "pipeline")
