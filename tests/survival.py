"""Faults for a trainer under its supervisor, planted from outside by a sitecustomize.py of its interpreter."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from preprocess.common.config import Config, load_config
from tests.conftest import ROOT
from train.run import Run, make_run
from train.supervise import Ending, Limits, Supervisor, trainer
from train.worker import AUTO, job_of

FAULTY = """
import ctypes, errno, json, os, signal, time
# FAULTS: "when:kind when:kind ...": each happens once, where the trainer shows that it begins the phase `when`, or a
# step after step `when`; a blocked read and a full disk where it reads or writes then. MARKS has a file for each.
faults = [one.split(":") for one in os.environ["FAULTS"].split()]
now = "0"
real = {"pwrite": os.pwrite, "preadv": os.preadv, "fsync": os.fsync}

def once(step, kind):
    try:
        os.close(os.open(f"{os.environ['MARKS']}/{step}-{kind}", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

def pwrite(file, data, offset):
    global now
    written = real["pwrite"](file, data, offset)
    beat = json.loads(data)
    now = str(beat["step"])
    for step, kind in faults:
        if (now == step and beat["phase"] == "step" or beat["phase"] == step) and kind not in ("read", "full"):
            once(step, kind) and happen(kind)
    return written

def happen(kind):
    if kind.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, kind))
        time.sleep(0.5)
    elif kind == "terminate":
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(5)  # the supervisor hands it on in the middle of this step
    elif kind == "ctrl-c":
        os.killpg(0, signal.SIGINT)
    elif kind == "gil":
        ctypes.PyDLL(None).sleep(10000)
    elif kind == "raise":
        raise RuntimeError("planted")

def preadv(*arguments):
    for step, kind in faults:
        if kind == "read" and now == step and once(step, kind):
            time.sleep(10000)
    return real["preadv"](*arguments)

def fsync(file):
    for step, kind in faults:
        if kind == "full" and now == step and once(step, kind):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real["fsync"](file)

os.pwrite, os.preadv, os.fsync = pwrite, preadv, fsync
"""
QUICK = Limits(silence=4.0, others=9.0, grace=10.0, tries=3, back_off=0.05)


@contextmanager
def faults(folder: Path, planted: str) -> Iterator[Path]:
    """Plant faults in every Python that is started meanwhile; yield the folder of marks of those that happened."""
    (folder / "faulty").mkdir()
    (folder / "marks").mkdir()
    (folder / "faulty" / "sitecustomize.py").write_text(FAULTY)
    added = {"FAULTS": planted, "MARKS": str(folder / "marks"), "PYTHONPATH": str(folder / "faulty")}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield folder / "marks"
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def supervised(
    config: Config, path: Path, limits: Limits = QUICK, minutes: float = 0.0001, memory: dict[str, Any] = AUTO
) -> tuple[Run, Ending]:
    """Train a run at `path` under a supervisor of this process; return it and how it ended."""
    run = make_run(config, path)
    job = job_of(run.path, config.pipeline.model_dump(mode="json"), minutes, memory)
    return run, Supervisor(run.path, trainer(job), limits).supervise()


def changed(config: Config, *changes: str) -> Config:
    """Return the settings of a tiny collection with `changes` such as "train.steps=9"."""
    return load_config(config.stores.parent / "config.yaml", changes)


def start_fit(config: Config, path: Path, *changes: str) -> "subprocess.Popen[str]":
    """Start `python -m train fit` in a process group of its own."""
    settings = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "train", "fit", "--config", str(config.stores.parent / "config.yaml")]
    return subprocess.Popen(
        [*command, "--run", str(path), *settings], cwd=ROOT, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def weights(run: Path) -> dict[str, np.ndarray]:
    """Return the final weights of a run."""
    arrays: dict[str, np.ndarray] = load_file(run / "model.safetensors")
    return arrays


def same_weights(run: Path, other: Path) -> bool:
    """Return whether two runs ended with the same weights, bit for bit."""
    one, two = weights(run), weights(other)
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)
