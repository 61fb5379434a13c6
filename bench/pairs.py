"""How fast pictures come out of the store, against the limit and against peers, in one run on the same pictures.

    python -m bench.pairs                        the tables of docs/reading.md
    python -m bench.pairs --larger-than-memory   a store of 2 GB under a memory limit of 400 MB (as root)

Every way is a program of its own that takes turns with the limit: shares compare what was measured side by side, and
stay meaningful on a machine that others use. Everything lies in one temporary folder, at most 3 GB, and is removed.
"""

import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import click

from bench.goals import Goal, goals_table, table
from bench.larger import BATCHES, HEAD, LARGER, MEMORY, larger_than_memory
from bench.meter import ROOT
from bench.noise import write_store
from bench.ways.measure import PICTURES, THREADS
from bench.ways.run import Found, run_way

BYTES = 500_000_000
"""Of the pictures of each size."""
PYTHON = ROOT / ".venv-bench-pairs/bin/python"
REMEDY = (
    "python3 -m venv .venv-bench-pairs && .venv-bench-pairs/bin/pip install --no-deps --require-hashes "
    "-r requirements/bench-pairs.txt"
)
FFCV = "it is built from source: see requirements/bench-pairs.in"


class Way(NamedTuple):
    """A way, as its module in bench.ways and in words; how to install it, None for those that need nothing more."""

    module: str
    title: str
    remedy: str | None = None
    needs: str = ""


WAYS = [
    Way("limit", "the limit: copying from memory"), Way("reader", "**this reader**"),
    Way("tfdata", "**tf.data pipeline, streaming**"), Way("zarr_python", "zarr-python"),
    Way("tensorstore", "TensorStore"), Way("torch_zarr", "torch DataLoader over zarr", REMEDY, "torch"),
    Way("mosaicml", "MosaicML Streaming", REMEDY, "streaming"), Way("ffcv_raw", "FFCV, raw", FFCV, "ffcv"),
]  # fmt: skip
READER = {64: 0.4, 256: 0.7}
STREAMING = {256: 0.5}
PEERS = {"ffcv_raw": 2, "mosaicml": 8, "torch_zarr": 25}
"""What is wanted: of the reader and of the pipeline, by size, times the limit; of the pipeline, times each peer."""


def installed(way: Way) -> bool:
    """Return whether a way can run here."""
    return way.remedy is None or any(ROOT.glob(f".venv-bench-pairs/lib/python3*/site-packages/{way.needs}"))


def compare(folder: Path, size: int) -> dict[str, Found]:
    """Return what was found of each way that can run here, by its module, with pictures of `size` pixels."""
    store, found = write_store(folder, size, BYTES), {}
    for way in filter(installed, WAYS):
        click.echo(f"{size} px: {way.module}", err=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            python = PYTHON if way.remedy else Path(sys.executable)
            try:
                found[way.module] = run_way(way.module, store, size, own, python=python)
            except click.ClickException as error:
                if way.remedy is None:
                    raise
                click.echo(error.message, err=True)  # a peer that fails takes nothing from the others
    return found


def cells(found: Found | None) -> list[str]:
    """Return pictures/s, pairs/s, share of the limit and memory in MB, as text; nothing of a way that did not run."""
    if found is None:
        return [""] * 4
    speed, memory = found["speed"], found["memory"] / 1e6
    return [f"{speed:,.0f}", f"{speed / 2:,.0f}", f"{found['share']:.3g}", f"{memory:,.0f}"]


def goals(found: dict[int, dict[str, Found]]) -> list[Goal]:
    """Return what is wanted of what was found, by size and module."""

    def share(size: int, module: str) -> float | None:
        return found[size][module]["share"] if module in found[size] else None

    wanted = [
        Goal(f"{size} px: {name}, times the limit", share(size, name), least=least[size])
        for name, least in (("reader", READER), ("tfdata", STREAMING)) for size in found if size in least
    ]  # fmt: skip
    for size in found:
        for peer, least in PEERS.items():
            mine, other = share(size, "tfdata"), share(size, peer)
            wanted.append(Goal(f"{size} px: tfdata, times {peer}", mine / other if mine and other else None, least))
    return wanted


def print_comparison(folder: Path, sizes: tuple[int, ...]) -> None:
    """Measure all ways and print two tables."""
    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            found[size] = compare(Path(own), size)
    click.echo(f"Batches of {PICTURES // 2} pairs, {PICTURES} pictures; {THREADS} threads or workers.\n")
    head = [f"{size} px: {what}" for size in sizes for what in ("pictures/s", "pairs/s", "of the limit", "memory, MB")]
    rows = []
    for way in WAYS:
        title = way.title if installed(way) else f"{way.title}: not installed; {way.remedy}"
        rows.append([title, *(cell for size in sizes for cell in cells(found[size].get(way.module)))])
    table(["way", *head], rows)
    goals_table(goals(found))


def print_larger(folder: Path, sizes: tuple[int, ...]) -> None:
    """Measure stores larger than memory and print two tables."""
    rows, wanted = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            row, more = larger_than_memory(Path(own), size)
        rows.append(row)
        wanted += more
    click.echo(
        f"A store of {LARGER / 1e9:g} GB, {MEMORY / 1e6:g} MB of memory, {BATCHES:,} batches, {THREADS} threads.\n"
    )
    table(HEAD, rows)
    goals_table(wanted)


@click.command()
@click.option("--size", "sizes", multiple=True, type=int, default=(64, 256), show_default=True, help="Pixels.")
@click.option("--larger-than-memory", "larger", is_flag=True, help="Measure stores larger than memory instead.")
def pairs(sizes: tuple[int, ...], larger: bool) -> None:
    """Measure how fast pictures are read and fed, and print tables in Markdown."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary folder is removed
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (print_larger if larger else print_comparison)(Path(folder), sizes)


if __name__ == "__main__":
    pairs()
