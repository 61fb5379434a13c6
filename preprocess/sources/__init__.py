"""Sources: where pictures and their labels come from. Each lists its rows and opens one picture at a time."""

from preprocess.common.config import Config
from preprocess.sources.base import LABELS, Source
from preprocess.sources.files import Folders, Table
from preprocess.sources.idx import Idx

__all__ = ["LABELS", "Source", "make_source"]


def make_source(config: Config) -> Source:
    """Return the source that `config.source` describes; a gallery must have been generated before."""
    path = config.source.path
    match config.source.kind:
        case "folders":
            return Folders(path)
        case "idx":
            return Idx(path)
        case "gallery":
            return Table(path, path / "train_info.csv", "error")
        case "csv":
            inside = path / "train_info.csv"
            beside = path.parent / "train_info.csv"
            table = config.source.table or (inside if inside.is_file() else beside)
            return Table(path, table, config.source.unmatched)
