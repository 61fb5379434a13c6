"""Archives that attack, or are damaged: one bad picture with its reason, or one line; never other bytes."""

import io
import os
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.common.errors import SourceError, UnreadablePicture
from preprocess.sources.archives import Member, members, unpacked
from tests.conftest import SOAK
from tests.zips import PICTURES, pack, picture, read, streamed, table, zip64

CENTRAL, LOCAL = b"PK\1\2", b"PK\3\4"


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


@pytest.mark.soak
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
