"""Files that attack: every one ends as stored, or in quarantine with a reason, and none stops or soils the build."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr

from preprocess.check import check_store
from preprocess.common.config import load_config
from preprocess.common.errors import UnreadablePicture
from preprocess.decoder import Decoder, Undecodable
from preprocess.images import make_squares, open_picture
from preprocess.sources.files import SUFFIXES
from preprocess.store import Store, current_store
from tests.conftest import ROOT
from tests.fuzz import mutate, sound_files
from tests.helpers import encoded, smooth, write_config

HOSTILE, DAMAGED = "hostile", "damaged"
SIZES, MEMORY = (64, 16), 256_000_000
OF_MEMORY = ("needs ", "ran out of the 256 MB ")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Truncate, or change bytes anywhere or in the header."""
    kind = rng.randrange(3)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(rng.choice([1, 4, 40])):
        changed[rng.randrange(min(len(data), 400) if kind == 1 else len(data))] = rng.randrange(256)
    return bytes(changed)


@pytest.fixture(scope="module")
def built_of_bad_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """The store of all hostile files and of 60 real ones damaged, and what its build wrote on standard error."""
    folder = tmp_path_factory.mktemp("bad")
    for artist in (HOSTILE, DAMAGED):
        (folder / "pictures" / artist).mkdir(parents=True)
    hostile = sorted(path for path in (shared_data / "hostile-images").rglob("*") if path.is_file())
    for number, path in enumerate(hostile):
        suffix = path.suffix if path.suffix.lower() in SUFFIXES else ".jpg"
        (folder / "pictures" / HOSTILE / f"{number:03d} {path.stem}{suffix}").symlink_to(path)
    rng = random.Random(0)
    small = [path for path in hostile if path.suffix in SUFFIXES and path.stat().st_size < 20_000]
    real = sorted((shared_data / "paintings-224").rglob("*.jpg"))
    for number, path in enumerate(rng.sample(small, 30) + rng.sample(real, 30)):
        data = damaged(path.read_bytes(), rng)
        (folder / "pictures" / DAMAGED / f"{number:02d}{path.suffix}").write_bytes(data)
    config = write_config(folder, source={"kind": "folders"}, preprocess={"rows_per_shard": 48})
    build = subprocess.run(
        [sys.executable, "-m", "preprocess", "store", "--config", config],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr
    return current_store(load_config(config).store_folder), build.stderr


def test_every_file_is_stored_or_quarantined_with_a_reason(built_of_bad_files: tuple[Store, str]) -> None:
    store, _ = built_of_bad_files
    counts = dict(store.rows["artist"].value_counts().iter_rows())
    assert counts[HOSTILE] > 300
    assert counts[DAMAGED] == 60
    for row in store.rows.iter_rows(named=True):
        if row["status"] == "stored":
            assert row["reason"] is None
            assert row["phash"]
        else:
            assert row["status"] == "quarantined"
            assert len(row["reason"]) > 8
            assert not re.search("/|0x[0-9a-f]{8}|Unreadable", row["reason"])
    assert check_store(store) == []


def test_what_pillow_can_read_is_stored(built_of_bad_files: tuple[Store, str]) -> None:
    store, _ = built_of_bad_files
    assert dict(store.rows["status"].value_counts().iter_rows())["stored"] > 220
    names = ("hopper.Lab", "pil_sample_cmyk", "7x13", "16bit.MM.cropped", "transparent", "g4_orientation_7", "flower")
    for name in names:
        found = store.rows.filter(pl.col("key").str.contains(f" {name}.", literal=True), format=pl.col("format"))
        assert "stored" in found["status"].to_list(), name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated_image.png", "truncated"),
        ("decompression_bomb.gif", "4365 megapixels, more than preprocess.max_megapixels = 400"),
        ("10ct_32bit_128.tiff", "floating-point pixels of unknown range"),
        ("zero_width.gif", ""),
        ("unknown_compression_method.png", ""),
        ("drawing.jpg", "not a picture of an allowed format"),
    ],
)
def test_what_cannot_be_stored_says_why(name: str, reason: str, built_of_bad_files: tuple[Store, str]) -> None:
    rows = built_of_bad_files[0].rows.filter(pl.col("key").str.ends_with(f" {name}"))
    assert rows["status"].to_list() == ["quarantined"]
    assert reason in rows["reason"][0]


def test_decoders_say_nothing_on_standard_error(built_of_bad_files: tuple[Store, str]) -> None:
    lines = built_of_bad_files[1].splitlines()
    assert [line.split(":")[0] for line in lines] == ["store", "store"]


def test_every_stored_picture_can_be_read_back(built_of_bad_files: tuple[Store, str]) -> None:
    store, _ = built_of_bad_files
    array = zarr.open_array(store.path / "images_40", mode="r")  # which is the thumbnail too
    stored = np.flatnonzero((store.rows["status"] == "stored").to_numpy())
    means = np.asarray(array[:])[stored].mean(axis=(1, 2, 3))
    assert means == pytest.approx(store.rows["mean"].to_numpy()[stored], abs=0.01)


def verdict(decoder: Decoder, path: Path) -> str | list[bytes]:
    """Return why a picture is refused, or the pixels of its squares."""
    try:
        return [pixels.tobytes() for pixels in decoder.decode(path).squares.pixels.values()]
    except Undecodable as error:
        reason = str(error)
    assert len(reason) > 8
    assert not re.search("0x[0-9a-f]{8}|Unreadable", reason)
    assert str(path.parent) not in reason
    return reason


def verdict_without_a_child(path: Path) -> str | list[bytes]:
    try:
        with open_picture(path) as image:
            squares = make_squares(image, SIZES, "crop", 400)
    except UnreadablePicture as error:
        return str(error)
    return [pixels.tobytes() for pixels in squares.pixels.values()]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_every_hostile_file_gets_its_verdict_in_a_child_of_little_memory(shared_data: Path) -> None:
    children = set()
    with Decoder(SIZES, "crop", 400, MEMORY) as decoder:
        for path in sorted(path for path in (shared_data / "hostile-images").rglob("*") if path.is_file()):
            found = verdict(decoder, path)
            children.add(decoder.child and decoder.child.process.pid)
            if not str(found).startswith(OF_MEMORY):
                assert found == verdict_without_a_child(path), path
    assert len(children) <= 3
    assert decoder.peak < MEMORY


def test_mutants_end_in_a_picture_or_a_reason_and_leave_the_decoder_sound(tmp_path: Path) -> None:
    rng = random.Random(0)
    files = sound_files()
    good, mutant = tmp_path / "good.png", tmp_path / "mutant"
    good.write_bytes(encoded(smooth(1, 90, 60)).getvalue())
    verdicts = []
    with Decoder(SIZES, "crop", 400, MEMORY, patience=60) as decoder:
        before = verdict(decoder, good)
        for _ in range(int(os.environ.get("SOAK", 1)) * 150):
            mutant.write_bytes(mutate(rng.choice(files), rng))
            verdicts.append(verdict(decoder, mutant))
            assert not str(verdicts[-1]).startswith("the decoder")
        assert verdict(decoder, good) == before == verdict_without_a_child(good)
    assert decoder.peak < MEMORY
    assert 0.1 < np.mean([isinstance(found, str) for found in verdicts]) < 0.9
