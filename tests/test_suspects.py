"""The forgery page: every pair of known and suspected pictures, in one file that is safe to open."""

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers import command
from train.compare import Bench, predict
from train.familiar import load_familiar

HOSTILE = '<img src="x">&.png'


@pytest.fixture
def folders(judge: Path, tmp_path: Path) -> tuple[Path, Path]:
    pictures = judge.parents[1] / "pictures"
    known, suspected = tmp_path / "known", tmp_path / "suspected"
    known.mkdir()
    suspected.mkdir()
    for number in range(3):
        shutil.copy(pictures / "artist-00" / f"{number}.png", known)
    shutil.copy(pictures / "artist-05" / "0.png", suspected / HOSTILE)
    shutil.copy(pictures / "artist-05" / "1.png", suspected / "other.png")
    return known, suspected


def page(judge: Path, folders: tuple[Path, Path], *options: object) -> str:
    out = folders[0].parent / "page.html"
    said = command(
        "suspects", judge, "--known", folders[0], "--suspected", folders[1], "--out", out, *options, program="train"
    )
    assert said.status == 0, said
    return out.read_text(encoding="utf-8")


def test_every_pair_has_the_probability_that_predict_gives_it(
    judge: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of a run that makes much of how crowded it is around a picture."""
    run = shutil.copytree(judge, tmp_path / "run")
    load_familiar(judge)._replace(crowding=4.0).write(run)
    text = page(run, folders, "--prior", 0.2)
    cells = re.findall(r'class="(?:cell|self)(?: first)?"[^>]*>([^<]*)</td>', text)
    files = [path for folder in folders for path in sorted(folder.iterdir())]
    assert len(cells) == 25
    pairs = [(a, b) for a in files for b in files]
    for cell, (a, b), found in zip(cells, pairs, predict(run, pairs, Bench(prior=0.2)), strict=True):
        assert cell == "" if a == b else abs(int(cell.partition("&")[0]) - 100 * found["probability"]) <= 0.51


def test_names_are_shown_as_text(judge: Path, folders: tuple[Path, Path]) -> None:
    text = page(judge, folders)
    assert "&lt;img src=&#34;x&#34;&gt;&amp;.png" in text
    assert all(source.startswith("data:image/jpeg;base64,") for source in re.findall(r'<img src="([^"]*)"', text))
    assert not re.search(r"https?://|<script", text)


def test_blocks_count_each_pair_once(judge: Path, folders: tuple[Path, Path]) -> None:
    rows = re.findall(r'<th scope="row">([a-z ]+)</th><td>(\d+)</td>', page(judge, folders))
    assert rows == [("known", "3"), ("known and suspected", "6"), ("suspected", "1")]


def test_a_folder_without_pictures_and_too_many_are_refused(
    judge: Path, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = "suspects", judge, "--known", folders[0], "--out", folders[0].parent / "page.html", "--suspected"
    said = command(*arguments, folders[0] / "nowhere", program="train")
    assert "is no folder of pictures; name one" in said.complaint
    monkeypatch.setattr("train.suspects.MOST", 4)
    assert "hold 5 pictures; choose at most 4" in command(*arguments, folders[1], program="train").complaint
