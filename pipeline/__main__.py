"""python -m pipeline: what is fed to the trainer, to look at."""

from typing import TYPE_CHECKING

import click

from preprocess.common.cli import as_json, main, say, verb

if TYPE_CHECKING:
    from preprocess.common.config import Config


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


if __name__ == "__main__":
    main(pipeline, "pipeline")
