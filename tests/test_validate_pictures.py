"""What is found in stores and splits: each planted fault, and nothing grave in the gallery."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline.copies import copies_of
from pipeline.copies.find import Copy
from pipeline.gate import judge_pictures
from pipeline.split import DISPUTED, DUPLICATE, SIDES, TRAIN, make_split
from pipeline.validate import check_store_and_split
from pipeline.validate.drift import drift
from pipeline.validate.leakage import leakage, leaked_artists
from pipeline.validate.quality import quality
from preprocess.build import build_store
from preprocess.common.config import load_config
from preprocess.common.errors import SplitError
from preprocess.findings import Finding, Severity
from preprocess.gallery.generate import generate
from preprocess.manifest import make_manifest
from preprocess.store import Store
from preprocess.validate import Judged
from tests.conftest import Once
from tests.flawed import BLANKS, COPIES, SETTINGS, Flawed, by_kind, flawed, put
from tests.helpers import write_config

PICTURES, ARTISTS = 200, 12


@pytest.fixture(scope="module")
def gallery(once: Once) -> Path:
    """A generated gallery with its own twins, nocturnes, giants and corrupt files."""
    return once("gallery", lambda folder: generate(folder, PICTURES, ARTISTS, 0, 2))


@pytest.fixture(scope="module")
def faulty(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Flawed:
    """A collection with planted faults."""
    return flawed(tmp_path_factory.mktemp("flawed"), gallery)


@pytest.fixture(scope="module")
def seen(faulty: Flawed) -> dict[str, Finding]:
    """What is found in single pictures of the flawed collection."""
    return by_kind(quality(faulty.store, faulty.config.train.size))


def other(side: str) -> str:
    """Return a side that is not `side`."""
    return "test_seen" if side != "test_seen" else TRAIN


def test_nothing_grave_is_found_in_the_gallery(gallery: Path, tmp_path: Path) -> None:
    source = {"kind": "gallery", "path": str(gallery)}
    config = load_config(
        write_config(tmp_path, source=source, gallery={"pictures": PICTURES, "artists": ARTISTS}, **SETTINGS)
    )
    store = build_store(config, make_manifest(config))
    found = by_kind(check_store_and_split(config, store, make_split(store, config)))
    assert {kind for kind, finding in found.items() if finding.severity == Severity.ERROR} == set()
    warnings = {kind for kind, finding in found.items() if finding.severity == Severity.WARNING}
    assert warnings == {"corrupt", "blank", "duplicate-left-out"}
    assert len(found["duplicate-left-out"].rows) == 2
    assert len(found["corrupt"].rows) == 2


def test_all_that_was_planted_is_found_at_once(faulty: Flawed) -> None:
    split = put(faulty.split, other(faulty.side(faulty.made_of["copy.jpg"])), ["copy.jpg"])
    found = by_kind(check_store_and_split(faulty.config, faulty.store, split))
    errors = {kind for kind, finding in found.items() if finding.severity == Severity.ERROR}
    assert {"duplicate-across-sides", "all-blank-artist"} <= errors


@pytest.mark.parametrize("name", ["copy.jpg", "mirrored.jpg", "cropped.jpg"])
def test_a_copy_on_another_side_is_an_error(faulty: Flawed, name: str) -> None:
    original = faulty.made_of[name]
    split = put(faulty.split, other(faulty.side(original)), [name])
    finding = by_kind(leakage(faulty.store, split))["duplicate-across-sides"]
    assert finding.severity == Severity.ERROR
    assert finding.rows == faulty.rows(original, name)
    assert finding.figures["mirrored"] == (2 if name == "mirrored.jpg" else 0)
    assert name in finding.what


def test_a_copy_is_a_warning_whether_it_is_on_the_same_side_or_on_none(faulty: Flawed) -> None:
    original = faulty.made_of["mirrored.jpg"]
    split = put(faulty.split, faulty.side(original), ["mirrored.jpg"])
    found = by_kind(leakage(faulty.store, split))
    assert found["duplicate-on-one-side"].severity == Severity.WARNING
    assert found["duplicate-on-one-side"].rows == faulty.rows(original, "mirrored.jpg")
    assert found["duplicate-left-out"].severity == Severity.WARNING
    left_out = [key for name in ("copy.jpg", "cropped.jpg") for key in (name, faulty.made_of[name])]
    assert set(found["duplicate-left-out"].rows) >= set(faulty.rows(*left_out))
    assert "duplicate-across-sides" not in found


def test_one_picture_under_two_artists_is_an_error_unless_the_split_keeps_it_out(faulty: Flawed) -> None:
    both = ("stolen.jpg", faulty.made_of["stolen.jpg"])
    out = by_kind(leakage(faulty.store, put(faulty.split, DISPUTED, both)))
    assert out["two-artists"].severity == Severity.WARNING
    assert out["two-artists"].rows == faulty.rows(*both)
    artists = faulty.split.filter(pl.col("key").is_in(both))["artist"]
    assert all(artist in out["two-artists"].what for artist in artists)
    used = by_kind(leakage(faulty.store, put(faulty.split, TRAIN, both[1:])))
    assert used["two-artists-used"].severity == Severity.ERROR
    assert used["two-artists-used"].rows == faulty.rows(*both)


def test_the_split_leaves_copies_out_and_a_picture_under_two_artists_under_both(faulty: Flawed) -> None:
    copies = [name for name in COPIES if name != "stolen.jpg"]
    assert {faulty.side(name) for name in copies} == {DUPLICATE}
    assert {faulty.side(faulty.made_of[name]) for name in copies} <= set(SIDES)
    assert {faulty.side("stolen.jpg"), faulty.side(faulty.made_of["stolen.jpg"])} == {DISPUTED}
    found = by_kind(leakage(faulty.store, faulty.split))
    assert not any(finding.severity == Severity.ERROR for finding in found.values())
    assert found["two-artists"].rows == faulty.rows("stolen.jpg", faulty.made_of["stolen.jpg"])
    assert set(found["duplicate-left-out"].rows) >= set(
        faulty.rows(*copies, *(faulty.made_of[name] for name in copies))
    )


@pytest.mark.parametrize(
    ("meaningful", "severity"), [(True, Severity.WARNING), (False, Severity.NOTE)], ids=["small", "alike by nature"]
)
def test_where_copies_cannot_be_told_none_are_sought_and_that_is_said(
    faulty: Flawed, meaningful: bool, severity: Severity
) -> None:
    sizes = [64] if meaningful else [64, 128]
    inputs = faulty.store.seal["inputs"] | {"sizes": sizes, "hashes_meaningful": meaningful}
    store = Store(faulty.store.path, faulty.store.seal | {"inputs": inputs})
    (finding,) = leakage(store, faulty.split)
    assert (finding.kind, finding.severity) == ("copies-not-sought", severity)
    assert copies_of(store) == []


def test_copies_are_looked_for_once_and_again_for_another_store(
    faulty: Flawed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / faulty.store.fingerprint, faulty.store.seal)
    shutil.copytree(faulty.store.path, store.path)
    first = copies_of(store)
    monkeypatch.setattr("pipeline.copies.find_copies", lambda store, rows: [])
    assert copies_of(store) == first != []
    other = Store(tmp_path / "other", store.seal)
    shutil.copytree(faulty.store.path, other.path)
    assert copies_of(other) == []


def test_where_nothing_is_stored_there_are_no_copies_and_no_split(faulty: Flawed, tmp_path: Path) -> None:
    store = Store(tmp_path / "none", faulty.store.seal)
    shutil.copytree(faulty.store.path, store.path)
    faulty.store.rows.with_columns(status=pl.lit("quarantined")).write_parquet(store.path / "rows.parquet")
    with pytest.raises(SplitError, match="add pictures"):
        make_split(store, faulty.config)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_list_of_copies_is_made_again(
    faulty: Flawed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "copies.json").write_text(text)
    monkeypatch.setattr("pipeline.copies.find_copies", lambda store, rows: [Copy(0, 1, 0.9, True)])
    store = Store(tmp_path / faulty.store.fingerprint, faulty.store.seal)
    shutil.copytree(faulty.store.path, store.path)
    assert copies_of(store) == [Copy(0, 1, 0.9, True)]
    assert copies_of(store) == [Copy(0, 1, 0.9, True)]


def test_an_unseen_artist_on_another_side_is_an_error(faulty: Flawed) -> None:
    unseen = faulty.split.filter(pl.col("side") == "test_unseen")
    astray = unseen["key"][0]
    finding = by_kind(leaked_artists(put(faulty.split, TRAIN, [astray])))["leaked-artist"]
    assert finding.severity == Severity.ERROR
    assert finding.rows == faulty.rows(astray)
    assert unseen["artist"][0] in finding.what
    assert not leaked_artists(faulty.split)


def test_an_unseen_artist_under_another_spelling_is_an_error(faulty: Flawed) -> None:
    astray, artist = faulty.split.filter(pl.col("side") == "test_unseen").select("key", "artist").row(0)
    respelt = ", ".join(reversed(str(artist).upper().split(" ", 1)))
    renamed = pl.when(pl.col("key") == astray).then(pl.lit(respelt)).otherwise("artist")
    split = put(faulty.split, TRAIN, [astray]).with_columns(artist=renamed)
    assert by_kind(leaked_artists(split))["leaked-artist"].rows == faulty.rows(astray)


def test_drifted_sizes_are_found(faulty: Flawed) -> None:
    before = {finding.kind for finding in drift(faulty.store, faulty.split) if finding.severity == Severity.WARNING}
    assert before == set()
    usual = put(faulty.split, TRAIN, faulty.split.filter(pl.col("side") == "test_seen")["key"])
    shrunk = put(usual, "test_seen", faulty.shrunk)
    found = {finding.figures["feature"]: finding for finding in drift(faulty.store, shrunk)}
    for feature in ("width", "height"):
        assert found[feature].severity == Severity.WARNING
        assert found[feature].figures["side"] == "test_seen"
        assert set(found[feature].rows) <= set(faulty.rows(*faulty.shrunk))
        assert len(found[feature].rows) > 0.8 * len(faulty.shrunk)


def test_what_tfdv_has_compared_is_not_compared_again(faulty: Flawed, monkeypatch: pytest.MonkeyPatch) -> None:
    skew = {"version": "1", "drift": [], "skew": [{"side": "test_seen", "feature": "log2_width"}]}
    monkeypatch.setattr("pipeline.gate.ask_tfdv", lambda *arguments: Judged([], skew, lambda: None))
    split = put(faulty.split, TRAIN, faulty.split.filter(pl.col("side") == "test_seen")["key"])
    split = put(split, "test_seen", faulty.shrunk)
    rows = faulty.store.rows.with_columns(side=split["side"])
    judged = judge_pictures(faulty.config, faulty.store, split, rows, install=False)
    told = {str(one.figures["feature"]) for one in judged.findings if one.kind == "skew"}
    assert told == {str(one.figures["feature"]) for one in drift(faulty.store, split)} - {"width"}
    assert "height" in told


def test_an_artist_of_blank_pictures_only_is_an_error(seen: dict[str, Finding], faulty: Flawed) -> None:
    assert seen["all-blank-artist"].severity == Severity.ERROR
    assert seen["all-blank-artist"].rows == seen["blank"].rows == faulty.rows(*BLANKS)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("wrong-extension", "lie"), ("corrupt", "truncated"), ("greyscale", "grey"), ("border", "framed"),
        ("extreme-aspect", "long"), ("tiny", "tiny"), ("other-colours", "cmyk"), ("broken-profile", "profile"),
    ],
)  # fmt: skip
def test_a_hurt_file_is_found(seen: dict[str, Finding], faulty: Flawed, kind: str, fault: str) -> None:
    expected = faulty.rows(faulty.hurt[fault])
    found = set(seen[kind].rows) - set(faulty.rows(*BLANKS))
    assert found == set(expected)


def test_the_reason_of_a_corrupt_file_is_told(seen: dict[str, Finding]) -> None:
    assert "truncated" in seen["corrupt"].what


def test_the_same_findings_come_again(faulty: Flawed) -> None:
    assert leakage(faulty.store, faulty.split) == leakage(faulty.store, faulty.split)
