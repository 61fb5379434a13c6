"""Each planted fault of faults.yaml must make its test fail; a fault that no test notices is a hole in the tests."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FAULTS = yaml.safe_load((ROOT / "tests" / "faults.yaml").read_text())
COPIED = ("preprocess", "pipeline", "train", "tests", "pyproject.toml", "config.yaml", "requirements")


@pytest.mark.parametrize("fault", FAULTS, ids=[fault["fault"] for fault in FAULTS])
def test_a_planted_fault_is_caught(fault: dict[str, str], tmp_path: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    planted = tmp_path / fault["file"]
    code = planted.read_text()
    assert code.count(fault["old"]) == 1, f"{fault['file']} no longer holds exactly one {fault['old']!r}"
    planted.write_text(code.replace(fault["old"], fault["new"]))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", fault["test"]]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stdout[-2000:]
