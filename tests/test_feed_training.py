"""Training on every feed gives the same weights; size and batch may change on the way."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipeline.dataset import training_dataset
from pipeline.feeds import Places, Source
from pipeline.reader import Reader
from pipeline.split import TRAIN, VALIDATION, side_rows
from pipeline.streams import Stream
from preprocess.common.config import Config, load_config
from preprocess.common.errors import ConfigError, StoreError
from preprocess.common.files import read_json
from tests.conftest import ROOT, SOAK
from tests.stores import begin
from tests.tiny import tiny_collection
from train.feed import Feed
from train.fit import compiled_network, fit
from train.run import Run, make_run

FEEDS = ("stream", "memory", "device")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_collection(tmp_path_factory.mktemp("feeds"))[0]


def test_a_run_says_which_feed_it_chose_and_why(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(config, tmp_path / "run")
    rows, held = (len(side_rows(run.split, *sides)[0]) for sides in ((TRAIN,), VALIDATION))
    Feed(run, config.pipeline)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("feed: memory, chosen (device: no accelerator; memory: ")
    assert f"memory: {(rows + held) * 16 * 16 * 3 / 1e6:.1f} MB of 4.0 GB" in line


@pytest.mark.parametrize("side", ["training", "validation"])
def test_pictures_from_the_store_are_compared_with_their_checksums_as_often_as_asked(
    side: str, config: Config, tmp_path: Path
) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(config.stores.parent, copied)
    config = load_config(copied / "config.yaml", ["pipeline.feed=stream"])
    run = make_run(config, tmp_path / "run")
    rows = side_rows(run.split, *((TRAIN,) if side == "training" else VALIDATION))[0]

    def source(verify: str) -> Reader:
        feed = Feed(run, config.pipeline.model_copy(update={"verify": verify}))
        found = feed.training(16)[0] if side == "training" else feed.validation()
        assert isinstance(found, Reader)
        return found

    first, always = source("first"), source("always")
    before = first.read(rows)
    assert np.array_equal(always.read(rows), before)
    index = 64 * 16 + 4
    for shard in (run.store.path / "images_16" / "c").glob("*/0/0/0"):
        data = np.fromfile(shard, np.uint8)
        data[1 : -index : begin(1, 16)] ^= 1  # of every picture
        data.tofile(shard)
    assert not np.array_equal(first.read(rows), before), "read before, and so not compared again"
    with pytest.raises(StoreError, match=rf"row {rows[0]} of .* is damaged: its checksum does not match"):
        always.read(rows)


@pytest.mark.parametrize("feed", ["memory", "device"])
def test_loading_shows_signs_of_life(config: Config, tmp_path: Path, feed: str) -> None:
    """A large collection takes longer to load than the supervisor would wait for a silent trainer."""
    ticks: list[int] = []
    pipeline = config.pipeline.model_copy(update={"feed": feed})
    Feed(make_run(config, tmp_path / "run"), pipeline, lambda: ticks.append(1)).training(16)
    assert ticks


def trained(config: Config, path: Path, changes: list[str]) -> Run:
    """Train a run of the tiny settings with `changes`, to its end."""
    config = load_config(config.stores.parent / "config.yaml", changes)
    run = make_run(config, path)
    fit(run, config.pipeline)
    return run


TRAIN_EXACTLY = """
import hashlib, sys
from pathlib import Path
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
from preprocess.common.config import load_config
from tests.test_feed_training import trained
config = load_config(Path(sys.argv[1]))
for feed in ("stream", "memory", "device"):
    run = trained(config, Path(sys.argv[2]) / feed, [*sys.argv[3:], f"pipeline.feed={feed}"])
    print(feed, hashlib.sha256((run.path / "model.safetensors").read_bytes()).hexdigest())
"""


def test_all_feeds_train_the_same_weights_bit_for_bit(config: Config, tmp_path: Path) -> None:
    stages = "train.stages=[{until: 0.5, size: 24, batch: 16}]"
    changes = [stages, "pipeline.stream=pairs", "train.augment=strong"]
    command = [sys.executable, "-c", TRAIN_EXACTLY, str(config.stores.parent / "config.yaml"), str(tmp_path), *changes]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    said = dict(line.split() for line in answer.stdout.splitlines())
    assert set(said) == set(FEEDS)
    assert len(set(said.values())) == 1, said


def test_the_device_feed_is_in_no_weight_and_no_checkpoint(config: Config, tmp_path: Path) -> None:
    plain = trained(config, tmp_path / "stream", ["pipeline.feed=stream"])
    run = trained(config, tmp_path / "device", ["pipeline.feed=device"])
    network = compiled_network(run)
    count = len(network.weights)
    source, held = Feed(run, config.pipeline.model_copy(update={"feed": "device"})).training(16)
    network.train_on(16, held)
    assert held is not None
    assert isinstance(source, Places)
    assert len(network.weights) == count
    files = [path.relative_to(run.path) for path in run.path.rglob("*.safetensors")]
    assert len(files) == 3
    for name in files:
        one, other = load_file(run.path / name), load_file(plain.path / name)
        assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in other.items()}


@pytest.mark.soak
def test_a_run_through_stages_resumes_exactly_inside_a_stage_and_at_its_border(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage changes at step 2 of 6; checkpoints lie at 2, the border, and at 3, inside the second."""
    stages = "train.stages=[{until: 0.34, size: 24, batch: 16}]"
    whole = trained(config, tmp_path / "whole", [stages])

    class Killed(Exception):  # noqa: N818 - no error
        pass

    for last in (2, 3) if SOAK > 1 else (3,):
        changes = [stages, f"train.validate_every={last}"]
        path = tmp_path / f"killed-{last}"
        with monkeypatch.context() as patched:

            def stop_after(run: Run, line: dict[str, Any], last: int = last) -> None:
                if line["step"] > last:
                    raise Killed

            patched.setattr(Run, "log", stop_after)
            with pytest.raises(Killed):
                trained(config, path, changes)
        resumed = trained(config, path, changes)
        assert [folder.name for folder in sorted((path / "checkpoints").iterdir())][-1] == "step-00000006"
        one, other = load_file(whole.path / "model.safetensors"), load_file(resumed.path / "model.safetensors")
        assert all(np.allclose(one[name], other[name], atol=1e-4) for name in one)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("[{until: 0.5, size: 16}, {until: 0.5, size: 32}]", "train.stages should end one after the other"),
        ("[{until: 1.0, size: 16}]", "train.stages.0.until should be less than 1, got 1.0"),
        ("[{until: 0.5, size: 33}]", r"train.stages.0.size must not exceed the largest of preprocess.sizes \[16, 32\]"),
        ("[{until: 0.5, size: 16, batch: 6}]", "at most half of train.stages.0.batch"),
        ("[{until: 0.5, siz: 16, size: 16}]", "unknown key 'train.stages.0.siz'; did you mean 'train.stages.0.size'?"),
    ],
)
def test_impossible_stages_are_refused(config: Config, stages: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        load_config(config.stores.parent / "config.yaml", [f"train.stages={stages}"])


def test_stages_feed_their_sizes_and_batches_and_say_what_these_will_show(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fed: list[tuple[int, int, tuple[int, ...]]] = []

    def noted(source: Source, stream: Stream, draw: Any, start: int, stop: int, prefetch: int) -> Any:
        made = training_dataset(source, stream, draw, start, stop, prefetch)
        fed.append((start, stop, tuple(made.element_spec[0]["images"].shape)))
        return made

    monkeypatch.setattr("train.fit.training_dataset", noted)
    stages = "train.stages=[{until: 0.34, size: 12, batch: 16}, {until: 0.67, size: 24}]"
    run = trained(config, tmp_path / "run", [stages, "train.validate_every=3", "pipeline.feed=stream"])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stream: ")]
    small, middle, large = (16, 16, 16, 3), (32, 32, 32, 3), (32, 16, 16, 3)
    assert fed == [(0, 2, small), (2, 3, middle), (3, 4, middle), (4, 6, large)]
    assert [line.split(" are to show")[0] for line in said] == [f"stream: batches {n} to {n + 1}" for n in (0, 2, 4)]
    assert "0% of the different pairs are hard" in said[0]
    assert [line["step"] for line in run.logged()] == [3, 6]
    assert read_json(run.path / "finished.json")["step"] == 6
