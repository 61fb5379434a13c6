"""Places: local paths, and folders of object stores, s3://bucket/folder or gs://bucket/folder.

Credentials come from the environment alone: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, where it is not
Amazon's, AWS_ENDPOINT_URL; or GOOGLE_APPLICATION_CREDENTIALS. A local path costs no import of the stores' libraries.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preprocess.common.errors import ConfigError

if TYPE_CHECKING:
    from upath import UPath

    Place = Path | UPath
else:
    Place = Path

URL = re.compile(r"(s3|gs)://[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9](/(?!\.\.?(/|$))[^/?#@]+)*/?")
CREDENTIALS = {"s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}
TENSORSTORE = {"s3": "s3", "gs": "gcs"}
TRIES = 4
"""Of TensorStore's requests, 1, 2, 4 and 8 s apart; its 32 would wait for a lost endpoint for a quarter of an hour."""


def place(text: object) -> Place:
    """Return the local path, or the folder of an object store, that `text` names.

    Raises ConfigError without showing what was given, as it may hold a password.
    """
    if isinstance(text, Path):
        return text
    if not isinstance(text, str):
        raise ConfigError("should be a path or a URL")
    if "://" not in text:
        return Path(text)
    if not (match := URL.fullmatch(text)):
        raise ConfigError(
            "should be a local path, s3://bucket/folder or gs://bucket/folder, without user, password, query and dots; "
            f"credentials come from the environment: {CREDENTIALS['s3']}, or {CREDENTIALS['gs']}"
        )
    from upath import UPath

    options = s3_options() if match[1] == "s3" else gs_options()
    folder: UPath = UPath(text, use_listings_cache=False, **options)
    return folder


def local(text: object) -> Path:
    """Return the local path that `text` names. Raises ConfigError, for a URL too."""
    if isinstance(found := place(text), Path):
        return found
    raise ConfigError("should be a local folder; only source and stores may be in an object store")


def shown(text: str) -> str:
    """Return `text` without what follows the :// of a URL, where a password may stand."""
    return re.sub(r"://.*?(['\"]?)\Z", r"://...\1", text, flags=re.DOTALL)


def s3_options() -> dict[str, Any]:
    """Return what S3 needs beside credentials; boto reads those from the environment, but overlooks AWS_REGION."""
    options: dict[str, Any] = {"config_kwargs": {"retries": {"mode": "standard"}}}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        if not re.fullmatch(r"https?://[^/@?#]+/?", endpoint):
            raise ConfigError("needs AWS_ENDPOINT_URL in the environment to be http://host:port or https://host:port")
        options["endpoint_url"] = endpoint
    if region := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        options["client_kwargs"] = {"region_name": region}
    return options


def gs_options() -> dict[str, Any]:
    """Return how to sign in to Google's storage; an emulator wants no credentials."""
    return {"token": "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else "google_default"}


def kvstore(path: Place) -> dict[str, Any]:
    """Return the specification by which TensorStore reads the array in `path`."""
    if isinstance(path, Path):
        return {"driver": "file", "path": str(path)}
    bucket, _, key = path.path.partition("/")
    driver = TENSORSTORE[path.protocol]
    spec: dict[str, Any] = {"driver": driver, "bucket": bucket, "path": key}
    spec[f"{driver}_request_retries"] = {"max_retries": TRIES}
    if endpoint := path.storage_options.get("endpoint_url"):
        spec["endpoint"] = endpoint
    if client := path.storage_options.get("client_kwargs"):
        spec["aws_region"] = client["region_name"]
    if driver == "s3" and "AWS_ACCESS_KEY_ID" in os.environ:
        # The default looks for files of profiles too, and prints an error for each that is not there (0.1.86).
        spec["aws_credentials"] = {"type": "environment"}
    return spec
