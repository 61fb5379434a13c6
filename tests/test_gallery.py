"""The generated gallery: the same bytes always, the promised kinds of files, and never over anything else."""

import csv
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from preprocess.common.errors import SourceError
from preprocess.gallery import generate

PICTURES, ARTISTS, SEED = 60, 5, 3
Row = dict[str, str]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    assert generate(folder, PICTURES, ARTISTS, SEED, workers=2)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def rows(folder: Path) -> list[Row]:
    with (folder / "train_info.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def opened(folder: Path) -> dict[str, Image.Image]:
    """Open every file that has a picture's header; the pixels are decoded on demand."""
    images: dict[str, Image.Image] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for row in rows(folder):
            try:
                images[row["filename"]] = Image.open(folder / "images" / row["filename"])
            except UnidentifiedImageError:
                continue
    return images


def thumbnail(image: Image.Image) -> np.ndarray:
    """Return the upright picture as RGB float (32, 32, 3)."""
    small = image.copy() if image.width < 4000 else image.reduce(16)
    small = ImageOps.exif_transpose(small).convert("RGB").resize((32, 32), Image.Resampling.BOX)
    return np.asarray(small, dtype=float)


def test_same_seed_gives_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    made = []
    for workers in (1, 2):
        generate(tmp_path / str(workers), 14, 3, 9, workers)
        made.append(contents(tmp_path / str(workers)))
    assert made[0] == made[1]
    assert len(made[0]) == 14 + 3  # the table, the marker and the record


def test_another_seed_gives_other_bytes(gallery: Path, tmp_path: Path) -> None:
    generate(tmp_path, 14, 3, 10, 2)
    seen = set(contents(gallery).values())
    same = [name for name, data in contents(tmp_path).items() if data in seen]
    assert len(same) <= 1  # the one that is no picture


def test_rerun_changes_nothing_and_makes_a_lost_picture_again(gallery: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in gallery.rglob("*")}
    assert not generate(gallery, PICTURES, ARTISTS, SEED, workers=1)
    assert {path: path.stat().st_mtime_ns for path in gallery.rglob("*")} == before
    lost = gallery / "images" / rows(gallery)[7]["filename"]
    data = lost.read_bytes()
    lost.unlink()
    assert generate(gallery, PICTURES, ARTISTS, SEED, workers=1)
    assert lost.read_bytes() == data
    kept = [path for path, time in before.items() if path.parent == lost.parent and path != lost]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)


def test_a_killed_run_goes_on(gallery: Path) -> None:
    (gallery / "gallery.json").unlink()
    kept = next((gallery / "images").glob("*.png"))
    before = kept.stat().st_mtime_ns
    assert generate(gallery, PICTURES, ARTISTS, SEED, workers=1)
    assert kept.stat().st_mtime_ns == before
    assert (gallery / "gallery.json").exists()


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused(finished: bool, tmp_path: Path) -> None:
    generate(tmp_path, 2, 2, 0, 1)
    if not finished:
        (tmp_path / "gallery.json").unlink()
    before = contents(tmp_path)
    for settings in ((3, 2, 0), (2, 1, 0), (2, 2, 1)):
        with pytest.raises(SourceError, match="set another source") as caught:
            generate(tmp_path, *settings, workers=1)
        assert str(tmp_path) in str(caught.value)
    assert contents(tmp_path) == before


def test_pictures_of_someone_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train_info.csv").write_text("mine")
    with pytest.raises(SourceError, match="not generated"):
        generate(tmp_path, 2, 2, 0, 1)
    assert (tmp_path / "train_info.csv").read_text() == "mine"


def test_table_has_the_columns_of_painter_by_numbers(gallery: Path) -> None:
    table = rows(gallery)
    assert list(table[0]) == ["filename", "artist", "title", "style", "genre", "date"]
    assert len({row["filename"] for row in table}) == len(table) == PICTURES
    assert {path.name for path in (gallery / "images").iterdir()} == {row["filename"] for row in table}
    assert min(Counter(row["artist"] for row in table).values()) >= 2
    assert len({row["artist"] for row in table}) == ARTISTS
    titles = "".join(row["title"] for row in table)
    assert {",", '"'} < set(titles)
    assert not titles.isascii()
    dates = [row["date"] for row in table]
    assert "" in dates
    assert any(date.startswith("c.") for date in dates)
    assert any(date.endswith(".0") for date in dates)
    assert any(not row["style"] for row in table)
    assert any(not row["genre"] for row in table)


def test_every_promised_kind_of_file_is_there(gallery: Path) -> None:
    images = opened(gallery)
    kinds = {(image.format, image.mode) for image in images.values()}
    wanted = [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "P"), ("PNG", "I;16")]
    assert kinds == set(wanted)
    assert any(image.info.get("progressive") for image in images.values())
    assert any(image.getexif().get(0x0112, 1) > 1 for image in images.values())
    assert sum(image.width * image.height > 100e6 for image in images.values()) == 1
    assert any(not name.isascii() for name in images)
    ordinary = [image.size for image in images.values() if image.width < 4000]
    assert all(1 / 3.05 < width / height < 3.05 for width, height in ordinary)
    assert 400 < np.median(ordinary) < 1200


def test_broken_files_cannot_be_decoded(gallery: Path) -> None:
    images = opened(gallery)
    unidentified = {row["filename"] for row in rows(gallery)} - set(images)
    truncated = []
    for name, image in images.items():
        try:
            image.load()
        except OSError:
            truncated.append(name)
    assert len(unidentified) == len(truncated) == 1


def test_a_near_duplicate_and_a_nocturne_are_there(gallery: Path) -> None:
    artists = {row["filename"]: row["artist"] for row in rows(gallery)}
    thumbnails = {}
    for name, image in opened(gallery).items():
        try:
            thumbnails[name] = thumbnail(image)
        except OSError:
            continue
    names = list(thumbnails)
    stack = np.stack(list(thumbnails.values()))
    apart = np.abs(stack[:, None] - stack[None]).mean(axis=(2, 3, 4)) + 255 * np.tri(len(names))
    first, second = np.unravel_index(apart.argmin(), apart.shape)
    assert apart[first, second] < 5
    assert artists[names[first]] == artists[names[second]]
    data = [(gallery / "images" / names[place]).read_bytes() for place in (first, second)]
    assert data[0] != data[1]
    assert sum(thumbnail.max() == 0 for thumbnail in thumbnails.values()) == 1
