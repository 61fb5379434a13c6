"""What must be the same for a run to go on exactly: its settings and store, the versions, and the code that trains."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from preprocess.common.errors import RunError
from preprocess.common.files import digest, sha256_file
from train.run import Run

VERSIONS = ("keras", "numpy", "tensorflow")
ROOT = Path(__file__).parent.parent


def identity(run: Run) -> dict[str, Any]:
    """Return what every checkpoint of a run carries: recipe (a digest), versions by name, code by file (SHA-256).

    The code is what this process has imported of `train` and `pipeline`. Another process may have imported other files
    besides; where none that both have differs, neither do those, for somebody would have to import them.
    """
    files = [
        Path(file)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("train", "pipeline") and (file := module.__file__) is not None
    ]
    return {
        "recipe": digest([run.pins["fingerprint"], run.pins["settings"]]),
        "versions": {name: version(name) for name in VERSIONS},
        "code": {path.relative_to(ROOT).as_posix(): sha256_file(path) for path in sorted(files)},
    }


def refuse_another(checkpoint: Path, kept: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise RunError where `now` is not the identity that the checkpoint was kept with, saying what changed."""
    remedy = f"remove {checkpoint.parent} to train from the beginning"
    if kept["recipe"] != now["recipe"]:
        raise RunError(f"{checkpoint} belongs to another run; {remedy}")
    for name, before in kept["versions"].items():
        if (installed := now["versions"].get(name)) != before:
            raise RunError(f"{checkpoint} was written with {name} {before}, not {installed}; install that, or {remedy}")
    if changed := [name for name, sha in kept["code"].items() if now["code"].get(name, sha) != sha]:
        raise RunError(f"{checkpoint} was written by another {', '.join(changed)}; go back to that code, or {remedy}")
