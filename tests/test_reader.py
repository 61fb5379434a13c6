"""Reading rows, by either way to the pictures, and feeding them through tf.data."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import reader as reader_module
from pipeline.dataset import PLANNED_AT_ONCE, rows_dataset, store_errors, training_dataset
from pipeline.reader import Reader, RemotePictures
from pipeline.shards import Shards
from pipeline.streams import Groups, Pairs, Stream, rows_by_label
from preprocess.common.errors import QuarantinedRow, StoreError
from preprocess.store import SEAL, Store, current_store, open_store, point_to, shard_name
from tests.helpers import Pixels
from tests.stores import begin, made_store, noise
from tests.tiny import tiny_collection
from train.augment import drawer

WAYS = {"files": Shards, "tensorstore": RemotePictures}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the pictures of a local store, one after the other."""
    if request.param == "tensorstore":
        monkeypatch.setattr(reader_module, "is_plain", lambda *_: False)
    return str(request.param)


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


def whole(store: Store) -> Pixels:
    """Return all pictures at 16 px as zarr-python reads them."""
    return np.asarray(zarr.open_array(store.path / "images_16", mode="r")[:])


def shard(store: Store, number: int) -> Path:
    return Path(store.path / shard_name(16, number))


def flip(path: Path, place: int) -> None:
    """Change one bit of the byte at `place`, in the file itself."""
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_rows_are_read_in_the_order_asked_for_and_repeatedly(store: Store, way: str) -> None:
    reader = Reader(store, 16)
    assert type(reader.pictures) is WAYS[way]
    rows = np.array([70, 3, 3, 139, 20])
    for _ in range(3):
        assert np.array_equal(reader.read(rows), whole(store)[rows])
    assert reader.read([]).shape == (0, 16, 16, 3)


@settings(deadline=None, max_examples=40)
@given(
    data=st.data(), size=st.integers(1, 9), count=st.integers(1, 30), per_shard=st.integers(1, 12), seed=st.integers(0)
)
@pytest.mark.parametrize("plain", [True, False])
def test_any_store_is_read_as_zarr_reads_it(
    data: st.DataObject, size: int, count: int, per_shard: int, seed: int, plain: bool
) -> None:
    left_out = data.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    stored = sorted(set(range(count)) - left_out)
    wanted = data.draw(st.lists(st.lists(st.sampled_from(stored), max_size=20), max_size=4))
    pictures = noise(count, size, seed)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        store = made_store(Path(folder), pictures, per_shard, left_out)
        if not plain:
            patch.setattr(reader_module, "is_plain", lambda *_: False)
        reader = Reader(store, size)
        assert type(reader.pictures) is (Shards if plain else RemotePictures)
        array = np.asarray(zarr.open_array(store.path / f"images_{size}", mode="r")[:])
        for rows in [stored, *wanted]:
            assert np.array_equal(reader.read(rows), array[rows])
            assert np.array_equal(array[rows], pictures[rows])
        for row in left_out:
            with pytest.raises(QuarantinedRow, match=rf"row {row} \({row}.png\) is quarantined: image file is trunc"):
                reader.read([stored[0], row])


def test_pictures_come_into_the_array_that_is_given(store: Store, way: str) -> None:
    reader, rows = Reader(store, 16), np.array([5, 100])
    out = np.zeros((2, 16, 16, 3), np.uint8)
    for _ in range(2):
        assert reader.read(rows, out) is out
        assert np.array_equal(out, whole(store)[rows])
        rows = rows[::-1]


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 16, 16, 3), np.uint8), np.zeros((2, 16, 16, 3), np.int8), np.zeros((4, 16, 16, 3), np.uint8)[::2],
        np.zeros((2, 768), np.uint8),
    ],
    ids=["rows", "type", "gaps", "shape"],
)  # fmt: skip
def test_an_array_that_pictures_do_not_fit_into_is_refused(store: Store, out: np.ndarray, way: str) -> None:
    with pytest.raises(ValueError, match=r"out must be uint8 \(2, 16, 16, 3\), C-contiguous, got"):
        Reader(store, 16).read([0, 1], out)


def test_the_smallest_sufficient_size_is_read(store: Store) -> None:
    assert Reader(store, 16).size == 16
    assert Reader(store, 17).size == 32
    with pytest.raises(StoreError, match=r"none as large as 33; add it to preprocess\.sizes"):
        Reader(store, 33)


def test_a_quarantined_row_raises_its_reason(store: Store, way: str) -> None:
    row = store.rows.filter(pl.col("status") == "quarantined")["row"][0]
    with pytest.raises(QuarantinedRow, match=rf"row {row} \(artist-00/broken.jpg\) is quarantined: not a picture"):
        Reader(store, 16).read([0, row])


@pytest.mark.parametrize("row", [-1, 10_000])
def test_a_row_outside_the_store_is_refused(store: Store, row: int, way: str) -> None:
    with pytest.raises(StoreError, match=f"got {row}"):
        Reader(store, 16).read([row])


def test_a_changed_byte_is_an_error_that_names_the_row(damaged: Store, way: str) -> None:
    flip(shard(damaged, 1), begin(5, 16) + 7)
    reader = Reader(damaged, 16)
    assert len(reader.read([64, 68, 70]))
    for _ in range(2):
        with pytest.raises(StoreError, match=r"^row 69 of [^\n]* is damaged: [^\n]*; run 'make check-store'$"):
            reader.read(stored_rows(damaged))


def test_a_damaged_index_is_an_error_of_the_rows_it_is_about(damaged: Store, way: str) -> None:
    flip(shard(damaged, 1), shard(damaged, 1).stat().st_size - 20)
    reader = Reader(damaged, 16)
    assert len(reader.read([0, 130]))
    with pytest.raises(StoreError, match=r"^row 64 of [^\n]* is damaged: [^\n]*ndex"):
        reader.read([0, 64])


def test_a_missing_chunk_is_an_error_never_black_pixels(tmp_path: Path, way: str) -> None:
    store = made_store(tmp_path, noise(8, 16), 4, left_out={5})
    store.rows[5, "status"] = "stored"
    with pytest.raises(StoreError, match=r"row 5 of .* is damaged: .*is missing"):
        Reader(store, 16).read([0, 5])


def test_a_lost_shard_is_an_error_never_black_pixels(damaged: Store, way: str) -> None:
    shard(damaged, 1).unlink()
    reader = Reader(damaged, 16)
    assert len(reader.read([0, 130]))
    with pytest.raises(StoreError, match=r"row 64 of .* is damaged: .*images_16/c/1/0/0/0\"? is missing"):
        reader.read([0, 64])


def test_a_lost_store_is_not_called_damaged(damaged: Store, way: str) -> None:
    damaged.rows  # noqa: B018 - read before the folder goes, as a training has
    reader = Reader(damaged, 16)
    shutil.move(damaged.path / "images_16", damaged.path.parent)
    (damaged.path / SEAL).unlink()
    if way == "files":  # they stay open
        assert len(reader.read([0]))
        reader.pictures = Shards(damaged, 16, always=False)
    with pytest.raises(StoreError, match=r"row 0 of .* is gone with the store: mount its disk again, or run 'make st"):
        reader.read([0])


@pytest.mark.parametrize("what", ["changed", "missing"])
def test_metadata_that_the_seal_does_not_know_are_refused(damaged: Store, what: str, way: str) -> None:
    path = damaged.path / "images_16" / "zarr.json"
    if what == "changed":
        flip(path, 20)
    else:
        path.unlink()
    with pytest.raises(StoreError, match=r"images_16/zarr\.json (does not match its seal|cannot be read: No such)"):
        Reader(damaged, 16)


def test_a_pinned_store_is_read_on_while_another_is_made_current(tmp_path: Path, way: str) -> None:
    """From open files also once its folder has been deleted; TensorStore opens files anew, and says what is gone."""
    old, new = (made_store(tmp_path, noise(20, 16, seed), 3) for seed in (1, 2))
    point_to(old)
    reader = Reader(current_store(tmp_path), 16)
    point_to(new)
    assert np.array_equal(Reader(current_store(tmp_path), 16).read(range(20)), noise(20, 16, 2))
    assert np.array_equal(reader.read(range(0, 20, 2)), noise(20, 16, 1)[::2])
    shutil.rmtree(old.path)
    if way == "files":
        assert np.array_equal(reader.read(range(20)), noise(20, 16, 1)), "rows that were never read before, too"
    else:
        with pytest.raises(StoreError, match=r"row 0 of .* is gone with the store"):
            reader.read([0])


def test_eight_threads_read_what_one_does(tmp_path: Path, way: str) -> None:
    pictures = noise(300, 8)
    reader = Reader(made_store(tmp_path, pictures, 7), 8)

    def hammer(seed: int) -> int:
        rng, out = np.random.default_rng(seed), np.empty((64, 8, 8, 3), np.uint8)
        return sum(
            np.array_equal(reader.read(rows, out), pictures[rows]) for rows in rng.integers(0, len(pictures), (100, 64))
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(hammer, range(8))) == [100] * 8


def streams(store: Store) -> list[Stream]:
    rows = stored_rows(store)
    artists = rows_by_label(rows, store.rows["label"].to_numpy()[rows])
    return [Groups(artists, 24, 4, 5), Pairs(artists, 12, 5)]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("prefetch", [1, 4])
def test_tf_data_gives_the_streams_batches_in_order(store: Store, kind: int, prefetch: int) -> None:
    """With several batches in flight no buffer may be reused too early: each must still hold its own pictures."""
    stream, reader, draw = streams(store)[kind], Reader(store, 16), drawer("paintings", 5)
    dataset = training_dataset(reader, stream, draw, 3, 20, prefetch)
    batches = list(dataset)
    assert len(batches) == len(dataset) == 17, "Keras warns of datasets that do not know their length"
    for k, (inputs, same, weight) in enumerate(batches, start=3):
        expected = stream.batch_at(k)
        assert np.array_equal(inputs["images"], reader.read(expected.rows))
        assert np.array_equal(inputs["augment"], draw(k, len(expected.rows)))
        assert np.array_equal(inputs["left"], expected.left)
        assert np.array_equal(inputs["right"], expected.right)
        assert np.array_equal(same, expected.same)
        assert np.array_equal(weight, expected.weight)


def test_every_batch_is_drawn_once_and_read_in_one_call(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, stream = Reader(store, 16), streams(store)[0]
    drawn, reads, read = [], [], reader.read

    def draw(k: int, n: int) -> np.ndarray:
        drawn.append(k)
        return np.zeros((n, 8), np.float32)

    def counted(*arguments: np.ndarray) -> np.ndarray:
        reads.append(len(arguments[0]))
        return read(*arguments)

    monkeypatch.setattr(reader, "read", counted)
    count = 2 * PLANNED_AT_ONCE + 3
    assert len(list(training_dataset(reader, stream, draw, 0, count, 2))) == count
    assert sorted(drawn) == [0, *range(count)], "batch 0 is drawn once more for its shape"
    assert reads == [24] * count


def test_rows_in_order_cover_the_side_once(store: Store) -> None:
    rows, reader = stored_rows(store), Reader(store, 16)
    found = np.concatenate([images.numpy() for images in rows_dataset(reader, rows, 32)])
    assert np.array_equal(found, reader.read(rows))


def test_an_error_of_the_reader_reaches_the_trainer_as_itself(damaged: Store) -> None:
    rows = stored_rows(damaged)
    shutil.rmtree(damaged.path / "images_16" / "c")
    with pytest.raises(StoreError, match=r"^row 0 of [^\n]* is damaged: [^\n]*run 'make check-store'$"), store_errors():
        list(rows_dataset(Reader(damaged, 16), rows, 32))
