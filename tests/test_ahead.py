"""The next batch is fetched while the network is busy."""

import threading
from collections.abc import Iterator

import pytest

from train.ahead import Ahead


def test_the_next_batch_is_fetched_before_anybody_asks_for_it() -> None:
    begun = threading.Event()

    def batches() -> Iterator[int]:
        yield 0
        begun.set()
        yield 1

    ahead, source = Ahead(), batches()
    assert ahead.take(source) == 0
    assert begun.wait(60)
    assert ahead.take(source) == 1
    with pytest.raises(StopIteration):
        ahead.take(source)
    assert ahead.take(iter([2])) == 2


def test_an_error_comes_in_place_of_its_batch() -> None:
    def batches() -> Iterator[int]:
        yield 0
        raise OSError("the disk is gone")

    ahead, source = Ahead(), batches()
    assert ahead.take(source) == 0
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take(source)
