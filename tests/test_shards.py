"""Local shards read straight from their files: how many files, whose fault an error is, and memory."""

import errno
import gc
import os
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any

import numpy as np
import pytest

from pipeline import aio, shards
from pipeline.reader import Reader
from preprocess.common.errors import StoreError
from preprocess.sharding import ShardWriter
from preprocess.store import Store, shard_name
from tests.conftest import SOAK
from tests.helpers import raiser
from tests.stores import begin, made_store, noise

PICTURES = noise(40, 8)
LOST = {errno.EIO: "Input/output error", errno.ESTALE: "Stale file handle", errno.ENOTCONN: "Transport endpoint is not"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return made_store(tmp_path, PICTURES, 10)


def no_queue(most: int) -> aio.Queue:
    """Raise a new error each time: one that is raised again would hold everything it ever passed through."""
    raise OSError(errno.ENOSYS, "no io_submit")


@pytest.fixture(params=["together", "each"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Checked rows are read together in one system call, or where that cannot be, each in its own."""
    if request.param == "each":
        monkeypatch.setattr(shards, "Queue", no_queue)
    return str(request.param)


@pytest.fixture
def few_files() -> Iterator[int]:
    """Lower the number of files that this process may have open, and return how many more it may open."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    with ExitStack() as others:
        for _ in range(200):
            others.enter_context(Path(os.devnull).open())
        taken = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
        few = 64 + max(taken)
        setrlimit(RLIMIT_NOFILE, (few, hard))
        yield few - len(taken)
        setrlimit(RLIMIT_NOFILE, (soft, hard))


def open_files(store: Store) -> int:
    """Return how many files of a store this process has open."""
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # another thread has closed it
            count += str(store.path) in str(path.readlink())
    return count


def shard(store: Store, number: int) -> Path:
    return Path(store.path / shard_name(8, number))


def anonymous() -> int:
    """Return the bytes of memory of this process that are no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def test_rows_are_checked_at_their_first_read_or_always(store: Store, calls: str) -> None:
    first, always, late = Reader(store, 8), Reader(store, 8, "always"), Reader(store, 8)
    for reader in (first, always):
        for _ in range(2):
            assert np.array_equal(reader.read(range(40)), PICTURES)
    with shard(store, 2).open("r+b") as file:
        file.seek(begin(3, 8))
        file.write(b"changed!")
    assert len(first.read(range(40)))
    for reader in (always, late):
        assert len(reader.read([*range(23), *range(24, 40)]))
        with pytest.raises(
            StoreError, match=r"row 23 of .* is damaged: its checksum does not match; run 'make check-store"
        ):
            reader.read(range(40))


def test_more_shards_than_files_may_be_open(tmp_path: Path, few_files: int, calls: str) -> None:
    pictures = noise(500, 4)
    store = made_store(tmp_path, pictures, 1)
    reader = Reader(store, 4)
    most = 0

    def hammer(seed: int) -> bool:
        nonlocal most
        rng, fine = np.random.default_rng(seed), True
        for rows in rng.integers(0, len(pictures), (20, 100)):
            fine = fine and np.array_equal(reader.read(rows), pictures[rows])
            most = max(most, open_files(store))
        return fine

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(hammer, range(2)))
    assert few_files < 500
    assert few_files // 5 < most <= few_files * 3 // 4


def test_no_file_is_closed_while_another_thread_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: str
) -> None:
    """With room for one file, every thread's next row closes the one that another has just been given."""
    monkeypatch.setattr(shards, "files_allowed", lambda: 1)
    pictures = noise(30, 4)
    reader = Reader(made_store(tmp_path, pictures, 1), 4)
    start = threading.Barrier(8)

    def hammer(seed: int) -> bool:
        rows = np.random.default_rng(seed).integers(0, len(pictures), 2000)
        start.wait()
        return np.array_equal(reader.read(rows), pictures[rows])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(hammer, range(8)))


def test_files_are_closed_with_the_reader(store: Store) -> None:
    reader = Reader(store, 8)
    reader.read(range(40))
    reader.read(range(40))
    assert open_files(store) == 4
    gc.disable()  # no cycle keeps them
    del reader
    gc.enable()
    assert open_files(store) == 0


@pytest.mark.parametrize("number", LOST)
@pytest.mark.parametrize("before", [0, 1], ids=["first read", "read before"])
def test_a_lost_disk_is_not_called_damaged_and_names_the_row(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, before: int
) -> None:
    monkeypatch.setattr(shards, "Queue", no_queue)
    reader = Reader(store, 8)
    for _ in range(before):
        reader.read(range(40))
    preadv, lost = os.preadv, shard(store, 1).stat().st_ino

    def failing(file: int, buffers: Any, offset: int) -> int:
        if os.fstat(file).st_ino == lost:
            raise OSError(number, os.strerror(number))
        return preadv(file, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    assert np.array_equal(reader.read([0, 39]), PICTURES[[0, 39]])
    with pytest.raises(StoreError, match=rf"^row 17 of [^\n]* cannot be read: {LOST[number]}[^\n]*; look after"):
        reader.read([0, 17, 39])


def test_a_disk_lost_before_the_index_was_read_is_not_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "read_index", raiser(OSError(errno.EIO, "Input/output error")))
    for _ in range(2):
        with pytest.raises(StoreError, match=r"^row 3 of [^\n]* cannot be read: Input/output error; look after"):
            Reader(store, 8).read([3])


def test_a_chunk_that_is_no_picture_is_an_error_that_names_the_row(store: Store) -> None:
    with ShardWriter(shard(store, 1), 10) as writer:
        writer.write(3, noise(1, 4)[0])
    for row in (13, 14):
        with pytest.raises(
            StoreError, match=rf"row {row} of .* is damaged: its chunk is missing, or cut; run 'make che"
        ):
            Reader(store, 8).read([0, row])


@pytest.mark.parametrize("before", [0, 1], ids=["first read", "read before"])
def test_a_shard_that_became_shorter_is_an_error_that_names_the_row(store: Store, before: int, calls: str) -> None:
    reader = Reader(store, 8)
    for _ in range(before):
        reader.read(range(40))
    os.truncate(shard(store, 1), begin(4, 8) + 8 * 8 * 3 - 2 if before else begin(5, 8))
    expected = 15 - before  # its checksum and two bytes more are cut off the row before
    with pytest.raises(StoreError, match=rf"row {expected} of .* is damaged: its file became shorter; run 'make check"):
        reader.read(range(40))
    rest = [*range(14), *range(20, 40)]
    assert np.array_equal(reader.read(rest), PICTURES[rest])


def test_a_shard_that_vanished_is_read_on_where_it_is_open_and_named_where_not(
    store: Store, monkeypatch: pytest.MonkeyPatch, calls: str
) -> None:
    reader = Reader(store, 8)
    monkeypatch.setattr(shards, "files_allowed", lambda: 1)
    frugal = Reader(store, 8)
    shard(store, 1).unlink()
    assert np.array_equal(reader.read(range(40)), PICTURES)
    assert len(frugal.read([0, 39]))
    with pytest.raises(StoreError, match=r"row 14 of .* is damaged: .*/c/1/0/0/0 is missing; run 'make check-store'"):
        frugal.read([0, 14, 39])


def test_the_table_takes_a_few_bytes_a_row(tmp_path: Path) -> None:
    store = made_store(tmp_path, noise(20_000, 1), 1000)
    store.rows  # noqa: B018 - not the reader's
    tracemalloc.start()
    reader = Reader(store, 1)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(reader.read([5]))
    assert taken < 13 * 20_000


def test_many_reads_of_one_call_are_those_of_one_call_each(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 10)
    file, queue, out = os.open(path, os.O_RDONLY), aio.Queue(8), np.zeros((8, 100), np.uint8)
    offsets, rng = np.zeros(8, np.int64), np.random.default_rng(0)
    places = out.ctypes.data + 100 * np.arange(8)
    for count in (8, 3, 1, 8):
        offsets = rng.integers(0, 2460, count)
        assert queue.read(np.full(count, file), offsets, places[:count], 100).all()
        assert [bytes(one) for one in out[:count]] == [os.pread(file, 100, offset) for offset in offsets.tolist()]
    offsets[3] = 2461
    assert queue.read(np.full(8, file), offsets, places, 100).tolist() == [n != 3 for n in range(8)], "one is short"
    files = np.full(8, file)
    files[3] = os.open(tmp_path, os.O_RDONLY)
    came = queue.read(files, offsets * 0, places, 100)
    assert came[:3].all(), "one cannot be read"
    assert not came[3]
    assert queue.read(files[:3], offsets[:3] * 0, places[:3], 100).all(), "and it is as good as new"
    os.close(file)
    os.close(int(files[3]))


def test_rows_that_memory_does_not_hold_come_from_the_disk(tmp_path: Path, calls: str) -> None:
    pictures = noise(60, 64)
    store = made_store(tmp_path, pictures, 20)
    reader, out = Reader(store, 64), np.zeros_like(pictures)
    reader.read(range(60))
    for number in (0, 2):
        with (store.path / shard_name(64, number)).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert np.array_equal(reader.read(range(60), out), pictures)


@pytest.mark.soak
def test_memory_does_not_grow(tmp_path: Path, calls: str) -> None:
    reader = Reader(made_store(tmp_path, noise(600, 16), 5), 16)
    out, rng, after = np.empty((128, 16, 16, 3), np.uint8), np.random.default_rng(0), []
    for _ in range(4):
        for _ in range(500 * SOAK):
            reader.read(rng.integers(0, 600, 128), out)
        after.append(anonymous())
    assert after[-1] - after[0] < 2e6, after
