"""The decoder's child: what it answers, what it survives, and what it costs."""

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.decoder import LOOK, Decoder, Undecodable
from preprocess.decoding import PLUGINS
from preprocess.gallery.files import encode
from preprocess.images import FORMATS, make_squares, open_picture
from tests.conftest import ROOT
from tests.helpers import encoded, smooth

ENOUGH = 256_000_000
KINDS = ("plain", "png", "palette", "grey16", "grey", "cmyk", "rotated", "nocturne", "twin", "truncated")

# Python imports it in every process with this folder on its path; only the child decodes here.
FAULTS = """
import ctypes, errno, os, pathlib, resource, signal, sys, time
from PIL import ImageFile

load = ImageFile.ImageFile.load
here = pathlib.Path(__file__).parent
seen, kept = [], []
if (here / "no limits").exists():
    resource.setrlimit = lambda *limit: None


def grow(size):
    kept.append(bytearray(size))  # whose zero pages are not there before they are written
    ctypes.memset((ctypes.c_char * size).from_buffer(kept[-1]), 1, size)


def faulty(image):
    name = pathlib.Path(image.filename).stem
    seen.append(name)
    for number in ("SIGKILL", "SIGSEGV", "SIGSTOP", "SIGTERM"):
        if name.startswith(number):
            once = here / name
            if "once" not in name or not once.exists():
                once.touch()
                os.kill(os.getpid(), getattr(signal, number))
                time.sleep(60)
    match name:
        case "hang": time.sleep(600)
        case "exit": os._exit(3)
        case "babble": os.write(0, b"{}\\n")
        case "longer": os.write(0, b"x" * 100_000)
        case "print": os.write(1, b"out\\n"), os.write(2, b"err\\n")
        case "disk": raise OSError(errno.EIO, "Input/output error")
        case "eat":
            while True: grow(10_000_000)
        case "grow": grow(60_000_000)
        case "second" if len(set(seen)) > 1: raise MemoryError
        case "slow": time.sleep(1)
        case "stuck" if ctypes.PyDLL(None).vfork() == 0:  # whose parent sleeps in the kernel until it ends
            time.sleep(4)
            os._exit(0)
        case "plugins":
            (here / "plugins.txt").write_text(" ".join(name for name in sys.modules if sys.modules[name]))
            (here / "threads.txt").write_text(str(sys.modules["PIL.AvifImagePlugin"].DEFAULT_MAX_THREADS))
    return load(image)


ImageFile.ImageFile.load = faulty
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose pictures do to the child what their names say."""
    (tmp_path / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with Decoder([48, 16], "crop", 400, ENOUGH) as decoder:
        yield decoder


def picture(folder: Path, name: str = "good") -> Path:
    """Write a small JPEG."""
    path = folder / f"{name}.jpg"
    smooth(1, 90, 60).save(path)
    return path


def pid(decoder: Decoder) -> int:
    assert decoder.child
    return decoder.child.process.pid


def pid_after(decoder: Decoder, path: Path) -> int:
    """Return who decoded a picture."""
    assert_decodes(decoder, path)
    return pid(decoder)


def assert_decodes(decoder: Decoder, path: Path) -> None:
    """Check that a picture becomes what it becomes without a child."""
    task = decoder.task
    with open_picture(path) as image:
        header = image.format, image.width, image.height, image.mode
        expected = make_squares(image, task.sizes, task.square, task.max_megapixels)
    made = decoder.decode(path)
    assert header == made[:4]
    assert made.squares.profile == expected.profile
    assert list(made.squares.pixels) == list(task.sizes)
    for size in task.sizes:
        np.testing.assert_array_equal(made.squares.pixels[size], expected.pixels[size])


def refusal(decoder: Decoder, path: Path, lenient: bool = False) -> str:
    with pytest.raises(Undecodable) as caught:
        decoder.decode(path, lenient)
    return str(caught.value)


@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
def test_a_child_makes_the_squares_that_are_made_without_one(square: str, tmp_path: Path) -> None:
    with Decoder([256, 16, 1, 100], square, 400, ENOUGH) as decoder:
        for number, kind in enumerate(KINDS):
            path = tmp_path / f"{kind}.jpg"
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
    assert (caught.value.format, caught.value.width, caught.value.height, caught.value.mode) == ("PNG", 90, 60, "RGB")
    with pytest.raises(Undecodable) as caught:
        decoder.decode(tmp_path / "none.png")
    assert (caught.value.format, caught.value.width, caught.value.height, caught.value.mode) == (None, 0, 0, None)


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
    ("name", "reason"),
    [
        ("SIGSEGV", "the decoder died of signal 11 (SIGSEGV), twice"),
        ("SIGTERM", "the decoder died of signal 15 (SIGTERM), twice"),
        ("exit", "the decoder ended with status 3, twice"),
        ("babble", "the decoder answered nonsense, twice"),
        ("longer", "the decoder answered nonsense, twice"),
        ("eat", "ran out of the 256 MB that preprocess.memory_per_worker leaves to decode"),
    ],
)
def test_a_child_that_fails_ends_in_a_reason_and_the_next_picture_decodes(
    name: str, reason: str, folder: Path, decoder: Decoder
) -> None:
    assert_decodes(decoder, picture(folder))
    assert refusal(decoder, picture(folder, name)) == reason
    assert_decodes(decoder, picture(folder))
    assert decoder.peak < ENOUGH


@pytest.mark.parametrize("name", ["hang", "SIGSTOP"])
def test_a_child_that_hangs_is_replaced(name: str, folder: Path) -> None:
    with Decoder([48], "crop", 400, ENOUGH, patience=2) as decoder:
        first = pid_after(decoder, picture(folder))
        assert refusal(decoder, picture(folder, name)) == "the decoder hung: no answer within 2 seconds"
        assert not psutil.pid_exists(first)
        assert_decodes(decoder, picture(folder))


@pytest.mark.parametrize("name", ["SIGKILL once", "SIGSEGV once", "second"])
def test_a_child_that_fails_for_another_reason_than_the_picture_is_retried(
    name: str, folder: Path, decoder: Decoder
) -> None:
    first = pid_after(decoder, picture(folder))
    assert_decodes(decoder, picture(folder, name))
    assert pid(decoder) != first


def test_a_child_killed_twice_is_the_fault_of_the_machine(folder: Path, decoder: Decoder) -> None:
    with pytest.raises(StoreError, match=r"killed the decoder twice.*memory_per_worker lower"):
        decoder.decode(picture(folder, "SIGKILL"))
    assert_decodes(decoder, picture(folder))


def test_a_failing_disk_is_no_verdict_on_the_picture(folder: Path, decoder: Decoder) -> None:
    with pytest.raises(OSError, match=r"Input/output error: .*disk.jpg"):
        decoder.decode(picture(folder, "disk"))
    assert_decodes(decoder, picture(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="tells a sleeping process from one that waits for a disk by Linux")
def test_a_disk_that_does_not_answer_is_no_verdict_on_the_picture(folder: Path) -> None:
    with Decoder([48], "crop", 400, ENOUGH, patience=2) as decoder:
        with pytest.raises(TimeoutError, match=r"stuck\.jpg"):
            decoder.decode(picture(folder, "stuck"))
        assert_decodes(decoder, picture(folder))


def test_a_child_that_died_or_grew_between_two_pictures_is_replaced(folder: Path, decoder: Decoder) -> None:
    first = pid_after(decoder, picture(folder))
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    second = pid_after(decoder, picture(folder, "SIGSEGV once"))  # the first death was not this picture's
    assert_decodes(decoder, picture(folder, "grow"))
    time.sleep(2 * LOOK)
    assert_decodes(decoder, picture(folder))
    assert not psutil.pid_exists(second)
    assert decoder.peak > 60_000_000
    assert len({first, second, pid_after(decoder, picture(folder))}) == 3


def test_what_decoders_print_is_not_taken_for_an_answer(
    folder: Path, decoder: Decoder, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_decodes(decoder, picture(folder, "print"))
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_answer_is_not_taken_for_the_next(folder: Path, decoder: Decoder) -> None:
    assert_decodes(decoder, picture(folder))

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            decoder.decode(picture(folder, "slow"))
    finally:
        signal.signal(signal.SIGALRM, before)
    other = folder / "other.png"
    smooth(9, 50, 50).save(other)
    assert_decodes(decoder, other)


def test_a_child_that_no_limit_stops_is_stopped_by_its_parent(folder: Path, decoder: Decoder) -> None:
    (folder / "no limits").touch()
    reason = "ran out of the 256 MB that preprocess.memory_per_worker leaves to decode"
    assert refusal(decoder, picture(folder, "eat")) == reason
    assert decoder.peak > ENOUGH
    assert_decodes(decoder, picture(folder))


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
        assert (image.format, image.width, image.height) == (
            caught.value.format,
            caught.value.width,
            caught.value.height,
        )
        assert image.mode == caught.value.mode
    with Decoder([64], "crop", 5, 80_000_000) as decoder:
        assert refusal(decoder, path) == "12 megapixels, more than preprocess.max_megapixels = 5"


def test_nothing_of_a_format_that_is_not_allowed_is_imported(folder: Path, decoder: Decoder) -> None:
    for suffix in ("psd", "eps", "tga", "unknown"):
        path = folder / f"a.{suffix}"
        path.write_bytes(b"8BPS\0\1" + bytes(40) if suffix == "psd" else b"%!PS-Adobe-3.0 EPSF-3.0\n")
        assert refusal(decoder, path).startswith("not a picture of an allowed format")
    assert_decodes(decoder, picture(folder, "plugins"))
    imported = {name for name in (folder / "plugins.txt").read_text().split() if name.endswith("ImagePlugin")}
    assert imported == {f"PIL.{name}ImagePlugin" for name in PLUGINS}
    assert (folder / "threads.txt").read_text() == "1"


SCRIPT = """
import sys
from pathlib import Path
from preprocess.decoder import Decoder
decoder = Decoder([16], "crop", 400, 256_000_000, patience=1)
for path in map(Path, sys.argv[1:]):
    decoder.child and print(decoder.child.process.pid, flush=True)
    print(decoder.decode(path).squares.pixels[16].mean(), flush=True)
input()
"""


@pytest.mark.parametrize("last", ["good", "hang"])
def test_a_child_ends_with_its_parent_even_if_it_hangs(last: str, folder: Path) -> None:
    paths = [picture(folder), picture(folder, last)]
    path = os.pathsep.join([str(folder), str(ROOT)])
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *paths],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path},
    ) as parent:  # fmt: skip
        assert parent.stdout
        parent.stdout.readline()
        child = psutil.Process(int(parent.stdout.readline()))
        if last == "good":
            parent.stdout.readline()
        parent.kill()
    assert psutil.wait_procs([child], timeout=30)[1] == []


def test_a_child_starts_from_a_wheel_and_from_any_folder(tmp_path: Path) -> None:
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for source in (ROOT / "preprocess").rglob("*.py"):
            file.write(source, source.relative_to(ROOT))
    (tmp_path / "json.py").write_text("raise ImportError")  # of the folder it is started in, not the library's
    picture(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, "good.jpg"],
        input="\n", capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.stderr == ""
    assert float(done.stdout) > 0


def test_a_child_that_cannot_start_says_so(folder: Path, decoder: Decoder, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['numpy'] = None")
    with pytest.raises(StoreError, match="the decoder does not start: it ended with status 1"):
        decoder.decode(picture(folder))
    assert "ModuleNotFoundError" in capfd.readouterr().err


def test_ctrl_c_is_for_the_parent_and_an_empty_machine_for_the_child(decoder: Decoder, tmp_path: Path) -> None:
    first = pid_after(decoder, picture(tmp_path))
    os.kill(first, signal.SIGINT)
    assert pid_after(decoder, picture(tmp_path)) == first
    if sys.platform == "linux":  # the kernel, in want of memory, takes it before any other
        assert Path(f"/proc/{first}/oom_score_adj").read_text() == "1000\n"


def test_a_relative_path_starts_where_the_parent_is(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_decodes(decoder, picture(tmp_path))
    (tmp_path / "below").mkdir()
    smooth(8, 70, 70).save(tmp_path / "below/good.jpg")
    monkeypatch.chdir(tmp_path / "below")
    assert_decodes(decoder, Path("good.jpg"))


def test_closing_ends_the_child_and_the_next_picture_starts_another(folder: Path, decoder: Decoder) -> None:
    first = pid_after(decoder, picture(folder))
    decoder.close()
    assert not psutil.pid_exists(first)
    assert_decodes(decoder, picture(folder))
