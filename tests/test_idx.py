"""The IDX source: MNIST's files, checked before a picture is taken from them."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources.idx import SIDES, Idx, read_idx

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
COUNTS = {"train": 6, "t10k": 4}


def idx_bytes(values: np.ndarray) -> bytes:
    """Encode as the format says: magic, dimensions, then bytes."""
    return struct.pack(f">{1 + values.ndim}I", 0x800 | values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    read_idx.cache_clear()
    rng = np.random.default_rng(0)
    for side, count in COUNTS.items():
        images = rng.integers(0, 256, (count, 5, 7), dtype=np.uint8)
        (tmp_path / f"{side}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (tmp_path / f"{side}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes(np.arange(count, dtype=np.uint8)))
        )
    return tmp_path


def test_rows_keep_the_official_sides_and_take_the_class_for_the_artist(folder: Path) -> None:
    rows = Idx(folder).rows()
    assert rows["key"].to_list() == [f"train/{i}" for i in range(6)] + [f"test/{i}" for i in range(4)]
    assert rows["artist"].to_list() == [str(i) for i in [*range(6), *range(4)]]
    assert rows["side"].to_list() == ["train"] * 6 + ["test"] * 4
    assert not Idx(folder).hashes_meaningful


def test_rows_say_where_each_picture_is_and_how_large(folder: Path) -> None:
    rows = Idx(folder).rows()
    assert rows["place"].equals(rows["key"])
    assert rows["bytes"].unique().to_list() == [35]
    times = {side: (folder / f"{name}-images-idx3-ubyte.gz").stat().st_mtime_ns for side, name in SIDES.items()}
    assert rows["stamp"].to_list() == [times[side] for side in rows["side"]]
    assert [Idx(folder).stamp(place) for place in rows["place"]] == rows.select("bytes", "stamp").rows()


def test_a_picture_has_the_bytes_of_the_file(folder: Path) -> None:
    source = Idx(folder)
    raw = gzip.decompress((folder / IMAGES).read_bytes())[16 + 2 * 35 :][:35]
    with source.fetch("train/2") as path, Image.open(path) as image:
        assert (image.mode, image.size, image.tobytes()) == ("L", (7, 5), raw)
    assert not path.exists()


@pytest.mark.parametrize(
    "place", ["train/6", "test/4", "train/-1", "train/", "train/1/../2", "../train/1", "t10k/1", ""]
)
def test_a_place_without_a_picture_is_a_problem_not_an_error(place: str, folder: Path) -> None:
    assert Idx(folder).stamp(place) == (0, 0)
    with pytest.raises(UnreadablePicture, match=r"^no such file$"), Idx(folder).fetch(place):
        pass


def test_a_file_that_changed_or_went_is_noticed_though_its_pictures_are_kept_in_memory(folder: Path) -> None:
    source = Idx(folder)
    before = source.stamp("train/0")
    os.utime(folder / IMAGES, ns=(1, before[1] + 1))
    assert source.stamp("train/0") == (35, before[1] + 1)
    (folder / IMAGES).unlink()
    assert source.stamp("train/0") == (0, 0)


def test_pictures_without_pixels_are_a_problem_not_an_error(folder: Path) -> None:
    (folder / IMAGES).write_bytes(gzip.compress(struct.pack(">4I", 0x803, 6, 0, 7)))
    assert Idx(folder).rows()["bytes"].to_list()[:6] == [0] * 6
    with pytest.raises(UnreadablePicture, match="without pixels"), Idx(folder).fetch("train/0"):
        pass


def changed(function: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Return what rewrites a file with its unpacked bytes changed."""
    return lambda path: path.write_bytes(gzip.compress(function(gzip.decompress(path.read_bytes()))))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (IMAGES, Path.unlink, "does not exist; put the four .gz files"),
        (LABELS, Path.unlink, "does not exist; put the four .gz files"),
        (IMAGES, changed(lambda data: b"\0\0\x08\x01" + data[4:]), "begins with 0x801, not 0x803"),
        (LABELS, changed(lambda data: b"\0\0\x08\x03" + data[4:]), "begins with 0x803, not 0x801"),
        (IMAGES, changed(lambda data: data[:9]), "another kind of file"),
        (IMAGES, changed(lambda data: b""), "another kind of file"),
        (IMAGES, changed(lambda data: data[:-1]), "promises 210 bytes and holds 209; fetch it again"),
        (IMAGES, changed(lambda data: data + b"x"), "promises 210 bytes and holds 211; fetch it again"),
        (LABELS, changed(lambda data: struct.pack(">2I", 0x801, 5) + data[8:-1]), "6 train images but 5 labels"),
        (IMAGES, lambda path: path.write_bytes(path.read_bytes()[:-20]), "is not a whole gzip file"),
        (IMAGES, lambda path: path.write_bytes(b"PK" + path.read_bytes()), "is not a whole gzip file"),
        (IMAGES, lambda path: path.write_bytes(path.read_bytes()[:40] + b"xx" + path.read_bytes()[42:]), "whole gzip"),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_the_remedy(
    name: str, damage: Callable[[Path], object], message: str, folder: Path
) -> None:
    damage(folder / name)
    with pytest.raises(SourceError) as caught:
        Idx(folder).rows()
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_may_not_be_read_is_not_called_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(gzip, "open", refuse)
    with pytest.raises(PermissionError):
        Idx(folder).rows()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files_are_whole(name: str, shared_data: Path) -> None:
    rows = Idx(shared_data / name).rows()
    assert rows["side"].value_counts().sort("side").rows() == [("test", 10_000), ("train", 60_000)]
    assert rows.filter(side="test")["artist"].value_counts().sort("artist").height == 10
