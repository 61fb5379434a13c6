"""Sources in files: the table of Painter by Numbers, and one folder per artist."""

import errno
import os
import pickle
import socket
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from preprocess.common.config import load_config
from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources import make_source
from preprocess.sources.base import COLUMNS, STAMPS, temporary
from preprocess.sources.files import Folders, Table
from tests.helpers import write_config, write_table


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
    assert read.columns == ["key", "artist", "side", "title", "style", "genre", "date", "place", "bytes", "stamp"]
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
    assert rows.select(*STAMPS).unique().rows() == [(None, 0, 0)]
    title = rows.filter(pl.col("key") == "62252.jpg")["title"].item()
    assert title == "Who\u2019s Afraid of Red,  Yellow and Blue II"


def test_the_real_paintings_match_their_table(shared_data: Path) -> None:
    folder = shared_data / "paintings"
    rows = Table(folder, folder / "train_info.csv", "error").rows()
    assert len(rows) == 1_960
    assert rows["place"].equals(rows["key"])


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


def stamps(rows: pl.DataFrame) -> list[tuple[object, ...]]:
    return rows.select("key", *STAMPS).rows()


def test_a_row_says_where_the_file_is_how_large_and_how_old(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png", "a/y.png")
    os.utime(tmp_path / "a/x.png", ns=(1, 1_234_567_890_123_456_789))
    source = Folders(tmp_path)
    rows = source.rows()
    assert rows.schema == pl.Schema({**dict.fromkeys(COLUMNS, pl.String), **STAMPS})
    assert rows.row(0)[-3:] == ("a/x.png", (tmp_path / "a/x.png").stat().st_size, 1_234_567_890_123_456_789)
    assert [source.stamp(place) for place in rows["place"]] == rows.select("bytes", "stamp").rows()
    (tmp_path / "a/x.png").write_bytes(b"changed")
    assert source.stamp("a/x.png") == (7, (tmp_path / "a/x.png").stat().st_mtime_ns)
    assert source.stamp("a/y.png") == rows.row(1)[-2:]


def odd_files(folder: Path) -> tuple[str, ...]:
    """Make what is named like a picture and is no file; return the names of those that a listing shows."""
    (folder / "folder.jpg").mkdir()
    (folder / "to a folder.jpg").symlink_to(folder)
    os.mkfifo(folder / "fifo.jpg")
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.jpg"))
    return ("broken.jpg", "fifo.jpg", "loop.jpg", "socket.jpg")


def test_what_is_no_file_has_no_place_and_is_never_opened(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    (tmp_path / "a/link.png").symlink_to("x.png")
    shown = odd_files(tmp_path / "a")
    source = Folders(tmp_path)
    rows = source.rows()
    assert [row[0] for row in stamps(rows) if row[1:] == (None, 0, 0)] == [f"a/{name}" for name in shown]
    assert rows.filter(key="a/link.png").row(0)[-3:] == ("a/link.png", *source.stamp("a/x.png"))
    assert rows["key"].len() == len(shown) + 2
    for name in (*shown, "folder.jpg", "none.jpg", "x.png/inside.png", "x" * 300, "."):
        assert source.stamp(f"a/{name}") == (0, 0)
        with pytest.raises(UnreadablePicture, match=r"^no such file$"), source.fetch(f"a/{name}"):
            pass


def test_a_row_of_the_table_whose_file_is_none_has_no_file(tmp_path: Path) -> None:
    touch(tmp_path, "x.png")
    (tmp_path / "link.png").symlink_to("x.png")
    shown = odd_files(tmp_path)
    names = ("x.png", "link.png", *shown, "folder.jpg", "to a folder.jpg")
    write_table(tmp_path / "t.csv", [(name, "a") for name in names], "filename,artist")
    rows = Table(tmp_path, tmp_path / "t.csv", "quarantine").rows()
    assert [row[0] for row in stamps(rows) if row[1:] == (None, 0, 0)] == [*names[2:]]
    with pytest.raises(SourceError, match=r"6 rows have no file in .*, first 'broken\.jpg'; add the files"):
        Table(tmp_path, tmp_path / "t.csv", "error").rows()


def test_the_table_may_name_files_that_no_listing_shows(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden/x.png", "far/y.png")
    (tmp_path / "linked").symlink_to("far")
    (tmp_path / "far/y.png").rename(tmp_path / "far/scan")
    write_table(tmp_path / "t.csv", [(".hidden/x.png", "a"), ("linked/scan", "b")], "filename,artist")
    source = Table(tmp_path, tmp_path / "t.csv", "error")
    for row in source.rows().iter_rows(named=True):
        with source.fetch(row["place"]) as path:
            assert path == tmp_path / row["key"]
            assert (path.stat().st_size, path.stat().st_mtime_ns) == (row["bytes"], row["stamp"])


def test_a_fetched_picture_is_the_file_itself(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png", "a/back\\slash: 100%.png")
    source = Folders(tmp_path)
    for place in source.rows()["place"]:
        with source.fetch(place) as path:
            assert path == tmp_path / place
        assert path.is_file()


@pytest.mark.parametrize("place", ["../secret.png", "a/../../secret.png", "/etc/hostname", "{}/secret.png", "a\0.png"])
def test_no_place_leads_out_of_the_folder(place: str, tmp_path: Path) -> None:
    touch(tmp_path, "secret.png", "pictures/a/x.png")
    source = Folders(tmp_path / "pictures")
    place = place.format(tmp_path)
    assert source.stamp(place) == (0, 0)
    with pytest.raises(UnreadablePicture, match=r"^no such file$"), source.fetch(place):
        pass


def test_a_source_that_has_listed_its_rows_is_small_and_travels(tmp_path: Path) -> None:
    touch(tmp_path / "pictures", *(f"{index}.png" for index in range(300)))
    table = tmp_path / "train_info.csv"
    write_table(table, [(f"{index}.png", "a") for index in range(300)], "filename,artist")
    source = make_source(load_config(write_config(tmp_path)))
    rows = source.rows()
    pickled = pickle.dumps(source)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).stamp("7.png") == rows.row(7)[-2:]  # noqa: S301 - our own


def test_a_temporary_file_is_gone_afterwards_and_names_itself_where_it_cannot_be_written() -> None:
    with temporary([b"ab", b"", b"c"]) as path:
        assert path.read_bytes() == b"abc"
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), temporary([b"ab"]) as path:
        1 / 0  # noqa: B018
    assert not path.exists()

    def full() -> Iterable[bytes]:
        yield b"ab"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="painting-") as caught, temporary(full()):
        pass
    assert not Path(caught.value.filename).exists()
