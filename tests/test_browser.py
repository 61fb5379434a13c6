"""The pages in a real browser: no complaint on the console, nothing asked of the network, and the tables sort."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from preprocess.common.files import read_json
from tests.browser import PROGRAM, Browser
from tests.helpers import command
from train.report import write_report
from train.run import open_run

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="NO BROWSER: install Chromium, or no page is opened by any test"
)
ATTACK = '<script>document.title = "run"</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def report(judge: Path) -> Path:
    """The report of a trained run whose first artist's pictures have a script for a name."""
    copy = judge.with_name(f"shown-{os.getpid()}")
    shutil.copytree(judge, copy)
    split = pl.read_parquet(copy / "split.parquet")
    artist = read_json(copy / "evaluation.json")["test_unseen"]["artists"][0]["artist"]
    split.with_columns(pl.col("artist").replace(artist, ATTACK)).write_parquet(copy / "split.parquet")
    text = (copy / "evaluation.json").read_text().replace(json.dumps(artist), json.dumps(ATTACK))
    (copy / "evaluation.json").write_text(text)
    return write_report(open_run(copy))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_opens_without_a_complaint_and_without_the_network(
    browser: Browser, report: Path, width: int
) -> None:
    browser.open(report, width)
    assert browser.complaints == []
    assert browser.requests == [report.resolve().as_uri()]
    assert browser.run("document.title") == f"Painting pairs: {report.parent.name}"
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth)")


def test_a_script_in_a_name_is_shown_and_not_run(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert ATTACK in browser.run("document.querySelector('table.sorts').textContent")
    assert browser.run("document.scripts.length") == 1


def test_the_table_of_artists_sorts_by_numbers_and_by_names(browser: Browser, report: Path) -> None:
    browser.open(report)
    column = "[...document.querySelectorAll('table.sorts tbody tr')].map(row => row.cells[{}].{})"
    click = "document.querySelectorAll('table.sorts thead button')[{}].click()"
    for number, what, key in ((3, "dataset.value", float), (0, "textContent", str.casefold)):
        shown = column.format(number, what)
        values = browser.run(shown)
        browser.run(click.format(number))
        down = sorted(values, key=key, reverse=True)
        assert browser.run(shown) == down
        browser.run(click.format(number))
        assert [key(value) for value in browser.run(shown)] == [key(value) for value in down[::-1]]
    assert browser.run("document.querySelector('[aria-sort]').textContent") == "Artist"
    assert browser.complaints == []


def test_what_a_page_does_wrong_is_noticed(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "wrong.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>missing()</script>")
    browser.open(page)
    assert any("missing is not defined" in complaint for complaint in browser.complaints)
    assert "http://127.0.0.1:9/x.png" in browser.requests


def test_other_pages_open_without_a_complaint(browser: Browser, judge: Path, tmp_path: Path) -> None:
    for name in ("known", "suspected"):
        (tmp_path / name).mkdir()
        Image.radial_gradient("L").convert("RGB").save(
            tmp_path / name / "<script>alert(1)<script>.png".replace("/", "")
        )
    options = "--known", tmp_path / "known", "--suspected", tmp_path / "suspected", "--out", tmp_path / "suspects.html"
    assert command("suspects", judge, *options, program="train").status == 0
    assert command("report", "compare", judge, judge, "--out", tmp_path / "beside.html", program="train").status == 0
    for page in ("suspects.html", "beside.html"):
        browser.open(tmp_path / page)
        assert browser.complaints == []
        assert browser.requests == [(tmp_path / page).resolve().as_uri()]
