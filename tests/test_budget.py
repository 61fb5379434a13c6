"""Which feed a machine can afford, and what is said of it."""

import psutil
import pytest

from pipeline.budget import Budget, Needs, choose, memory_left
from preprocess.common.errors import ConfigError

FEEDS = ("stream", "memory", "device")
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
