"""Sources in files: the table of Painter by Numbers, and one folder per artist."""

import os
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from preprocess.common.errors import SourceError
from preprocess.sources.files import Folders, Table
from tests.helpers import write_table


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 8)).save(path)


def test_a_table_with_commas_quotes_lines_and_unicode_is_read_as_written(tmp_path: Path) -> None:
    rows = [
        ("b.jpg", "x", 'Hills, "blue"', "Yamato-e", "", "c.1645"),
        ("sub dir/ä.png", "y", "two\nlines", "", "abstract", "1955.0"),
        ("a.jpg", "x", "Who\u2019s Afraid of Red,  Yellow and Blue II", "", "", ""),
    ]
    touch(tmp_path, *(row[0] for row in rows))
    write_table(tmp_path / "t.csv", rows)
    read = Table(tmp_path, tmp_path / "t.csv", "error").rows()
    assert read.columns == ["key", "artist", "side", "title", "style", "genre", "date"]
    assert read.select("key", "artist", "title", "style", "genre", "date").rows() == [
        tuple(value or None for value in row) for row in rows
    ]
    assert read["side"].to_list() == [None] * 3


def test_a_table_needs_only_names_and_artists_and_may_have_blank_lines_and_a_bom(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbffilename,year,artist\r\n1.jpg,1,x\r\n\r\n2.jpg,,y\r\n\r\n")
    read = Table(tmp_path, tmp_path / "t.csv", "error").rows()
    assert read.select("key", "artist", "title").rows() == [("1.jpg", "x", None), ("2.jpg", "y", None)]


def test_the_real_table_of_painter_by_numbers_is_read(shared_data: Path) -> None:
    folder = shared_data / "painter-by-numbers"
    rows = Table(folder, folder / "train_info.csv", "quarantine").rows()
    assert len(rows) == 79_433
    assert rows["artist"].n_unique() == 1_584
    assert rows["key"].str.contains(r"^\d+\.jpg$").all()
    title = rows.filter(pl.col("key") == "62252.jpg")["title"].item()
    assert title == "Who\u2019s Afraid of Red,  Yellow and Blue II"


def test_the_real_paintings_match_their_table(shared_data: Path) -> None:
    folder = shared_data / "paintings"
    assert len(Table(folder, folder / "train_info.csv", "error").rows()) == 1_960


def test_folders_name_their_artists(tmp_path: Path) -> None:
    touch(tmp_path, "zorn/b.jpg", "zorn/deep/a.png", "Anker, Albert/c.JPG", "八大/d.webp")
    (tmp_path / "zorn/notes.txt").touch()
    touch(tmp_path, "zorn/.hidden.jpg", ".trash/e.jpg")
    (tmp_path / "zorn/folder.jpg").mkdir()
    rows = Folders(tmp_path).rows()
    assert rows.select("key", "artist").rows() == [
        ("Anker, Albert/c.JPG", "Anker, Albert"),
        ("zorn/b.jpg", "zorn"),
        ("zorn/deep/a.png", "zorn"),
        ("八大/d.webp", "八大"),
    ]


def test_a_picture_in_no_artists_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "zorn/b.jpg", "stray.jpg")
    with pytest.raises(SourceError, match=r"stray\.jpg lies in no artist's folder; move it"):
        Folders(tmp_path).rows()


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "artist"
    folder.mkdir()
    os.close(os.open(os.fsencode(folder) + b"/\xe9.jpg", os.O_CREAT))
    with pytest.raises(SourceError, match=r"\\xe9\.jpg' is not UTF-8; rename it"):
        Folders(tmp_path).rows()


def test_a_folder_that_may_not_be_listed_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "x/a.jpg", "y/b.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("y"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="y"):
        Folders(tmp_path).rows()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none is not a folder; put the pictures there"):
        Folders(tmp_path / "none")


def test_headers_are_read_and_a_missing_file_is_a_problem_not_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    source = Folders(tmp_path)
    header = source.header("a/x.png")
    assert header[:4] == ("PNG", 9, 8, "RGB")
    assert header.problem is None
    assert source.stamp("a/x.png")[0] == (tmp_path / "a/x.png").stat().st_size
    for key in ("a/none.png", "a/x.png/inside.png", "a"):
        assert source.header(key).problem == "no such file"
    assert source.stamp("a/none.png") == source.stamp("a/x.png/inside.png") == (0, 0)
