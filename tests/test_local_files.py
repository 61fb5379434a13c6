"""Durable files on a local disk: written aside, linked, copied where links are impossible."""

import os
from pathlib import Path

import pytest

from preprocess.common import files


def test_no_two_files_are_written_aside_under_one_name(tmp_path: Path) -> None:
    seen = set()
    for _ in range(20):
        with files.written_aside(tmp_path / "file") as aside:
            aside.write_bytes(b"")
            seen.add(aside.name)
    assert len(seen) == 20
    assert all(name.startswith(files.ASIDE) and name.endswith("-file") for name in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "old")

    def fail() -> None:
        with files.written_aside(tmp_path / "file") as aside:
            aside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert files.list_files(tmp_path) == {"file": 3}
    assert (tmp_path / "file").read_text() == "old"


def test_a_local_copy_costs_no_space_where_links_are_possible(tmp_path: Path) -> None:
    files.write_text(tmp_path / "file", "text")
    files.link_or_copy(tmp_path / "file", tmp_path / "new" / "link")
    assert (tmp_path / "file").samefile(tmp_path / "new" / "link")


def test_a_file_is_copied_where_links_are_impossible(tmp_path: Path) -> None:
    other = Path("/dev/shm", f"paintings-{os.getpid()}")  # noqa: S108 - another device
    if not other.parent.is_dir() or other.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second device")
    try:
        files.write_text(tmp_path / "file", "text")
        files.link_or_copy(tmp_path / "file", other / "copy")
        assert files.list_files(other) == {"copy": 4}
        assert (other / "copy").read_text() == "text"
    finally:
        files.remove_tree(other)


def test_links_to_folders_are_not_followed_and_dead_links_are_listed(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "file", "text")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "dead").symlink_to(tmp_path / "none")
    assert files.list_stamped(tmp_path)["a/dead"] == (0, 0)
    assert set(files.list_files(tmp_path)) == {"a/file", "a/dead"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "file", "text")
    (tmp_path / "a").chmod(0)
    with pytest.raises(PermissionError):
        files.list_files(tmp_path)
