"""Streams: batch k is a function of (settings, seed, k), the same after a kill and shared among replicas."""

import hashlib
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.streams import (
    Batch,
    Groups,
    Pairs,
    Stream,
    generator,
    in_order,
    outlook,
    rows_by_label,
    slice_of,
    training_stream,
)
from preprocess.common.config import Config, Pipeline
from preprocess.common.errors import ConfigError
from tests.painters import SKEWED, equal, hands, painters, real_table

ROOT = Path(__file__).parent.parent
KINDS = ("pairs", "groups")


def made(kind: str, seed: int, size: int = 32, counts: list[int] = SKEWED) -> Stream:
    """Return a stream of a kind; batches of `size` pictures."""
    artists = painters(counts)
    return Pairs(artists, size // 2, seed, "root") if kind == "pairs" else Groups(artists, size, 4, seed, "root")


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_depends_on_settings_seed_and_number_only(kind: str) -> None:
    stream, again = made(kind, 7), made(kind, 7)
    backwards = {k: again.batch_at(k) for k in reversed(range(20))}
    assert all(equal(stream.batch_at(k), backwards[k]) for k in range(20))
    far = stream.batch_at(2**32 - 1)
    assert equal(far, made(kind, 7).batch_at(2**32 - 1))


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_changes_a_batch_changes_no_other(kind: str) -> None:
    stream = made(kind, 7)
    for array in stream.batch_at(0):
        if array.flags.writeable:
            array[:] = 0
    assert equal(stream.batch_at(0), made(kind, 7).batch_at(0))


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_seeds_and_numbers_give_the_same_batch(kind: str) -> None:
    batches = {made(kind, seed).batch_at(k).rows.tobytes() for seed in range(80) for k in range(80)}
    assert len(batches) == 6400


def test_the_largest_seed_and_number_are_distinct_from_small_ones() -> None:
    """From 2**32 on a seed takes a second word: (2**32 + 5, 0) would be (5, 1), so the settings refuse it."""
    ends = (0, 1, 2, 5, 2**16, 2**31, 2**32 - 2, 2**32 - 1)
    assert len({int(generator(seed, k).integers(2**62)) for seed in ends for k in ends}) == len(ends) ** 2
    assert Config.model_validate({"train": {"seed": 2**32 - 1}}).train.seed == 2**32 - 1
    with pytest.raises(ValueError, match="less than 4294967296"):
        Config.model_validate({"train": {"seed": 2**32}})


def digest(batch: Batch) -> str:
    """Return a digest of all of a batch."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in batch)).hexdigest()


WRITER = """
import sys
from tests.test_streams import digest, made
stream = made(sys.argv[1], 11)
with open(sys.argv[2], "a") as file:
    for k in range(int(sys.argv[3]), int(sys.argv[4])):
        file.write(f"{k} {digest(stream.batch_at(k))}\\n")
        file.flush()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_is_continued_by_another_to_the_same_sequence(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", WRITER, kind, str(log)]
    process = subprocess.Popen([*command, "0", "100000000"], cwd=ROOT, start_new_session=True)
    while not log.exists() or log.read_text().count("\n") < 200:
        assert process.poll() is None, "the process ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    log.write_text("".join(whole))
    subprocess.run([*command, str(len(whole)), str(len(whole) + 100)], cwd=ROOT, check=True)
    stream = made(kind, 11)
    assert log.read_text().splitlines() == [f"{k} {digest(stream.batch_at(k))}" for k in range(len(whole) + 100)]


@given(kind=st.sampled_from(KINDS), replicas=st.integers(1, 6), parts=st.integers(1, 4), k=st.integers(0, 1000))
def test_replicas_together_have_the_batch(kind: str, replicas: int, parts: int, k: int) -> None:
    batch = made(kind, 3, 4 * replicas * parts, [40] * 12).batch_at(k)
    slices = [slice_of(batch, replica, replicas) for replica in range(replicas)]
    assert np.array_equal(np.concatenate([part.rows for part in slices]), batch.rows)
    whole = {*zip(*(hand.tolist() for hand in hands(batch)), batch.same.tolist(), strict=True)}
    shared = [{*zip(*(hand.tolist() for hand in hands(part)), part.same.tolist(), strict=True)} for part in slices]
    if kind == "pairs":
        assert set.union(*shared) == whole
        assert all(part.same.sum() == parts and len(part.same) == 2 * parts for part in slices)
        assert all((part.weight == 1).all() for part in slices)
    else:
        assert set.union(*shared) <= whole
        size = 4 * parts
        assert all(len(pairs) == size * (size - 1) // 2 for pairs in shared)


def test_a_batch_that_replicas_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.batch is 32, which 3 replicas cannot share; take a multiple of 12"):
        slice_of(made("groups", 0).batch_at(0), 0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_both_kinds_of_pairs_weigh_the_same(kind: str) -> None:
    batch = made(kind, 0).batch_at(3)
    assert batch.weight[batch.same == 1].sum() == pytest.approx(batch.weight[batch.same == 0].sum())
    assert batch.weight.mean() == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_takes_a_few_bytes_per_picture(kind: str) -> None:
    counts = [50] * 1600
    assert len(pickle.dumps(made(kind, 0, 32, counts))) < 5 * sum(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_heeded(kind: str, shared_data: Path) -> None:
    real = real_table(shared_data)
    rows = np.arange(len(real.labels))

    def rows_of(batch: int = 64, seed: int = 0, **settings: object) -> list[int]:
        pipeline = Pipeline.model_validate({"stream": kind, **settings})
        stream = training_stream(pipeline, rows, real.labels, real.table, batch, seed)
        return [int(row) for row in stream.batch_at(5).rows]

    plain = rows_of()
    changed = [rows_of(seed=1), rows_of(artists="root"), rows_of(artists="proportional"), rows_of(hard_share=0.5)]
    changed += [rows_of(batch=32), rows_of(paintings_per_artist=2)] if kind == "groups" else [rows_of(batch=32)]
    assert all(other != plain for other in changed)
    assert rows_of(prefetch=9) == plain
    assert len(plain) == 64


@pytest.mark.parametrize("kind", KINDS)
def test_the_outlook_says_what_a_run_then_shows(kind: str, shared_data: Path) -> None:
    real = real_table(shared_data)
    rows = np.arange(0, len(real.labels), 20)
    pipeline = Pipeline.model_validate({"stream": kind, "hard_share": 0.5})
    stream = training_stream(pipeline, rows, real.labels[rows], real.table, 64, 0)
    said = outlook(stream, real.labels[rows], 0, 40)
    numbers = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", said)]
    batches = [stream.batch_at(k) for k in range(40)]
    hard = sum(batch.hard.sum() for batch in batches) / sum((batch.same == 0).sum() for batch in batches)
    assert numbers[:2] == [0, 39]
    assert numbers[3] == len(rows)
    assert hard > 0.05
    assert numbers[6] == pytest.approx(100 * hard, abs=3)
    plain = training_stream(Pipeline.model_validate({"stream": kind}), rows, real.labels[rows], real.table, 64, 0)
    seen = {int(row) for k in range(40) for row in plain.batch_at(k).rows}
    assert numbers[2] == pytest.approx(len(seen), rel=0.1), "were no pair hard"


def test_a_stream_does_not_depend_on_the_order_of_rows() -> None:
    rows, labels = np.arange(90), np.repeat(np.arange(9, dtype=np.int32), 10)
    mixed = np.random.default_rng(0).permutation(90)
    first, second = rows_by_label(rows, labels), rows_by_label(rows[mixed], labels[mixed])
    assert equal(Groups(first, 32, 4, 0).batch_at(2), Groups(second, 32, 4, 0).batch_at(2))


@pytest.mark.parametrize(
    ("pipeline", "batch", "message"),
    [
        ({"stream": "pairs"}, 66, "train.batch must be a multiple of 4 with pipeline.stream pairs"),
        ({"paintings_per_artist": 5}, 8, "pipeline.paintings_per_artist must be at most half of train.batch"),
    ],
)
def test_settings_that_make_no_proper_batch_are_refused(pipeline: dict[str, object], batch: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config.model_validate({"pipeline": pipeline, "train": {"batch": batch}})


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_an_impossible_share_of_hard_pairs_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="hard_share"):
        Pipeline(hard_share=share)


def test_rows_in_order_cover_all_once() -> None:
    batches = in_order(np.arange(10), 4)
    assert [batch.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_rows_by_label_are_sets() -> None:
    sets = rows_by_label(np.array([4, 11, 9, 7]), np.array([2, 0, 2, 0], np.int32))
    assert sets.members.tolist() == [7, 11, 4, 9]
    assert sets.counts.tolist() == [2, 2]
    assert sets.owners.tolist() == [0, 0, 1, 1]
    assert sets.only(np.array([False, True])).members.tolist() == [4, 9]
    assert isinstance(pl.Series(sets.members).dtype, pl.Int32)
