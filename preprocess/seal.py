"""Sealing: labels, rows and the list of all checksums beside the finished shards, and the store gets its name."""

import hashlib
import json
from typing import Any, NamedTuple, Self

import polars as pl

from preprocess.common.errors import StoreError
from preprocess.common.files import (
    digest,
    list_files,
    read_bytes,
    remove_tree,
    rename_tree,
    write_bytes,
    write_parquet,
)
from preprocess.common.places import Place
from preprocess.recipe import recipe
from preprocess.store import FORMAT, FOUND, ROWS, SEAL, STORED, Store, metadata_of, open_store


class Built(NamedTuple):
    """What became of a shard: what decoding found in its rows, FOUND, and the SHA-256 of its files by their names."""

    rows: pl.DataFrame
    files: dict[str, str]

    @classmethod
    def of(cls, record: dict[str, Any]) -> Self:
        """Return what a record tells, in columns, which take a fraction of the memory of its dicts."""
        return cls(pl.DataFrame(record["rows"], FOUND), record["files"])

    @property
    def contents(self) -> list[str]:
        """What each row was made from: the SHA-256 of its file, or why there was none."""
        return self.rows.select(pl.coalesce("sha256", "reason")).to_series().to_list()


def shard_input(files: list[str], inputs: dict[str, Any]) -> str:
    """Return a digest of all that one shard depends on: its files (Built.contents), settings, decoders' versions."""
    settings = {name: value for name, value in inputs.items() if name != "manifest"}
    return digest([files, settings, recipe()])


def seal(folder: Place, rows: pl.DataFrame, inputs: dict[str, Any], shards: list[Built]) -> Store:
    """Turn the finished `folder`/store into a sealed store beside `folder`, and return it.

    A kill at any moment leaves something to seal again, or the sealed store.
    """
    path = folder / "store"
    files = {name: sha256 for shard in shards for name, sha256 in shard.files.items()}
    files |= write_metadata(path, rows, inputs)
    for name in list_files(path).keys() - files.keys() - {SEAL}:  # half written by a run that was killed
        (path / name).unlink()
    contents = {
        "format": FORMAT, "inputs": inputs, "recipe": recipe(), "rows": len(rows),
        "stored": rows.filter(pl.col("status") == STORED).height, "files": files,
        "shards": [shard_input(shard.contents, inputs) for shard in shards],
    }  # fmt: skip
    data = json.dumps(contents, indent=1, sort_keys=True, ensure_ascii=False).encode()
    sealed = folder.parent / hashlib.sha256(data).hexdigest()
    try:
        return open_store(sealed)  # the same pictures again: nothing is put in the place of what others may be reading
    except StoreError:
        remove_tree(sealed)  # there only where a copy was broken off, or its seal was damaged
    write_bytes(path / SEAL, data)
    rename_tree(path, sealed, last=SEAL)
    return open_store(sealed)


def write_metadata(path: Place, rows: pl.DataFrame, inputs: dict[str, Any]) -> dict[str, str]:
    """Write all files of the store in `path` but its shards and its seal; return the SHA-256 of each."""
    write_parquet(path / ROWS, rows)
    with metadata_of(len(rows), inputs["sizes"], inputs["rows_per_shard"], rows["label"].to_numpy()) as made:
        names = list_files(made)
        for name in names:
            write_bytes(path / name, (made / name).read_bytes())
    return {name: hashlib.sha256(read_bytes(path / name)).hexdigest() for name in [*names, ROWS]}
