"""What went wrong with a run and what was done about it: incidents.jsonl in the run directory."""

import json
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

NAME = "incidents.jsonl"


def note(folder: Path, step: int, cause: str, remedy: str) -> None:
    """Add one incident and print it; that it cannot be written (a full disk) must not be the next incident."""
    print(f"train: step {step}: {cause}; {remedy}", file=sys.stderr, flush=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"time": at, "step": step, "cause": cause, "remedy": remedy}, ensure_ascii=False) + "\n"
    with suppress(OSError), (folder / NAME).open("ab", buffering=0) as file:
        file.write(line.encode())
        os.fsync(file.fileno())


def incidents(folder: Path) -> list[dict[str, str | int]]:
    """Return the incidents of the run in `folder`, oldest first; a line that a kill cut off is left out."""
    found = []
    with suppress(FileNotFoundError):
        for line in (folder / NAME).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return found
