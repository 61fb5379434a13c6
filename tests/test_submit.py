"""Kaggle's submission, on generated pictures in the competition's layout."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from bench.submit import generate
from preprocess.common.errors import SourceError
from preprocess.common.learning import Train
from tests.helpers import Answer, command, raiser
from tests.tiny import paint
from train.calibrate import Calibration
from train.compare import predict
from train.model import PairNetwork
from train.predict import score, score_cosines
from train.submission import Judge, cosines, picture_names, read_chunks, write_submission

ARTISTS, PAINTINGS = 4, 4
BROKEN = "77.png"


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """A folder as Kaggle's: test.zip, tables, and 16 pictures in two groups, of which one cannot be read."""
    folder = tmp_path / "kaggle"
    paint(tmp_path / "painted", ARTISTS, PAINTINGS, seed=5)
    pictures = sorted((tmp_path / "painted").glob("*/*.png"))
    names = [f"{7 * number}.png" for number in range(len(pictures))]
    folder.mkdir()
    with zipfile.ZipFile(folder / "test.zip", "w") as archive:
        for name, path in zip(names, pictures, strict=True):
            archive.writestr(f"test/{name}", b"no picture" if name == BROKEN else path.read_bytes())
    pairs = [pair for group in (names[:8], names[8:]) for pair in combinations(group[::-1], 2)]
    rows = [(number, *pair) for number, pair in enumerate(pairs)]
    pl.DataFrame(rows, ["index", "image1", "image2"], orient="row").write_csv(folder / "submission_info.csv")
    pl.DataFrame({"index": range(len(rows)), "sameArtist": 0}).write_csv(folder / "sample_submission.csv")
    groups = ["train_and_test", "train_and_test", "test_only", "test_only"]
    pl.DataFrame({
        "artist": [f"painter {number // PAINTINGS}" for number in range(len(names))], "date": None,
        "artist_group": [groups[number // PAINTINGS] for number in range(len(names))], "new_filename": names,
    }).write_csv(folder / "all_data_info.csv")  # fmt: skip
    return folder


def submit(runs: Path | list[Path], folder: Path, *options: object) -> Answer:
    runs = runs if isinstance(runs, list) else [runs]
    out = folder.parent / "submission.csv"
    home = runs[0].parents[1] / "config.yaml"
    return command("submit", *runs, "--test", folder, "--out", out, "--config", home, *options, program="train")


def submitted(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder.parent / "submission.csv")


@pytest.fixture
def run(judge: Path) -> Path:
    """A copy of the run, beside it, in which embeddings may be kept."""
    copy = judge.with_name(f"copy-{os.getpid()}")
    shutil.copytree(judge, copy, dirs_exist_ok=True)
    return copy


def test_every_pair_gets_the_probability_that_predict_gives_it(run: Path, kaggle: Path) -> None:
    said = submit(run, kaggle)
    assert said.status == 0, said
    pairs, found = pl.read_csv(kaggle / "submission_info.csv"), submitted(kaggle)
    assert found.columns == ["index", "sameArtist"]
    assert found["index"].to_list() == list(range(2 * 28))
    with zipfile.ZipFile(kaggle / "test.zip") as archive:
        archive.extractall(kaggle.parent)
    known = pairs.with_columns(found["sameArtist"]).filter(~pl.any_horizontal(pl.col("image1", "image2") == BROKEN))
    files = [(kaggle.parent / "test" / a, kaggle.parent / "test" / b) for a, b in known[:, 1:3].iter_rows()]
    expected = [verdict["probability"] for verdict in predict(run, files)]
    assert known["sameArtist"].to_numpy() == pytest.approx(np.array(expected), abs=1e-4)
    assert np.ptp(expected) > 0.2


def test_pairs_of_a_picture_that_cannot_be_read_get_the_prior_and_are_counted(run: Path, kaggle: Path) -> None:
    said = json.loads(submit(run, kaggle, "--prior", 0.25, "--json").out)
    assert said["without_evidence"] == 7
    assert sum(said["quarantined"].values()) == 1
    pairs = pl.read_csv(kaggle / "submission_info.csv").with_columns(submitted(kaggle)["sameArtist"])
    broken = pairs.filter(pl.any_horizontal(pl.col("image1", "image2") == BROKEN))
    assert broken["sameArtist"].to_list() == [0.25] * 7
    assert "1 x not a picture" in submit(run, kaggle).out
    assert "7 pairs got the prior" in submit(run, kaggle).out


def test_pictures_are_embedded_once(run: Path, kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(run, kaggle)
    first = submitted(kaggle)
    monkeypatch.setattr("train.testset.decoded", raiser(AssertionError("decoded again")))
    assert submit(run, kaggle).status == 0
    assert submitted(kaggle).equals(first)
    with pytest.raises(AssertionError, match="decoded again"):
        submit(run, kaggle, "--mirror")


def test_the_competitions_auc_is_that_of_what_was_written(run: Path, kaggle: Path) -> None:
    said = json.loads(submit(run, kaggle, "--json").out)
    pairs = pl.read_csv(kaggle / "submission_info.csv")
    artist = {f"{7 * number}.png": number // PAINTINGS for number in range(ARTISTS * PAINTINGS)}
    left, right = (np.array([artist[name] for name in pairs[hand]]) for hand in ("image1", "image2"))
    written = submitted(kaggle)["sameArtist"].to_numpy()
    assert said["auc"]["all"]["auc"] == pytest.approx(roc_auc_score(left == right, written))
    for kind, chosen in (("seen", (left < 2) & (right < 2)), ("unseen", (left >= 2) & (right >= 2))):
        expected = roc_auc_score((left == right)[chosen], written[chosen])
        found = {"auc": pytest.approx(expected), "pairs": 28, "same_pairs": 12}
        assert said["auc"][kind] == found
    assert set(said["auc"]) == {"all", "seen", "unseen"}
    (kaggle / "all_data_info.csv").unlink()
    assert "auc" not in json.loads(submit(run, kaggle, "--json").out)


def test_several_runs_are_averaged_by_their_evidence() -> None:
    vectors = np.eye(3, dtype=np.float32)
    usable = np.ones(3, bool)
    judges = [
        Judge(vectors, usable, lambda cosine: cosine.astype(float), Calibration(1.0, shift, {}, 1))
        for shift in (1.0, 2.0)
    ]
    left, right = np.array([0, 0]), np.array([0, 1])
    assert np.mean([judge.evidence(left, right) for judge in judges], axis=0).tolist() == [2.5, 1.5]


def test_a_run_averaged_with_itself_and_mirrored_says_nearly_the_same(run: Path, kaggle: Path) -> None:
    submit(run, kaggle)
    alone = submitted(kaggle)["sameArtist"].to_numpy()
    assert submit([run, run], kaggle).status == 0
    assert submitted(kaggle)["sameArtist"].to_numpy() == pytest.approx(alone)
    assert submit(run, kaggle, "--mirror").status == 0
    mirrored = submitted(kaggle)["sameArtist"].to_numpy()
    assert not np.allclose(mirrored, alone, atol=1e-4)
    assert np.corrcoef(mirrored, alone)[0, 1] > 0.7


@pytest.mark.parametrize("loss", ["sigmoid", "contrastive"])
def test_a_verifier_needs_only_the_cosine_of_a_pair(loss: str) -> None:
    network = PairNetwork(Train(size=16, width=8, loss=loss))  # type: ignore[arg-type]
    vectors = np.random.default_rng(0).normal(size=(2, 50, 8)).astype(np.float32)
    left, right = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    found = score_cosines(network, loss, (left * right).sum(axis=1))
    assert found == pytest.approx(score(network, loss, left, right), abs=1e-3)


def test_a_block_of_pairs_is_one_product_and_scattered_ones_are_many() -> None:
    vectors = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    block = np.array(list(combinations(range(40, 60), 2))).T
    scattered = np.random.default_rng(2).integers(0, 400, (2, 300))
    for left, right in (block, scattered):
        expected = (vectors[left].astype(float) * vectors[right]).sum(axis=1)
        assert cosines(vectors, left, right) == pytest.approx(expected, abs=1e-6)


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("index,left,right\n0,a,b\n", "should begin with the line 'index,image1,image2', not 'index,left,right'"),
        ("", "should begin with the line 'index,image1,image2', not ''"),
        ("index,image1,image2\n", "has no pairs"),
        ("index,image1,image2\n0,a,\n", "does not name two pictures"),
        ("index,image1,image2\n0,a,b\n1,a,c\n0,b,c\n", "has the index 0 in more than one row"),
        ("index,image1,image2\n-1,a,b\n", "whose index is not from 0 to"),
        ("index,image1,image2\nx,a,b\n", "is damaged: "),
        ("index,image1,image2\n0,a,b,c\n", "is damaged: "),
    ],
)
def test_a_table_of_pairs_with_a_mistake_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = table(tmp_path / "submission_info.csv", text)
    with pytest.raises(SourceError, match=complaint) as refused:
        list(read_chunks(path, picture_names(path)))
    assert str(path) in str(refused.value)


def test_an_index_given_again_far_below_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.submission.CHUNK", 10)
    rows = "".join(f"{number % 95},a,b\n" for number in range(100))
    path = table(tmp_path / "submission_info.csv", f"index,img1,img2\n{rows}")
    with pytest.raises(SourceError, match="has the index 0 in more than one row"):
        list(read_chunks(path, ["a", "b"]))


def leave_out(kaggle: Path) -> None:
    with zipfile.ZipFile(kaggle / "less.zip", "w") as less, zipfile.ZipFile(kaggle / "test.zip") as archive:
        for name in archive.namelist()[:-2]:
            less.writestr(name, archive.read(name))
    (kaggle / "test.zip").unlink()


def add_twin(kaggle: Path) -> None:
    Image.new("RGB", (9, 9)).save(kaggle / "7.png")
    (kaggle / "other").mkdir()
    Image.new("RGB", (8, 9)).save(kaggle / "other" / "7.png")


def change(name: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda kaggle: (kaggle / name).write_text((kaggle / name).read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda kaggle: (kaggle / "submission_info.csv").unlink(),
            "does not exist; download it again, or name the folder",
        ),
        (leave_out, "2 of its pictures are not in"),
        (add_twin, "holds two pictures named '7.png'"),
        (change("sample_submission.csv", "\n3,0", "\n4,0"), "row 4 has index 3, where"),
        (change("sample_submission.csv", "\n55,0", ""), "row 56 has index 55, where"),
        (change("sample_submission.csv", "\n55,0", "\n55,0\n56,0"), "has 56 rows, and"),
        (
            change("all_data_info.csv", "artist_group", "group"),
            "has not the columns new_filename, artist, artist_group",
        ),
        (change("all_data_info.csv", "105.png", "9.png"), "does not say who painted '105.png'"),
    ],
)
def test_a_mistake_is_one_line_and_the_submission_before_stays(
    run: Path, kaggle: Path, spoil: Callable[[Path], object], complaint: str
) -> None:
    spoil(kaggle)
    (kaggle.parent / "submission.csv").write_text("the one before")
    assert complaint in submit(run, kaggle).complaint
    assert (kaggle.parent / "submission.csv").read_text() == "the one before"
    assert not list(kaggle.parent.glob(".aside-*"))


def test_the_bench_generates_what_is_scored(tmp_path: Path) -> None:
    count = generate(tmp_path, 60, 3)
    names = picture_names(tmp_path / "submission_info.csv")
    vectors = np.load(tmp_path / "embeddings.npy")
    judge = Judge(vectors, np.ones(60, bool), lambda cosine: cosine.astype(float), Calibration(1.0, 0.0, {}, 1))
    sample = tmp_path / "sample_submission.csv"
    found = write_submission(tmp_path / "out.csv", tmp_path / "submission_info.csv", names, [judge], 0.5, sample)
    assert found == {"pairs": count, "without_evidence": 0}
    assert count == 3 * 20 * 19 // 2
