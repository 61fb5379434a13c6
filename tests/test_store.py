"""The sealed store: readable by everyone, complete, and any change to it is found."""

import hashlib
import random
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
import tensorstore as ts
import xarray
import zarr
from numpy.typing import NDArray

from preprocess.check import check_store
from preprocess.common.errors import StoreError
from preprocess.common.files import sha256_file
from preprocess.images import make_squares, open_picture
from preprocess.measures import perceptual_hashes, statistics
from preprocess.sharding import ShardWriter
from preprocess.store import Store, array_name, current_store, metadata_of, open_store, shard_name
from tests.conftest import SOAK
from tests.helpers import QUARANTINED, collection

ABSENT = 2**64 - 1
CORRUPT = re.compile("checksum|digest mismatch", re.IGNORECASE)


def tensorstore(path: Path) -> ts.TensorStore:
    return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}).result()


def zarr_python(path: Path, mode: Literal["r", "r+"] = "r") -> zarr.Array[Any]:
    return zarr.open_array(path, mode=mode)


def shard_index(path: Path, rows_per_shard: int) -> NDArray[np.uint64]:
    """Return [row, (offset, length)] from the end of a shard, as the sharding codec's specification lays it out."""
    return np.frombuffer(path.read_bytes()[-16 * rows_per_shard - 4 : -4], "<u8").reshape(rows_per_shard, 2)


@pytest.fixture
def copy(built: Store, tmp_path: Path) -> Store:
    """A copy of the store that a test may damage."""
    shutil.copytree(built.path, tmp_path / built.fingerprint)
    return open_store(tmp_path / built.fingerprint)


def test_zarr_python_tensorstore_and_xarray_read_the_same_pixels_as_were_decoded(built: Store, tmp_path: Path) -> None:
    names = collection(tmp_path / "again")
    with_xarray = xarray.open_zarr(built.path, consolidated=False)
    for size in (16, 40):
        ours = np.asarray(zarr_python(built.path / array_name(size)))
        assert ours.shape == (20, size, size, 3)
        assert ours.dtype == np.uint8
        assert (tensorstore(built.path / array_name(size)).read().result() == ours).all()
        assert (with_xarray[array_name(size)].to_numpy() == ours).all()
        for row, status in enumerate(built.rows["status"]):
            if status == "stored":
                with open_picture(tmp_path / "again" / names[row]) as image:
                    assert (make_squares(image, [16, 40], "crop", 400).pixels[size] == ours[row]).all()
    assert with_xarray["label"].to_numpy().tolist() == built.rows["label"].to_list()
    assert dict(with_xarray.sizes) == {"row": 20, "y_16": 16, "x_16": 16, "channel": 3, "y_40": 40, "x_40": 40}


def test_rows_say_what_became_of_each_picture(built: Store) -> None:
    rows = built.rows
    assert rows["row"].to_list() == list(range(20))
    for row in rows.iter_rows(named=True):
        if row["key"] in QUARANTINED:
            assert row["status"] == "quarantined"
            assert QUARANTINED[row["key"]] in row["reason"]
            assert row["phash"] is row["mean"] is row["profile"] is None
        else:
            assert (row["status"], row["reason"], row["profile"]) == ("stored", None, "none")
            assert len(row["phash"]) == 16
    assert rows.schema["phash"] == pl.String
    assert rows.schema["mean"] == pl.Float64
    assert rows["sha256"].null_count() == 0
    assert not {"place", "stamp", "removed"} & set(rows.columns)


def test_a_picture_is_a_chunk_and_exactly_the_stored_rows_have_one(built: Store) -> None:
    stored = (built.rows["status"] == "stored").to_numpy()
    black = built.rows["key"].to_list().index("03.png")
    for size in (16, 40):
        array = zarr_python(built.path / array_name(size))
        assert array.chunks == (1, size, size, 3)
        assert array.shards == (5, size, size, 3)
        index = np.concatenate([shard_index(built.path / array_name(size) / f"c/{k}/0/0/0", 5) for k in range(4)])
        assert ((index != ABSENT).all(axis=1) == stored).all()
        assert ((index == ABSENT).all(axis=1) == ~stored).all()
        assert set(index[stored, 1]) == {size * size * 3 + 4}
        assert index[black, 0] != ABSENT
        assert not np.asarray(array[black]).any()


def test_every_chunk_and_index_has_a_checksum(copy: Store) -> None:
    """A byte flipped in any picture, or in the index, is an error to zarr-python and to TensorStore."""
    path = copy.path / "images_16/c/1/0/0/0"
    whole = path.read_bytes()
    index = shard_index(path, 5)
    places = [(5 + row, int(offset) + byte) for row, (offset, _) in enumerate(index) for byte in (0, 400, 16 * 16 * 3)]
    for row, place in [*places, (5, len(whole) - 30), (9, len(whole) - 1)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=CORRUPT):
            zarr_python(copy.path / "images_16")[row]
        with pytest.raises(ValueError, match=CORRUPT):
            tensorstore(copy.path / "images_16")[row].read().result()


@pytest.mark.parametrize("rows", [6, 4])
@pytest.mark.parametrize("black", [False, True])
def test_zarr_python_and_tensorstore_read_a_shard_whose_pictures_begin_at_a_line_of_the_cache(
    rows: int, black: bool, tmp_path: Path
) -> None:
    """Also the last shard, which has places for more rows than there are."""
    images = np.random.default_rng(0).integers(0, 256, (rows, 15, 15, 3), dtype=np.uint8)
    images[2] *= not black
    with metadata_of(rows, [15], 6, np.zeros(rows, np.int32)) as metadata:
        shutil.copytree(metadata, tmp_path / "store")
    shard = tmp_path / "store" / shard_name(15, 0)
    shard.parent.mkdir(parents=True, exist_ok=True)
    with ShardWriter(shard, 6) as writer:
        for row, image in enumerate(images):
            writer.write(row, image)
    assert not (shard_index(shard, 6)[:rows, 0] % 64).any()
    assert np.array_equal(zarr_python(tmp_path / "store/images_15")[:], images)
    assert np.array_equal(tensorstore(tmp_path / "store/images_15").read().result(), images)


def test_every_stored_picture_is_measured_and_hashed(built: Store) -> None:
    told = built.rows.filter(status="stored").select("mean", "contrast", "colour", "phash", "profile")
    assert len(told) == built.seal["stored"] > 0
    assert told.null_count().sum_horizontal().item() == 0
    pictures = np.asarray(zarr_python(built.path / array_name(40)))[(built.rows["status"] == "stored").to_numpy()]
    assert perceptual_hashes(list(pictures)) == told["phash"].to_list()
    assert [statistics(picture)["mean"] for picture in pictures] == told["mean"].to_list()


def test_the_seal_lists_every_file_and_its_digest_is_the_name(built: Store) -> None:
    files = {path.relative_to(built.path).as_posix() for path in built.path.rglob("*") if path.is_file()}
    assert built.seal["files"].keys() == files - {"seal.json"}
    assert all(sha256_file(built.path / name) == sha256 for name, sha256 in built.seal["files"].items())
    seal = (built.path / "seal.json").read_bytes()
    assert hashlib.sha256(seal).hexdigest() == built.path.name == built.fingerprint
    assert (built.seal["rows"], built.seal["stored"]) == (20, 18)
    assert built.sizes == [16, 40]
    assert check_store(built) == []


@pytest.mark.soak
def test_any_changed_byte_and_any_deleted_or_added_file_is_found(copy: Store) -> None:
    """Of every file, the seal included; 50 mutations, or 50 times SOAK."""
    rng = random.Random(0)
    names = [*sorted(copy.seal["files"]), "seal.json"]
    for turn in range(50 * SOAK):
        path = copy.path / rng.choice(names)
        name = path.relative_to(copy.path).as_posix()
        whole = path.read_bytes()
        match turn % 4:
            case 0 | 1:
                place = rng.randrange(len(whole))
                path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << rng.randrange(8))]) + whole[place + 1 :])
                expected = f"{name}: changed"
            case 2:
                path.unlink()
                expected = f"{name}: missing"
            case _:
                path = path.with_name(f"extra{turn}")
                path.write_bytes(whole)
                expected = f"{path.relative_to(copy.path).as_posix()}: not in the seal"
        if path.name == "seal.json":
            with pytest.raises(StoreError, match=r"seal\.json does not match|is not a sealed store"):
                open_store(copy.path)
        else:
            damage = check_store(open_store(copy.path))
            assert len(damage) == 1
            assert str(damage[0]).startswith(expected)
        path.unlink(missing_ok=True)
        (copy.path / name).write_bytes(whole)
    assert check_store(copy) == []
    print(f"{50 * SOAK} mutations, each found with the file's name")


def test_damage_names_the_rows_it_hits(copy: Store) -> None:
    """One picture where its chunk alone is damaged, all of a shard where its index or all of it is gone."""
    (copy.path / shard_name(40, 1)).unlink()
    (copy.path / shard_name(16, 3)).write_bytes(b"")
    path = copy.path / shard_name(16, 1)
    damaged = bytearray(path.read_bytes())
    for row in (0, 2, 3):
        damaged[int(shard_index(path, 5)[row, 0]) + 100] ^= 1
    path.write_bytes(damaged)
    path = copy.path / shard_name(40, 2)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert list(map(str, check_store(copy))) == [
        "images_16/c/1/0/0/0: changed (rows 5, 7 to 8)", "images_16/c/3/0/0/0: changed (rows 15 to 19)",
        "images_40/c/1/0/0/0: missing (rows 5 to 9)", "images_40/c/2/0/0/0: changed (rows 10 to 14)",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "\xff", "[]", "{}", '{"format": 2}'])
def test_a_seal_that_was_changed_or_is_of_another_version_is_refused(text: str, copy: Store) -> None:
    (copy.path / "seal.json").write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=r"seal\.json does not match its fingerprint.*rebuild it with 'make store'"):
        open_store(copy.path)


def test_a_missing_store_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no store yet; run 'make store'"):
        current_store(tmp_path)
    (tmp_path / "CURRENT").write_text("0123\n")
    with pytest.raises(StoreError, match="0123 is not a sealed store; run 'make store'"):
        current_store(tmp_path)
    (tmp_path / "CURRENT").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="is not a sealed store"):
        current_store(tmp_path)


def test_the_smallest_size_that_is_large_enough_is_chosen(built: Store) -> None:
    assert [built.size_for(wanted) for wanted in (1, 16, 17, 40)] == [16, 16, 40, 40]
    with pytest.raises(StoreError, match=r"none as large as 41; add it to preprocess\.sizes"):
        built.size_for(41)
