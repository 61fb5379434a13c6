"""The stage as users run it: a folder of pictures, a config.yaml, and `python -m preprocess store`."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import yaml

from bench.meter import ROOT, Usage, run

ARTISTS = 40


def link(paths: Iterable[Path], folder: Path, artists: int = ARTISTS) -> None:
    """Lay pictures out under `folder`, one folder per artist, as hard links: another name takes no disk."""
    for row, path in enumerate(paths):
        artist = folder / f"{row % artists:04d}"
        artist.mkdir(parents=True, exist_ok=True)
        os.link(path, artist / f"{row:06d}.jpg")


def store(
    pictures: Path,
    sizes: Sequence[int],
    workers: int,
    python: str = sys.executable,
    tasks: Path | None = None,
    keep: bool = False,
    sign: Callable[[], bool] | None = None,
) -> Usage:
    """Build the store of a folder of pictures from nothing, or again where `keep`; `tasks` receives times of jobs."""
    folder = pictures.parent
    config = folder / "config.yaml"
    values = {
        "source": {"kind": "folders", "path": str(pictures)},
        "stores": str(folder / "stores"),
        "preprocess": {"sizes": list(sizes), "workers": workers},
        "train": {"size": min(sizes)},
    }
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    if not keep:
        shutil.rmtree(folder / "stores", ignore_errors=True)
    extra = {"DASK_DISTRIBUTED__WORKER__PRELOAD": str(ROOT / "bench/tasks.py"), "BENCH_TASKS": str(tasks)}
    return run([python, "-m", "preprocess", "store", "--config", config], extra if tasks else None, sign)


def stored(stores: Path) -> bool:
    """Return whether the first file of pictures lies in a store."""
    return any(
        path.name != "zarr.json" and not path.name.startswith(".") and any("images_" in part for part in path.parts)
        for path in stores.rglob("*")
        if path.is_file()
    )


def share_of_dask(tasks: Path) -> float | None:
    """Return the share of time, between the start of the first job and the end of the last, that no job was running.

    Meant for one worker. None where dask ran less than two jobs.
    """
    if not tasks.exists():
        return None
    spans = [json.loads(line) for line in tasks.read_text().splitlines()]
    if len(spans) < 2:
        return None
    whole = max(stop for _, stop in spans) - min(start for start, _ in spans)
    idle: float = 1 - sum(stop - start for start, stop in spans) / whole
    return idle
