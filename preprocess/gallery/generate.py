"""Making the gallery: in parallel, picture by picture, going on where a kill left off."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from preprocess.common.errors import SourceError
from preprocess.common.files import exclusive, read_json, write_json, write_text
from preprocess.common.progress import Progress
from preprocess.gallery.files import make_file
from preprocess.gallery.plan import Picture, plan, table

VERSION = 1  # of the pictures: raise it with any change that alters their bytes
MARKER, RECORD, TABLE, IMAGES = "settings.json", "gallery.json", "train_info.csv", "images"


def generate(folder: Path, pictures: int, artists: int, seed: int, workers: int) -> bool:
    """Write `folder/train_info.csv` and `folder/images/...`; return False if the same gallery was already there.

    The bytes depend on `seed`, `pictures` and `artists` alone. Pictures already there are kept, so that a run that
    was killed goes on. Raises SourceError where `folder` holds anything else than this gallery, or part of it.
    """
    settings = {"version": VERSION, "seed": seed, "pictures": pictures, "artists": artists}
    _refuse_anything_else(folder, settings)
    planned = plan(seed, pictures, artists)
    if (folder / RECORD).exists() and (folder / TABLE).exists() and not _missing(folder / IMAGES, planned):
        return False
    with exclusive(folder, SourceError):
        write_json(folder / MARKER, settings)
        write_text(folder / TABLE, table(seed, artists, planned))
        (folder / IMAGES).mkdir(exist_ok=True)
        _make_missing(folder / IMAGES, planned, workers)
        os.sync()  # pictures are not flushed one by one; the record must not outlive them
        write_json(folder / RECORD, settings | {"files": len(planned)})
    return True


def _refuse_anything_else(folder: Path, settings: dict[str, int]) -> None:
    """Raise SourceError unless `folder` is empty, absent, or holds the gallery of `settings`, finished or not."""
    marker = folder / MARKER
    if marker.exists():
        found = read_json(marker)
        if found == settings:
            return
        trouble = f"holds the gallery of other settings ({found}, not {settings})"
    elif any((folder / name).exists() for name in (RECORD, TABLE, IMAGES)):
        trouble = "holds pictures that were not generated"
    else:
        return
    raise SourceError(f"{folder} {trouble}; remove the folder or set another source.path")


def _missing(images: Path, planned: list[Picture]) -> list[Picture]:
    there = {path.name for path in images.iterdir()} if images.exists() else set()
    return [picture for picture in planned if picture.file not in there]


def _make_missing(images: Path, planned: list[Picture], workers: int) -> None:
    missing = sorted(_missing(images, planned), key=lambda picture: picture.kind != "giant")  # the longest work first
    done = len(planned) - len(missing)
    with (
        Progress("painting the gallery", len(planned), "picture", done) as progress,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        for _ in pool.map(partial(make_file, images), missing, chunksize=4):
            progress.advance(1)
