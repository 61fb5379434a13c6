"""Reading rows, and feeding them through tf.data."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr

from pipeline.dataset import rows_dataset, store_errors, training_dataset
from pipeline.reader import Reader
from pipeline.streams import Groups, Pairs, Stream, in_order, rows_by_label
from preprocess.common.errors import QuarantinedRow, StoreError
from preprocess.store import Store, open_store
from tests.tiny import tiny_collection
from train.augment import drawer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_collection(tmp_path_factory.mktemp("reader"))[1]


@pytest.fixture
def damaged(store: Store, tmp_path: Path) -> Store:
    """Return a copy of the store that may be damaged."""
    shutil.copytree(store.path, tmp_path / store.path.name)
    return open_store(tmp_path / store.path.name)


def stored_rows(store: Store) -> np.ndarray:
    return store.rows.filter(pl.col("status") == "stored")["row"].to_numpy().astype(np.int64)


def test_rows_are_read_in_the_order_asked_for_and_repeatedly(store: Store) -> None:
    rows = np.array([70, 3, 3, 139, 20])
    expected = np.asarray(zarr.open_array(store.path / "images_16", mode="r")[:])[rows]
    assert np.array_equal(Reader(store, 16).read(rows), expected)


def test_the_smallest_sufficient_size_is_read(store: Store) -> None:
    assert Reader(store, 16).size == 16
    assert Reader(store, 17).size == 32
    with pytest.raises(StoreError, match=r"none as large as 33; add it to preprocess\.sizes"):
        Reader(store, 33)


def test_a_quarantined_row_raises_its_reason(store: Store) -> None:
    row = store.rows.filter(pl.col("status") == "quarantined")["row"][0]
    with pytest.raises(QuarantinedRow, match=rf"row {row} \(artist-00/broken.jpg\) is quarantined: not a picture"):
        Reader(store, 16).read([0, row])


@pytest.mark.parametrize("row", [-1, 10_000])
def test_a_row_outside_the_store_is_refused(store: Store, row: int) -> None:
    with pytest.raises(StoreError, match=f"got {row}"):
        Reader(store, 16).read([row])


def test_a_changed_byte_is_an_error_that_names_the_row(damaged: Store) -> None:
    shard = damaged.path / "images_16" / "c" / "1" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[5 * (16 * 16 * 3 + 4) + 7] ^= 1
    shard.write_bytes(data)
    reader = Reader(damaged, 16)
    assert len(reader.read([64, 68, 70]))
    with pytest.raises(StoreError, match=r"row 69 of .* is damaged"):
        reader.read(stored_rows(damaged))


def test_a_lost_shard_is_an_error_never_black_pixels(damaged: Store) -> None:
    (damaged.path / "images_16" / "c" / "1" / "0" / "0" / "0").unlink()
    with pytest.raises(StoreError, match=r"row 64|row 6[4-9]"):
        Reader(damaged, 16).read([0, 64])


def streams(store: Store) -> list[Stream]:
    rows = stored_rows(store)
    artists = rows_by_label(rows, store.rows["label"].to_numpy()[rows])
    return [Groups(artists, 24, 4, 5), Pairs(artists, 12, 5)]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("prefetch", [1, 4])
def test_tf_data_gives_the_streams_batches_in_order(store: Store, kind: int, prefetch: int) -> None:
    """With several batches in flight no buffer may be reused too early: each must still hold its own pictures."""
    stream, reader, draw = streams(store)[kind], Reader(store, 16), drawer("paintings", 5)
    batches = list(training_dataset(reader, stream, draw, 3, 20, prefetch))
    assert len(batches) == 17
    for k, (inputs, same, weight) in enumerate(batches, start=3):
        expected = stream.batch_at(k)
        assert np.array_equal(inputs["images"], reader.read(expected.rows))
        assert np.array_equal(inputs["augment"], draw(k, len(expected.rows)))
        assert np.array_equal(inputs["left"], expected.left)
        assert np.array_equal(inputs["right"], expected.right)
        assert np.array_equal(same, expected.same)
        assert np.array_equal(weight, expected.weight)


def test_there_is_one_call_into_python_per_batch(store: Store) -> None:
    reader, stream = Reader(store, 16), streams(store)[0]
    calls = []

    def draw(k: int, n: int) -> np.ndarray:
        calls.append(k)
        return np.zeros((n, 8), np.float32)

    assert len(list(training_dataset(reader, stream, draw, 0, 10, 2))) == 10
    assert sorted(calls) == [0, *range(10)], "batch 0 is drawn once more for its shape"


def test_rows_in_order_cover_the_side_once(store: Store) -> None:
    rows, reader = stored_rows(store), Reader(store, 16)
    found = np.concatenate([images.numpy() for images in rows_dataset(reader, in_order(rows, 32))])
    assert np.array_equal(found, reader.read(rows))


def test_an_error_of_the_reader_reaches_the_trainer_as_itself(damaged: Store) -> None:
    rows = stored_rows(damaged)
    shutil.rmtree(damaged.path / "images_16" / "c")
    with pytest.raises(StoreError, match=r"^row 0 of [^\n]* is damaged: [^\n]*run 'make check-store'$"), store_errors():
        list(rows_dataset(Reader(damaged, 16), in_order(rows, 32)))
