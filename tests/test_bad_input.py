"""What a user gets wrong: one line that names the file, row or key and the remedy, status 2, nothing half-written."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from preprocess.check import check_store
from preprocess.common.config import load_config
from preprocess.common.errors import StoreError
from preprocess.common.files import exclusive
from preprocess.store import Store, current_store
from tests.conftest import ROOT
from tests.helpers import ARTISTS, collection, command, contents, raiser, smooth, write_config, write_table

Usage = namedtuple("Usage", "total used free")
TABLE = "pictures/train_info.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a config.yaml and its pictures, as they should be."""
    collection(tmp_path / "pictures")
    write_config(tmp_path)
    return tmp_path


def edit(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], object]:
    """Return what changes the table in a folder."""
    return lambda folder: change(pl.read_csv(folder / TABLE, infer_schema=False)).write_csv(folder / TABLE)


def cell(row: int, **values: str) -> Callable[[Path], object]:
    """Return what puts values into one row of the table, counted from 1."""
    here = pl.int_range(1, pl.len() + 1) == row
    return edit(
        lambda table: table.with_columns(
            pl.when(here).then(pl.lit(value)).otherwise(name).alias(name) for name, value in values.items()
        )
    )


def replace(name: str, data: bytes) -> Callable[[Path], object]:
    """Return what writes a file below a folder."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return write


def table_is_a_folder(folder: Path) -> None:
    (folder / TABLE).unlink()
    (folder / TABLE).mkdir()


MISTAKES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing table": (lambda folder: (folder / TABLE).unlink(), ["train_info.csv does not exist", "source.table"]),
    "table is a folder": (
        table_is_a_folder,
        ["train_info.csv does not exist", "source.table"],
    ),
    "missing folder": (lambda folder: shutil.rmtree(folder / "pictures"), ["pictures is not a folder", "source.path"]),
    "missing column": (edit(lambda table: table.drop("artist")), [TABLE, "no column 'artist'", "filename,title"]),
    "semicolons": (replace(TABLE, b"filename;artist\na;b\n"), [TABLE, "no column 'filename'", "filename;artist"]),
    "ragged table": (replace(TABLE, b"filename,artist\na,b,c\n"), [TABLE, "not a UTF-8 CSV table", "more fields"]),
    "latin-1 table": (replace(TABLE, b"filename,artist\na,\xe9\n"), [TABLE, "not a UTF-8 CSV table"]),
    "empty table": (replace(TABLE, b""), [TABLE, "not a UTF-8 CSV table", "empty"]),
    "picture as table": (replace(TABLE, b"\x89PNG\r\n\x1a\n"), [TABLE]),
    "row without a file": (
        lambda folder: (folder / "pictures/05.png").unlink(),
        [TABLE, "1 rows have no file", "'05.png'", "source.unmatched: quarantine"],
    ),
    "file without a row": (
        lambda folder: smooth(0, 9, 9).save(folder / "pictures/extra.png"),
        [TABLE, "1 files have no row", "'extra.png'", "source.unmatched: quarantine"],
    ),
    "duplicate": (cell(6, filename="00.jpg"), [TABLE, "'00.jpg' stands in more than one row", "remove all but one"]),
    "path upwards": (cell(6, filename="../x.jpg"), [TABLE, "row 6", "'../x.jpg'", "name a file below"]),
    "hidden path upwards": (cell(6, filename="a/../../x.jpg"), ["row 6", "'a/../../x.jpg'"]),
    "absolute path": (cell(2, filename="/etc/x.jpg"), [TABLE, "row 2", "'/etc/x.jpg'", "name a file below"]),
    "backslash": (cell(2, filename="a\\x.jpg"), ["row 2", "forward slashes"]),
    "second spelling": (cell(2, filename="./02.jpg"), ["row 2", "'./02.jpg'"]),
    "nul in a name": (cell(2, filename="a\0.jpg"), ["row 2"]),
    "name too long": (cell(2, filename="x" * 300), ["row 2"]),
    "empty artist": (cell(7, artist=""), [TABLE, "row 7 has no artist", "fill it in or remove the row"]),
    "blank artist": (cell(7, artist="  "), [TABLE, "row 7 has no artist"]),
    "empty filename": (cell(7, filename=""), [TABLE, "row 7 has no filename"]),
    "one artist": (edit(lambda table: table.with_columns(artist=pl.lit("x"))), ["pictures", "'x'", "second artist"]),
    "collection is a file": (
        replace("stores/pictures", b""),
        ["stores/pictures: exists and is no folder", "move it away"],
    ),
    "stores is a file": (replace("stores", b""), ["stores", "choose another folder"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("verb", ["manifest", "store"])
def test_a_mistake_is_one_line_and_nothing_is_written(verb: str, mistake: str, folder: Path) -> None:
    spoil, expected = MISTAKES[mistake]
    spoil(folder)
    before = contents(folder)
    answer = command(verb, "--config", folder / "config.yaml")
    for words in expected:
        assert words in answer.complaint
    assert answer.err == answer.complaint + "\n"
    assert answer.out == ""
    assert contents(folder) == before


def test_no_pictures_at_all_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    answer = command("manifest", "--config", write_config(tmp_path, source={"kind": "folders"}))
    assert "holds no pictures; check source.kind and source.path" in answer.complaint


def test_a_table_of_headers_only_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    write_table(tmp_path / TABLE, [])
    assert "holds no pictures" in command("manifest", "--config", write_config(tmp_path)).complaint


def test_unmatched_rows_and_files_are_quarantined_when_asked(folder: Path) -> None:
    (folder / "pictures/05.png").unlink()
    smooth(0, 9, 9).save(folder / "pictures/extra.png")
    path = write_config(folder, source={"unmatched": "quarantine"})
    answer = command("store", "--config", path)
    assert answer.status == 0
    assert "17 of 20 pictures" in answer.out
    assert "1 quarantined: no such file" in answer.out


def test_a_collection_in_use_is_one_line(folder: Path) -> None:
    for verb in ("manifest", "store"):
        with exclusive(folder / "stores/pictures", StoreError):
            answer = command(verb, "--config", folder / "config.yaml")
        assert f"{folder / 'stores/pictures'} is in use by another process; wait for it" in answer.complaint
        assert answer.err == answer.complaint + "\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_the_manifest_is_one_line(code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)
    monkeypatch.setattr(os, "fsync", raiser(OSError(code, os.strerror(code))))
    answer = command("manifest", "--config", folder / "config.yaml")
    assert f"{folder / 'stores/pictures/manifest.parquet'}: " in answer.complaint
    assert contents(folder) == before
    monkeypatch.undo()
    assert command("manifest", "--config", folder / "config.yaml").status == 0


FORBIDDEN = """
import errno, io
real = io.open
def refuse(path, *arguments, **options):
    if str(path).endswith("05.png"):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return real(path, *arguments, **options)
io.open = refuse
"""


def test_a_picture_that_may_not_be_read_is_one_line_with_its_name(folder: Path) -> None:
    """Whoever reads it; nothing is quarantined for a fault of the machine."""
    (folder / "sitecustomize.py").write_text(FORBIDDEN)  # nothing is forbidden to root, so Python has to refuse
    answer = subprocess.run(
        [sys.executable, "-m", "preprocess", "store", "--config", folder / "config.yaml"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert answer.returncode == 2
    assert answer.stderr.splitlines()[-1].startswith(f"error: {folder / 'pictures/05.png'}: no permission")
    assert not (folder / "stores/pictures/CURRENT").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up_is_one_line_and_the_build_goes_on_with_more_room(
    folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, built: Store
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**9))  # as if others wrote meanwhile
    arguments = ("store", "--config", folder / "config.yaml", "--set", f"stores={small_disk}")
    answer = command(*arguments)
    assert f"error: {small_disk / 'pictures'}/" in answer.complaint
    assert "the disk is full; free some space and run again: what is done is kept" in answer.complaint
    assert not list(small_disk.rglob(".aside-*"))
    subprocess.run(["mount", "-o", "remount,size=10m", small_disk], check=True)
    assert command(*arguments).status == 0
    store = current_store(small_disk / "pictures")
    assert store.fingerprint == built.fingerprint
    assert check_store(store) == []


def test_a_damaged_store_is_one_line_after_what_is_damaged(built: Store, folder: Path) -> None:
    shutil.copytree(built.path.parent, folder / "stores/pictures", dirs_exist_ok=True)
    copy = folder / "stores/pictures" / built.fingerprint
    assert command("check-store", "--config", folder / "config.yaml").out.startswith("check-store: ")
    (copy / "images_40/c/1/0/0/0").write_bytes(b"")
    answer = command("check-store", "--config", folder / "config.yaml")
    assert answer.out == "images_40/c/1/0/0/0: changed (rows 5 to 9)\n"
    assert "1 files differ from the seal; run 'python -m preprocess repair'" in answer.complaint
    answer = command("sheet", "--config", folder / "config.yaml", "--out", folder / "sheet.png")
    assert re.search("row [5-9] of .* is damaged", answer.complaint)
    assert not (folder / "sheet.png").exists()
    for verb in ("check-store", "sheet"):
        (copy / "seal.json").write_text("{}")
        assert "seal.json does not match its fingerprint" in command(verb, "--config", folder / "config.yaml").complaint


def test_no_store_yet_is_one_line(folder: Path) -> None:
    for verb in ("check-store", "sheet"):
        answer = command(verb, "--config", folder / "config.yaml")
        assert f"{folder / 'stores/pictures'} has no store yet; run 'make store'" in answer.complaint


def test_a_store_of_nothing_but_unreadable_pictures_is_made_and_says_so(tmp_path: Path) -> None:
    for artist in ARTISTS[:2]:
        (tmp_path / "pictures" / artist).mkdir(parents=True)
        (tmp_path / "pictures" / artist / "x.png").write_text("no picture")
    path = write_config(tmp_path, source={"kind": "folders"})
    answer = command("store", "--config", path)
    assert answer.out.startswith("store: 0 of 2 pictures")
    assert current_store(load_config(path).store_folder).rows.schema["phash"] == pl.String
    assert "holds no stored picture" in command("sheet", "--config", path).complaint
