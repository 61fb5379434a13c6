"""Durable files: the same functions for a local disk, S3 and Google's storage, and what a kill leaves behind."""

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from preprocess.common import files
from preprocess.common.errors import StoreError
from preprocess.common.places import Place, place

pytest_plugins = ["tests.s3"]
NAMES = (
    "plain",
    "empty",
    "deep/er/still",
    "sp ace",
    "山水/Nächtliche Straße.jpg",
    "a#b?c%20d+e",
    "*[x]",
    ".hidden",
    "back\\slash",
)
BUCKETS = {"s3": "bucket", "gs": "gs_bucket"}


@pytest.fixture(params=["local", "s3", "gs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty folder of each kind."""
    if request.param == "local":
        return tmp_path / "folder"
    return place(f"{request.getfixturevalue(BUCKETS[request.param])}/some/folder")


def content(name: str) -> bytes:
    return b"" if name == "empty" else name.encode() * 3


@pytest.fixture
def filled(folder: Place) -> Place:
    """A folder with a file of each name in NAMES, and one beside it whose name only begins the same."""
    for name in NAMES:
        files.write_bytes(folder / name, content(name))
    files.write_bytes(folder.parent / f"{folder.name}-beside", b"beside")
    return folder


def connection(path: Place) -> Any:
    """Return the fsspec file system of a place in an object store."""
    assert not isinstance(path, Path)
    return path.fs


def everything(folder: Place) -> dict[str, bytes]:
    return {name: files.read_bytes(folder / name) for name in files.list_files(folder)}


def test_what_is_written_is_read_whatever_its_name(filled: Place) -> None:
    assert everything(filled) == {name: content(name) for name in NAMES}
    assert files.list_files(filled) == {name: len(content(name)) for name in NAMES}
    assert list(files.list_files(filled)) == sorted(NAMES)


def test_a_file_is_replaced_and_read_again_at_once(filled: Place) -> None:
    before = files.list_stamped(filled)
    files.write_bytes(filled / "plain", b"something new")
    assert files.read_bytes(filled / "plain") == b"something new"
    after = files.list_stamped(filled)
    assert after["plain"][0] == len(b"something new")
    assert after.pop("plain")[1] != before.pop("plain")[1]
    assert after == before


def test_every_stamp_is_a_number_that_parquet_holds(filled: Place) -> None:
    stamps = [stamp for _, stamp in files.list_stamped(filled).values()]
    assert pl.Series(stamps, dtype=pl.Int64).min() == min(stamps) >= 0


def test_what_another_process_writes_is_listed_at_once(filled: Place) -> None:
    files.list_files(filled)
    assert not files.exists(filled / "other")
    code = "import pickle, sys; from preprocess.common.files import *; write_text(pickle.load(sys.stdin.buffer), 'x')"
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(filled / "other"), check=True)
    assert files.list_files(filled)["other"] == 1
    assert files.exists(filled / "other")


def test_json_and_text_and_tables_come_back(folder: Place) -> None:
    value = {"b": ["ü", 1.5, None], "a": {}}
    files.write_json(folder / "x.json", value)
    assert files.read_json(folder / "x.json") == value
    assert (
        files.read_bytes(folder / "x.json")
        == (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    )
    files.write_text(folder / "t", "Straße\n")
    assert files.read_bytes(folder / "t") == "Straße\n".encode()
    table = pl.DataFrame({"key": ["a", None, "山"], "n": [1, 2, 3]})
    files.write_parquet(folder / "t.parquet", table)
    assert pl.read_parquet(io.BytesIO(files.read_bytes(folder / "t.parquet"))).equals(table)
    with files.local_copy(folder / "t.parquet") as path:
        assert pl.read_parquet(path).equals(table)


def test_what_is_missing_is_a_file_not_found(filled: Place, tmp_path: Path) -> None:

    def read_copy(path: Place) -> None:
        with files.local_copy(path) as copy:
            copy.read_bytes()

    for read in (files.read_bytes, files.read_json, files.sha256_file, read_copy):
        with pytest.raises(FileNotFoundError):
            read(filled / "none")
    for target in (filled / "copy", tmp_path / "copy"):
        with pytest.raises(FileNotFoundError):
            files.link_or_copy(filled / "none", target)
        assert not files.exists(target)


def test_files_and_folders_exist_while_there_is_something(filled: Place) -> None:
    assert files.exists(filled)
    assert files.exists(filled / "deep" / "er")
    assert files.exists(filled / "empty")
    assert not files.exists(filled / "dee")
    assert not files.exists(filled / "plain" / "no")
    assert files.list_files(filled / "none") == {}
    assert files.list_files(filled / "plain") == {}  # a file is no folder


def test_damaged_json_is_a_value_error(folder: Place) -> None:
    for data in (b"{", b"\xff\xfe{"):
        files.write_bytes(folder / "x.json", data)
        with pytest.raises(ValueError, match=r"Expecting|decode"):
            files.read_json(folder / "x.json")


def test_the_sha256_is_that_of_the_bytes(folder: Place) -> None:
    for data in (b"", b"abc", bytes(range(256)) * 40_000):
        files.write_bytes(folder / "data", memoryview(data))
        assert files.sha256_file(folder / "data") == hashlib.sha256(data).hexdigest()


def test_a_local_copy_has_the_bytes_and_goes_away(filled: Place) -> None:
    for name in NAMES:
        with files.local_copy(filled / name) as path:
            assert path.read_bytes() == content(name)
    assert path.exists() == isinstance(filled, Path)


def test_a_finished_file_is_put_in_its_place(folder: Place, tmp_path: Path) -> None:
    for size in (0, 1, 6_000_000):
        local = tmp_path / "finished"
        local.write_bytes(os.urandom(size))
        files.put_file(local, folder / "new" / "place")
        assert files.read_bytes(folder / "new" / "place") == local.read_bytes()
        local.unlink()
    assert list(files.list_files(folder)) == ["new/place"]


def test_a_copy_is_a_file_of_its_own(filled: Place) -> None:
    for name in ("plain", "empty", "a#b?c%20d+e"):
        for _ in range(2):  # the second time over the first
            files.link_or_copy(filled / name, filled / "copies" / name)
        files.write_bytes(filled / name, b"other")
        assert files.read_bytes(filled / "copies" / name) == content(name)


def test_a_copy_goes_from_any_kind_of_place_to_any_other(filled: Place, bucket: str, tmp_path: Path) -> None:
    files.link_or_copy(filled / "plain", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == content("plain")
    files.link_or_copy(tmp_path / "down", place(bucket) / "up")
    files.link_or_copy(place(bucket) / "up", filled / "across")
    files.link_or_copy(filled / "plain", place(bucket) / "over")
    assert files.read_bytes(filled / "across") == files.read_bytes(place(bucket) / "over") == content("plain")


def test_a_tree_is_removed_and_nothing_beside_it(filled: Place) -> None:
    for _ in range(2):  # that it is missing is fine
        files.remove_tree(filled)
        assert files.list_files(filled) == {}
        assert not files.exists(filled)
    assert files.read_bytes(filled.parent / f"{filled.name}-beside") == b"beside"


def test_a_tree_is_renamed(filled: Place) -> None:
    before = everything(filled)
    target = filled.parent / "deeper" / "target"
    files.rename_tree(filled, target, last="plain")
    assert everything(target) == before
    assert not files.exists(filled)
    assert files.read_bytes(filled.parent / f"{filled.name}-beside") == b"beside"


def test_a_tree_that_is_not_there_is_not_renamed(filled: Place) -> None:
    target = filled.parent / "target"
    with pytest.raises(FileNotFoundError):
        files.rename_tree(filled.parent / "none", target, last="plain")


@pytest.mark.parametrize("kind", BUCKETS)
def test_a_kill_while_renaming_leaves_one_whole_tree_and_it_can_go_on(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = place(request.getfixturevalue(BUCKETS[kind]))
    names = ["deep/first", "seal.json", "zoo"]

    class Killed(BaseException):
        pass

    class Dying:
        """A file system that dies before its request number `at` that changes something."""

        def __init__(self, real: Any, at: int) -> None:
            self.real, self.at = real, at

        def __getattr__(self, name: str) -> Any:
            if name in ("cp_file", "rm_file"):
                self.at -= 1
                if self.at < 0:
                    raise Killed
            return getattr(self.real, name)

    monkeypatch.setattr("preprocess.common.objects.IN_FLIGHT", 1)
    for at in range(2 * len(names) + 1):
        source, target = bucket / f"{at}-source", bucket / f"{at}-target"
        for name in names:
            files.write_bytes(source / name, content(name))
        whole = everything(source)
        with monkeypatch.context() as patch:
            patch.setattr(type(source), "fs", Dying(connection(source), at))
            try:
                files.rename_tree(source, target, last="seal.json")
            except Killed:
                assert at < 2 * len(names)
            else:
                assert at == 2 * len(names)
        for tree in (source, target):
            assert not files.exists(tree / "seal.json") or everything(tree) == whole, at
        assert files.exists(source / "seal.json") or files.exists(target / "seal.json")
        files.rename_tree(source, target, last="seal.json")
        assert everything(target) == whole
        assert files.list_files(source) == {}


def test_a_tree_that_goes_away_loses_what_makes_it_whole_first(filled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []
    if isinstance(filled, Path):
        monkeypatch.setattr(shutil, "rmtree", lambda folder: removed.append(sorted(everything(folder))))
    else:
        monkeypatch.setattr("preprocess.common.objects.remove", lambda folder, names: removed.append(sorted(names)))
    files.remove_tree(filled, first="plain")
    assert "plain" not in removed[-1]
    assert len(removed[-1]) == len(NAMES) - 1
    assert removed[:-1] in ([], [["plain"]])


def test_free_bytes_are_those_of_the_disk_that_will_hold_it(folder: Place) -> None:
    free = files.free_bytes(folder / "not" / "yet")
    if isinstance(folder, Path):
        assert free == pytest.approx(shutil.disk_usage(folder.parent).free, rel=0.2)
    else:
        assert free is None


def test_only_a_local_folder_has_a_lock(folder: Place) -> None:
    with files.exclusive(folder, StoreError):
        if isinstance(folder, Path):
            with pytest.raises(StoreError, match="in use"), files.exclusive(folder, StoreError):
                pass
        else:
            with files.exclusive(folder, StoreError):
                assert files.list_files(folder) == {}


def test_places_go_to_other_processes_and_threads(filled: Place) -> None:
    again = pickle.loads(pickle.dumps(filled))  # noqa: S301 - our own
    assert again == filled
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: files.read_bytes(again / name), NAMES)) == [content(name) for name in NAMES]
