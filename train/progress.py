"""How far a run is, read from what it writes; nothing is locked, nothing is imported that takes long."""

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from train.incidents import incidents
from train.pulse import Beat, last_beat
from train.run import Run, ending

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 60
SHOWN_INCIDENTS = 3
SILENT_AFTER = 600.0


def progress(run: Run) -> dict[str, Any]:
    """Return what is known of a run as plain values: steps, seconds, the last line of the log, curves, incidents."""
    lines = run.logged()
    last = lines[-1] if lines else {"step": 0}
    found = last_beat(run.path)
    step = (found[0].step if found else 0) or last["step"]  # a trainer that begins has not read yet how far it was
    seconds = sum(line["seconds"] for line in lines)
    steps = run.settings.steps
    return {
        "path": str(run.path), "step": step, "steps": steps, "finished": run.finished,
        "state": state(run, found), "last": last,
        "seconds_left": seconds / last["step"] * (0 if run.finished else steps - step) if lines else None,
        "checkpoint": newest_checkpoint(run.path), "incidents": incidents(run.path),
        "curves": {
            name: [line[name] for line in lines if name in line]
            for name in last if name == "loss" or name.startswith("auc_")
        },
    }  # fmt: skip


def state(run: Run, found: tuple[Beat, float] | None) -> str:
    """Return what a run is doing, in a few words."""
    if run.finished:
        return ending(run)
    if found is None:
        return "not begun"
    beat, age = found
    return f"{beat.phase}, {age:.0f} s ago" if age < SILENT_AFTER else f"silent for {timedelta(seconds=round(age))}"


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return step and age in seconds of the newest checkpoint of the run in `folder`."""
    paths = sorted(folder.glob("checkpoints/step-*"))
    if not paths:
        return None
    return {"step": int(paths[-1].name.removeprefix("step-")), "age": round(time.time() - paths[-1].stat().st_mtime)}


def curve(values: list[float]) -> str:
    """Return values as a line of at most CURVE_WIDTH bars from the lowest to the highest, the last of them included."""
    shown = values[:: -max(1, -(-len(values) // CURVE_WIDTH))][::-1]
    low, high = min(shown), max(shown)
    bars = (BARS[round((value - low) / ((high - low) or 1.0) * (len(BARS) - 1))] for value in shown)
    return f"{''.join(bars)} {low:.4g} to {high:.4g}, now {values[-1]:.4g}"


def progress_text(run: dict[str, Any]) -> str:
    """Return what `progress` found as lines for people."""
    left = "time left unknown" if run["seconds_left"] is None else about(run["seconds_left"])
    doing = run["state"] if run["finished"] else f"{run['state']}, {left}"
    lines = [f"train: step {run['step']} of {run['steps']}, {doing}: {run['path']}"]
    if figures := ", ".join(f"{name} {value:.4g}" for name, value in run["last"].items() if name != "step"):
        lines.append(f"       {figures}")
    lines += [f"       {name:<22} {curve(values)}" for name, values in run["curves"].items() if len(values) > 1]
    if kept := run["checkpoint"]:
        lines.append(f"       checkpoint of step {kept['step']}, {timedelta(seconds=kept['age'])} old")
    if found := run["incidents"]:
        lines.append(
            f"       {len(found)} incidents" + (", the last of them:" if len(found) > SHOWN_INCIDENTS else ":")
        )
        lines += [f"       {one['time']} step {one['step']}: {one['cause']}; {one['remedy']}"
                  for one in found[-SHOWN_INCIDENTS:]]  # fmt: skip
    return "\n".join(lines)


def about(seconds: float) -> str:
    """Return a time that is left, in words."""
    return f"about {timedelta(seconds=round(seconds))} left"
