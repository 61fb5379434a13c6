"""How many pictures a run embeds at once on each of its devices: the most that memory allows, and half of it after
memory ran out.

microbatch.json in the run directory keeps the answer, and every checkpoint what that said, so that a run which goes on
uses the same. What probes have found is kept for other runs in probes.json beside them. Nothing here needs TensorFlow;
the probes are other processes.
"""

import math
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.budget import size
from preprocess.common.errors import ConfigError
from preprocess.common.files import digest, read_json, write_json
from train.identity import VERSIONS
from train.incidents import note
from train.memory import budget, nvidia
from train.probe import ProbeFailed, probe
from train.run import Run, open_run

NAME, CACHE = "microbatch.json", "probes.json"
PROBES = 8
ENOUGH, AIM, SAFE = 0.9, 0.925, 0.95
"""Shares of the budget: at which no larger piece is looked for, at which the next probe aims, and that one may take:
no two processes take quite the same (up to 3 % of 700 MB was seen)."""
FIXED, PER_PIXEL, PER_PAIR = 1e9, 1000, 32
"""Bytes, about three times what was measured of the compact network 32 wide (2026): TensorFlow itself; per pixel of a
picture, 350; per number of an embedding and pair, 12."""
SEEN = ("size", "model", "pretrained", "width", "embedding", "loss", "stages", "augment", "view", "corners", "batch",
        "precision", "average")  # fmt: skip
"""Settings of `train` on which memory depends."""

Measure = Callable[[int], int | None]
"""From a number of pictures to the bytes that training with so many at once takes, None where that is too much."""


def microbatch(folder: Path) -> int | None:
    """Return how many pictures a device embeds at once for the run in `folder`; None where nothing is cut in pieces."""
    piece: int | None = (decided(folder) or {"piece": None})["piece"]
    return piece


def devices(folder: Path) -> int:
    """Return on how many devices the run in `folder` embeds its batches."""
    return int((decided(folder) or {}).get("devices", 1))


def decided(folder: Path) -> dict[str, Any] | None:
    """Return what microbatch.json of the run in `folder` says, or where that is gone its newest checkpoint: what was
    asked for, the piece, the devices, and the bytes of each; None where nothing was decided yet."""
    if (folder / NAME).exists():
        return dict(read_json(folder / NAME))
    for path in sorted(folder.glob("checkpoints/step-*/record.json"), reverse=True):
        with suppress(OSError, ValueError):  # damaged
            kept: dict[str, Any] | None = read_json(path).get("microbatch")
            return kept
    return None


def decide(run: Run, asked: dict[str, Any], job: dict[str, Any], tick: Callable[[], None]) -> None:
    """Decide how many pictures `run` embeds at once, and on how many devices, unless that was decided for the same
    settings `asked`, microbatch, memory and devices, and as many GPUs; `job` is that of its worker, and `tick` is
    called before every probe.

    Raises ConfigError where the memory is too small for one picture, or a batch for the devices.
    """
    path, kept = run.path / NAME, decided(run.path)
    count = asked["devices"] if asked["devices"] != "auto" else len(nvidia("name")) or 1
    if kept is not None and kept["asked"] == asked and kept["devices"] == count:
        write_json(path, kept)
        return
    if count > (least := min(span.batch for span in run.settings.spans)):
        raise ConfigError(f"a batch of {least} pictures cannot be shared by {count} devices; set train.devices to less")
    share, room = -(-largest_batch(run) // count), budget(asked["memory"], count)
    piece, why = asked["microbatch"], "as asked for"
    if piece == "auto" and not nvidia("name") and rough(run) <= room:
        piece, why = None, f"{size(int(rough(run)))} or less of {size(room)}"
    elif piece == "auto":
        known = Known(run, job | {"devices": count}, room, tick)
        try:
            piece = largest(share, room, known.measure)
            why = f"{size(known.peaks[str(piece)]['peak'])} of {size(room)}, found by probes"
        except ProbeFailed as error:  # what is wrong with it will show in training
            piece, why = None, f"a probe failed: {error}"
    write_json(path, {"asked": asked, "piece": piece, "devices": count, "room": room})
    where = f" on each of {count} devices" if count > 1 else ""
    print(f"microbatch: {piece or share} of {share} pictures{where} ({why})", file=sys.stderr, flush=True)


def largest_batch(run: Run) -> int:
    """Return the pictures of the largest batch of a run."""
    return max(span.batch for span in run.settings.spans)


def rough(run: Run) -> float:
    """Return the bytes that training `run` takes at the very most, infinite where nothing is known of its model."""
    settings = run.settings
    if settings.model != "compact":
        return math.inf
    pixels = max(span.batch * span.size**2 for span in settings.spans) * settings.width / 32
    pairs = largest_batch(run) ** 2 / 2 * settings.embedding
    resident: int = run.store.seal["stored"] * max(run.store.size_for(span.size) for span in settings.spans) ** 2 * 3
    return FIXED + PER_PIXEL * pixels + PER_PAIR * pairs + resident


def largest(batch: int, room: int, measure: Measure) -> int:
    """Return the largest piece of `batch` that fits into `room` bytes, as far as a few measurements tell.

    Memory grows evenly with the piece, so each guess goes on from the two largest that fit.
    Raises ConfigError where not even one picture fits.
    """
    fits: dict[int, int] = {}
    guess, too_many = batch, batch + 1
    for _ in range(PROBES):
        peak = measure(guess)
        if peak is None or peak > SAFE * room:
            too_many = guess
        else:
            fits[guess] = peak
        best = max(fits, default=0)
        if (best and (fits[best] >= ENOUGH * room or too_many - best <= 1)) or too_many == 1:
            break
        guess = min(max(best + 1, next_guess(fits, too_many, AIM * room)), too_many - 1)
    if not fits:
        raise ConfigError(
            f"train.memory leaves {size(room)}, in which not even one picture at a time can be trained; "
            "raise it, or lower train.size or train.width"
        )
    return max(fits)


def next_guess(fits: dict[int, int], too_many: int, aim: float) -> int:
    """Return the piece whose memory is `aim` by the bytes of those that fit."""
    best, *smaller = sorted(fits, reverse=True)[:2] or (0,)
    if not smaller:
        return max(2 * best, too_many // 8)
    slope = (fits[best] - fits[smaller[0]]) / (best - smaller[0])
    return best + int((aim - fits[best]) / slope) if slope > 0 else 2 * best


class Known:
    """What is known of the memory of runs like `run`, by number of pictures at once, and how more is found."""

    def __init__(self, run: Run, job: dict[str, Any], room: int, tick: Callable[[], None]) -> None:
        self.path, self.job, self.room, self.tick = run.path.parent / CACHE, job, room, tick
        train = run.settings.model_dump(include=set(SEEN))
        device = nvidia("name") or [f"{platform.machine()}, {os.cpu_count()} processors"]
        versions = {name: version(name) for name in VERSIONS}
        pipeline = run.pins["settings"]["pipeline"] | job["pipeline"]
        self.key = digest([train, run.pins["fingerprint"], pipeline, device, job["devices"], versions])
        self.peaks = dict(self.all().get(self.key, {}))

    def all(self) -> dict[str, Any]:
        """Return what is known of all runs."""
        return dict(read_json(self.path)) if self.path.exists() else {}

    def measure(self, piece: int) -> int | None:
        """Return the most bytes that training with `piece` pictures at once takes, None where more than there are."""
        known = self.peaks.get(str(piece))
        if known is None or (known["peak"] is None and known["room"] < self.room):
            self.tick()
            known = {"peak": probe(self.job | {"piece": piece, "room": self.room}), "room": self.room}
            self.peaks[str(piece)] = known
            write_json(self.path, self.all() | {self.key: self.peaks})
        peak: int | None = known["peak"]
        return peak


def halve(folder: Path, step: int, cause: str) -> bool:
    """Let the run in `folder` embed half as many pictures at once, since memory ran out at `step`, and note it; return
    False where it was one picture at a time already."""
    kept = decided(folder) or {"asked": None, "piece": None}
    before = kept["piece"] or -(-largest_batch(open_run(folder)) // devices(folder))
    if before == 1:
        return False
    write_json(folder / NAME, kept | {"piece": before // 2})
    note(folder, step, cause, f"{before // 2} instead of {before} pictures at once, from step {step}")
    return True
