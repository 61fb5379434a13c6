"""Each planted fault of faults.yaml must make its test fail; a fault that no test notices is a hole in the tests."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import SOAK

ROOT = Path(__file__).parent.parent
FAULTS = yaml.safe_load((ROOT / "tests" / "faults.yaml").read_text())
PLANTED = FAULTS if SOAK > 1 else FAULTS[17::60]
"""All of them take over a quarter of an hour, so `make test` plants one in sixty, none of which trains, and `make soak`
all."""
COPIED = ("preprocess", "pipeline", "train", "bench", "tests", "pyproject.toml", "config.yaml", "requirements")


def test_every_fault_can_be_planted_and_has_its_test() -> None:
    for fault in FAULTS:
        count = (ROOT / fault["file"]).read_text().count(fault["old"])
        assert count == 1, f"{fault['fault']}: {fault['file']} no longer holds exactly one {fault['old']!r}"
        path, name = fault["test"].split("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(), fault["test"]


@pytest.mark.soak
@pytest.mark.parametrize("fault", PLANTED, ids=[fault["fault"] for fault in PLANTED])
def test_a_planted_fault_is_caught(fault: dict[str, str], tmp_path: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    planted = tmp_path / fault["file"]
    planted.write_text(planted.read_text().replace(fault["old"], fault["new"]))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", fault["test"]]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if re.search(r"^\d+ skipped in", found.stdout, re.MULTILINE):
        pytest.skip(f"{fault['test']} is skipped here: pytest -rs says why")
    assert found.returncode == 1, found.stdout[-2000:]
