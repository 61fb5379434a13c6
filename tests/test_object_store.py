"""Source and store in an object store: URLs in config.yaml, credentials from the environment, errors of one line."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr

from preprocess.common import files
from preprocess.common.config import Config, load_config
from preprocess.common.errors import ConfigError, StoreError
from preprocess.common.objects import reached
from preprocess.common.places import Place, kvstore, place

pytest_plugins = ["tests.s3"]
Ask = Callable[..., bytes]
PASSWORD = "hunter2/+secret"  # noqa: S105 - nobody's


def load(folder: Path, text: str, *overrides: str) -> Config:
    (folder / "config.yaml").write_text(text)
    return load_config(folder / "config.yaml", overrides)


def complaint(action: Callable[[], object], kind: type[Exception] = StoreError) -> str:
    """Return the one line that an action ends with."""
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


# config.yaml


def test_source_and_stores_may_be_urls_and_runs_stay_local(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    text = (
        "source: {kind: csv, path: 's3://museum/a/Old Masters/', table: gs://other/t.csv}\nstores: s3://museum/stores"
    )
    config = load(tmp_path, text)
    assert str(config.source.path) == "s3://museum/a/Old Masters"
    assert str(config.source.table) == "gs://other/t.csv"
    assert config.collection == "Old Masters"
    assert str(config.store_folder) == "s3://museum/stores/Old Masters"
    assert config.runs == tmp_path / "runs"


def test_local_and_remote_folders_go_together(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    config = load(tmp_path, "source: {kind: csv, path: a/b, table: t.csv}\nstores: gs://museum")
    assert (config.source.path, config.source.table) == (tmp_path / "a/b", tmp_path / "t.csv")
    assert str(config.store_folder) == "gs://museum/b"
    config = load(tmp_path, "source: {kind: folders, path: s3://museum}", "stores=here")
    assert config.store_folder == tmp_path / "here" / "museum"


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{PASSWORD}@museum/a",
        f"s3://{PASSWORD}@museum/a",
        f"s3://museum/a?X-Amz-Signature={PASSWORD}",
        f"gs://museum/a#{PASSWORD}",
        f"https://user:{PASSWORD}@museum.org/a",
        "s3://museum/../a",
        "s3://museum/a/..",
        "s3://museum/./a",
        "s3://museum//a",
        "s3://",
        "s3:///a",
        "s3://-museum/a",
        "gcs://museum/a",
        "file:///a",
    ],
)
@pytest.mark.parametrize("key", ["source.path", "source.table", "stores", "runs"])
def test_a_url_with_a_password_or_of_another_kind_is_refused_unseen(url: str, key: str, tmp_path: Path) -> None:
    for text, overrides in (("", [f"{key}={url}"]), (f"{key.replace('.', ': {')}: '{url}'" + "}" * key.count("."), [])):
        message = complaint(lambda text=text, overrides=overrides: load(tmp_path, text, *overrides), ConfigError)  # type: ignore[misc]
        assert message.startswith(f"{key} should be a local path, s3://bucket/folder or gs://bucket/folder")
        assert "AWS_ACCESS_KEY_ID" in message
        assert PASSWORD not in message


@pytest.mark.parametrize("url", [f"s3://key:{PASSWORD}@museum/a", "s3://museum/a"])
def test_a_password_is_not_shown_where_the_line_is_wrong_in_another_way(url: str, tmp_path: Path) -> None:
    for text, overrides in (
        (f"stores: {url}: [", []),
        (f"'stores': \"{url}", []),
        (f"{'x' * 60}: 1, {url}: {{", []),
        ("", [f"stores={url}: ["]),
        ("", [f"stores{url}"]),
        ("", [f"stores=[{url}]"]),
        (f"train: {{batch: '{url}'}}", []),
    ):
        message = complaint(lambda text=text, overrides=overrides: load(tmp_path, text, *overrides), ConfigError)  # type: ignore[misc]
        assert "museum" not in message
        assert PASSWORD not in message


def test_runs_in_an_object_store_are_refused(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    message = complaint(lambda: load(tmp_path, "runs: s3://museum/runs"), ConfigError)
    assert message == "runs should be a local folder; only source and stores may be in an object store, got 's3://...'"


def test_an_endpoint_that_is_no_address_is_refused_unseen(tmp_path: Path, clean: pytest.MonkeyPatch) -> None:
    for endpoint in ("localhost:9000", f"http://user:{PASSWORD}@localhost:9000", "ftp://localhost"):
        clean.setenv("AWS_ENDPOINT_URL", endpoint)
        message = complaint(lambda: load(tmp_path, "stores: s3://museum"), ConfigError)
        assert "AWS_ENDPOINT_URL" in message
        assert PASSWORD not in message


def test_local_paths_import_nothing_of_object_stores(tmp_path: Path) -> None:
    code = "import sys; from preprocess.common import config, files; config.place('a/b'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"upath", "fsspec", "botocore", "gcsfs", "tensorstore"}.intersection(loaded)


# Errors


def every_way(folder: Place, tmp_path: Path) -> dict[str, Callable[[], object]]:
    """Return one call of each kind that reaches an object store."""
    (tmp_path / "local").write_bytes(b"x")

    def get_copy() -> None:
        with files.local_copy(folder / "x"):
            pass

    return {
        "write": lambda: files.write_bytes(folder / "x", b"x"),
        "put": lambda: files.put_file(tmp_path / "local", folder / "x"),
        "read": lambda: files.read_bytes(folder / "x"),
        "copy": get_copy,
        "hash": lambda: files.sha256_file(folder / "x"),
        "exists": lambda: files.exists(folder / "x"),
        "list": lambda: files.list_files(folder),
        "link": lambda: files.link_or_copy(folder / "x", folder / "y"),
        "rename": lambda: files.rename_tree(folder / "x", folder / "y", "z"),
        "remove": lambda: files.remove_tree(folder),
    }


def test_a_bucket_that_does_not_exist_is_named(bucket: str, tmp_path: Path) -> None:
    for name, action in every_way(place("s3://nobodys-bucket/a"), tmp_path).items():
        if name not in ("copy", "hash", "link"):  # which are of files that were listed before
            message = complaint(action)
            assert message.startswith("s3://nobodys-bucket/a")
            assert "there is no bucket 'nobodys-bucket'; create it" in message


def test_a_bucket_of_google_that_does_not_exist_is_named(gs_bucket: str, tmp_path: Path) -> None:
    actions = every_way(place("gs://nobodys-bucket/a"), tmp_path)
    for name in ("write", "put", "list", "rename", "remove"):
        assert "there is no bucket 'nobodys-bucket'; create it" in complaint(actions[name])


@pytest.mark.parametrize("way", every_way(Path(), Path("/tmp")))  # noqa: S108 - only their names
def test_no_credentials_are_one_line(way: str, bucket: str, clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean.delenv("AWS_ACCESS_KEY_ID")
    clean.delenv("AWS_SECRET_ACCESS_KEY")
    message = complaint(every_way(place(bucket) / "a", tmp_path)[way])
    assert message.startswith(f"{bucket}/a")
    assert message.endswith("no credentials for it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")


def test_no_credentials_of_google_are_one_line(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/account.json")
    message = complaint(lambda: files.list_files(place("gs://museum/a")))
    assert message == ("gs://museum/a: no credentials for it; set GOOGLE_APPLICATION_CREDENTIALS in the environment")


@pytest.mark.parametrize("way", every_way(Path(), Path("/tmp")))  # noqa: S108 - only their names
def test_an_account_without_rights_is_one_line(way: str, bucket: str, s3_server: str, ask: Ask, tmp_path: Path) -> None:
    ask(f"{s3_server}/moto-api/reset-auth", "POST", "0")  # from now on accounts are checked, and this one is none
    try:
        message = complaint(every_way(place(bucket) / "a", tmp_path)[way])
    finally:
        ask(f"{s3_server}/moto-api/reset-auth", "POST", "inf")
    assert message.startswith(f"{bucket}/a")
    assert "access denied (" in message
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of an account that may" in message


@pytest.mark.parametrize("way", ["write", "list"])
def test_an_endpoint_that_is_not_there_is_one_line(
    way: str, bucket: str, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        clean.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    message = complaint(every_way(place(bucket) / "a", tmp_path)[way])
    assert message.startswith(f"{bucket}/a")
    assert "not reached (" in message
    assert "check the network, AWS_ENDPOINT_URL and AWS_REGION" in message


def test_errors_reach_the_user_in_one_line_of_a_command(bucket: str, clean: pytest.MonkeyPatch) -> None:
    clean.delenv("AWS_SECRET_ACCESS_KEY")
    code = (
        "import click; from preprocess.common import cli, files, places\n"
        f"cli.main(click.Command('x', callback=lambda: files.list_files(places.place('{bucket}'))), 'x')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"error: {bucket}")
    assert answer.stderr.count("\n") == 1


def test_a_full_disk_is_not_the_object_stores_fault(bucket: str) -> None:
    folder = place(bucket)
    assert not isinstance(folder, Path)
    with pytest.raises(OSError, match="No space left"), reached(folder):
        Path("/dev/full").write_bytes(b"x")


def test_an_object_that_s3fs_would_take_for_a_version_of_another_is_refused(bucket: str) -> None:
    files.write_bytes(place(bucket) / "a.jpg", b"another")
    message = complaint(lambda: files.read_bytes(place(bucket) / "a.jpg?versionId=7"))
    assert "rename the object" in message


# Requests


def test_markers_of_folders_are_no_files_and_go_with_the_folder(bucket: str, s3_server: str, ask: Ask) -> None:
    name = bucket.removeprefix("s3://")
    for key in ("a/", "a/b/", "a/b/file"):
        ask(f"{s3_server}/{name}/{key}", "PUT")
    assert files.list_files(place(bucket)) == {"a/b/file": 0}
    assert files.list_files(place(bucket) / "a") == {"b/file": 0}
    files.remove_tree(place(bucket) / "a")
    assert b"<Key>" not in ask(f"{s3_server}/{name}", "GET")


def test_a_large_file_is_one_object_of_one_request(bucket: str, s3_server: str, ask: Ask, tmp_path: Path) -> None:
    local = tmp_path / "large"
    local.write_bytes(os.urandom(1 << 20) * 101)  # s3fs itself would cut it into parts from 100 MiB on
    for way, path in (("put", place(bucket) / "put"), ("write", place(bucket) / "write")):
        if way == "put":
            files.put_file(local, path)
        else:
            files.write_bytes(path, local.read_bytes())
    listing = ask(f"{s3_server}/{bucket.removeprefix('s3://')}", "GET").decode()
    tags = [tag.split("<")[0] for tag in listing.split("<ETag>")[1:]]
    assert len(tags) == 2
    assert not any("-" in tag for tag in tags)  # an ETag of parts ends in a dash and their number


# Reading arrays


def array_in(folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    array = zarr.open_group(folder).create_array(
        "images_8", shape=pixels.shape, dtype="uint8", chunks=(1, 8, 8, 3), shards=(4, 8, 8, 3)
    )
    array[:] = pixels
    return pixels


def test_tensorstore_reads_the_same_array_from_either_place(bucket: str, tmp_path: Path) -> None:
    pixels = array_in(tmp_path / "store")
    remote = place(bucket) / "some folder" / "ü#1"
    for name in files.list_files(tmp_path / "store"):
        files.put_file(tmp_path / "store" / name, remote / name)
    for folder in (tmp_path / "store", remote):
        spec = {"driver": "zarr3", "kvstore": kvstore(folder / "images_8"), "fill_missing_data_reads": False}
        array = ts.open(spec, read=True).result()
        assert (array[np.array([6, 0, 3])].read().result() == pixels[[6, 0, 3]]).all()
    files.remove_tree(remote / "images_8" / "c")
    with pytest.raises(ValueError, match="missing"):
        array[1].read().result()


def test_the_specification_of_an_array_holds_no_credentials(bucket: str, s3_server: str) -> None:
    name = bucket.removeprefix("s3://")
    assert kvstore(place(bucket) / "a b" / "images_8") == {
        "driver": "s3", "bucket": name, "path": "a b/images_8", "endpoint": s3_server, "aws_region": "eu-west-1",
        "aws_credentials": {"type": "environment"}, "s3_request_retries": {"max_retries": 4},
    }  # fmt: skip
    assert "testing" not in repr(place(bucket).storage_options)  # type: ignore[union-attr]


def test_the_specification_of_an_array_of_google_is_understood(clean: pytest.MonkeyPatch) -> None:
    spec = kvstore(place("gs://museum/a/images_8"))
    assert spec == {
        "driver": "gcs",
        "bucket": "museum",
        "path": "a/images_8",
        "gcs_request_retries": {"max_retries": 4},
    }
    assert ts.KvStore.Spec(spec).url == "gs://museum/a/images_8"
