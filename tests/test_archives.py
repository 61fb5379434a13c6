"""Pictures in zip archives: read in place, in Kaggle's own arrangement, and from archives that attack."""

import io
import os
import pickle
import random
import stat
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import polars as pl
import pytest

from preprocess.common.config import load_config
from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources import make_source
from preprocess.sources.archives import CHUNK, Member, members, unpacked
from preprocess.sources.files import Table
from tests.helpers import contents, write_config, write_table

SOAK = int(os.environ.get("SOAK", "1"))
Files = Mapping[str, bytes]
CENTRAL, LOCAL = b"PK\1\2", b"PK\3\4"


def picture(seed: int, size: int = 3000) -> bytes:
    """Return bytes that deflate, but not to nothing."""
    return bytes(random.Random(seed).choices(range(64), k=size))


PICTURES = {f"{number}.jpg": picture(number) for number in range(1, 6)}
"""What the archives of most tests hold, by the names in the table."""


def pack(target: Path | IO[bytes], files: Files, method: int = zipfile.ZIP_DEFLATED, folder: str = "train/") -> None:
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)


def table(folder: Path, names: Mapping[str, object] = PICTURES, unmatched: str = "error") -> Table:
    """Return the source of the archives in a folder, and of the table, written here, that names pictures in them."""
    write_table(folder / "train_info.csv", [(name, "x") for name in names], "filename,artist")
    return Table(folder, folder / "train_info.csv", unmatched)


def read(source: Table, rows: pl.DataFrame) -> dict[str, bytes | str]:
    """Return for each row the bytes of its picture, or why there are none; checks that nothing is left behind."""
    found: dict[str, bytes | str] = {}
    for key, place in rows.select("key", "place").iter_rows():
        path = None
        try:
            with source.fetch(place or "") as path:
                found[key] = path.read_bytes()
        except UnreadablePicture as error:
            found[key] = str(error)
        assert path is None or path.parent == source.folder or not path.exists()
    return found


def change(path: Path, old: bytes, new: bytes, *, last: bool = False) -> None:
    """Put other bytes of the same number into a file, in the place of the first or the last that are so."""
    data = path.read_bytes()
    start = data.rindex(old) if last else data.index(old)
    path.write_bytes(data[:start] + new + data[start + len(old) :])


def patch(path: Path, signature: bytes, offset: int, layout: str, value: int) -> None:
    """Change one number in the first header of a kind."""
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{layout}", data, data.index(signature) + offset, value)
    path.write_bytes(data)


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


class OneWay(io.BytesIO):
    """A pipe: sizes and CRC can only be written after the data."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def streamed(path: Path) -> None:
    pipe = OneWay()
    pack(pipe, PICTURES)
    path.write_bytes(pipe.getvalue())


def zip64(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in PICTURES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)


def beyond_4_gb(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)  # a hole, which takes no room
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)


def described(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"PK\1\2 a comment"
        for name, data in PICTURES.items():
            info = zipfile.ZipInfo(f"./deep/er/{name}")
            info.extra, info.comment = struct.pack("<HH8x", 0x9999, 8), b"PK\3\4"
            archive.writestr(info, data)


def shuffled(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)
        archive.filelist.reverse()


def after_a_program(path: Path) -> None:
    buffer = io.BytesIO()
    pack(buffer, PICTURES)
    path.write_bytes(b"#!/bin/sh\nexit\n" + buffer.getvalue())


def other_packer(path: Path) -> None:
    for name, data in PICTURES.items():
        (path.parent / "train").mkdir(exist_ok=True)
        (path.parent / "train" / name).write_bytes(data)
    subprocess.run(["zip", "-qmr", path, "train"], cwd=path.parent, check=True)


WRITERS: list[Callable[[Path], None]] = [
    lambda path: pack(path, PICTURES), lambda path: pack(path, PICTURES, zipfile.ZIP_STORED),
    streamed, zip64, beyond_4_gb, described, shuffled, after_a_program, other_packer,
]  # fmt: skip


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
    start = data.index(CENTRAL)
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


def test_a_place_that_was_tampered_with_gives_no_other_bytes(tmp_path: Path) -> None:
    pack(tmp_path / "train.zip", PICTURES, zipfile.ZIP_STORED)
    with zipfile.ZipFile(tmp_path / "train.zip", "a") as archive:
        archive.comment = LOCAL
    source = table(tmp_path)
    member = Member.parsed(source.rows()["place"][2])
    assert member
    others = (*range(0, 20_000, 997), member.whole - len(LOCAL), 10**17, 2**32 + 1)
    for field in ("offset", "packed", "size", "crc", "method"):
        for value in others:
            changed = member._replace(**{field: value})
            if changed != member:
                with pytest.raises(UnreadablePicture), source.fetch(changed.place):
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


def encrypted(path: Path) -> None:
    patch(path, LOCAL, 6, "H", 1)
    patch(path, CENTRAL, 8, "H", 1)


def linked(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("1.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        for name in list(PICTURES)[1:]:
            archive.writestr(name, PICTURES[name])


def bomb(path: Path) -> None:
    pack(path, PICTURES | {"1.jpg": picture(1) * 1000})
    patch(path, CENTRAL, 24, "L", 70_000)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "encrypted": (encrypted, "encrypted in its archive"),
    "bzip2": (lambda path: pack(path, PICTURES, zipfile.ZIP_BZIP2), "packed with method 12 of zip; pack it"),
    "lzma": (lambda path: pack(path, PICTURES, zipfile.ZIP_LZMA), "packed with method 14 of zip"),
    "link": (linked, "a symbolic link in an archive"),
    "wrong CRC": (lambda path: patch(path, CENTRAL, 16, "L", 7), "damaged in its archive: its CRC-32 is another"),
    "bomb": (bomb, "unpacks to more than the 70000 bytes it declares"),
    "shorter": (lambda path: patch(path, CENTRAL, 24, "L", 3001), "ends after 3000 of 3001 bytes"),
    "cut": (lambda path: patch(path, CENTRAL, 20, "L", 100), "damaged in its archive: it ends after"),
    "not deflated": (lambda path: patch(path, CENTRAL, 10, "H", 0), "damaged in its archive: it ends after"),
    "other method": (lambda path: patch(path, CENTRAL, 10, "H", 99), "packed with method 99"),
    "no deflate": (lambda path: patch(path, LOCAL, 26, "H", 5), "damaged in its archive: it does not unpack"),
    "no header": (lambda path: change(path, LOCAL, b"PK\3\5"), "it does not begin where the directory says"),
    "4 GB": (lambda path: patch(path, CENTRAL, 24, "L", 2**32 - 2), "times its size, as no picture does"),
    "ratio": (lambda path: pack(path, PICTURES | {"1.jpg": bytes(5_000_000)}), "more than 1000 times its size"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_member_is_one_bad_picture_with_its_reason(damage: str, tmp_path: Path) -> None:
    spoil, reason = DAMAGES[damage]
    pack(tmp_path / "train.zip", PICTURES)
    spoil(tmp_path / "train.zip")
    source = table(tmp_path)
    rows = source.rows()
    found = read(source, rows)
    assert reason in str(found["1.jpg"])
    assert "/" not in str(found["1.jpg"])
    assert source.stamp(rows["place"][0]) == rows.row(0)[-2:]
    if damage not in ("bzip2", "lzma"):  # which all members are
        assert found == PICTURES | {"1.jpg": found["1.jpg"]}


def test_a_declared_size_that_fits_no_column_is_one_bad_picture(tmp_path: Path) -> None:
    zip64(tmp_path / "train.zip")
    for size in (2**64 - 1, 2**63, 2**32 + 1):
        with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
            archive.writestr("1.jpg", b"x")
            archive.filelist[0].file_size = size
        source = table(tmp_path, {"1.jpg": b""})
        assert read(source, source.rows())["1.jpg"] == "declares more than 4294967296 bytes, as no picture does"


def test_a_bomb_is_given_up_before_it_has_taken_more_room_than_it_declares(tmp_path: Path) -> None:
    bomb(tmp_path / "train.zip")
    (_, member), *_ = members(tmp_path, "train.zip")
    written = io.BytesIO()
    with pytest.raises(UnreadablePicture, match="unpacks to more"):
        written.writelines(unpacked(tmp_path / "train.zip", member))
    assert written.tell() <= 70_000


def overlapping(path: Path) -> None:
    """Two names for one member, as in the bombs of David Fifield."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)
        archive.filelist[4].header_offset = archive.filelist[3].header_offset


def quoting(path: Path) -> None:
    """A member whose data are another member, header and all."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in PICTURES.items():
            archive.writestr(name, data)
        archive.filelist[3].compress_size += 35 + len(PICTURES["5.jpg"])
        archive.filelist[3].file_size = archive.filelist[3].compress_size


def into_the_directory(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.jpg", b"x")
        archive.filelist[0].compress_size += 40


def containing(name: str) -> Callable[[Path], object]:
    """Return what writes an archive with a member that has a name as long as this one's."""

    def write(path: Path) -> None:
        stand_in = "q" * len(name)
        pack(path, PICTURES | {stand_in: b"x"}, folder="")
        change(path, stand_in.encode(), name.encode())
        change(path, stand_in.encode(), name.encode(), last=True)

    return write


def cut(start: int, end: int | None) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[start:end])


def no_text(path: Path) -> None:
    pack(path, PICTURES | {"\u00e4.jpg": b"x"})
    change(path, "\u00e4".encode(), b"\xff\xff", last=True)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("none")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


UNSAFE = ("/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "a/..", "C:/x.jpg", "c:x.jpg", "a\\x.jpg", "x\0.jpg")
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is not a whole zip archive"),
    "no archive": (lambda path: path.write_text("<html>log in first</html>" * 99), "is not a whole zip archive"),
    "half": (cut(0, 6000), "is not a whole zip archive (File is not a zip file); download it again"),
    "without its end": (cut(0, -1), "is not a whole zip archive"),
    "without its start": (cut(100, None), "lies over another or outside"),
    "overlapping": (overlapping, "'4.jpg' lies over another or outside, as in a zip bomb; download it again"),
    "quoting": (quoting, "'4.jpg' lies over another or outside"),
    "over the directory": (into_the_directory, "'1.jpg' lies over another or outside"),
    "unknown version": (lambda path: patch(path, CENTRAL, 6, "H", 99), "is not a whole zip archive"),
    "unknown directory": (lambda path: change(path, CENTRAL, b"PK\1\3"), "is not a whole zip archive"),
    "broken extra": (lambda path: patch(path, CENTRAL, 30, "H", 9), "is not a whole zip archive"),
    "no text": (no_text, "is not a whole zip archive"),
    "broken link": (broken_link, "is no file; put the archive there"),
    "fifo": (fifo, "is no file; put the archive there"),
    **{
        f"name {name!r}": (containing(name), f"holds a member named {name!r}, which leads elsewhere; pack it anew")
        for name in UNSAFE
    },
}  # fmt: skip


@pytest.mark.parametrize("damage", REFUSED)
@pytest.mark.parametrize("unmatched", ["error", "quarantine"])
def test_a_bad_archive_is_one_line_with_its_name_and_the_remedy(unmatched: str, damage: str, tmp_path: Path) -> None:
    spoil, message = REFUSED[damage]
    pack(tmp_path / "train.zip", PICTURES)
    spoil(tmp_path / "train.zip")
    with pytest.raises(SourceError) as caught:
        table(tmp_path, unmatched=unmatched).rows()
    assert str(caught.value).startswith(str(tmp_path / "train.zip"))
    assert message in str(caught.value)


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes anywhere, mostly in the headers, or cut something out."""
    changed = bytearray(data)
    start = 0 if rng.random() < 0.4 else data.index(CENTRAL)
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        changed[rng.randrange(start, len(data))] = rng.choice([0, 1, 255, rng.randrange(256)])
    if rng.random() < 0.1:
        hole = rng.randrange(len(data))
        del changed[hole : hole + rng.randrange(1, 200)]
    return bytes(changed)


@pytest.mark.parametrize("write", [lambda path: pack(path, PICTURES), zip64, streamed])
def test_a_damaged_archive_gives_the_right_bytes_or_says_what_is_wrong(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    rng = random.Random(0)
    write(tmp_path / "train.zip")
    whole = (tmp_path / "train.zip").read_bytes()
    source = table(tmp_path, unmatched="quarantine")
    refused: list[str] = []
    found: list[tuple[str, bytes | str]] = []
    for _ in range(SOAK * 200):
        (tmp_path / "train.zip").write_bytes(mutant(whole, rng))
        try:
            found += read(source, source.rows()).items()
        except SourceError as error:
            refused.append(str(error))
    assert all(message.startswith(str(tmp_path)) for message in refused)
    right = [data == PICTURES[name] for name, data in found if isinstance(data, bytes)]
    assert all(right)
    assert min(len(refused), len(right), len(found) - len(right)) > 20
