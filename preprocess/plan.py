"""What is to be done: which shards there are, which are done, and which an earlier store already holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from preprocess.common.config import Config
from preprocess.common.files import digest, exists, link_or_copy, sha256_file, write_json
from preprocess.common.places import Place
from preprocess.manifest import manifest_digest
from preprocess.recipe import recipe
from preprocess.seal import Built, shard_input
from preprocess.shard import NO_FILE, NO_LONGER, STARTED, Asked, How, Job, retryable
from preprocess.sources import Source, make_source
from preprocess.store import FOUND, Store, shard_name

BUILDING = "building"


class Part(NamedTuple):
    """Every `step`-th shard from `first` on, of a build that several jobs share."""

    first: int
    step: int


WHOLE = Part(0, 1)


@dataclass(frozen=True)
class Plan:
    """One build: its pictures, its settings, and the folder in which it comes together."""

    config: Config
    manifest: pl.DataFrame
    source: Source

    @classmethod
    def of(cls, config: Config, manifest: pl.DataFrame) -> "Plan":
        """Return the plan for the pictures of `manifest` under the settings."""
        return cls(config, manifest, make_source(config))

    @property
    def inputs(self) -> dict[str, Any]:
        """All that a store's bytes depend on, but for the decoders' versions."""
        return self.settings | {"manifest": manifest_digest(self.manifest)}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that a store's bytes depend on."""
        return self.config.preprocess.content | {"hashes_meaningful": self.source.hashes_meaningful}

    @property
    def folder(self) -> Place:
        """Where finished shards wait for the seal. Other pictures under the same settings use what still fits."""
        return self.config.store_folder / f"{BUILDING}-{digest([self.settings, recipe()])[:16]}"

    def jobs(self, part: Part = WHOLE) -> Iterator[Job]:
        """Yield the jobs of all shards, or of those of one part, one at a time: at the size of a museum they add up."""
        settings = self.config.preprocess
        asked = self.manifest.select(Asked._fields)
        for number, rows in enumerate(asked.iter_slices(settings.rows_per_shard)):
            if number % part.step == part.first:
                files = tuple(map(Asked._make, rows.iter_rows()))
                yield Job(self.source, self.folder, number, settings.rows_per_shard, files, How.of(settings), recipe())

    def built(self) -> list[Built]:
        """Return what became of every shard that is done."""
        return [Built.of(record) for job in self.jobs() if (record := job.done())]

    def rows(self, decoded: pl.DataFrame) -> pl.DataFrame:
        """Return rows.parquet: what a store keeps of the manifest, beside what decoding found."""
        return self.manifest.drop("place", "stamp", "sha256", "removed").with_row_index("row").hstack(decoded)

    def start(self) -> None:
        """Make the folder, with the marker by which workers know that they see it."""
        if not exists(self.folder / STARTED):
            write_json(self.folder / STARTED, {"settings": self.settings, "recipe": recipe()})

    def adopt(self, store: Store, part: Part, retry: bool) -> None:
        """Take over from `store` the whole shards of the same pictures; with `retry`, only those without failures.

        They are hard links, or copies where the disk has none.
        """
        rows_per_shard = self.config.preprocess.rows_per_shard
        known = self.manifest.select(
            pl.when("removed").then(pl.lit(NO_LONGER)).when(pl.col("place").is_null()).then(pl.lit(NO_FILE))
            .otherwise("sha256").alias("made_from")
        )["made_from"]  # fmt: skip
        for job in self.jobs(part):
            first = job.number * rows_per_shard
            made_from = known[first : first + rows_per_shard].to_list()
            if job.number >= len(store.seal["shards"]) or None in made_from or job.done():
                continue
            if shard_input(made_from, self.settings) != store.seal["shards"][job.number]:
                continue
            rows = store.rows[first : first + rows_per_shard].select(*FOUND).to_dicts()
            files = sealed_files(store, job)
            if not (retry and retryable(rows)) and intact(store, files):
                for name in files:
                    link_or_copy(store.path / name, self.folder / "store" / name)
                job.record_done(rows, files)


def sealed_files(store: Store, job: Job) -> dict[str, str]:
    """Return the names and SHA-256 of the files that `store` has for a shard."""
    names = [shard_name(size, job.number) for size in job.how.sizes]
    return {name: store.seal["files"][name] for name in names if name in store.seal["files"]}


def intact(store: Store, files: dict[str, str]) -> bool:
    """Return whether files of a store are as sealed. Objects are only looked for: their store keeps checksums itself,
    and reading them all would cost more than it could find."""
    if not all(exists(store.path / name) for name in files):
        return False
    return not isinstance(store.path, Path) or all(sha256_file(store.path / name) == files[name] for name in files)
