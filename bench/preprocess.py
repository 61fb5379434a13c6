"""The preprocess stage against plain Pillow, other tools and its limit, in turns within one run.

    python -m bench.preprocess                 rates, and the goals met or not
    python -m bench.preprocess --rows 79433    a collection as long as Painter by Numbers

Rates are images per second of processor time, of the whole tree of processes, and so those of one core however many
work. Those of this stage are net of start-up: from the difference between all pictures, each under three names, and a
fifth of them. What is compared is compared round by round, as a shared machine is now fast and now slow, and the median
of the rounds counts.
Everything lies in one temporary folder and is removed: 0.7 GB unless more pictures are asked for, with --rows
at most 2 GB.
"""

import json
import math
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import median

import click
from PIL import Image

from bench.goals import Goal, goals_table, table
from bench.meter import Usage
from bench.peers import PEERS
from bench.pictures import write_jpegs
from bench.rows import measure_rows
from bench.stage import link, share_of_dask, store

SIZES = ((256,), (64, 128, 256))
NAMES = 3
"""Of each picture, for this stage: start-up takes as long as 600 pictures, and no two times the same."""
PYTHONS = {"here": "", "simd": " with pillow-simd"}
Run = tuple[str, tuple[int, ...], int, str]
"""Whose Python ("here" or "simd"), sizes, workers, and which pictures ("all" or "few")."""


class Bench:
    """The pictures, and what was measured with them so far."""

    def __init__(self, folder: Path, count: int, simd: str | None) -> None:
        self.folder = folder
        self.paths = write_jpegs(folder / "jpegs", count)
        self.count = {"all": NAMES * count, "few": count // 5}
        self.megapixels = sum(width * height for width, height in map(size_of, self.paths)) / count / 1e6
        for part, number in self.count.items():
            link((self.paths * NAMES)[:number], folder / part / "pictures")
        self.pythons = {"here": sys.executable} | ({"simd": simd} if simd else {})
        self.peers = [peer for peer in PEERS if peer.present()]
        self.peer_seconds: dict[str, list[float]] = defaultdict(list)
        self.usages: dict[Run, list[Usage]] = defaultdict(list)
        self.shares: list[float] = []

    def take_turns(self) -> None:
        """Measure everything once."""
        written = self.folder / "written"
        for peer in self.peers:
            written.mkdir()
            self.peer_seconds[peer.name].append(peer.seconds(self.paths, written))
            shutil.rmtree(written)
        for whose, sizes, workers, part in product(self.pythons, SIZES, (1, 2), self.count):
            tasks = self.folder / "tasks" if (workers, part) == (1, "all") else None
            usage = store(self.folder / part / "pictures", sizes, workers, self.pythons[whose], tasks)
            self.usages[whose, sizes, workers, part].append(usage)
            if tasks and (share := share_of_dask(tasks)) is not None:
                self.shares.append(share)
            (self.folder / "tasks").unlink(missing_ok=True)

    def rates(self, peer: str) -> list[float]:
        """Return a peer's images per second of processor time in each round; none where it is absent."""
        return [len(self.paths) / seconds for seconds in self.peer_seconds[peer]]

    def net(self, whose: str, sizes: tuple[int, ...], workers: int, clock: str) -> list[float]:
        """Return this stage's images per second of `clock`, "cpu" or "wall", net of start-up, in each round.

        It is not a number where few pictures took as long as all: too few of them, or too busy a machine.
        """
        usages = [self.usages[whose, sizes, workers, part] for part in self.count]
        more = [getattr(all_, clock) - getattr(few, clock) for all_, few in zip(*usages, strict=True)]
        return [(self.count["all"] - self.count["few"]) / each if each > 0 else math.nan for each in more]

    def gross(self, whose: str, sizes: tuple[int, ...], workers: int) -> float:
        """Return this stage's images per second of processor time, start-up included."""
        return self.count["all"] / median(usage.cpu for usage in self.usages[whose, sizes, workers, "all"])

    def rows(self) -> list[list[str]]:
        """Return the table of rates: way, images/s and megapixels/s of a core, with start-up, and by the clock."""
        found = []
        for whose, sizes, workers in product(self.pythons, SIZES, (1, 2)):
            net, clock = (middle(self.net(whose, sizes, workers, clock)) for clock in ("cpu", "wall"))
            gross = self.gross(whose, sizes, workers)
            name = f"this stage{PYTHONS[whose]}, {list(sizes)}, {workers} worker{'s' * (workers > 1)}"
            found.append([name, *map(figure, (net, net * self.megapixels, gross, clock))])
        for peer in PEERS:
            rate = middle(self.rates(peer.name))
            note = peer.note if peer in self.peers else f"skipped as it is absent; {peer.remedy}"
            found.append([f"{peer.name}: {note}", figure(rate), figure(rate * self.megapixels), "", ""])
        return found

    def goals(self) -> list[Goal]:
        """Return what is wanted of this stage, one worker if not said otherwise."""
        found = []
        least = {"plain Pillow": 2.2, "vipsthumbnail": 1.4, "img2dataset": 1.25, "scaled decode alone": 0.5}
        for whose, sizes in product(self.pythons, SIZES):
            mine = self.net(whose, sizes, 1, "cpu")
            for peer, wanted in (least if whose == "here" else {"scaled decode alone": 0.75}).items():
                name = f"{list(sizes)}{PYTHONS[whose]}: times {peer}"
                found.append(Goal(name, ratio(mine, self.rates(peer)), least=wanted))
        for sizes in SIZES:
            gain = ratio(self.net("here", sizes, 2, "wall"), self.net("here", sizes, 1, "wall"))
            found.append(Goal(f"{list(sizes)}: two workers, times one by the clock", gain, least=1.85))
        share = median(self.shares) if self.shares else None
        return [*found, Goal("share of the time when dask ran no job, one worker", share, most=0.03)]


def middle(values: Sequence[float]) -> float:
    """Return the median of the values that are numbers; not a number where none is."""
    return median([value for value in values if not math.isnan(value)] or [math.nan])


def figure(value: float) -> str:
    """Return a rate as text; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.0f}"


def ratio(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return the median quotient of the rounds, or None where either was not measured."""
    found = middle([one / other for one, other in zip(left, right, strict=False)])
    return None if math.isnan(found) else found


def size_of(path: Path) -> tuple[int, int]:
    """Return a picture's width and height."""
    with Image.open(path) as image:
        return image.size


def say(head: Sequence[str], rows: Sequence[Sequence[str]], goals: Sequence[Goal], machine: bool) -> None:
    """Print a table and the goals, for people or as JSON."""
    if machine:
        click.echo(json.dumps({"head": head, "rows": rows, "goals": [goal.as_json() for goal in goals]}))
        return
    table(head, rows)
    goals_table(goals)


@click.command()
@click.option("--pictures", default=600, show_default=True, help="JPEGs of a median of 1 megapixel.")
@click.option("--rounds", default=3, show_default=True, help="Times everything is measured; medians count.")
@click.option("--quick", is_flag=True, help="A fifth of the pictures, one round: to see that it runs.")
@click.option("--rows", type=int, help="Measure how cost grows up to so many rows instead.")
@click.option("--simd-python", type=click.Path(exists=True), help="A Python of this project's with pillow-simd.")
@click.option("--json", "machine", is_flag=True, help="Answer in JSON.")
def preprocess(
    pictures: int, rounds: int, quick: bool, rows: int | None, simd_python: str | None, machine: bool
) -> None:
    """Measure the preprocess stage: rates against peers, or with --rows how cost grows."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary folder is removed
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        if rows:
            say(*measure_rows(Path(temporary), rows, quick), machine)
            return
        bench = Bench(Path(temporary), pictures // 5 if quick else pictures, simd_python)
        for _ in range(1 if quick else rounds):
            bench.take_turns()
    head = ["way", "images/s of a core", "megapixels/s of a core", "images/s with start-up", "images/s by the clock"]
    say(head, bench.rows(), bench.goals(), machine)


if __name__ == "__main__":
    preprocess()
