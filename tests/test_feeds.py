"""Feeds: from the store, from memory or on the device, the same batches in the same order, resumable and bounded."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from pipeline.augmentation import drawer
from pipeline.budget import Budget, Needs, choose, memory_left
from pipeline.buffers import Buffers
from pipeline.dataset import rows_dataset, store_errors, training_dataset
from pipeline.feeds import Places, Share, Source, load, numpy_batches, table
from pipeline.reader import Reader
from pipeline.split import TRAIN, VALIDATION, make_split, side_rows
from pipeline.streams import Batch, Groups, Pairs, Stream, in_order, rows_by_label
from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import ConfigError, StoreError
from preprocess.common.files import read_json
from preprocess.manifest import make_manifest
from preprocess.store import Store, current_store, open_store
from tests.conftest import ROOT, SOAK
from tests.helpers import smooth
from tests.tiny import tiny_collection
from train.feed import Feed
from train.fit import compiled_network, fit
from train.run import Run, make_run
from train.table import WORD, Table

KINDS = ("pairs", "groups")
FEEDS = ("stream", "memory", "device")
DRAW = drawer("paintings", 5)
Flat = list[np.ndarray]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_collection(tmp_path_factory.mktemp("feeds"))[0]


@pytest.fixture(scope="module")
def store(config: Config) -> Store:
    return current_store(config.store_folder)


def training_rows(store: Store, config: Config) -> tuple[np.ndarray, np.ndarray]:
    return side_rows(make_split(store, config), TRAIN)


def stream_of(kind: str, store: Store, config: Config, size: int = 32) -> Stream:
    artists = rows_by_label(*training_rows(store, config))
    return Pairs(artists, size // 2, 5) if kind == "pairs" else Groups(artists, size, 4, 5)


def flat(batch: Any) -> Flat:
    """Return copies of all arrays of a labelled batch, of tf.data or numpy."""
    inputs, same, weight = batch
    names = ("images", "augment", "left", "right")
    return [np.array(value) for value in (*(inputs[name] for name in names), same, weight)]


def alike(first: Flat, second: Flat) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def expected(reader: Reader, batch: Batch, k: int) -> Flat:
    """Return what batch `k` must be, made by hand."""
    drawn = DRAW(k, len(batch.rows))
    return [reader.read(batch.rows), drawn, batch.left, batch.right, batch.same, batch.weight]


def batches_of(feed: str, reader: Reader, stream: Stream, rows: np.ndarray, start: int, stop: int) -> Iterator[Flat]:
    """Yield the batches of a feed as the network sees them."""
    on_device = Table(table(reader, rows, WORD.itemsize), reader.size) if feed == "device" else None
    source: Source = Places(rows) if on_device else load(reader, rows) if feed == "memory" else reader
    for inputs, same, weight in training_dataset(source, stream, DRAW, start, stop, 4):
        images = on_device.take(inputs["images"]) if on_device else inputs["images"]
        yield flat(({**inputs, "images": images}, same, weight))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16, 15])
def test_all_feeds_give_the_same_batches_in_order(kind: str, size: int, config: Config, store: Store) -> None:
    reader, stream, rows = Reader(store, size), stream_of(kind, store, config), training_rows(store, config)[0]
    by_hand = [expected(reader, stream.batch_at(k), k) for k in range(3, 23)]
    for feed in FEEDS:
        found = list(batches_of(feed, reader, stream, rows, 3, 23))
        assert len(found) == 20
        assert all(alike(*both) for both in zip(found, by_hand, strict=True)), feed
    for source in (reader, load(reader, rows)):
        numpy = [flat(batch) for batch in numpy_batches(source, stream, DRAW, 3, 23, 4)]
        assert all(alike(*both) for both in zip(numpy, by_hand, strict=True))


def test_a_table_of_pictures_that_fill_no_whole_words_is_exact() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (9, 5 * 5 * 3), dtype=np.uint8)
    padded = np.pad(pictures, ((0, 0), (0, -75 % WORD.itemsize)))
    places = np.array([8, 0, 3, 3])
    assert np.array_equal(Table(padded, 5).take(places), pictures[places].reshape(-1, 5, 5, 3))


def test_batches_keep_their_order_however_long_each_takes(config: Config, store: Store) -> None:
    """Every third batch is slow to draw, so the next is ready first."""
    stream = stream_of("groups", store, config)

    def draw(k: int, n: int) -> np.ndarray:
        time.sleep(0.05 if k % 3 == 0 else 0)
        return np.full((n, 1), k, np.float32)

    reader = Reader(store, 16)
    for batches in (training_dataset(reader, stream, draw, 0, 30, 4), numpy_batches(reader, stream, draw, 0, 30, 4)):
        assert [int(inputs["augment"][0, 0]) for inputs, _, _ in batches] == list(range(30))


@pytest.mark.parametrize("feed", FEEDS)
def test_a_sequence_resumed_anywhere_is_the_uninterrupted_one(feed: str, config: Config, store: Store) -> None:
    reader, stream, rows = Reader(store, 16), stream_of("groups", store, config), training_rows(store, config)[0]
    whole = list(batches_of(feed, reader, stream, rows, 0, 24))
    for start in np.random.default_rng(1).choice(24, 4, replace=False).tolist():
        resumed = list(batches_of(feed, reader, stream, rows, start, 24))
        assert all(alike(*both) for both in zip(resumed, whole[start:], strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_together_are_fed_the_global_batch(kind: str, replicas: int, config: Config, store: Store) -> None:
    reader, stream = Reader(store, 16), stream_of(kind, store, config)
    shares = [Share(stream, DRAW, replica, replicas) for replica in range(replicas)]
    parts = [list(map(flat, training_dataset(reader, share, share.draw, 2, 8, 2))) for share in shares]
    for k in range(2, 8):
        images, augment, _, _, same, _ = expected(reader, stream.batch_at(k), k)
        own = [part[k - 2] for part in parts]
        assert np.array_equal(np.concatenate([part[0] for part in own]), images)
        assert np.array_equal(np.concatenate([part[1] for part in own]), augment)
        if kind == "pairs":
            assert np.array_equal(np.concatenate([part[4] for part in own]), same)


def test_no_batch_is_overwritten_while_it_is_held(config: Config, store: Store) -> None:
    """TensorFlow aliases what it is given: buffers used again too early gave batches 4, 5, 5, 5, 5, 5."""
    reader, stream = Reader(store, 16), stream_of("groups", store, config)
    held = [inputs["images"] for inputs, _, _ in training_dataset(reader, stream, DRAW, 0, 60, 4)]
    del held[::2]
    list(training_dataset(reader, stream, DRAW, 60, 90, 4))
    for k, images in zip(range(1, 60, 2), held, strict=True):
        assert np.array_equal(images, reader.read(stream.batch_at(k).rows))


def test_the_same_few_buffers_serve_all_batches(config: Config, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Buffers] = []

    def noted(most: int, size: int) -> Buffers:
        made.append(Buffers(most, size))
        return made[-1]

    monkeypatch.setattr("pipeline.dataset.Buffers", noted)
    stream = stream_of("groups", store, config)
    assert sum(1 for _ in training_dataset(Reader(store, 16), stream, DRAW, 0, 300, 4)) == 300
    assert 1 <= made[0].made <= 4 + 2 + 3, "prefetched, being read, and held or about to be let go"


def test_a_buffer_comes_back_when_its_last_view_is_gone() -> None:
    buffers = Buffers(4, 8)
    whole = buffers.take(4)
    part = whole[1:3].reshape(2, -1)[:, ::2]
    del whole
    other = buffers.take(3)
    assert not np.shares_memory(part, other)
    assert buffers.made == 2
    del part
    assert buffers.take(4).shape == (4, 8, 8, 3)
    assert buffers.made == 2


def test_tensorflow_takes_a_buffer_as_it_is() -> None:
    """A copy would cost as much again as reading the batch."""
    array = Buffers(4, 8).take(4)
    one = tf.data.Dataset.range(1)
    (tensor,) = one.map(lambda k: tf.numpy_function(lambda _: array, [k], tf.uint8, stateful=False))
    array[2, 3, 4, 1] = 77
    assert int(tensor[2, 3, 4, 1]) == 77


def test_memory_verifies_checksums_while_it_loads(config: Config, store: Store, tmp_path: Path) -> None:
    copy = tmp_path / store.path.name
    shutil.copytree(store.path, copy)
    shard = copy / "images_16" / "c" / "1" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[5 * (16 * 16 * 3 + 4) + 7] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"row 69 of .* is damaged"):
        load(Reader(open_store(copy), 16), np.arange(64, 80))


def test_a_row_that_was_not_loaded_is_an_error(store: Store) -> None:
    resident = load(Reader(store, 16), np.arange(20, 30))
    for row in (19, 30):
        with pytest.raises(KeyError, match=f"row {row} was not loaded"):
            resident.read(np.array([22, row]))


def test_rows_in_order_come_from_memory_as_from_the_store(store: Store) -> None:
    reader, rows = Reader(store, 16), np.arange(13, 90)
    for source in (reader, load(reader, rows)):
        found = [images.numpy() for images in rows_dataset(source, in_order(rows, 32))]
        assert [len(images) for images in found] == [32, 32, 13]
        assert np.array_equal(np.concatenate(found), reader.read(rows))


def test_a_new_store_made_current_changes_nothing_for_who_reads_the_old_one(tmp_path: Path) -> None:
    config, old = tiny_collection(tmp_path, artists=12, paintings=6)
    reader, stream = Reader(old, 16), stream_of("groups", old, config)
    by_hand = [expected(reader, stream.batch_at(k), k) for k in range(30)]
    batches = iter(training_dataset(reader, stream, DRAW, 0, 30, 1))
    found = [flat(next(batches)) for _ in range(5)]
    for path in (tmp_path / "pictures").rglob("*.png"):
        smooth(len(path.name), 40, 40).save(path)
    build_store(config, make_manifest(config))
    assert current_store(config.store_folder).fingerprint != old.fingerprint
    found += [flat(batch) for batch in batches]
    assert all(alike(*both) for both in zip(found, by_hand, strict=True))
    again = Reader(open_store(old.path), 16)
    assert alike(expected(again, stream.batch_at(0), 0), by_hand[0])


def anonymous_memory() -> float:
    """Return the anonymous memory of this process in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("RssAnon"))) / 1000


@pytest.mark.soak
@pytest.mark.parametrize("feed", ["stream", "memory", "numpy"])
def test_memory_stays_flat_over_thousands_of_batches(feed: str, config: Config, store: Store) -> None:
    reader, stream, rows = Reader(store, 32), stream_of("groups", store, config), training_rows(store, config)[0]
    source = load(reader, rows) if feed == "memory" else reader
    count, seen, levels = 2500 * SOAK, 0, []
    made = numpy_batches(reader, stream, DRAW, 0, count, 4) if feed == "numpy" else training_dataset(
        source, stream, DRAW, 0, count, 4
    )  # fmt: skip
    for batch in made:
        assert len(batch[0]["images"]) == 32
        seen += 1
        if seen % (count // 10) == 0:
            levels.append(anonymous_memory())
    assert seen == count
    print(f"{feed}: {count} batches, anonymous memory {levels[1]:.0f} to {levels[-1]:.0f} MB")
    assert levels[-1] - levels[1] < 10, levels  # one batch is 98 kB: a leak of one in fifty would show


GB = 10**9
NEEDS = Needs(stream=GB // 20, memory=3 * GB, device=2 * GB)


@pytest.mark.parametrize(
    ("budget", "feed"),
    [
        (Budget(4 * GB, 8 * GB, None), "memory"),
        (Budget(2 * GB, 8 * GB, None), "stream"),
        (Budget(4 * GB, 2 * GB, None), "stream"),
        (Budget(4 * GB, 8 * GB, 10 * GB), "device"),
        (Budget(4 * GB, 8 * GB, 3 * GB), "memory"),
        (Budget(1 * GB, 8 * GB, 3 * GB), "stream"),
    ],
)
def test_auto_takes_the_fastest_feed_that_fits_and_says_what_each_would_cost(budget: Budget, feed: str) -> None:
    choice = choose("auto", NEEDS, budget)
    assert choice.feed == feed
    assert choice.why.startswith(f"feed: {feed}, chosen (device: ")
    assert f"memory: 3.0 GB of {min(budget.allowed, budget.memory) / GB:.1f} GB" in choice.why
    assert "stream: 50.0 MB" in choice.why
    assert ("no accelerator" in choice.why) == (budget.accelerator is None)


@pytest.mark.parametrize("feed", FEEDS)
def test_a_feed_asked_for_by_name_is_taken_or_refused(feed: str) -> None:
    assert choose(feed, NEEDS, Budget(4 * GB, 8 * GB, None)).feed == feed
    small = Budget(GB, 8 * GB, GB)
    if feed == "stream":
        assert choose(feed, NEEDS, small).feed == feed
    else:
        with pytest.raises(ConfigError, match=rf"pipeline\.feed is {feed}, .*; set pipeline\.feed to auto"):
            choose(feed, NEEDS, small)


def test_memory_left_is_what_the_machine_has() -> None:
    assert 0 < memory_left() <= psutil.virtual_memory().total


def test_a_run_says_which_feed_it_chose_and_why(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(config, tmp_path / "run")
    rows, held = (len(side_rows(run.split, *sides)[0]) for sides in ((TRAIN,), VALIDATION))
    Feed(run, config.pipeline)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("feed: memory, chosen (device: no accelerator; memory: ")
    assert f"memory: {(rows + held) * 16 * 16 * 3 / 1e6:.1f} MB of 4.0 GB" in line


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
from tests.test_feeds import trained
config = load_config(Path(sys.argv[1]))
for feed in ("stream", "memory", "device"):
    run = trained(config, Path(sys.argv[2]) / feed, [*sys.argv[3:], f"pipeline.feed={feed}"])
    print(feed, hashlib.sha256((run.path / "model.safetensors").read_bytes()).hexdigest())
"""
STAGES = "train.stages=[{until: 0.34, size: 12, batch: 16}, {until: 0.67, size: 24}]"


@pytest.mark.parametrize("changes", [[], [STAGES, "pipeline.stream=pairs", "train.augment=strong"]])
def test_all_feeds_train_the_same_weights_bit_for_bit(config: Config, tmp_path: Path, changes: list[str]) -> None:
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


@pytest.mark.parametrize("every", [2, 3])
def test_a_run_through_stages_resumes_exactly_inside_a_stage_and_at_its_border(
    config: Config, tmp_path: Path, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stages change at steps 2 and 4 of 6; checkpoints lie at 2 and 4, their borders, or at 3, inside the second."""
    changes = [STAGES, f"train.validate_every={every}"]
    whole = trained(config, tmp_path / "whole", changes)

    class Killed(Exception):  # noqa: N818 - no error
        pass

    for last in range(every, 6, every):
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


def test_stages_feed_their_sizes_and_batches(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[int, int, tuple[int, ...]]] = []

    def noted(source: Source, stream: Stream, draw: Any, start: int, stop: int, prefetch: int) -> Any:
        made = training_dataset(source, stream, draw, start, stop, prefetch)
        fed.append((start, stop, tuple(made.element_spec[0]["images"].shape)))
        return made

    monkeypatch.setattr("train.fit.training_dataset", noted)
    run = trained(config, tmp_path / "run", [STAGES, "train.validate_every=3", "pipeline.feed=stream"])
    small, middle, large = (16, 16, 16, 3), (32, 32, 32, 3), (32, 16, 16, 3)
    assert fed == [(0, 2, small), (2, 3, middle), (3, 4, middle), (4, 6, large)]
    assert [line["step"] for line in run.logged()] == [3, 6]
    assert read_json(run.path / "finished.json")["step"] == 6


def test_an_error_of_the_store_stops_every_feed_with_its_one_line(config: Config, store: Store) -> None:
    stream = stream_of("groups", store, config)
    with pytest.raises(StoreError, match=r"has rows 0 to 140, got 500"), store_errors():
        list(rows_dataset(Reader(store, 16), [np.array([500])]))
    with pytest.raises(StoreError, match=r"is quarantined: not a picture"):
        load(Reader(store, 16), np.arange(len(store.rows)))
    assert stream.batch_at(0).rows.max() < 141
