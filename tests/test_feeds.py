"""Feeds: from the store, from memory or on the device, the same batches in the same order, resumable and bounded."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipeline.augmentation import drawer
from pipeline.buffers import Buffers
from pipeline.dataset import rows_dataset, store_errors, training_dataset
from pipeline.feeds import Places, Share, Source, load, numpy_batches, table
from pipeline.reader import Reader
from pipeline.split import TRAIN, make_split, side_rows
from pipeline.streams import Batch, Groups, Pairs, Stream, rows_by_label
from preprocess.build import build_store
from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.manifest import make_manifest
from preprocess.store import Store, current_store, open_store
from tests.conftest import SOAK
from tests.helpers import smooth
from tests.stores import begin
from tests.tiny import tiny_collection
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


def test_no_tuner_keeps_the_end_of_a_dataset_waiting(config: Config, store: Store) -> None:
    reader, stream = Reader(store, 16), stream_of("groups", store, config)
    batches, rows = training_dataset(reader, stream, DRAW, 0, 4, 2), rows_dataset(reader, np.arange(4), 2)
    assert [dataset.options().autotune.enabled for dataset in (batches, rows)] == [False, False]


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
    data[begin(5, 16) + 7] ^= 1
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
        found = [images.numpy() for images in rows_dataset(source, rows, 32)]
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


def test_an_error_of_the_store_stops_every_feed_with_its_one_line(config: Config, store: Store) -> None:
    stream = stream_of("groups", store, config)
    with pytest.raises(StoreError, match=r"has rows 0 to 140, got 500"), store_errors():
        list(rows_dataset(Reader(store, 16), np.array([500]), 1))
    with pytest.raises(StoreError, match=r"is quarantined: not a picture"):
        load(Reader(store, 16), np.arange(len(store.rows)))
    assert stream.batch_at(0).rows.max() < 141
