"""The report's experiments from one command: trained, measured, carried over to another collection."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.streams import PairList
from preprocess.common.errors import SourceError
from preprocess.common.files import read_json
from tests.helpers import command
from tests.test_idx import idx_bytes
from tests.tiny import tiny_collection
from train import classifier
from train.experiments import EXPERIMENTS, Result, conduct, present, table

GIVEN = (
    "train.steps=4", "train.validate_every=4", "train.width=8", "train.batch=32", "pipeline.evaluation_pairs=200",
    "train.microbatch=32", "evaluate.bootstrap=20", "pipeline.feed=stream", "figures.classes=60",
)  # fmt: skip


def write_classes(folder: Path, direction: int) -> None:
    """Write ten classes in MNIST's files: stripes of one width a class, upright or level."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(direction)
    for part, count in (("train", 400), ("t10k", 100)):
        labels = np.arange(count, dtype=np.uint8) % 10
        place = np.arange(28) + rng.uniform(0, 28, (count, 1))
        wave = 128 + 90 * np.sin(place * (0.2 + 0.1 * labels[:, None]))
        images = np.repeat(np.expand_dims(wave, direction), 28, axis=direction) + rng.normal(0, 20, (count, 28, 28))
        for name, values in ((f"{part}-images-idx3-ubyte", images.clip(0, 255)), (f"{part}-labels-idx1-ubyte", labels)):
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(values.astype(np.uint8))))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with config.yaml and both collections in data."""
    home = tmp_path_factory.mktemp("experiments")
    write_classes(home / "data" / "mnist", 1)
    write_classes(home / "data" / "fashion-mnist", 2)
    text = Path("config.yaml").read_text(encoding="utf-8")
    (home / "config.yaml").write_text(text, encoding="utf-8")
    return home


def test_a_network_is_measured_on_another_collection_with_its_own_threshold_and_trained_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = command("experiments", "--config", home / "config.yaml", "--data", home / "data", "--seeds", 1,
                     "--only", "digits-to-fashion", *(f"--set={each}" for each in GIVEN), program="train")  # fmt: skip
    assert answer.status == 0, answer.err
    assert "digits-to-fashion: the report of 2017 has an accuracy of 0.616" in answer.out
    (kept,) = (home / "runs").glob("*/transfer-fashion-mnist.json")
    assert (home / "stores" / "fashion-mnist" / read_json(kept)["fingerprint"]).is_dir()
    found = read_json(kept)["sides"]["test_seen"]
    assert f"{found['auc']['value']:.4f}" in answer.out
    assert set(found["without_learning"]) == {"pixels", "gradients", "gradients and colours"}
    assert found["without_learning"]["gradients"]["auc"] > 0.55
    monkeypatch.setattr("train.experiments.train_unattended", None)
    again = conduct(EXPERIMENTS["digits-to-fashion"], home / "config.yaml", home / "data", GIVEN, 0)
    assert again.auc == found["auc"]["value"]


def test_collections_that_are_not_there_are_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert present(home / "data") == ["digits", "fashion", "digits-to-fashion", "fashion-to-digits"]
    assert "paintings is left out" in capsys.readouterr().err
    with pytest.raises(SourceError, match=r"paintings-224 is not there; put the collection of experiment 'paintings'"):
        conduct(EXPERIMENTS["paintings"], home / "config.yaml", home / "data", (), 0)


def test_cross_validation_measures_a_run_for_every_part_of_the_artists(tmp_path: Path) -> None:
    config = tiny_collection(tmp_path)[0]
    answer = command("crossval", "--config", tmp_path / "config.yaml", "--folds", 2, program="train")
    assert answer.status == 0, answer.err
    lines = [line.split() for line in answer.out.splitlines() if "warning" not in line]
    figures = [float(line[1]) for line in lines[1:3]]
    assert [line[0] for line in lines[1:3]] == ["0", "1"]
    assert sum(int(line[4]) for line in lines[1:3]) == 14
    assert float(lines[3][1]) == pytest.approx(sum(figures) / 2, abs=1e-4)
    assert len(list(config.runs.glob("*/metrics.json"))) == 2


def test_a_classifier_is_trained_and_its_classifications_judge_pairs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(classifier.WIDTHS, "small", 16)
    monkeypatch.setattr(classifier, "EPOCHS", 40)
    given = ("recipe=digits", f"source.path={home / 'data' / 'mnist'}", "pipeline.evaluation_pairs=200")
    answer = command("classifier", "--config", home / "config.yaml", *(f"--set={each}" for each in given), "--json",
                     program="train")  # fmt: skip
    assert answer.status == 0, answer.err
    found = json.loads(answer.out.splitlines()[-1])
    assert found["accuracy"] > 0.3
    assert found["two_classifiers"]["auc"] > 0.6
    assert read_json(home / "runs" / "mnist-classifier-small-0.json") == found


def test_a_classifier_sees_every_picture_once_an_epoch_in_an_order_of_the_seed_and_the_epoch() -> None:
    images = np.arange(300, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(3, 3)
    side = classifier.Pictures(np.arange(300), np.arange(300, dtype=np.int32) % 10, images)
    batches, again, other = (classifier.Batches(side, 3, "clothes", seed) for seed in (0, 0, 1))
    assert len(batches) == 6
    shown = [batches[step] for step in range(6)]
    for step, ((pictures, drawn), classes) in enumerate(shown):
        assert (pictures.shape, drawn.shape, classes.shape) == ((128, 1, 1, 3), (128, 9), (128, 10))
        for one, two in zip(shown[step][0], again[step][0], strict=True):
            assert np.array_equal(one, two)
        assert not np.array_equal(pictures, other[step][0][0])
    orders = [np.concatenate([shown[step][1].argmax(1) for step in pair]) for pair in ((0, 1), (2, 3), (4, 5))]
    assert not np.array_equal(orders[0], orders[1])
    assert max(np.bincount(np.concatenate([shown[step][0][0][:, 0, 0, 0] for step in (0, 1)]))) <= 2


def test_pairs_agree_by_the_chance_of_one_class() -> None:
    probability = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    pairs = PairList(np.array([4, 4]), np.array([6, 8]), np.array([True, False]))
    found = classifier.agreement(probability, np.array([4, 6, 8]), pairs)
    np.testing.assert_allclose(np.exp(found), [0.74, 0.18])


def test_a_classifier_is_refused_where_the_test_has_other_classes(tmp_path: Path) -> None:
    tiny_collection(tmp_path)
    answer = command("classifier", "--config", tmp_path / "config.yaml", program="train")
    assert "the test side has classes that a classifier was not trained on" in answer.complaint


def test_the_table_has_every_seed_and_their_mean_and_standard_error() -> None:
    plain = {"pixels": {"auc": 0.7, "accuracy": 0.6}}
    lines = list(table("digits", {seed: Result(0.9 + seed / 100, 0.8, 0.01, plain) for seed in range(3)}))
    assert lines[2].split() == ["0", "0.9000", "0.8000", "0.0100"]
    assert lines[5].split() == ["mean", "0.9100", "0.8000", "0.0100"]
    assert lines[6].split() == ["std.", "error", "0.0058", "0.0000", "0.0000"]
    assert "by pixels, without learning" in lines[7]
