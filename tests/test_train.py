"""Training, evaluation and the verdict, on a collection that is learned in seconds."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from pipeline.split import SIDES, TRAIN
from pipeline.validate.shortcuts import shortcut_scorer
from preprocess.common.config import Config, load_config
from preprocess.common.errors import RunError, SourceError, SplitError, StoreError
from preprocess.common.files import exclusive, read_json, write_parquet
from tests.tiny import tiny_collection, write_settings
from train.compare import compare
from train.evaluate import evaluate
from train.figures import figures_text, fresh_metrics
from train.fit import fit
from train.run import Run, finished_run, make_run, open_run
from train.status import status, status_text
from train.validation import side_pairs


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny collection with a store."""
    folder = tmp_path_factory.mktemp("train")
    tiny_collection(folder)
    return folder


@pytest.fixture(scope="module")
def config(home: Path) -> Config:
    return load_config(home / "config.yaml")


def trained(config: Config, path: Path | None = None) -> Run:
    run = make_run(config, path)
    fit(run, config.pipeline)
    return run


@pytest.fixture(scope="module")
def run(config: Config) -> Run:
    return trained(config)


@pytest.fixture(scope="module")
def learned(home: Path) -> Run:
    """A run long enough to learn its collection."""
    settings = ["train.steps=80", "train.validate_every=40", "train.learning_rate=0.005"]
    learned = trained(load_config(home / "config.yaml", settings))
    evaluate(learned, load_config(home / "config.yaml"))
    return learned


def weights(run: Run) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = load_file(run.path / "model.safetensors")
    return arrays


def test_training_learns_artists_it_never_saw(learned: Run) -> None:
    validation = read_json(learned.path / "finished.json")["validation"]
    assert validation["validation_unseen"]["low"] > 0.6
    assert learned.logged()[-1]["loss"] < learned.logged()[0]["loss"]


def test_a_finished_run_is_not_trained_again(run: Run, config: Config) -> None:
    before = (run.path / "model.safetensors").stat().st_mtime_ns
    again = trained(config)
    assert again.path == run.path
    assert (run.path / "model.safetensors").stat().st_mtime_ns == before


def test_the_same_settings_give_the_same_weights_and_another_seed_others(run: Run, config: Config, home: Path) -> None:
    again = trained(config, home / "again")
    assert all(np.allclose(array, weights(again)[name], atol=1e-4) for name, array in weights(run).items())
    other = trained(load_config(home / "config.yaml", ["train.seed=1"]))
    assert not all(np.allclose(array, weights(other)[name], atol=1e-2) for name, array in weights(run).items())


def test_a_run_in_use_is_refused(run: Run, config: Config) -> None:
    with exclusive(run.path, RunError), pytest.raises(RunError, match="is in use by another process"):
        fit(run, config.pipeline)


def test_a_run_of_other_settings_or_another_store_is_refused(run: Run, home: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"was trained with train\.steps = 6, not 9; name another folder with --run"):
        make_run(load_config(home / "config.yaml", ["train.steps=9"]), run.path)
    tiny_collection(tmp_path, artists=12)
    with pytest.raises(RunError, match=r"belongs to store .*; name another folder with --run"):
        make_run(load_config(tmp_path / "config.yaml"), run.path)


def test_a_run_of_another_split_is_refused(config: Config, tmp_path: Path) -> None:
    run = make_run(config, tmp_path / "run")
    write_parquet(run.path / "split.parquet", run.split.with_columns(side=pl.lit(TRAIN)))
    with pytest.raises(RunError, match=r"divided the pictures otherwise; move it away to train again"):
        make_run(config, run.path)


def test_a_store_built_from_other_settings_is_refused(home: Path) -> None:
    changed = load_config(home / "config.yaml", ["preprocess.square=pad"])
    with pytest.raises(StoreError, match=r"was built with preprocess\.square = crop, not pad; run 'make store'"):
        make_run(changed, None)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        open_run(tmp_path)


def test_an_unfinished_run_cannot_be_evaluated(home: Path) -> None:
    config = load_config(home / "config.yaml", ["train.seed=99"])
    make_run(config, None)
    with pytest.raises(RunError, match="has not finished training; run 'make train'"):
        finished_run(config, None)


def test_too_few_artists_leave_no_half_made_run(tmp_path: Path) -> None:
    config, _ = tiny_collection(tmp_path, artists=2)
    with pytest.raises(SplitError, match="add pictures"):
        make_run(config, None)
    assert not config.runs.exists()


def test_the_run_pins_its_split(run: Run) -> None:
    assert set(run.split["side"]) >= {*SIDES, "quarantined"}
    assert run.split["row"].to_list() == list(range(141))


def test_calibration_comes_from_validation_pairs_only(learned: Run, config: Config) -> None:
    expected = sum(
        len(side_pairs(learned, side, config.pipeline.evaluation_pairs).same)
        for side in ("validation_seen", "validation_unseen")
    )
    assert read_json(learned.path / "calibration.json")["pairs"] == expected


def test_test_pairs_are_of_test_rows_and_their_figures_add_up(learned: Run) -> None:
    pairs = pl.read_parquet(learned.path / "pairs.parquet")
    sides = dict(learned.split.select("row", "side").iter_rows())
    assert all(
        sides[row] == side
        for side, left, right in pairs.select("side", "left", "right").iter_rows()
        for row in (left, right)
    )
    metrics = read_json(learned.path / "metrics.json")["sides"]
    for side, part in ((str(name[0]), part) for name, part in pairs.group_by("side")):
        right = (part["same"] == part["said_same"]).to_numpy()
        same = part["same"].to_numpy()
        accuracy = (right[same].mean() + right[~same].mean()) / 2
        assert metrics[side]["accuracy"]["value"] == pytest.approx(accuracy)
        assert metrics[side]["true_positives"]["value"] == pytest.approx(right[same].mean())


def test_figures_are_up_to_date_until_settings_change(learned: Run, config: Config) -> None:
    metrics = fresh_metrics(learned, config)
    assert metrics is not None
    assert "test_unseen" in figures_text(metrics)
    others = config.evaluate.model_copy(update={"bootstrap": 33})
    assert fresh_metrics(learned, config.model_copy(update={"evaluate": others})) is None


def test_the_baseline_is_what_file_properties_alone_reach(learned: Run, config: Config) -> None:
    metrics = fresh_metrics(learned, config)
    assert metrics is not None
    assert "by file properties alone" in figures_text(metrics)
    baseline = shortcut_scorer(learned.store, learned.split, config.split.seed)
    for side, found in metrics["sides"].items():
        pairs = side_pairs(learned, side, config.pipeline.evaluation_pairs)
        assert found["auc_of_file_properties"]["value"] == roc_auc_score(pairs.same, baseline(pairs))


def test_evaluation_is_done_again_where_a_result_is_gone(learned: Run, config: Config, tmp_path: Path) -> None:
    shutil.copytree(learned.path, tmp_path / "run")
    (tmp_path / "run" / "pairs.parquet").unlink()
    assert fresh_metrics(open_run(tmp_path / "run"), config) is None


def test_compare_finds_one_hand_and_two(learned: Run, home: Path) -> None:
    pictures = home / "pictures"
    unseen = learned.split.filter(pl.col("side") == "test_unseen")["key"].to_list()
    verdicts = {
        (a, b): compare(learned.path, pictures / a, pictures / b)["probability"]
        for a, b in ((unseen[0], unseen[1]), (unseen[0], unseen[-1]))
    }
    assert verdicts[unseen[0], unseen[1]] > verdicts[unseen[0], unseen[-1]]


def test_compare_sees_what_the_store_holds(learned: Run, home: Path) -> None:
    """The probability of a test pair is the same from files as from the store."""
    line = pl.read_parquet(learned.path / "pairs.parquet").row(0, named=True)
    keys = dict(learned.split.select("row", "key").iter_rows())
    found = compare(learned.path, home / "pictures" / keys[line["left"]], home / "pictures" / keys[line["right"]])
    assert found["score"] == pytest.approx(line["score"], abs=1e-3)
    assert found["decision"] == ("same" if line["said_same"] else "different")


def test_compare_refuses_a_file_that_is_no_picture(learned: Run, home: Path) -> None:
    broken = home / "pictures" / "artist-00" / "broken.jpg"
    with pytest.raises(SourceError, match=r"broken\.jpg: not a picture.*; name a readable picture file"):
        compare(learned.path, broken, broken)


def test_a_run_without_calibration_cannot_compare(run: Run, home: Path) -> None:
    with pytest.raises(RunError, match="has not been calibrated; run 'make evaluate'"):
        compare(run.path, home / "a.png", home / "b.png")


def test_a_run_outlives_its_config_but_not_its_store(learned: Run, home: Path, tmp_path: Path) -> None:
    shutil.copytree(learned.path, tmp_path / "moved" / "run")
    with pytest.raises(RunError, match=r"needs the store .*, which is gone"):
        _ = open_run(tmp_path / "moved" / "run").store


def test_status_tells_step_and_end(run: Run, config: Config, home: Path) -> None:
    assert "step 6 of 6, finished" in status_text(status(config))
    write_settings(home / "pictures", source={"kind": "folders", "path": "nowhere"})
    assert "none sealed yet; run 'make store'" in status_text(status(load_config(home / "pictures" / "config.yaml")))


@pytest.mark.parametrize("changes", [["pipeline.stream=pairs"], ["train.loss=contrastive"], ["train.size=24"]])
def test_every_stream_loss_and_size_trains(home: Path, changes: list[str]) -> None:
    config = load_config(home / "config.yaml", changes)
    metrics = evaluate(trained(config), config)
    assert 0 <= metrics["sides"]["test_unseen"]["auc"]["value"] <= 1
