"""The Makefile's help, and the doctor."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from preprocess.common.config import Config, load_config
from train import doctor

ROOT = Path(__file__).parent.parent
PROMISED = {
    "bench", "check-store", "classifier", "clean", "demo", "digits", "doctor", "evaluate", "fashion", "format",
    "gallery", "help", "lint", "manifest", "report", "setup", "status", "store", "submit", "test", "train",
    "transfer", "validate",
}  # fmt: skip


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_make_lists_every_target_in_a_line(arguments: list[str]) -> None:
    lines = make(*arguments).stdout.splitlines()
    assert {line.split()[0] for line in lines} >= PROMISED
    assert all(len(line.split()) > 2 for line in lines)


def test_make_transfer_passes_data_and_seeds_on() -> None:
    lines = make("--dry-run", "transfer", "DATA=there", "SEEDS=5").stdout
    assert "train experiments --only digits-to-fashion --only fashion-to-digits --data there --seeds 5" in lines


def test_make_submit_trains_first_and_passes_the_folder_on() -> None:
    lines = make("--dry-run", "submit", "TEST=there", "SET=recipe=kaggle").stdout
    assert lines.index("train report") < lines.index(
        "train submit --test there --config config.yaml --set 'recipe=kaggle'"
    )


def test_clean_keeps_data_stores_and_runs() -> None:
    removed = make("--dry-run", "clean").stdout
    assert ".venv" in removed
    assert not {"data", "stores", "runs"} & set(removed.split())


def test_an_unsupported_python_is_refused_with_the_remedy(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    found = make("setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert found.returncode == 2
    assert "is not Python 3.11, 3.12 or 3.13; name one: make PYTHON=" in found.stderr
    assert not (tmp_path / "venv").exists()


def test_paintings_are_never_generated_into_somebody_elses_folder(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("source: {kind: csv, path: pictures}\n")
    command = [sys.executable, "-m", "preprocess", "gallery", "--config", str(tmp_path / "config.yaml")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "source.kind is 'csv'" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.yaml").write_text("")
    return load_config(tmp_path / "config.yaml")


def test_the_doctor_finds_this_machine_fit(config: Config) -> None:
    findings = {finding.subject: finding for finding in doctor.examine(config)}
    assert list(findings) == ["Python", "packages", "disk", "memory", "store", "GPU"]
    assert not findings["Python"].remedy
    assert not findings["packages"].remedy, findings["packages"].what
    assert findings["store"].what == "none yet; 'make store' builds it"


def test_the_doctor_names_what_is_too_little(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_GB", 1e9)
    monkeypatch.setattr(doctor, "LEAST_MEMORY_GB", 1e9)
    assert "set stores and runs to a larger disk" in doctor.disk(config).remedy
    assert "preprocess.workers: 1" in doctor.memory().remedy


def test_the_doctor_names_a_package_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version", lambda name: "0.0.1")
    found = doctor.packages()
    assert "absl-py 0.0.1" in found.what
    assert found.remedy == "make clean setup"


def test_a_driver_that_tensorflow_cannot_use_is_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that answers on a machine where TensorFlow has no GPU libraries, as after a plain setup."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow has a GPU here")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H100, 550.1'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = doctor.gpu()
    assert found.what.startswith("NVIDIA H100, 550.1")
    assert found.remedy


def test_the_doctor_tries_every_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices of TensorFlow's, here both the processor, of which the second computes nonsense."""
    import tensorflow as tf

    tried: list[Any] = []
    smi, right = tmp_path / "nvidia-smi", tf.matmul

    def second_wrong(*two: Any) -> Any:
        tried.append(two)
        return right(*two) * (len(tried) < 2)

    smi.write_text("#!/bin/sh\necho 'NVIDIA H200, 550.1'\necho 'NVIDIA H200, 550.1'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    processors = tf.config.list_logical_devices("CPU") * 2
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: processors)
    found = doctor.gpu()
    assert found.what.startswith("2 x NVIDIA H200, 550.1: ")
    assert "right on each of 2 that training shares" in found.what
    monkeypatch.setattr(tf, "matmul", second_wrong)
    found = doctor.gpu()
    assert "came out wrong on CPU:0" in found.what
    assert len(tried) == 2


def test_a_doctor_who_finds_something_leaves_with_status_2(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("stores: stores\n")
    (tmp_path / "stores" / "gallery").mkdir(parents=True)
    (tmp_path / "stores" / "gallery" / "CURRENT").write_text("lost\n")
    command = [sys.executable, "-m", "train", "doctor", "--config", str(tmp_path / "config.yaml")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert len(found.stderr.splitlines()) == 1
    assert "store: make store" in found.stderr
