"""Options of the command line that several verbs share, or that take more than a word to read."""

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from preprocess.plan import Part

scheduler = click.option("--scheduler", metavar="ADDRESS", help="A dask scheduler to use, e.g. tcp://host:8786.")
rehash = click.option("--rehash", is_flag=True, help="Read every picture again, also those of unchanged size and time.")
allow = click.option("--allow", multiple=True, metavar="KIND", help="Go on in spite of this kind of error; repeatable.")
quiet = click.option("--quiet", is_flag=True, help="Print errors and the counts only.")
install = click.option(
    "--install", is_flag=True, help="Make the environment of TensorFlow Data Validation if it is missing."
)


def as_part(context: click.Context, option: click.Parameter, text: str | None) -> "Part | None":
    """Read "3/16": the fourth of sixteen parts."""
    from preprocess.plan import Part

    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not int(found[1]) < int(found[2]):
        raise click.BadParameter(f"takes I/N with I from 0 to N - 1, such as 0/16, got {text!r}")
    return Part(int(found[1]), int(found[2]))


def as_rows(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """Read "0-9,17": row numbers and runs of them."""
    rows: list[int] = []
    for piece in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", piece)
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise click.BadParameter(f"takes row numbers such as 17 or 0-9,17, got {text!r}")
        rows += range(int(found[1]), int(found[2] or found[1]) + 1)
    return rows
