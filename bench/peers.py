"""Other ways to make squares of 256 pixels of JPEGs: each returns its seconds of processor time."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bench.meter import ROOT, run
from bench.resizing import Made, plain, scaled_decode

PYTHON = ROOT / ".venv-bench/bin/python"


@dataclass(frozen=True)
class Peer:
    """A way, what it does, what to install where it is absent, and (paths, folder to write to) -> seconds."""

    name: str
    note: str
    remedy: str
    present: Callable[[], bool]
    seconds: Callable[[Sequence[Path], Path], float]


def here(way: Callable[[Path], Made]) -> Callable[[Sequence[Path], Path], float]:
    """A way of bench.resizing, in this process."""

    def seconds(paths: Sequence[Path], folder: Path) -> float:
        started = time.process_time()
        for path in paths:
            way(path)
        return time.process_time() - started

    return seconds


def vipsthumbnail(paths: Sequence[Path], folder: Path) -> float:
    """One command for all pictures, on one thread, which writes vips's own raw files: its fastest."""
    crop = ["--size", "256x256", "--smartcrop", "centre", "-o", f"{folder}/%s.v"]
    return run(["vipsthumbnail", *paths, *crop], {"VIPS_CONCURRENCY": "1"}).cpu


def img2dataset(paths: Sequence[Path], folder: Path) -> float:
    """The resizer alone, without start-up, download or writing; it encodes JPEG, as its users have it."""
    answer = subprocess.run(  # noqa: S603 - a command of the bench
        [PYTHON, ROOT / "bench/resizer.py", *paths], capture_output=True, text=True, check=False,
        env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"},
    )  # fmt: skip
    if answer.returncode:
        raise click.ClickException(f"img2dataset's resizer failed: {answer.stderr.strip().splitlines()[-1]}")
    return float(answer.stdout)


PEERS = (
    Peer("plain Pillow", "open, convert, crop, Lanczos; in memory", "", lambda: True, here(plain)),
    Peer("scaled decode alone", "open, draft, load; no resize", "", lambda: True, here(scaled_decode)),
    Peer(
        "vipsthumbnail", "writes raw .v files", "apt-get install libvips-tools",
        lambda: shutil.which("vipsthumbnail") is not None, vipsthumbnail,
    ),
    Peer(
        "img2dataset", "its Resizer, area filter, encodes JPEG of quality 95; in memory",
        "python3 -m venv .venv-bench && .venv-bench/bin/pip install --require-hashes -r requirements/bench.txt",
        PYTHON.exists, img2dataset,
    ),
)  # fmt: skip
