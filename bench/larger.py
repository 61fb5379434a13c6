"""A store larger than memory: the reader against plain reads, in a memory cgroup, and whether memory grows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bench.goals import Goal
from bench.noise import forget, write_store
from bench.ways.measure import shards
from bench.ways.run import run_way

LARGER, MEMORY, BATCHES = 2_000_000_000, 400_000_000, 2000
"""Bytes of the store, bytes of memory, and batches read from it."""
HEAD = ["size", "plain reads, pictures/s", "this reader, pictures/s", "share", "anonymous memory, MB", "grown, MB"]


@contextmanager
def memory_cgroup(most: int) -> Iterator[Path]:
    """Yield the folder of a new memory cgroup of at most `most` bytes, of either version. Raises OSError where this
    system or user may not make one."""
    second = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    parent = Path("/sys/fs/cgroup") if second else Path("/sys/fs/cgroup/memory")
    folder = parent / f"bench-pairs-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(most))
        yield folder
    finally:
        folder.rmdir()


def larger_than_memory(folder: Path, size: int) -> tuple[list[str], list[Goal]]:
    """Return a row of the table and the goals for pictures of `size` pixels, with a store of its own in `folder`.

    Raises ClickException where this system or user may make no memory cgroup.
    """
    store = write_store(folder, size, LARGER)
    for path in shards(store, size):
        forget(path)  # or it would be found in memory that the limit is not about
    try:
        with memory_cgroup(MEMORY) as group:
            join = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
            found = run_way("larger", store, size, BATCHES, before=join)
    except OSError as error:
        raise click.ClickException(f"no memory cgroup: {error}; run it as root, outside a container") from None
    row = [f"{size} px", *(f"{found[name]:,.0f}" for name in ("limit", "speed")), f"{found['share']:.2f}",
           f"{found['memory'] / 1e6:,.0f}", f"{found['grown'] / 1e6:+.1f}"]  # fmt: skip
    return row, [
        Goal(f"{size} px, larger than memory: reader, times plain reads", found["share"], least=0.8),
        Goal(f"{size} px, larger than memory: MB grown over {BATCHES:,} batches", found["grown"] / 1e6, most=5),
    ]
