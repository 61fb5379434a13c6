"""The report: whole in one file, safe to open, the same bytes for the same run, and written only when stale."""

import base64
import hashlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from pipeline.split import summary
from preprocess.build import build_store
from preprocess.common.config import load_config
from preprocess.common.errors import RunError
from preprocess.common.files import read_json, write_json
from preprocess.manifest import make_manifest
from preprocess.shard import build_shard
from tests.reported import ARTIST, SETTINGS, TITLE, Page, paint, pretend_evaluated
from train.card import write_card
from train.history import HISTORY
from train.report import PAIRS_PER_ARTIST, PAIRS_PER_GALLERY, galleries, most_confident, percent, readable, write_report
from train.run import Run, make_run, open_run


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with everything that evaluation leaves, from a network that errs now and then."""
    folder = tmp_path_factory.mktemp("report")
    paint(folder / "pictures")
    (folder / "config.yaml").write_text(SETTINGS)
    config = load_config(folder / "config.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("preprocess.build.run_jobs", lambda jobs, *_: [build_shard(job) for job in jobs])
        build_store(config, make_manifest(config))
    run = make_run(config, None)
    pretend_evaluated(run, config)
    for step in (20, 40):
        run.log({"step": step, "loss": 1 / step, "auc_validation_unseen": 0.5 + step / 100})
    return run.path


@pytest.fixture
def run(evaluated: Path) -> Iterator[Run]:
    """A fresh copy of the evaluated run, beside it, so that it finds its store."""
    copy = evaluated.with_name("copy")
    shutil.copytree(evaluated, copy, ignore=shutil.ignore_patterns("report.html"))
    yield open_run(copy)
    shutil.rmtree(copy)


@pytest.fixture(scope="module")
def page(evaluated: Path) -> Page:
    """The page of the evaluated run."""
    return Page(write_report(open_run(evaluated)))


def keep_side(run: Run, kept: str) -> None:
    metrics = read_json(run.path / "metrics.json")
    write_json(run.path / "metrics.json", metrics | {"sides": {kept: metrics["sides"][kept]}})
    pairs = pl.read_parquet(run.path / "pairs.parquet")
    pairs.filter(pl.col("side") == kept).write_parquet(run.path / "pairs.parquet")


def test_loads_nothing_from_elsewhere(page: Page) -> None:
    assert {tag for tag, _ in page.elements}.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})
    pictures = page.values("src", "srcset", "data", "poster")
    assert len(pictures) >= 8
    for picture in pictures:
        kind, _, encoded = picture.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (16, 16)
    assert all(link.startswith("#") for link in page.values("href", "xlink:href", "action"))
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?(.)", page.source))
    assert "@import" not in page.source


def test_runs_one_script_of_its_own_and_no_other(page: Page) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    assert Counter(tag for tag, _ in page.elements)["script"] == 1
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_links_to_what_validation_found_once_there_is_such_a_page(run: Run, page: Page) -> None:
    assert "validation.html" not in page.source
    found = run.store.path.parent / "validation.html"
    found.write_text("found")
    (link,) = [link for link in Page(write_report(run)).values("href") if not link.startswith("#")]
    assert (run.path / link).resolve() == found.resolve()
    found.unlink()


def test_says_what_file_properties_alone_reach(run: Run, page: Page) -> None:
    for found in read_json(run.path / "metrics.json")["sides"].values():
        auc, alone = (f"{found[name]['value']:.3f}" for name in ("auc", "auc_of_file_properties"))
        assert re.search(rf"{auc} [0-9.]+ to [0-9.]+ {alone} ", page.text)


def test_says_what_pairs_tell_without_learning(page: Page) -> None:
    assert len(re.findall(r"pixels 0\.612 58\.7.%", page.text)) == 2


def test_plots_do_not_share_ids(page: Page) -> None:
    assert Counter(tag for tag, _ in page.elements)["svg"] == 7
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page.source))
    assert {first or second for first, second in used} <= set(ids)


def test_shows_names_and_titles_as_text(page: Page) -> None:
    assert page.source.count("<script") == 1  # its own
    assert re.search(re.escape(TITLE).replace(r"\{number\}", r"\d+"), page.text)
    assert re.search(re.escape(ARTIST).replace(r"\{number\}", r"\d"), page.text)
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    known = {"class", "src", "alt"}, {"src", "alt", "title", "style"}  # in a gallery, on the map
    assert all(set(attributes) in known for attributes in pictures)


def test_says_the_figures_in_words_and_numbers(run: Run, page: Page) -> None:
    metrics = read_json(run.path / "metrics.json")
    pairs = pl.read_parquet(run.path / "pairs.parquet")
    for side, opening in (("test_unseen", "never seen, the model"), ("test_seen", "learned from, it is right")):
        value, low, high = (round(100 * metrics["sides"][side]["accuracy"][name]) for name in ("value", "low", "high"))
        assert re.search(rf"{opening}[^.]* {value} of 100 cases \({low} to {high}\)\.", page.text)
        assert f"{metrics['sides'][side]['auc']['value']:.3f} {metrics['sides'][side]['auc']['low']:.3f}" in page.text
        counts = confusion_matrix(*pairs.filter(side=side).select("same", "said_same")).ravel()
        names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
        rates = [percent(metrics["sides"][side][name]["value"]).replace("\u00a0", " ") for name in names]
        cells = r" .*? ".join(rf"\b{count} {re.escape(rate)}" for count, rate in zip(counts, rates, strict=True))
        assert re.search(cells, page.text)
    assert "40 stored, 1 quarantined" in page.text
    assert f"1 \u00d7 {run.store.rows['reason'].drop_nulls()[0]}" in page.text
    assert run.store.fingerprint in page.text
    assert "learning_rate: 0.002" in page.text


def test_galleries_are_of_unseen_artists(run: Run, page: Page) -> None:
    unseen = run.split.filter(side="test_unseen")
    assert "Test pairs of unseen artists" in page.text
    numbers = {int(number) for number in re.findall(r"&#34;(\d+)&#34;\)&lt;/script&gt;, ", page.source)}
    assert numbers
    assert numbers <= {int(key.split(".")[0]) for key in unseen["key"]}


def test_undecided_pairs_are_those_nearest_to_the_threshold(run: Run) -> None:
    part = pl.read_parquet(run.path / "pairs.parquet").filter(side="test_unseen")
    shown = galleries(run, part, 0.5)["undecided"]
    distances = [abs(pair["probability"] - 0.5) for pair in shown]
    assert distances == sorted(distances)
    assert distances[0] == (part["probability"] - 0.5).abs().min()
    assert len(shown) > 1


def test_hard_pairs_calibration_and_confusions_are_told(run: Run, page: Page) -> None:
    for name, side in read_json(run.path / "metrics.json")["sides"].items():
        for figures in side["calibrated_by"].values():
            assert percent(figures["accuracy"]).replace("\u00a0", " ") in page.text
        assert f"{side['calibrated_by']['platt']['cllr']:.4f}" in page.text
        found = read_json(run.path / "evaluation.json")[name]
        assert f"{found['retrieval']['map']:.3f}" in page.text
        assert len(found["map"]["rows"]) == side["paintings"]
        assert all(row["confused_with"] in page.text for row in found["artists"])


def test_is_the_same_bytes_each_time(run: Run) -> None:
    first = write_report(run).read_bytes()
    (run.path / "report.html").unlink()
    assert write_report(open_run(run.path)).read_bytes() == first


def test_is_written_only_when_its_inputs_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_report(run)
    written = path.stat()
    assert write_report(run) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    metrics = read_json(run.path / "metrics.json")
    metrics["sides"]["test_unseen"]["auc"]["value"] = 0.12345
    write_json(run.path / "metrics.json", metrics)
    assert "0.123" in Page(write_report(run)).text
    monkeypatch.setattr("train.report.MADE_FROM", ("report.html.j2",))
    before = path.stat().st_ino, path.read_bytes()
    assert (write_report(run).stat().st_ino, path.read_bytes()) != before


@pytest.mark.parametrize(("kept", "other"), [("seen", "unseen"), ("unseen", "seen")])
def test_one_side_is_enough(run: Run, kept: str, other: str) -> None:
    keep_side(run, f"test_{kept}")
    page = Page(write_report(run))
    assert page.text.count("of 100 cases") == 1
    assert "the model says rightly" in page.text
    assert f"Probabilities, {kept} artists" in page.text
    assert f"Probabilities, {other} artists" not in page.text
    assert f"Test pairs of {kept} artists" in page.text


def test_survives_a_perfect_model_and_an_empty_log(run: Run) -> None:
    pairs = pl.read_parquet(run.path / "pairs.parquet")
    pairs.with_columns(said_same="same", probability=pl.col("same") * 1.0).write_parquet(run.path / "pairs.parquet")
    (run.path / "log.jsonl").unlink()
    page = Page(write_report(run))
    assert page.text.count("There is no such pair.") == 2
    assert Counter(tag for tag, _ in page.elements)["svg"] == 5


def test_says_on_how_many_devices_it_was_trained(run: Run) -> None:
    assert "devices" not in Page(write_report(run)).text
    (run.path / "report.html").unlink()
    run.log(run.logged()[-1] | {"devices": 4})
    assert ", on 1 or 4 devices" in Page(write_report(run)).text


def test_refuses_a_run_that_was_not_evaluated(run: Run) -> None:
    (run.path / "metrics.json").unlink()
    with pytest.raises(RunError, match="make evaluate"):
        write_report(run)
    assert not (run.path / "report.html").exists()


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("pictures", "names"), [(60, 7), (20, 20)])
def test_galleries_show_the_surest_and_vary(said: bool, pictures: int, names: int) -> None:
    rng = np.random.default_rng(2)
    left, right = rng.integers(0, pictures // 2, (2, 400))
    right += pictures // 2
    part = pl.DataFrame({"left": left, "right": right, "probability": rng.random(400), "said_same": said})
    artists = {row: f"artist {row % names}" for row in range(pictures)}
    shown = most_confident(part, artists)
    assert len(shown) == PAIRS_PER_GALLERY
    probabilities = [pair["probability"] for pair in shown]
    assert probabilities == sorted(probabilities, reverse=said)
    assert probabilities[0] == (max if said else min)(part["probability"])
    rows = [pair[hand] for pair in shown for hand in ("left", "right")]
    assert len(set(rows)) == len(rows)
    in_pairs = Counter(name for pair in shown for name in {artists[pair["left"]], artists[pair["right"]]})
    assert max(in_pairs.values()) <= PAIRS_PER_ARTIST


def test_words() -> None:
    assert [readable(name) for name in ("claude-monet", "Hans-Peter Maß", "5")] == [
        "Claude Monet",
        "Hans-Peter Maß",
        "5",
    ]
    assert [percent(share).replace("\u00a0", " ") for share in (0, 0.0004, 0.5, 0.9996, 1)] == [
        "0.0 %", "<0.1 %", "50.0 %", ">99.9 %", "100.0 %",
    ]  # fmt: skip


def test_the_model_card_tells_data_figures_and_limits(run: Run) -> None:
    text = write_card(run).read_text(encoding="utf-8")
    metrics = read_json(run.path / "metrics.json")
    for side, found in metrics["sides"].items():
        auc = found["auc"]
        assert f"| {side} | {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}) |" in text
    for line in summary(run.split):
        assert f"| {line['side']} | {line['paintings']} | {line['artists']} | {line['same_pairs']} |" in text
    assert run.store.fingerprint[:12] in text
    assert f"keras {run.pins['versions']['keras']}" in text
    assert "## Limits" in text
    assert not re.search(r"[<>{}]", text)
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 130


def test_a_run_that_was_not_evaluated_has_no_model_card(run: Run) -> None:
    (run.path / "metrics.json").unlink()
    with pytest.raises(RunError, match="has not been evaluated; run 'make evaluate'"):
        write_card(run)


def test_the_matrix_of_2017_stands_beside_that_of_the_same_pictures(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "57.0 %, in the one run of three" in Page(write_report(run)).text.replace("\u00a0", " ")
    monkeypatch.setattr("train.report.HISTORY", {run.store.path.parent.name: HISTORY["fashion-mnist"]})
    (run.path / "report.html").unlink()
    text = Page(write_report(run)).text.replace("\u00a0", " ")
    cells = "in truth different 9,303 93.1 % right 687 6.9 % false alarm in truth the same 2,097 21.0 % missed 7,893"
    assert cells in text
    assert "accuracy of 86.1 %. Its matrix is shown transposed" in text
