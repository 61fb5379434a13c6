"""Sources: where pictures and their labels come from. Each lists its rows and fetches one picture at a time."""

import os

from preprocess.common.config import Config
from preprocess.common.errors import SourceError
from preprocess.gallery import generate
from preprocess.sources.base import LABELS, Source
from preprocess.sources.files import Folders, Table
from preprocess.sources.idx import Idx

__all__ = ["LABELS", "Source", "ensure_gallery", "make_source"]


def ensure_gallery(config: Config) -> bool:
    """Generate the paintings of the embedded default where they are missing; return whether anything was made.

    Raises SourceError where the source is no gallery, or the folder holds something else.
    """
    if config.source.kind != "gallery":
        raise SourceError(
            f"source.kind is {config.source.kind!r}; set source.kind: gallery and a source.path of its own"
        )
    workers = config.preprocess.workers or os.cpu_count() or 1
    settings = config.gallery
    return generate(config.source.path, settings.pictures, settings.artists, settings.seed, workers)


def make_source(config: Config) -> Source:
    """Return the source that `config.source` describes; a gallery must have been generated before."""
    path = config.source.path
    match config.source.kind:
        case "folders":
            return Folders(path)
        case "idx":
            return Idx(path)
        case "gallery":
            return Table(path / "images", path / "train_info.csv", "error")
        case "csv":
            inside = path / "train_info.csv"
            beside = path.parent / "train_info.csv"
            table = config.source.table or (inside if inside.is_file() else beside)
            return Table(path, table, config.source.unmatched)
