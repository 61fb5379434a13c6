"""Sources: where pictures and their labels come from. Each lists its rows and fetches one picture at a time."""

import os
from pathlib import Path

from preprocess.common.config import Config
from preprocess.common.errors import SourceError
from preprocess.common.files import exists
from preprocess.gallery import generate
from preprocess.sources.base import LABELS, Source
from preprocess.sources.files import Folders, Table
from preprocess.sources.idx import Idx
from preprocess.sources.remote import RemoteFolders, RemoteTable

__all__ = ["LABELS", "Source", "ensure_gallery", "make_source"]


def ensure_gallery(config: Config) -> bool:
    """Generate the paintings of the embedded default where they are missing; return whether anything was made.

    Raises SourceError where the source is no gallery, or the folder holds something else.
    """
    if config.source.kind != "gallery":
        raise SourceError(
            f"source.kind is {config.source.kind!r}; set source.kind: gallery and a source.path of its own"
        )
    if not isinstance(config.source.path, Path):
        raise SourceError(f"the gallery is generated on a disk, and {config.source.path} is none; set source.path")
    workers = config.preprocess.workers or os.cpu_count() or 1
    settings = config.gallery
    return generate(config.source.path, settings.pictures, settings.artists, settings.seed, workers)


def make_source(config: Config) -> Source:
    """Return the source that `config.source` describes; a gallery must have been generated before."""
    path, kind = config.source.path, config.source.kind
    if kind == "csv":
        inside, beside = path / "train_info.csv", path.parent / "train_info.csv"
        table = config.source.table or (inside if exists(inside) else beside)
        if isinstance(path, Path):
            return Table(path, table, config.source.unmatched)
        return RemoteTable(path, table, config.source.unmatched)
    if not isinstance(path, Path):
        if kind == "folders":
            return RemoteFolders(path)
        raise SourceError(f"source.kind {kind!r} wants a local folder, and {path} is none; set another source.path")
    match kind:
        case "folders":
            return Folders(path)
        case "idx":
            return Idx(path)
        case "figures":
            from preprocess.sources.figures import Figures  # scikit-image takes half a second to import

            return Figures(path, *config.figures.model_dump().values())
        case "gallery":
            return Table(path / "images", path / "train_info.csv", "error")
