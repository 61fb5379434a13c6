"""What `make status` says of a run, from another terminal and while it trains."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from preprocess.common.errors import RunError
from preprocess.common.files import exclusive
from tests.tiny import tiny_collection
from train.incidents import note
from train.progress import CURVE_WIDTH, curve, progress, progress_text
from train.pulse import Pulse
from train.run import Run, make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tiny_collection(tmp_path)[0], None)


def line(step: int, **changes: Any) -> dict[str, Any]:
    return {"step": step, "loss": 1 / step, "seconds": 2.0, "pictures_per_second": 9.0} | changes


def test_a_run_that_has_not_begun_says_so(run: Run) -> None:
    assert progress_text(progress(run)) == f"train: step 0 of 6, not begun, time left unknown: {run.path}"


def test_status_tells_step_time_left_curve_checkpoint_and_incidents_while_the_run_is_in_use(run: Run) -> None:
    with exclusive(run.path, RunError):
        pulse = Pulse(run.path / "heartbeat")
        pulse.beat("step", 4)
        for step in (1, 2, 3):
            run.log(line(step, auc_validation_unseen=[0.5, 0.75, 1.0][step - 1]))
        kept = run.path / "checkpoints" / "step-00000003"
        kept.mkdir(parents=True)
        os.utime(kept, (time.time() - 3600, time.time() - 3600))
        for number in range(5):
            note(run.path, number, f"cause {number}", "remedy")
        found = progress(run)
    assert json.loads(json.dumps(found)) == found
    assert (found["step"], found["steps"], found["finished"]) == (4, 6, False)
    assert found["seconds_left"] == pytest.approx(6.0 / 3 * 2)
    assert found["curves"] == {"loss": [1, 1 / 2, 1 / 3], "auc_validation_unseen": [0.5, 0.75, 1.0]}
    first, _, *others = progress_text(found).splitlines()
    assert first.startswith("train: step 4 of 6, step, ")
    assert first.endswith(f" s ago, about 0:00:04 left: {run.path}")
    assert others[0].split() == ["loss", "█▃▁", "0.3333", "to", "1,", "now", "0.3333"]
    assert others[1].split() == ["auc_validation_unseen", "▁▅█", "0.5", "to", "1,", "now", "1"]
    assert others[2].strip().startswith("checkpoint of step 3, 1:00:0")
    assert others[3].strip() == "5 incidents, the last of them:"
    assert [text.split("step ")[1] for text in others[4:]] == [f"{n}: cause {n}; remedy" for n in (2, 3, 4)]


def test_a_trainer_that_is_gone_is_silent(run: Run) -> None:
    Pulse(run.path / "heartbeat").beat("step", 4)
    os.utime(run.path / "heartbeat", (time.time() - 7200, time.time() - 7200))
    assert ", silent for 2:00:0" in progress_text(progress(run))


def test_a_trainer_that_begins_is_where_the_log_ends(run: Run) -> None:
    run.log(line(3))
    Pulse(run.path / "heartbeat")
    assert progress(run)["step"] == 3


def test_a_long_curve_is_thinned_and_ends_with_the_last_value() -> None:
    shown = curve([0.0] * 999 + [1.0])
    assert len(shown.split()[0]) <= CURVE_WIDTH
    assert shown.split()[0].endswith("█")
    assert shown.endswith("now 1")
    assert curve([2.0, 2.0]) == "▁▁ 2 to 2, now 2"
