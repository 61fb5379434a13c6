"""What people look at: contact sheets of what was stored and of what was not, and rows as PNG files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from preprocess.common.config import Config
from preprocess.store import Store
from tests.helpers import command


@pytest.fixture
def path(built: Store, built_config: Config) -> Path:
    return built_config.source.path.parent / "config.yaml"


def test_rows_come_back_as_the_pixels_that_are_stored(built: Store, path: Path, tmp_path: Path) -> None:
    answer = command("export", "--config", path, "--rows", "0-1,19", "--out", tmp_path / "out")
    assert answer.out == f"export: 3 pictures in {tmp_path / 'out'}\n"
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"000000.png", "000001.png", "000019.png"}
    for row in (0, 1, 19):
        with Image.open(tmp_path / "out" / f"{row:06d}.png") as image:
            assert (np.asarray(image) == built.picture(row, 40)).all()
    command("export", "--config", path, "--rows", "4", "--size", "16", "--out", tmp_path / "out")
    with Image.open(tmp_path / "out/000004.png") as image:
        assert image.size == (16, 16)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--rows", "20"), "has rows 0 to 19, got 20"),
        (("--rows", "2"), "row 2 (broken.jpg) has no picture: "),
        (("--rows", "1", "--size", "20"), "holds sizes [16, 40], not 20; name one of them with --size"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    options: tuple[str, ...], complaint: str, path: Path, tmp_path: Path
) -> None:
    assert complaint in command("export", "--config", path, *options, "--out", tmp_path).complaint


@pytest.mark.parametrize("rows", ["", "a", "3-1", "1,,2", "-1"])
def test_rows_that_are_none_are_refused(rows: str, path: Path, tmp_path: Path) -> None:
    answer = command("export", "--config", path, f"--rows={rows}", "--out", tmp_path)
    assert answer.status == 2
    assert "takes row numbers such as 17 or 0-9,17" in answer.err


def test_a_contact_sheet_shows_random_rows_the_same_for_the_same_seed(path: Path, tmp_path: Path) -> None:
    sheets = []
    for number, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{number}.png"
        command("sheet", "--config", path, "--rows", "5", "--seed", str(seed), "--out", out)
        with Image.open(out) as image:
            sheets.append(np.asarray(image))
    assert (sheets[0] == sheets[1]).all()
    assert (sheets[0] != sheets[2]).any()


def test_the_sheet_of_quarantined_pictures_shows_what_of_them_can_be_seen(path: Path, tmp_path: Path) -> None:
    """Half of a truncated JPEG, and of a text file only its name and the reason."""
    answer = command("sheet", "--quarantined", "--config", path, "--out", tmp_path / "sheet.png")
    assert answer.out == f"sheet: {tmp_path / 'sheet.png'}\n"
    with Image.open(tmp_path / "sheet.png") as image:
        tiles = np.asarray(image.convert("L"))
    pictures = [tiles[6:134, 6 + 134 * column : 134 + 134 * column] for column in range(2)]
    words = [tiles[134:226, 6 + 134 * column : 134 + 134 * column] for column in range(2)]
    assert [picture.std() > 5 for picture in pictures] == [True, False]
    assert all((word < 128).sum() > 100 for word in words)
