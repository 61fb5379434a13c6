"""Figures in tables, and whether they are what was wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Goal:
    """A figure and the least, or the most, that is wanted of it; the figure is None where it could not be measured."""

    name: str
    figure: float | None
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the figure is as wanted; None without a figure."""
        if self.figure is None:
            return None
        return (self.least is None or self.figure >= self.least) and (self.most is None or self.figure <= self.most)

    def as_row(self) -> list[str]:
        """Return name, figure, bound and verdict for a table."""
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        figure = "not measured" if self.figure is None else f"{self.figure:.3g}"
        return [self.name, figure, bound, {True: "yes", False: "no", None: ""}[self.met]]

    def as_json(self) -> dict[str, Any]:
        """Return the same for a machine."""
        return {"goal": self.name, "figure": self.figure, "least": self.least, "most": self.most, "met": self.met}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        click.echo(f"| {' | '.join(row)} |")
    click.echo()


def goals_table(goals: Sequence[Goal]) -> None:
    """Print what was wanted and what there is."""
    table(["goal", "measured", "wanted", "met"], [goal.as_row() for goal in goals])
