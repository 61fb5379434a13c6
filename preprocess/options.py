"""Options of the command line that several verbs share, or that take more than a word to read."""

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from preprocess.common.cli import as_json, say, verb

if TYPE_CHECKING:
    from preprocess.common.config import Config
    from preprocess.gate import Verdict
    from preprocess.plan import Part

scheduler = click.option("--scheduler", metavar="ADDRESS", help="A dask scheduler to use, e.g. tcp://host:8786.")
rehash = click.option("--rehash", is_flag=True, help="Read every picture again, also those of unchanged size and time.")


def gate(decide: Callable[..., "Verdict"]) -> Callable[..., Any]:
    """Make a verb of `decide`, which takes settings, the kinds that are allowed, and whether to install TFDV: its
    verdict is printed, and leaves with status 2 where errors stop what comes next."""

    @click.option("--allow", multiple=True, metavar="KIND", help="Go on in spite of this kind of error; repeatable.")
    @click.option(
        "--install", is_flag=True, help="Make the environment of TensorFlow Data Validation if it is missing."
    )
    @click.option("--quiet", is_flag=True, help="Print errors and the counts only.")
    @as_json
    @functools.wraps(decide)
    def judged(config: "Config", allow: tuple[str, ...], install: bool, quiet: bool, machine: bool) -> None:
        verdict = decide(config, allow, install)
        say(verdict.summary, machine, verdict.text(quiet))
        verdict.check()

    return verb(judged)


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
