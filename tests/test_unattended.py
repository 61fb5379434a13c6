"""docs/unattended.md: its job files do what they say, with a stand-in for training."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

FIT = """#!/bin/bash
# Counts its calls; the last word of each line of "plan" says how a call ends: a status, or TERM: 75 once SIGTERM came.
echo >> calls
plan=$(sed -n "$(wc -l < calls)p" plan)
if [ "$plan" = TERM ]; then trap 'exit 75' TERM; touch waiting; while true; do sleep 0.01; done; fi
exit $plan
"""


def job(folder: Path, kind: str, plan: list[str]) -> "subprocess.Popen[bytes]":
    """Run the first block of this kind of the document in a folder whose Python follows `plan`."""
    text = (ROOT / "docs" / "unattended.md").read_text().split(f"```{kind}\n")[1].split("```")[0]
    tools = {".venv/bin/python": FIT, "scontrol": "#!/bin/bash\necho $* >> requeued\n", "job": text}
    for name, code in tools.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
        (folder / name).chmod(0o755)
    (folder / "plan").write_text("\n".join(plan) + "\n")
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    return subprocess.Popen(["bash", "job"], cwd=folder, env=environment)


@pytest.mark.parametrize(("plan", "status", "requeued"), [("0", 0, ""), ("2", 2, ""), ("75", 75, "requeue 7\n")])
def test_the_slurm_job_asks_for_another_turn_only_where_that_helps(
    tmp_path: Path, plan: str, status: int, requeued: str
) -> None:
    (tmp_path / "requeued").touch()
    assert job(tmp_path, "bash", [plan]).wait() == status
    assert (tmp_path / "requeued").read_text() == requeued


def test_the_slurm_job_hands_the_signal_on_and_waits(tmp_path: Path) -> None:
    process = job(tmp_path, "bash", ["TERM"])
    while not (tmp_path / "waiting").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"


@pytest.mark.parametrize(("plan", "calls"), [(["75", "75", "0", "0"], 3), (["75", "1", "0"], 2), (["2", "0"], 1)])
def test_the_shell_s_loop_ends_with_success_or_for_good(tmp_path: Path, plan: list[str], calls: int) -> None:
    job(tmp_path, "sh", plan).wait()
    assert len((tmp_path / "calls").read_text()) == calls
