"""The verdict on picture files: probability, likelihood ratio, operating point, and what is unlike the training."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from preprocess.common.errors import RunError
from preprocess.common.files import read_json, write_json
from tests.helpers import command
from train.calibrate import POINTS, Calibration, load_calibration
from train.compare import Bench, judged, predict
from train.familiar import Familiar, load_familiar, sample
from train.run import open_run

CALIBRATION = Calibration(1.0, 0.0, {"accuracy": 0.5, "equal-error": 0.4, "few-false-alarms": 0.9}, 1)


def pictures(run: Path) -> Path:
    return run.parents[1] / "pictures"


def decisions(scores: list[float], **how: object) -> list[str]:
    return [found["decision"] for found in judged(CALIBRATION, np.array(scores), Bench(**how))]  # type: ignore[arg-type]


def test_the_decision_is_that_of_the_operating_point() -> None:
    scores = [-1.0, -0.2, 0.2, 3.0]
    assert decisions(scores) == ["different", "different", "same", "same"]
    assert decisions(scores, point="equal-error") == ["different", "same", "same", "same"]
    assert decisions(scores, point="few-false-alarms") == ["different", "different", "different", "same"]


def test_undecided_is_what_neither_answer_is_sure_of() -> None:
    assert decisions([-3.0, -1.0, 1.0, 3.0], sure=0.9) == ["different", "undecided", "undecided", "same"]
    assert decisions([-3.0, 3.0], sure=0.9, prior=0.1) == ["different", "undecided"]


def test_probability_and_likelihood_ratio_agree() -> None:
    (found,) = judged(CALIBRATION, np.array([np.log(4)]), Bench(prior=0.2))
    assert found["likelihood_ratio"] == pytest.approx(4)
    assert found["probability"] == pytest.approx(0.5)


def test_what_is_far_from_all_training_pictures_is_strange() -> None:
    def at(degrees: float) -> list[float]:
        return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]

    training = np.array([at(angle) for angle in range(0, 90, 10)], np.float32)
    validation = np.array([at(angle) for angle in np.linspace(-6, 86, 100)], np.float32)
    familiar = Familiar(training).limited(validation)
    assert familiar.strange(np.array([at(44), at(84), at(120), at(-90)], np.float32)).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert familiar.distances(np.array([at(90)], np.float32))[0] == pytest.approx(2 * np.sin(np.radians(5)), abs=1e-3)


def test_pictures_that_many_are_like_count_less_alike() -> None:
    """Two crowded pictures and two rare ones, at the same angle."""
    rng = np.random.default_rng(0)
    crowd = rng.normal([1, 0, 0, 0], 0.1, (50, 4)).astype(np.float32)
    training = crowd / np.linalg.norm(crowd, axis=1, keepdims=True)
    pictures = np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 1, 0], [0, 0, 0.8, 0.6]], np.float32)
    plain, weighed = (Familiar(training, crowding=given).weighed(pictures) for given in (0.0, 1.2))
    assert plain is pictures
    crowded, rare = weighed[0] @ weighed[1], weighed[2] @ weighed[3]
    assert crowded < 0.45
    assert 0.6 < rare < 0.8
    around = np.sort(training @ pictures.T, axis=0)[-10:].mean(axis=0)
    np.testing.assert_allclose(np.linalg.norm(weighed, axis=1), np.exp(-0.6 * around), rtol=1e-5)
    np.testing.assert_allclose(Familiar(training).distances(weighed), Familiar(training).distances(pictures), atol=1e-3)


def test_two_files_get_the_score_that_their_pair_has_in_the_evaluation(judge: Path) -> None:
    pairs = pl.read_parquet(judge / "pairs.parquet").head(20)
    keys = open_run(judge).store.rows["key"]
    files = [
        (pictures(judge) / keys[left], pictures(judge) / keys[right])
        for left, right in zip(pairs["left"], pairs["right"], strict=True)
    ]
    assert load_familiar(judge).crowding > 0
    assert [found["score"] for found in predict(judge, files)] == pytest.approx(pairs["score"].to_list(), abs=1e-3)


def test_a_sample_of_training_pictures_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.familiar.KEPT", 10)
    rows = np.arange(0, 200, 2)
    drawn = sample(rows, 3)
    assert len(set(drawn)) == 10
    assert set(drawn) <= set(rows)
    assert drawn.tolist() == sorted(drawn) == sample(rows, 3).tolist()
    assert sample(rows[:10], 3).tolist() == rows[:10].tolist()


def test_nearly_all_pictures_of_the_collection_are_familiar_and_noise_is_not(judge: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    own = sorted(pictures(judge).glob("*/*.png"))[:20]
    found = predict(judge, [(path, tmp_path / "noise.png") for path in own])
    strange = [path for verdict in found for path in verdict["unlike_training"]]
    assert strange.count(str(tmp_path / "noise.png")) == 20
    assert len(strange) <= 22


def test_the_command_says_all_of_it(judge: Path) -> None:
    first, second = pictures(judge) / "artist-00" / "0.png", pictures(judge) / "artist-00" / "1.png"
    even = json.loads(command("compare", judge, first, second, "--json", program="train").out)
    rare = command(
        "compare", judge, first, second, "--json", "--prior", 0.01, "--point", "few-false-alarms", program="train"
    )
    answer = json.loads(rare.out)
    odds = even["likelihood_ratio"] * 0.01 / 0.99
    assert answer["probability"] == pytest.approx(odds / (1 + odds))
    assert answer["threshold"] == load_calibration(judge).points["few-false-alarms"]
    said = command("compare", judge, first, second, "--prior", 0.01, program="train").out
    assert f"{answer['probability']:.1%} that one artist painted both at a prior of 0.01: " in said
    assert "operating point accuracy, threshold" in said


def test_a_list_of_pairs_is_judged_like_each_alone(judge: Path, tmp_path: Path) -> None:
    names = [str(pictures(judge) / name) for name in ("artist-00/0.png", "artist-00/1.png", "artist-03/2.png")]
    pl.DataFrame({"first": [names[0], names[2]], "second": [names[1], names[0]]}).write_csv(tmp_path / "pairs.csv")
    said = command("predict", judge, tmp_path / "pairs.csv", "--out", tmp_path / "out.csv", program="train")
    assert said.status == 0, said
    found = pl.read_csv(tmp_path / "out.csv").to_dicts()
    assert [(row["first"], row["second"]) for row in found] == [(names[0], names[1]), (names[2], names[0])]
    alone = json.loads(command("compare", judge, names[2], names[0], "--json", program="train").out)
    assert found[1]["probability"] == pytest.approx(alone["probability"], abs=1e-4)
    assert found[1]["decision"] == alone["decision"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "does not exist; name a CSV table"),
        ("first,third\na,b\n", "is no CSV table with the columns first and second"),
        ("first,second\na,\n", "row 1 does not name two picture files"),
        ("first,second\n", "has no rows"),
        ("first,second\nlost.png,lost.png\n", "lost.png: no such file; name a readable picture file"),
    ],
)
def test_a_list_with_a_mistake_is_refused_in_one_line(
    judge: Path, tmp_path: Path, text: str | None, complaint: str
) -> None:
    if text is not None:
        (tmp_path / "pairs.csv").write_text(text)
    said = command("predict", judge, tmp_path / "pairs.csv", "--out", tmp_path / "out.csv", program="train")
    assert complaint in said.complaint
    assert not (tmp_path / "out.csv").exists()


def test_a_calibration_of_another_version_is_refused(judge: Path, tmp_path: Path) -> None:
    stored = read_json(judge / "calibration.json")
    assert set(stored["points"]) == set(POINTS)
    write_json(tmp_path / "calibration.json", {"slope": 1.0, "intercept": 0.0, "threshold": 0.5, "pairs": 3})
    with pytest.raises(RunError, match="calibrated by another version of this program; run 'make evaluate'"):
        load_calibration(tmp_path)


def test_a_run_that_lost_its_training_pictures_says_so(judge: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not know its training pictures; run 'make evaluate'"):
        load_familiar(tmp_path)
    shutil.copy(judge / "calibration.json", tmp_path / "familiar.safetensors")
    with pytest.raises(RunError, match="is damaged; remove it and run 'make evaluate'"):
        load_familiar(tmp_path)
