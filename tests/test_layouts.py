"""Which stores are read straight from their files, and that every other layout is read as well."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from pipeline.reader import Reader, RemotePictures
from pipeline.shards import Shards
from preprocess.common.errors import StoreError
from preprocess.common.files import sha256_file
from preprocess.store import SEAL, Store, array_name
from tests.stores import made_store, noise, sealed

PICTURES = noise(40, 8)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made_store(tmp_path, PICTURES, 10)


def rearranged(store: Store, chunk: int, codecs: list[Any], **options: Any) -> Store:
    """Return the same store with its pictures laid out otherwise, by zarr-python."""
    old = np.asarray(zarr.open_array(store.path / array_name(8), mode="r")[:])
    path = store.path.rename(store.path.parent / "building")
    name = f"{array_name(8)}/zarr.json"
    array: Any = zarr.create(
        store=path / array_name(8), shape=old.shape, dtype="uint8", chunks=(chunk, 8, 8, 3), overwrite=True,
        zarr_format=3, codecs=codecs, **options,
    )  # fmt: skip
    array[:] = old
    (path / SEAL).unlink()
    return sealed(path, store.seal | {"files": store.seal["files"] | {name: sha256_file(path / name)}})


def sharded(chunk: int, *codecs: Any, **options: Any) -> list[Any]:
    return [ShardingCodec(chunk_shape=(chunk, 8, 8, 3), codecs=[BytesCodec(), *codecs], **options)]


@pytest.mark.parametrize(
    ("plain", "chunk", "codecs"),
    [
        (True, 10, sharded(1, Crc32cCodec())),
        (False, 10, sharded(1)),
        (False, 10, sharded(1, ZstdCodec(), Crc32cCodec())),
        (False, 10, sharded(2, Crc32cCodec())),
        (False, 20, sharded(1, Crc32cCodec())),
        (False, 10, sharded(1, Crc32cCodec(), index_location="start")),
        (False, 10, sharded(1, Crc32cCodec(), index_codecs=[BytesCodec()])),
        (False, 1, [BytesCodec(), Crc32cCodec()]),
    ],
    ids=["as written", "no checksum", "compressed", "two a chunk", "other shards", "index first", "index", "no shards"],
)
def test_other_layouts_are_left_to_tensorstore(store: Store, plain: bool, chunk: int, codecs: list[Any]) -> None:
    reader = Reader(rearranged(store, chunk, codecs), 8)
    assert type(reader.pictures) is (Shards if plain else RemotePictures)
    assert np.array_equal(reader.read(range(40)), PICTURES)


@pytest.mark.parametrize(("shape", "kind"), [((41, 8, 8, 3), "uint8"), ((40, 8, 8, 3), "uint16")])
def test_an_array_that_is_not_what_the_seal_says_is_refused(store: Store, shape: tuple[int, ...], kind: str) -> None:
    path, name = store.path.rename(store.path.parent / "building"), f"{array_name(8)}/zarr.json"
    zarr.create_array(path / array_name(8), shape=shape, dtype=kind, chunks=(10, 8, 8, 3), overwrite=True)
    (path / SEAL).unlink()
    other = sealed(path, store.seal | {"files": store.seal["files"] | {name: sha256_file(path / name)}})
    with pytest.raises(
        StoreError, match=r"images_8 (cannot be opened: .*uint16|has the shape \(41, 8, 8, 3\), not \(40,)"
    ):
        Reader(other, 8)
