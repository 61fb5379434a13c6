"""The manifest: one row per picture, read once, the same on any machine."""

import os
from pathlib import Path

import polars as pl
import pytest

from preprocess.common.config import Config, load_config
from preprocess.images import Header
from preprocess.manifest import make_manifest, manifest_digest, manifest_path
from preprocess.sources.files import Files
from tests.helpers import ARTISTS, collection, raiser, smooth, write_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    collection(tmp_path / "pictures")
    return load_config(write_config(tmp_path))


def picture(config: Config, row: int) -> Path:
    return config.source.path / str(pl.read_csv(config.source.path / "train_info.csv")["filename"][row])


def test_a_row_says_what_table_header_and_bytes_say(config: Config) -> None:
    manifest = make_manifest(config)
    assert manifest["label"].dtype == pl.Int32
    row = manifest.row(0, named=True)
    path = picture(config, 0)
    assert (row["key"], row["artist"], row["title"], row["date"]) == (
        path.name,
        ARTISTS[0],
        'Hills, "blue", at noon',
        "c.1645",
    )
    assert (row["format"], row["width"], row["height"], row["mode"], row["problem"]) == ("JPEG", 60, 90, "RGB", None)
    assert (row["bytes"], row["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    text = manifest.row(by_predicate=pl.col("key") == "text.png", named=True)
    assert text["problem"].startswith("not a picture")
    assert text["sha256"]
    assert pl.read_parquet(manifest_path(config)).equals(manifest)


def test_labels_number_the_artists_in_sorted_order_whatever_the_order_of_rows(config: Config) -> None:
    manifest = make_manifest(config)
    expected = {artist: number for number, artist in enumerate(sorted(ARTISTS, key=str.encode))}
    assert dict(manifest.select("artist", "label").unique().iter_rows()) == expected
    table = config.source.path / "train_info.csv"
    pl.read_csv(table, infer_schema=False)[::-1].write_csv(table)
    assert dict(make_manifest(config).select("artist", "label").unique().iter_rows()) == expected


def test_an_unchanged_file_is_not_read_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_manifest(config)
    written = manifest_path(config).stat().st_mtime_ns
    monkeypatch.setattr(Files, "header", raiser(AssertionError("read again")))
    assert make_manifest(config).equals(first)
    assert manifest_path(config).stat().st_mtime_ns == written


def test_only_what_changed_is_read_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_manifest(config)
    read: list[str] = []
    header = Files.header

    def noted(self: Files, key: str) -> Header:
        read.append(key)
        return header(self, key)

    monkeypatch.setattr(Files, "header", noted)
    smooth(99, 33, 44).save(picture(config, 5))  # other bytes
    stamp = picture(config, 1).stat()
    os.utime(picture(config, 1), ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))  # the same bytes
    second = make_manifest(config)
    assert sorted(read) == sorted([first["key"][1], first["key"][5]])
    assert second["width"][5] == 33
    changed = (first["sha256"] != second["sha256"]).arg_true().to_list()
    assert changed == [5]


def test_a_table_that_changed_keeps_what_was_read(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    make_manifest(config)
    table = config.source.path / "train_info.csv"
    pl.read_csv(table, infer_schema=False).with_columns(artist=pl.col("artist").str.to_uppercase()).write_csv(table)
    monkeypatch.setattr(Files, "header", raiser(AssertionError("read again")))
    assert make_manifest(config)["artist"][0] == ARTISTS[0].upper()


def test_a_damaged_manifest_is_made_again(config: Config) -> None:
    first = make_manifest(config)
    for damage in (b"", b"PAR1 nonsense", manifest_path(config).read_bytes()[:500]):
        manifest_path(config).write_bytes(damage)
        assert make_manifest(config).equals(first)
        assert pl.read_parquet(manifest_path(config)).equals(first)


def test_the_digest_depends_on_all_but_modification_times(config: Config) -> None:
    first = make_manifest(config)
    for row in range(len(first)):
        os.utime(config.source.path / first["key"][row], ns=(1, 10**18 + row))
    second = make_manifest(config)
    assert not second.equals(first)
    assert manifest_digest(second) == manifest_digest(first)
    for column in first.drop("mtime_ns").columns:
        other = first.with_columns(
            pl.lit(None).alias(column) if first[column][0] is not None else pl.lit("x").alias(column)
        )
        assert manifest_digest(other) != manifest_digest(first), column


def test_rows_without_a_file_and_files_without_a_row_are_left_to_quarantine_when_asked(tmp_path: Path) -> None:
    names = collection(tmp_path / "pictures")
    (tmp_path / "pictures" / names[5]).unlink()
    smooth(0, 9, 9).save(tmp_path / "pictures/extra.png")
    manifest = make_manifest(load_config(write_config(tmp_path, source={"unmatched": "quarantine"})))
    assert manifest["key"].to_list() == names
    row = manifest.row(5, named=True)
    assert (row["problem"], row["bytes"], row["sha256"]) == ("no such file", 0, None)


def test_the_real_table_gives_its_manifest_without_any_picture(shared_data: Path, tmp_path: Path) -> None:
    source = {"path": str(shared_data / "painter-by-numbers"), "unmatched": "quarantine"}
    manifest = make_manifest(load_config(write_config(tmp_path, source=source)))
    assert len(manifest) == 79_433
    assert (manifest["problem"] == "no such file").all()
    assert manifest["label"].max() == 1_583
