"""The manifest: one row per picture, listed without being read, each in its place for good."""

import os
from pathlib import Path

import polars as pl
import pytest

from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.common.errors import StoreError
from preprocess.manifest import IDENTITY, hashed, kept_manifest, make_manifest, manifest_digest, manifest_path
from preprocess.sources import make_source
from preprocess.sources.files import Files
from tests.helpers import ARTISTS, collection, raiser, smooth, write_config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    collection(tmp_path / "pictures")
    return load_config(write_config(tmp_path))


def table(config: Config) -> pl.DataFrame:
    return pl.read_csv(config.source.path / "train_info.csv", infer_schema=False)


def rewrite(config: Config, rows: pl.DataFrame) -> None:
    rows.write_csv(config.source.path / "train_info.csv")


def without_labels(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.drop("label")


def read_all(config: Config) -> pl.DataFrame:
    """The manifest, written with the hash of every file, as after a build."""
    manifest = make_manifest(config)
    known = hashed(manifest, make_source(config), len(manifest))
    known.write_parquet(manifest_path(config))
    return known


def test_a_row_says_what_table_and_listing_say(config: Config) -> None:
    manifest = make_manifest(config)
    assert manifest["label"].dtype == pl.Int32
    row = manifest.row(0, named=True)
    path = config.source.path / row["key"]
    assert (row["key"], row["artist"], row["title"], row["date"]) == (
        "00.jpg", ARTISTS[0], 'Hills, "blue", at noon', "c.1645",
    )  # fmt: skip
    assert (row["bytes"], row["stamp"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert (row["sha256"], row["removed"]) == (None, False)
    assert pl.read_parquet(manifest_path(config)).equals(manifest)


def test_no_picture_is_read(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Files, "fetch", raiser(AssertionError("read")))
    assert len(make_manifest(config)) == 20


def test_labels_number_the_artists_in_sorted_order_whatever_the_order_of_rows(config: Config) -> None:
    expected = {artist: number for number, artist in enumerate(sorted(ARTISTS, key=str.encode))}
    for rows in (table(config), table(config)[::-1]):
        rewrite(config, rows)
        assert dict(make_manifest(config).select("artist", "label").unique().iter_rows()) == expected


def test_a_row_keeps_its_number_whatever_the_table_does(config: Config) -> None:
    first = make_manifest(config)
    smooth(50, 30, 30).save(config.source.path / "aa.png")
    new = table(config)[:1].with_columns(filename=pl.lit("aa.png"), artist=pl.lit("Anna"))
    rewrite(config, pl.concat([new, table(config)[::-1]]))
    second = make_manifest(config)
    assert second["key"].to_list() == [*first["key"], "aa.png"]
    assert without_labels(second[:20]).equals(without_labels(first))


def test_a_removed_picture_is_marked_and_comes_back_to_its_row(config: Config) -> None:
    first = make_manifest(config)
    whole = table(config)
    data = (config.source.path / "05.png").read_bytes()
    row = first["key"].to_list().index("05.png")
    (config.source.path / "05.png").unlink()
    rewrite(config, whole.filter(pl.col("filename") != "05.png"))
    second = make_manifest(config)
    assert second["key"].equals(first["key"])
    assert second["removed"].arg_true().to_list() == [row]
    assert second.row(row, named=True)["place"] is None
    assert second.row(row, named=True)["artist"] == first.row(row, named=True)["artist"]
    (config.source.path / "05.png").write_bytes(data)
    rewrite(config, whole)
    third = make_manifest(config)
    assert third["key"].equals(first["key"])
    assert not third["removed"].any()


def test_an_unchanged_file_keeps_its_hash_and_only_what_changed_is_unknown(config: Config) -> None:
    known = read_all(config)
    assert known["sha256"].null_count() == 0
    assert make_manifest(config).equals(known)
    smooth(99, 33, 44).save(config.source.path / known["key"][5])
    stamp = (config.source.path / known["key"][1]).stat()
    os.utime(config.source.path / known["key"][1], ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    second = make_manifest(config)
    assert second["sha256"].is_null().arg_true().to_list() == [1, 5]
    third = hashed(second, make_source(config), 20)
    assert (third["sha256"] != known["sha256"]).arg_true().to_list() == [5]


def test_rehash_forgets_what_was_read(config: Config) -> None:
    read_all(config)
    assert make_manifest(config, rehash=True)["sha256"].null_count() == 20


def test_only_the_first_rows_are_hashed_when_asked(config: Config) -> None:
    some = hashed(make_manifest(config), make_source(config), 7)
    assert some["sha256"].is_not_null().arg_true().to_list() == list(range(7))


def test_a_table_that_changed_keeps_what_was_read(config: Config) -> None:
    known = read_all(config)
    rewrite(config, table(config).with_columns(artist=pl.col("artist").str.to_uppercase()))
    second = make_manifest(config)
    assert second["artist"][0] == ARTISTS[0].upper()
    assert second["sha256"].equals(known["sha256"])


def test_a_damaged_manifest_is_made_again(config: Config) -> None:
    first = make_manifest(config)
    for damage in (b"", b"PAR1 nonsense", manifest_path(config).read_bytes()[:500]):
        manifest_path(config).write_bytes(damage)
        assert make_manifest(config).equals(first)
        assert pl.read_parquet(manifest_path(config)).equals(first)


def test_a_lost_manifest_takes_the_order_of_rows_from_the_store(config: Config) -> None:
    build_store(config, make_manifest(config))
    first = make_manifest(config)
    rewrite(config, table(config)[::-1])
    manifest_path(config).unlink()
    second = make_manifest(config)
    assert second["key"].equals(first["key"])
    assert second["sha256"].null_count() == 20


def test_the_digest_depends_on_what_the_pictures_are_and_not_on_where_or_since_when(config: Config) -> None:
    first = read_all(config)
    for row in range(len(first)):
        os.utime(config.source.path / first["key"][row], ns=(1, 10**18 + row))
    second = hashed(make_manifest(config), make_source(config), 20)
    assert not second.equals(first)
    assert manifest_digest(second) == manifest_digest(first)
    for column in IDENTITY:
        other = first.with_columns(
            pl.lit(None).alias(column) if first[column][0] is not None else pl.lit("x").alias(column)
        )
        assert manifest_digest(other) != manifest_digest(first), column


def test_rows_without_a_file_are_left_to_quarantine_when_asked(tmp_path: Path) -> None:
    names = collection(tmp_path / "pictures")
    (tmp_path / "pictures" / names[5]).unlink()
    smooth(0, 9, 9).save(tmp_path / "pictures/extra.png")
    manifest = make_manifest(load_config(write_config(tmp_path, source={"unmatched": "quarantine"})))
    assert manifest["key"].to_list() == names
    row = manifest.row(5, named=True)
    assert (row["place"], row["bytes"], row["stamp"]) == (None, 0, 0)


def test_a_part_of_a_build_wants_a_manifest(config: Config) -> None:
    with pytest.raises(
        StoreError, match=r"manifest\.parquet does not exist; run 'python -m preprocess manifest' first"
    ):
        kept_manifest(config)
    manifest = make_manifest(config)
    assert kept_manifest(config).equals(manifest)


def test_the_real_table_gives_its_manifest_without_any_picture(shared_data: Path, tmp_path: Path) -> None:
    source = {"path": str(shared_data / "painter-by-numbers"), "unmatched": "quarantine"}
    manifest = make_manifest(load_config(write_config(tmp_path, source=source)))
    assert len(manifest) == 79_433
    assert manifest["place"].null_count() == 79_433
    assert manifest["label"].max() == 1_583
