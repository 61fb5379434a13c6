"""Real object stores on loopback, each in a process of its own: moto's S3, and an emulator of Google's storage.

A test module that wants them says pytest_plugins = ["tests.s3"]; processes that it starts find them by the environment.
"""

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from upath import UPath

Ask = Callable[..., bytes]
STARTING = 60
"""Seconds that a server may take until it says where it listens."""
NUMBER = count()
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "eu-west-1"}
OTHERS = (
    "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
    "STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip
NOWHERE = {
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def serving(folder: Path, command: list[str], says: str) -> Iterator[str]:
    """Run a server and yield what the group in the pattern `says` finds in its output."""
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until = time.monotonic() + STARTING
        while not (found := re.search(says, log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server that holds its objects in memory."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with serving(tmp_path_factory.mktemp("s3"), command, r"Running on (http://127\.0\.0\.1:\d+)") as address:
        yield address


@pytest.fixture(scope="session")
def gs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an emulator of Google's storage."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])  # the emulator does not say which one it chose
    command = [sys.executable, "-um", "tests.gs_emulator", "start", "-M", "-H", "127.0.0.1", "--port", port]
    with serving(tmp_path_factory.mktemp("gs"), command, "(services started)"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without accounts, and no connection left from another test."""
    for name in (*CREDENTIALS, *OTHERS):
        monkeypatch.delenv(name, raising=False)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    for store in (UPath("s3://any"), UPath("gs://any", token="anon")):  # noqa: S106
        store.fs.clear_instance_cache()
    return monkeypatch


@pytest.fixture
def ask() -> Ask:
    """What asks a server on loopback directly, past the code under test: ask(address, method, body)."""

    def ask(address: str, method: str, body: str = "") -> bytes:
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(address, body.encode(), headers, method=method)  # noqa: S310 - http on loopback
        with urllib.request.urlopen(asked) as answer:  # noqa: S310
            return bytes(answer.read())

    return ask


@pytest.fixture
def bucket(clean: pytest.MonkeyPatch, s3_server: str, ask: Ask) -> str:
    """The URL of a new bucket; the environment leads to its server, for this process and those it starts."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_server}.items():
        clean.setenv(name, value)
    name = f"test-{next(NUMBER)}"
    ask(f"{s3_server}/{name}", "PUT")
    return f"s3://{name}"


@pytest.fixture
def gs_bucket(clean: pytest.MonkeyPatch, gs_server: str, ask: Ask) -> str:
    """The URL of a new bucket of Google's storage, likewise."""
    clean.setenv("STORAGE_EMULATOR_HOST", gs_server)
    clean.setenv("TENSORSTORE_GCS_HTTP_URL", gs_server)  # which does not look at the other
    clean.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "testing")
    name = f"test-{next(NUMBER)}"
    ask(f"{gs_server}/storage/v1/b?project=test", "POST", f'{{"name": "{name}"}}')
    return f"gs://{name}"
