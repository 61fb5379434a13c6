"""What the decoder survives: children that die, hang, grow, talk nonsense or do not start, and a parent that dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from preprocess.child import LOOK
from preprocess.common.errors import StoreError
from preprocess.decoder import Decoded, Decoder, Undecodable
from preprocess.decoding import AT_ONCE, MOST_SHARED, PLUGINS, Task
from tests.conftest import ROOT
from tests.decoders import ENOUGH, PROGRAM, assert_decodes, picture, pid, pid_after, refusal
from tests.helpers import smooth

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
        case "babble": os.write(0, b"[{}]\\n")
        case "endless":
            while True: os.write(0, b"x" * 100_000)
        case "more": os.write(0, b'[{"problem": "none"}]\\n and more')
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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SIGSEGV", "the decoder died of signal 11 (SIGSEGV), twice"),
        ("SIGTERM", "the decoder died of signal 15 (SIGTERM), twice"),
        ("exit", "the decoder ended with status 3, twice"),
        ("babble", "the decoder answered nonsense, twice"),
        ("endless", "the decoder answered nonsense, twice"),
        ("more", "the decoder answered nonsense, twice"),
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


def test_pictures_asked_for_at_once_are_what_each_is_alone_whatever_one_of_them_does(
    folder: Path, decoder: Decoder
) -> None:
    names = ("good", "SIGSEGV", "SIGKILL once", "babble", "eat", "second", "print")
    paths = [picture(folder, name) for name in names]
    (folder / "text.jpg").write_text("no picture")
    found = decoder.decode_all([*paths, folder / "text.jpg", folder / "none.jpg"])
    assert [str(each) if isinstance(each, Undecodable) else "" for each in found] == [
        "", "the decoder died of signal 11 (SIGSEGV), twice", "", "the decoder answered nonsense, twice",
        "ran out of the 256 MB that preprocess.memory_per_worker leaves to decode", "", "",
        "not a picture of an allowed format (JPEG, PNG, GIF, WEBP, TIFF, BMP, JPEG2000, AVIF)", "no such file",
    ]  # fmt: skip
    assert decoder.peak < ENOUGH


def test_a_request_for_many_pictures_wakes_one_child_once_and_each_has_its_own_pixels(folder: Path) -> None:
    paths = [folder / f"{seed}.png" for seed in range(AT_ONCE)]
    for seed, path in enumerate(paths):
        smooth(seed, 60 + seed, 50).save(path)
    paths[3].write_bytes(paths[3].read_bytes()[:90])
    with Decoder([48, 16], "crop", 400, ENOUGH) as decoder:
        asked: list[int] = []
        talk = decoder.ask
        decoder.ask = lambda paths, lenient=False: asked.append(len(paths)) or talk(paths, lenient)  # type: ignore
        found = decoder.decode_all(paths)
        assert asked == [AT_ONCE, 1], "the broken one alone, too"
        for path, each in zip(paths, found, strict=True):
            if path == paths[3]:
                assert isinstance(each, Undecodable)
                assert each.header.width == 63
                continue
            assert isinstance(each, Decoded)
            alone = decoder.decode(path)
            assert each.header == alone.header
            for size in (48, 16):
                np.testing.assert_array_equal(each.squares.pixels[size], alone.squares.pixels[size])


def test_a_child_that_hangs_over_many_is_blamed_on_one(folder: Path) -> None:
    with Decoder([48], "crop", 400, ENOUGH, patience=2) as decoder:
        good, hung = decoder.decode_all([picture(folder), picture(folder, "hang")])
    assert isinstance(good, Decoded)
    assert str(hung) == "the decoder hung: no answer within 2 seconds"


def test_large_squares_are_asked_for_a_few_at_a_time() -> None:
    """The pixels of a request lie in memory that parent and child share, and once more with the parent."""
    assert [Task((size,), "crop", 400, ENOUGH, 1).at_once for size in (64, 256, 512, 1024, 4096)] == [16, 16, 7, 1, 1]
    assert Task((1024,), "crop", 400, ENOUGH, 1).shared <= MOST_SHARED


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


def test_nothing_of_a_format_that_is_not_allowed_is_imported(folder: Path, decoder: Decoder) -> None:
    for suffix in ("psd", "eps", "tga", "unknown"):
        path = folder / f"a.{suffix}"
        path.write_bytes(b"8BPS\0\1" + bytes(40) if suffix == "psd" else b"%!PS-Adobe-3.0 EPSF-3.0\n")
        assert refusal(decoder, path).startswith("not a picture of an allowed format")
    assert_decodes(decoder, picture(folder, "plugins"))
    imported = {name for name in (folder / "plugins.txt").read_text().split() if name.endswith("ImagePlugin")}
    assert imported == {f"PIL.{name}ImagePlugin" for name in PLUGINS}
    assert (folder / "threads.txt").read_text() == "1"


@pytest.mark.parametrize("last", ["good", "hang"])
def test_a_child_ends_with_its_parent_even_if_it_hangs(last: str, folder: Path) -> None:
    paths = [picture(folder), picture(folder, last)]
    path = os.pathsep.join([str(folder), str(ROOT)])
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *paths],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path},
    ) as parent:  # fmt: skip
        assert parent.stdout
        parent.stdout.readline()
        child = psutil.Process(int(parent.stdout.readline()))
        if last == "good":
            parent.stdout.readline()
        parent.kill()
    assert psutil.wait_procs([child], timeout=30)[1] == []


def test_a_child_that_cannot_start_says_so(folder: Path, decoder: Decoder, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['numpy'] = None")
    with pytest.raises(StoreError, match="the decoder does not start: it ended with status 1"):
        decoder.decode(picture(folder))
    assert "ModuleNotFoundError" in capfd.readouterr().err
