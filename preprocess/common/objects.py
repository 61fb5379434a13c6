"""Object stores: one request for each object, fresh listings, and errors that a user can do something about."""

import errno
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocess.common.errors import StoreError
from preprocess.common.places import CREDENTIALS

if TYPE_CHECKING:
    from upath import UPath

LARGEST_PUT = 5 * 2**30
"""Bytes that S3 takes in one request; a larger object goes up in parts, and is seen once the last has come."""
SLOWEST = 50_000
"""Bytes a second below which an upload is given up, after a minute: aiohttp waits for ever for leave to send (3.14)."""
IN_FLIGHT = 16
"""Requests at a time, where there are many small ones."""
ONE_REQUEST: dict[str, dict[str, Any]] = {"s3": {"max_concurrency": 1}, "gs": {}}
"""So that s3fs does not ask for the size first."""
SUSPECTS = {"s3": "the network, AWS_ENDPOINT_URL and AWS_REGION", "gs": "the network and STORAGE_EMULATOR_HOST"}
OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}
# Errors by the names of their classes and those above them: the libraries of the other store need not be imported.
UNKNOWN = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError"}
UNREACHABLE = {"ConnectionError", "HTTPClientError", "ClientConnectionError", "TimeoutError", "TransportError"}
ANY = {"OSError", "BotoCoreError", "ClientError", "HttpError", "GoogleAuthError", "NonRetryableError", "ChecksumError"}

# For every process that opens a place, before it imports gcsfs: which else asks over gRPC what kind of bucket it is, a
# minute for each file where it gets no answer (2026.10), and which logs what it raises, with a traceback.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


@contextmanager
def reached(path: "UPath", whole_bucket: bool = False) -> Iterator[Any]:
    """Yield the fsspec file system of `path`, and turn the object store's errors into StoreError.

    FileNotFoundError is passed on, unless it is the bucket that is missing; `whole_bucket` says that nothing else can
    be, as where it is listed or written to.
    """
    if "?versionId=" in path.path:
        raise StoreError(f"{path} cannot be read, as s3fs takes ?versionId= for a version; rename the object")
    try:
        yield path.fs
    except Exception as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, FileNotFoundError):
            if not whole_bucket and type(error.__cause__).__name__ != "NoSuchBucket":
                raise
            bucket = path.path.partition("/")[0]
            raise StoreError(f"{path}: there is no bucket {bucket!r}; create it, or correct config.yaml") from None
        if not names & ANY or getattr(error, "errno", None) in OF_THIS_MACHINE:
            raise
        raise StoreError(f"{path}: {explained(error, names, path.protocol)}") from None


def explained(error: Exception, names: set[str], protocol: str) -> str:
    """Say in one line what is wrong with an object store, and what to do; `names` are the classes of `error`."""
    message = " ".join(str(error).split()) or type(error).__name__
    if names & UNKNOWN:
        return f"no credentials for it; set {CREDENTIALS[protocol]} in the environment"
    if "PermissionError" in names or message.startswith("Forbidden") or getattr(error, "code", None) in (401, 403):
        return f"access denied ({message}); set {CREDENTIALS[protocol]} of an account that may list, read and write it"
    what = "not reached" if names & UNREACHABLE else "the object store failed"
    return f"{what} ({message}); check {SUSPECTS[protocol]}, and run again: what is done is kept"


def patience(size: int) -> float:
    """Return the seconds that an upload of `size` bytes may take."""
    return 60 + size / SLOWEST


def put_bytes(path: "UPath", data: bytes) -> None:
    """Write an object in one request. Raises StoreError."""
    with reached(path, whole_bucket=True) as store:
        store.pipe_file(path.path, data, chunksize=LARGEST_PUT, timeout=patience(len(data)))


def put_stream(path: "UPath", local: Path) -> None:
    """Write an object from a file that need not fit into memory: to S3 in one request up to LARGEST_PUT. Raises
    StoreError."""
    size = local.stat().st_size
    bucket, _, key = path.path.partition("/")
    with reached(path, whole_bucket=True) as store, local.open("rb") as file:
        if path.protocol == "s3" and size <= LARGEST_PUT:  # s3fs itself reads all of it first, or cuts it at 100 MB
            store.call_s3("put_object", Bucket=bucket, Key=key, Body=file, timeout=patience(size))
        else:
            store.put_file(str(local), path.path, timeout=patience(size))


def get_bytes(path: "UPath") -> bytes:
    """Return the contents of an object. Raises FileNotFoundError, StoreError."""
    with reached(path) as store:
        return bytes(store.cat_file(path.path, **ONE_REQUEST[path.protocol]))


def listed(folder: "UPath") -> dict[str, dict[str, Any]]:
    """Return what one listing says of every object below `folder`, by its path from there, sorted. Raises StoreError.

    A name that ends in a slash, and one that is empty, stands for a folder, by some tools' custom.
    """
    with reached(folder, whole_bucket=True) as store:
        found = store.find(folder.path, detail=True)
    prefix = folder.path.rstrip("/") + "/"
    return {name.removeprefix(prefix): found[name] for name in sorted(found) if name.startswith(prefix)}


def stamp(info: dict[str, Any]) -> int:
    """Return 63 bits that stand for an object's ETag, or for its generation, Google's number of each write."""
    text = str(info.get("ETag") or info["generation"])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def remove(folder: "UPath", names: Sequence[str]) -> None:
    """Remove the objects of these names below `folder`; one by one, as S3's removal of many would hide a refusal of
    some. That one is gone already is fine. Raises StoreError."""
    with reached(folder) as store, ThreadPoolExecutor(IN_FLIGHT) as pool:

        def remove_one(name: str) -> None:
            with suppress(FileNotFoundError):
                store.rm_file(f"{folder.path.rstrip('/')}/{name}")

        list(pool.map(remove_one, names))
