"""One way, run as a program of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click

from bench.meter import ROOT

Found = dict[str, float]


def run_way(name: str, *arguments: object, python: Path = Path(sys.executable), before: tuple[str, ...] = ()) -> Found:
    """Return what bench.ways.`name` found. Raises ClickException with the last words of one that failed."""
    command = [*before, str(python), "-m", f"bench.ways.{name}", *map(str, arguments)]
    done = subprocess.run(  # noqa: S603 - a command of the bench
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise click.ClickException(f"bench.ways.{name} failed: {why}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found
