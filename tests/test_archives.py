"""Pictures in zip archives: read in place, in Kaggle's own arrangement and from whatever packs them."""

import io
import os
import pickle
import random
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.common.config import load_config
from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources import make_source
from preprocess.sources.archives import CHUNK
from preprocess.sources.files import Table
from tests.helpers import contents, write_config, write_table
from tests.zips import PICTURES, WRITERS, pack, picture, read, table


@pytest.mark.parametrize("name", ["train.zip", "9/all.zip"])
def test_kaggles_files_are_read_as_downloaded(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / name).parent.mkdir(parents=True)
    pack(folder / name, PICTURES | {"1.jpg": b"corrupt", "2.jpg": b"corrupt"})
    repaired = {"train/1.jpg": b"repaired", "train/2.jpg": b"repaired", "test/77.jpg": b"of the test", "train/": b""}
    apple = {"__MACOSX/train/._1.jpg": b"apple", "train/.DS_Store": b"apple"}
    pack(folder / "replacements_for_corrupted_files.zip", repaired | apple, folder="")
    (folder / "2.jpg").write_bytes(b"loose")
    write_table(tmp_path / "train_info.csv", [(name, "x") for name in PICTURES], "filename,artist")
    before = contents(tmp_path)
    source = make_source(load_config(write_config(tmp_path)))
    (tmp_path / "config.yaml").unlink()
    rows = source.rows()
    assert isinstance(source, Table)
    assert read(source, rows) == PICTURES | {"1.jpg": b"repaired", "2.jpg": b"loose"}
    for row, data in zip(rows.iter_rows(named=True), read(source, rows).values(), strict=True):
        assert row["bytes"] == len(data)
        assert source.stamp(row["place"]) == (row["bytes"], row["stamp"])
    assert rows["stamp"][1] == (folder / "2.jpg").stat().st_mtime_ns
    assert rows["stamp"][2] == zipfile.ZipFile(folder / name).getinfo("train/3.jpg").CRC
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["train.zip", "below/TRAIN 1.ZIP"])
def test_every_kind_of_archive_gives_the_bytes_that_were_packed(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name)
    source = table(tmp_path)
    assert read(source, source.rows()) == PICTURES


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_a_picture_of_any_size_is_whole(size: int, method: int, tmp_path: Path) -> None:
    noise = random.Random(size).randbytes(size)
    files = {"noise.jpg": noise, "mixed.jpg": (noise[:1000] + b"ab" * size)[:size]}
    files["even.jpg"] = (b"ab" * size)[: min(size, CHUNK + 9)]  # its last bytes wait in the unpacker
    pack(tmp_path / "train.zip", files, method)
    source = table(tmp_path, files)
    assert read(source, source.rows()) == files


def test_a_large_picture_is_never_held_in_memory(tmp_path: Path) -> None:
    data = (picture(0, 100_000) + bytes(300_000)) * 80
    padded = zlib.compress(data)[2:-4] + bytes(10_000_000)  # what follows the end of a deflated file
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("x.jpg", padded)
        info = archive.filelist[0]
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, len(data), zlib.crc32(data)
    source = table(tmp_path, {"x.jpg": b""})
    place = source.rows()["place"][0]
    tracemalloc.start()
    with source.fetch(place) as path:
        assert path.stat().st_size == len(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * CHUNK


def test_a_picture_is_found_without_the_archives_directory(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", PICTURES)
    source = table(tmp_path)
    rows = source.rows()
    data = (tmp_path / "train.zip").read_bytes()
    start = data.index(b"PK\1\2")
    (tmp_path / "train.zip").write_bytes(data[:start] + bytes(len(data) - start))
    assert read(source, rows) == PICTURES
    assert len(pickle.dumps(source)) < 500


def test_a_change_of_the_archive_is_noticed(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", PICTURES)
    source = table(tmp_path)
    rows = source.rows()
    os.utime(tmp_path / "train.zip", ns=(1, 1))
    assert source.rows().equals(rows)
    assert [source.stamp(place) for place in rows["place"]] == rows.select("bytes", "stamp").rows()
    with zipfile.ZipFile(tmp_path / "train.zip", "a") as archive:
        archive.writestr("6.jpg", b"six")
    assert {source.stamp(place) for place in rows["place"]} == {(0, 0)}
    again = table(tmp_path, PICTURES | {"6.jpg": b"six"}).rows()
    assert again["stamp"][:5].equals(rows["stamp"])
    (tmp_path / "train.zip").unlink()
    assert source.stamp(again["place"][0]) == (0, 0)
    assert set(read(source, again).values()) == {"no such file"}


@pytest.mark.parametrize(
    "place",
    ["train.zip//", "train.zip//0:0:0:0:0", "train.zip//0:0:-1:0:0:0:0", "train.zip//1:2:3:4:5:x", "none.zip//{}",
     "../train.zip//{}", "a/../../train.zip//{}", "{folder}/train.zip//{}", "a\0.zip//{}", "folder.zip//{}",
     "train_info.csv//{}", "train.zip//{}:0", "train.zip//{}0123456789"],
)  # fmt: skip
def test_no_place_leads_out_of_the_archives(place: str, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "folder.zip").mkdir(parents=True)
    pack(tmp_path / "train.zip", PICTURES)
    pack(pictures / "train.zip", PICTURES)
    source = table(pictures)
    position = source.rows()["place"][0].partition("//")[2]
    bad = place.replace("{}", position).replace("{folder}", str(tmp_path))
    assert source.stamp(bad) == (0, 0)
    with pytest.raises(UnreadablePicture, match=r"^no such file$"), source.fetch(bad):
        pass


def nested(path: Path) -> None:
    inner = io.BytesIO()
    pack(inner, {"9.jpg": b"inside"})
    ignored = {"inner.zip": inner.getvalue(), "notes.txt": b"notes", "folder.jpg/": b"", "8.jpg/notes": b""}
    hidden = {"__MACOSX/._1.jpg": b"", ".trash/9.jpg": b"", ".hidden.jpg": b""}
    pack(path, PICTURES | ignored | hidden)


def test_what_is_no_picture_does_not_count(tmp_path: Path) -> None:
    nested(tmp_path / "train.zip")
    pack(tmp_path / "train_2.zip", {"notes.txt": b"other notes"})
    pack(tmp_path / "train_3.zip", {})
    source = table(tmp_path)
    assert read(source, source.rows()) == PICTURES


def test_a_picture_without_a_row_is_named_with_its_archive(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", PICTURES)
    pack(tmp_path / "test.zip", {"90.jpg": b"", "91.jpg": b""})
    with pytest.raises(SourceError, match=r"2 files have no row in .*, first '90\.jpg' in test\.zip; add rows, or set"):
        table(tmp_path).rows()
    assert table(tmp_path, unmatched="quarantine").rows()["key"].to_list() == list(PICTURES)


def test_a_row_without_a_picture_is_named(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", PICTURES)
    (tmp_path / "4.jpg").symlink_to("nowhere")  # hides no picture in an archive
    names = PICTURES | {"6.jpg": b""}
    with pytest.raises(SourceError, match=r"1 rows have no file in .*, first '6\.jpg'; add the files"):
        table(tmp_path, names).rows()
    source = table(tmp_path, names, "quarantine")
    rows = source.rows()
    assert rows.row(5)[-3:] == (None, 0, 0)
    assert read(source, rows[:5]) == PICTURES


def test_one_name_for_two_different_pictures_is_refused_and_for_equal_ones_not(tmp_path: Path) -> None:
    pack(tmp_path / "train_1.zip", PICTURES)
    pack(tmp_path / "train_2.zip", {"3.jpg": PICTURES["3.jpg"]}, zipfile.ZIP_STORED)
    source = table(tmp_path)
    assert read(source, source.rows()) == PICTURES
    pack(tmp_path / "train_2.zip", {"3.jpg": PICTURES["3.jpg"][::-1]})
    with pytest.raises(SourceError, match=r"train_1\.zip and train_2\.zip hold different files named '3\.jpg'; remove"):
        table(tmp_path).rows()
    pack(tmp_path / "Replacements.zip", {"3.jpg": b"right"})
    assert read(source, source.rows()) == PICTURES | {"3.jpg": b"right"}
    pack(tmp_path / "replacements_2.zip", {"3.jpg": b"wrong"})
    with pytest.raises(SourceError, match=r"Replacements\.zip and replacements_2\.zip hold different files"):
        table(tmp_path).rows()
    (tmp_path / "3.jpg").write_bytes(b"loose")
    assert read(source, source.rows()) == PICTURES | {"3.jpg": b"loose"}


def test_one_name_twice_in_one_archive_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", PICTURES | {"b/1.jpg": b"another"})
    with pytest.raises(SourceError, match=r"train\.zip and train\.zip hold different files named '1\.jpg'"):
        table(tmp_path).rows()
