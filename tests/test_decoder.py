"""The decoder's child: what it answers, from where it starts, and within what memory."""

import os
import re
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from preprocess.common.errors import UnreadablePicture
from preprocess.decoder import Decoder, Undecodable
from preprocess.gallery.files import encode
from preprocess.gallery.plan import SHARES
from preprocess.images import FORMATS, make_squares, open_picture
from preprocess.shard import MOST_BYTES, Asked, batches
from tests.conftest import ROOT
from tests.decoders import ENOUGH, PROGRAM, assert_decodes, picture, pid, pid_after, refusal
from tests.helpers import encoded, smooth

KINDS = [*SHARES, "plain"]
NAMES = {"unicode": "Été à la mer 冬.jpg", "plain": os.fsdecode(b"\xff not UTF-8.jpg")}


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder([48, 16], "crop", 400, ENOUGH) as decoder:
        yield decoder


@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
def test_a_child_makes_the_squares_that_are_made_without_one(square: str, tmp_path: Path) -> None:
    with Decoder([256, 16, 1, 100], square, 400, ENOUGH) as decoder:
        for number, kind in enumerate(KINDS):
            if kind == "text" or (kind == "giant" and square != "crop"):
                continue  # no picture; and 100 megapixels once are enough
            path = tmp_path / NAMES.get(kind, f"{kind}.jpg")
            path.write_bytes(encode(kind, smooth(number, 400, 290), np.random.default_rng(number)))
            if kind == "truncated":
                assert refusal(decoder, path).startswith("OSError: image file is truncated")
            else:
                assert_decodes(decoder, path)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_allowed_format_is_decoded_by_one_warm_child(kind: str, decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(smooth(2, 90, 60), kind).getvalue())
    pids = set()
    for _ in range(20):
        assert_decodes(decoder, path)
        pids.add(pid(decoder))
    assert len(pids) == 1


def test_a_refusal_carries_what_the_header_says(decoder: Decoder, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(encoded(smooth(1, 90, 60)).getvalue()[:2000])
    with pytest.raises(Undecodable, match="truncated") as caught:
        decoder.decode(cut)
    assert caught.value.header == ("PNG", 90, 60, "RGB", None)
    with pytest.raises(Undecodable) as caught:
        decoder.decode(tmp_path / "none.png")
    assert caught.value.header == (None, 0, 0, None, None)


def test_reasons_are_those_given_without_a_child(tmp_path: Path) -> None:
    broken = encoded(smooth(1, 90, 60)).getvalue()
    files = {
        "cut": broken[:2000], "text": b"no picture", "empty": b"", "flipped": broken[:60] + b"\0" + broken[61:],
        "large": encoded(Image.new("1", (1000, 1000))).read(), "float": encoded(Image.new("F", (9, 9)), "TIFF").read(),
    }  # fmt: skip
    with Decoder([16], "crop", 0.5, ENOUGH) as decoder:
        for name, data in files.items():
            path = tmp_path / name
            path.write_bytes(data)
            with pytest.raises(UnreadablePicture) as caught, open_picture(path) as image:
                make_squares(image, [16], "crop", 0.5)
            assert refusal(decoder, path) == str(caught.value)
            assert str(tmp_path) not in str(caught.value)
        assert refusal(decoder, tmp_path / "none") == "no such file"
        assert refusal(decoder, tmp_path) == "no such file"


def test_a_lenient_request_shows_what_is_there_of_a_truncated_picture(decoder: Decoder, tmp_path: Path) -> None:
    for name, kind in {"a.jpg": "JPEG", "b.png": "PNG"}.items():
        whole = encoded(smooth(3, 300, 300), kind).getvalue()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        strict = refusal(decoder, tmp_path / name)
        shown = decoder.decode(tmp_path / name, lenient=True).squares.pixels[48]
        assert shown[:12].std() > 5
        assert shown[-6:].std() < 5
        assert refusal(decoder, tmp_path / name) == strict


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"kind": "JPEG", "progressive": True}),
        ("CMYK", {"kind": "JPEG", "progressive": True}),
        ("RGB", {"kind": "PNG"}),
        ("RGBA", {"kind": "PNG"}),
        ("P", {"kind": "PNG"}),
        ("L", {"kind": "GIF"}),
        ("RGB", {"kind": "WEBP", "lossless": True, "method": 0}),
        ("RGBA", {"kind": "WEBP"}),
        ("RGB", {"kind": "TIFF", "compression": "tiff_lzw"}),
        ("RGB", {"kind": "BMP"}),
        ("RGB", {"kind": "JPEG2000"}),
        ("RGBA", {"kind": "AVIF", "speed": 10}),
    ],
)
def test_a_picture_that_needs_more_memory_than_there_is_is_refused_with_the_numbers(
    mode: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    image = smooth(4, 1600, 1500).convert("RGB" if mode == "RGBA" else mode)
    if mode == "RGBA":
        image.putalpha(200)
    path.write_bytes(encoded(image, **options).getvalue())
    with Decoder([64], "crop", 400, 42_000_000) as decoder:
        pattern = r"needs (\d+) MB to decode, more than the 42 MB that preprocess.memory_per_worker leaves"
        found = re.fullmatch(pattern, refusal(decoder, path))
        assert decoder.peak < 42_000_000
    assert found
    needed = int(found[1]) * 10**6
    with Decoder([64], "crop", 400, needed - 10**6) as decoder:
        assert refusal(decoder, path).startswith(f"needs {found[1]} MB")
    with Decoder([64], "crop", 400, needed) as decoder:  # what the estimate lets pass stays within it
        assert_decodes(decoder, path)
        assert decoder.peak < needed


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM"}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_that_cannot_even_be_opened_is_refused_with_the_numbers(
    mode: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    path.write_bytes(encoded(Image.new(mode, (4001, 2999), (9, 8, 7)), "WEBP", **options).getvalue())
    with Decoder([64], "crop", 400, 80_000_000) as decoder, pytest.raises(Undecodable, match="needs") as caught:
        decoder.decode(path)
    with Image.open(path) as image:
        assert caught.value.header == (image.format, image.width, image.height, image.mode, None)
    with Decoder([64], "crop", 5, 80_000_000) as decoder:
        assert refusal(decoder, path) == "12 megapixels, more than preprocess.max_megapixels = 5"


def test_a_child_starts_from_a_wheel_and_from_any_folder(tmp_path: Path) -> None:
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for source in (ROOT / "preprocess").rglob("*.py"):
            file.write(source, source.relative_to(ROOT))
    (tmp_path / "json.py").write_text("raise ImportError")  # of the folder it is started in, not the library's
    picture(tmp_path)
    program = f"import sys; sys.path.insert(0, {str(wheel)!r})\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "good.jpg"],
        input="\n", capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stderr == ""
    assert float(done.stdout) > 0


def test_ctrl_c_is_for_the_parent(decoder: Decoder, tmp_path: Path) -> None:
    first = pid_after(decoder, picture(tmp_path))
    os.kill(first, signal.SIGINT)
    assert pid_after(decoder, picture(tmp_path)) == first


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of other processes")
def test_a_child_dies_before_its_parent_where_memory_is_short_and_leaves_no_core(
    decoder: Decoder, tmp_path: Path
) -> None:
    child = pid_after(decoder, picture(tmp_path))
    assert Path(f"/proc/{child}/oom_score_adj").read_text() == "1000\n"
    assert resource.prlimit(child, resource.RLIMIT_CORE) == (0, 0)


def test_a_relative_path_starts_where_the_parent_is(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_decodes(decoder, picture(tmp_path))
    (tmp_path / "below").mkdir()
    smooth(8, 70, 70).save(tmp_path / "below/good.jpg")
    monkeypatch.chdir(tmp_path / "below")
    assert_decodes(decoder, Path("good.jpg"))


def test_closing_ends_the_child_and_the_next_picture_starts_another(decoder: Decoder, tmp_path: Path) -> None:
    first = pid_after(decoder, picture(tmp_path))
    decoder.close()
    assert not psutil.pid_exists(first)
    assert_decodes(decoder, picture(tmp_path))


@given(st.lists(st.integers(0, MOST_BYTES + 9), max_size=50), st.integers(1, 16))
def test_pictures_are_decoded_in_order_a_few_at_once_and_large_files_alone(sizes: list[int], most: int) -> None:
    rows = [Asked(str(number), size, 0, removed=False) for number, size in enumerate(sizes)]
    found = list(batches(rows, most))
    assert [row for batch in found for row in batch] == rows
    for batch in found:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(row.bytes for row in batch) <= MOST_BYTES
    for one, other in pairwise(found):
        assert len(one) == most or sum(row.bytes for row in [*one, other[0]]) > MOST_BYTES
