"""The supervisor, with trainers of a few lines that need no TensorFlow."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from train.incidents import incidents, note
from train.notify import notify
from train.pulse import Beat, Pulse, Stopped, last_beat
from train.supervise import Ending, Limits, Supervisor, last_step

LIMITS = Limits(silence=0.6, grace=1.0, tries=3, back_off=0.01)
TRAINER = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from train.pulse import Pulse
folder = Path({folder!r})
tries = len(list(folder.glob("start-*")))
(folder / f"start-{{tries}}").touch()
pulse = Pulse(folder / "heartbeat")
def keep(step):
    (folder / "checkpoints" / f"step-{{step:08d}}").mkdir(parents=True, exist_ok=True)
"""


def supervise(folder: Path, code: str, limits: Limits = LIMITS) -> Ending:
    """Supervise a trainer that runs `code`."""
    program = TRAINER.format(root=str(ROOT), folder=str(folder)) + code
    return Supervisor(folder, [sys.executable, "-c", program], limits).supervise()


def starts(folder: Path) -> int:
    return len(list(folder.glob("start-*")))


@pytest.mark.parametrize(("code", "status"), [("", 0), ("sys.exit(2)", 2), ("sys.exit(75)", 75), ("sys.exit(69)", 1)])
def test_an_end_that_the_trainer_meant_is_the_end(tmp_path: Path, code: str, status: int) -> None:
    assert supervise(tmp_path, code).status == status
    assert starts(tmp_path) == 1
    assert incidents(tmp_path) == []


def test_a_crash_is_followed_by_a_bounded_number_of_restarts(tmp_path: Path) -> None:
    ending = supervise(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    assert ending == Ending(1, "crashed with SIGSEGV")
    assert starts(tmp_path) == 1 + LIMITS.tries
    found = incidents(tmp_path)
    assert [incident["cause"] for incident in found] == ["crashed with SIGSEGV"] * (1 + LIMITS.tries)
    assert found[1]["remedy"] == "restarted from step 0 after 0.02 s, try 2 of 3"
    assert found[-1]["remedy"] == "given up after 3 restarts"


def test_progress_between_crashes_gives_new_tries(tmp_path: Path) -> None:
    ending = supervise(tmp_path, "keep(tries)\nif tries < 6: os.kill(os.getpid(), signal.SIGKILL)")
    assert ending.status == 0
    assert [incident["step"] for incident in incidents(tmp_path)] == list(range(6))
    assert all("try 1 of 3" in str(incident["remedy"]) for incident in incidents(tmp_path))


def test_a_trainer_that_is_silent_is_killed_and_restarted(tmp_path: Path) -> None:
    ending = supervise(tmp_path, "pulse.beat('step', 3)\nif tries == 0: time.sleep(1000)")
    assert ending.status == 0
    (incident,) = incidents(tmp_path)
    assert str(incident["cause"]).startswith("no sign of life for")
    assert str(incident["cause"]).endswith("s in phase step")


def test_a_trainer_that_ignores_signals_is_killed_too(tmp_path: Path) -> None:
    code = """
if tries == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pulse.beat('step', 3)
    os.kill(os.getpid(), signal.SIGSTOP)
"""
    assert supervise(tmp_path, code).status == 0
    assert len(incidents(tmp_path)) == 1


def test_steps_may_be_slow_and_other_phases_slower() -> None:
    limits = Limits()
    assert limits.allowed(Beat(1, 1, "step", 5, 0.1)) == 60
    assert limits.allowed(Beat(1, 1, "step", 5, 40.0)) == 200
    assert all(limits.allowed(beat) == 600 for beat in (None, Beat(1, 1, "compile", 5, 0.1)))
    assert limits.farewell(Beat(1, 1, "step", 5, 2.0)) == 20
    assert limits.farewell(Beat(1, 1, "validate", 5, 2.0)) == 10


def test_the_slowest_of_recent_steps_counts_and_nothing_between_them(tmp_path: Path) -> None:
    pulse, now = Pulse(tmp_path / "heartbeat"), [100.0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: now[0])
        for phase, seconds in [("compile", 9), ("step", 30), ("step", 2), ("step", 7), ("validate", 99), ("step", 50)]:
            now[0] += seconds
            pulse.beat(phase, 1)  # type: ignore[arg-type]
        found = last_beat(tmp_path)
        assert found is not None
        assert found[0].slowest == 7
        for _ in range(50):
            now[0] += 1
            pulse.beat("step", 2)
        found = last_beat(tmp_path)
        assert found is not None
        assert found[0] == Beat(os.getpid(), 57, "step", 2, 1.0)


def test_time_that_the_supervisor_slept_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspended machine: each look at the clock finds a minute gone, while the trainer is as quick as ever."""
    jumps = iter(range(10**6))
    monkeypatch.setattr("train.supervise.time.monotonic", lambda: 60.0 * next(jumps))
    code = "for k in range(10):\n    pulse.beat('step', k)\n    time.sleep(0.2)"
    assert supervise(tmp_path, code, Limits(silence=5.0, grace=1.0, tries=1)).status == 0
    assert incidents(tmp_path) == []


def test_another_process_s_sign_of_life_is_none(tmp_path: Path) -> None:
    """The heartbeat that a killed trainer left says nothing about the next one."""
    Pulse(tmp_path / "heartbeat").beat("step", 5)
    supervisor = Supervisor(tmp_path, [], LIMITS)
    assert supervisor.beat(os.getpid()) is not None
    assert supervisor.beat(os.getpid() + 1) is None


def asked(folder: Path, code: str, after: str) -> Ending:
    """Supervise a trainer and send this process SIGTERM once the file `after` is there."""

    def ask() -> None:
        while not (folder / after).exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ask)
    thread.start()
    ending = supervise(folder, code, LIMITS._replace(silence=60.0))
    thread.join()
    return ending


GOOD = """
signal.signal(signal.SIGTERM, pulse.ask)
pulse.beat('{phase}', 1)
(folder / 'ready').touch()
while not pulse.asked: time.sleep(0.01)
(folder / 'saved').touch()
sys.exit(75)
"""


@pytest.mark.parametrize(("phase", "saves"), [("step", True), ("save", True), ("compile", False), ("validate", False)])
def test_a_signal_ends_the_step_in_flight_and_everything_else_at_once(tmp_path: Path, phase: str, saves: bool) -> None:
    assert asked(tmp_path, GOOD.format(phase=phase), "ready") == Ending(75, "SIGTERM")
    assert (tmp_path / "saved").exists() == saves
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_trainer_that_does_not_end_is_ended(tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n(folder / 'ready').touch()\nwhile True: time.sleep(1)"
    assert asked(tmp_path, code, "ready") == Ending(75, "SIGTERM")
    assert incidents(tmp_path) == []


def test_a_signal_during_the_back_off_ends_it(tmp_path: Path) -> None:
    ending = Ending(75, "SIGTERM")

    def ask() -> None:
        while not (tmp_path / "incidents.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ask)
    thread.start()
    assert supervise(tmp_path, "sys.exit(1)", LIMITS._replace(back_off=3600.0)) == ending
    thread.join()
    assert starts(tmp_path) == 1


def test_the_hours_that_it_has_end_like_a_signal(tmp_path: Path) -> None:
    limits = LIMITS._replace(total=0.5, silence=60.0)
    ending = supervise(tmp_path, GOOD.format(phase="step"), limits)
    assert ending == Ending(75, "train.max_hours is over")
    assert (tmp_path / "saved").exists()


def test_a_trainer_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    """Nobody would watch it, and it would hold the run's lock."""
    inner = (
        f"import os, sys, time; sys.path.insert(0, {str(ROOT)!r}); from train.worker import end_with\n"
        "end_with(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(1000)"
    )
    outer = f"import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}, str(os.getpid())])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    trainer = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    assert psutil.wait_procs([trainer], timeout=20)[1] == []


def test_a_pulse_that_is_asked_in_a_step_stops_after_it() -> None:
    pulse = Pulse()
    pulse.beat("step", 3)
    pulse.ask(signal.SIGTERM, None)
    assert pulse.asked
    pulse.beat("save")  # does not end the process: the step is not saved yet
    assert issubclass(Stopped, Exception)


def test_the_newest_checkpoint_is_known_without_reading_it(tmp_path: Path) -> None:
    assert last_step(tmp_path) == 0
    for step in (3, 250, 20):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    assert last_step(tmp_path) == 250


def test_a_line_of_incidents_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    note(tmp_path, 1, "one", "none")
    with (tmp_path / "incidents.jsonl").open("a") as file:
        file.write('{"time": "2026')
    assert [incident["cause"] for incident in incidents(tmp_path)] == ["one"]


def test_an_incident_that_cannot_be_written_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "incidents.jsonl").mkdir()
    note(tmp_path, 1, "one", "none")
    assert capsys.readouterr().err == "train: step 1: one; none\n"


def test_notify_tells_run_status_and_cause(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    notify(f'echo "$PAINTINGS_RUN|$PAINTINGS_STATUS|$PAINTINGS_CAUSE" > {out}', Path("runs/x"), Ending(1, "it; $HOME"))
    assert out.read_text() == "runs/x|1|it; $HOME\n"
    assert capfd.readouterr().err == ""
    notify("exit 3", Path("runs/x"), Ending(0, "finished"))
    assert capfd.readouterr().err == "train: train.notify ended with status 3\n"
