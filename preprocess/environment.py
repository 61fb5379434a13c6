"""The environment in which TensorFlow Data Validation runs, apart from the trainer's: made, found, and run in."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from preprocess.common.errors import UserError
from preprocess.common.files import exclusive, write_text

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "tfdv.txt"
SCRIPT, SCHEMA = (ROOT / "preprocess" / "tfdv" / name for name in ("run_tfdv.py", "schema.pbtxt"))
STAMP, LOG = "installed", "install.log"
NEEDED_GB = 4
"""TFDV with its TensorFlow takes 2.9 GB."""
INSTALL_SECONDS, RUN_SECONDS = 1800, 600
LEAST_GLIBC = (2, 39)
"""Of TFDV 1.21, the only version for Python 3.12 and newer."""


class Unavailable(UserError):  # noqa: N818 - named for what it is about
    """TensorFlow Data Validation cannot be used here; the message says why and what would help."""


def place() -> Path:
    """Return the folder of the environment: PAINTINGS_TFDV, or .venv-tfdv beside .venv."""
    return Path(os.environ.get("PAINTINGS_TFDV") or ROOT / ".venv-tfdv")


def lock_digest() -> str:
    """Return the SHA-256 of the lock from which the environment is made."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def python() -> Path:
    """Return the environment's Python. Raises Unavailable where it is not made, or from another lock."""
    folder = place()
    try:
        current = (folder / STAMP).read_text().strip() == lock_digest()
    except FileNotFoundError:
        current = False
    if not current:
        raise Unavailable("its environment is not there; 'make validate' makes it, once, in some minutes")
    return folder / "bin" / "python"


def state() -> str:
    """Return what of TFDV is there: the digest of its lock, or an empty string."""
    try:
        python()
    except Unavailable:
        return ""
    return lock_digest()


def make_environment() -> Path:
    """Return the environment's Python, after making the environment where it is missing or from another lock.

    Raises Unavailable where this machine cannot, in a second where that can be known before.
    """
    folder = place()
    with exclusive(folder, Unavailable):
        try:
            return python()
        except Unavailable:
            check_machine(folder)
        print(f"validate: installing TensorFlow Data Validation into {folder}, once, in some minutes", file=sys.stderr)
        (folder / STAMP).unlink(missing_ok=True)
        install(folder)
        write_text(folder / STAMP, lock_digest() + "\n")
        return python()


def check_machine(folder: Path) -> None:
    """Raise Unavailable where TFDV is known not to install."""
    library, version = platform.libc_ver()
    glibc = tuple(int(part) for part in version.split(".")[:2]) if library == "glibc" else ()
    if sys.version_info >= (3, 12) and glibc < LEAST_GLIBC:
        here = f"Python {platform.python_version()} with {library or 'no glibc'} {version}".strip()
        raise Unavailable(f"for Python 3.12 and newer it needs glibc 2.39 or newer, and this is {here}; "
                          "use Python 3.11: make clean, then make validate PYTHON=python3.11")  # fmt: skip
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++"))):
        raise Unavailable("one of its parts, pyfarmhash, has to be compiled and there is no C++ compiler; install one "
                          "(apt install g++) and run 'make validate' again")  # fmt: skip
    if (free := shutil.disk_usage(folder).free / 1e9) < NEEDED_GB:
        raise Unavailable(f"it needs {NEEDED_GB} GB and {folder.parent} has {free:.1f} free; free some space, or name "
                          "another place in PAINTINGS_TFDV")  # fmt: skip


def install(folder: Path) -> None:
    """Make the environment from its lock. Raises Unavailable, saying what pip said last."""
    # --no-deps: the lock is complete, and pip refuses one of its extras and backtracks for minutes on apache-beam.
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-input",
           "--disable-pip-version-check", "-r", str(LOCK)]  # fmt: skip
    with (folder / LOG).open("wb") as log:
        for command in ([sys.executable, "-m", "venv", str(folder)], pip):
            try:
                subprocess.run(command, stdout=log, stderr=log, check=True, timeout=INSTALL_SECONDS)  # noqa: S603
            except subprocess.TimeoutExpired:
                raise Unavailable(f"installing it took over {INSTALL_SECONDS // 60} minutes; see {folder / LOG}, and "
                                  "run 'make validate' again: downloads are kept") from None  # fmt: skip
            except subprocess.CalledProcessError:
                said = [line for line in (folder / LOG).read_text(errors="replace").splitlines() if line.strip()]
                last = next((line for line in reversed(said) if "ERROR" in line), said[-1] if said else "nothing")
                raise Unavailable(f"installing it failed: {last[:200]!r}; see {folder / LOG}, check the network, and "
                                  "run 'make validate' again") from None  # fmt: skip


def run_tfdv(
    executable: Path, table: pl.DataFrame, environment: str, schema: Path | None = None, previous: str | None = None
) -> dict[str, Any]:
    """Return what run_tfdv.py says of a table; `previous` is the text of earlier statistics. Raises Unavailable."""
    with TemporaryDirectory(prefix="tfdv-") as folder:
        written, out, before = (Path(folder, name) for name in ("table.csv", "out.json", "previous.pbtxt"))
        table.write_csv(written)
        # -I: nothing of the trainer's environment comes in through PYTHONPATH or the user's own packages.
        command = [str(part) for part in (executable, "-I", SCRIPT, written, schema or SCHEMA, environment, out)]
        if previous is not None:
            before.write_text(previous, encoding="utf-8")
            command += ["--previous", str(before)]
        quiet = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            run = subprocess.run(  # noqa: S603 - our script, our files
                command, capture_output=True, text=True, errors="replace", timeout=RUN_SECONDS, env=quiet, check=False
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise Unavailable(f"it did not run: {error}; remove {place()} and run 'make validate' again") from None
        if run.returncode or not out.exists():
            said = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise Unavailable(f"it failed: {said[-1][:300]!r}; if its schema {schema or SCHEMA} is right, remove "
                              f"{place()} and run 'make validate' again")  # fmt: skip
        answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return answer
