"""Several devices share each batch and learn what one learns; tested with virtual processors, each a device."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from preprocess.common.config import Config, Pipeline
from preprocess.common.errors import ConfigError
from preprocess.common.files import read_json, write_json
from preprocess.common.learning import Train
from tests.conftest import ROOT, SOAK, Once
from tests.tiny import tiny_collection
from train import microbatch as module
from train.devices import named, shares
from train.memory import budget, nvidia, use
from train.microbatch import NAME, Known, decide, devices, halve
from train.quiet import import_tensorflow
from train.run import Run, make_run
from train.worker import AUTO, job_of

VIRTUAL = """
import json, sys
import numpy as np
import tensorflow as tf
four = [tf.config.LogicalDeviceConfiguration()] * 4
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], four)
tf.config.experimental.enable_op_determinism()
"""

GRADIENTS = """
from collections import Counter
from tensorflow.python.eager import context
from tests.test_pieces import batch_of, far, gradient, network_of
from train.devices import named

context.enable_run_metadata()
for loss, kind, table, count, piece in (
    ("sigmoid", "groups", False, 2, 5), ("sigmoid", "groups", False, 4, None), ("contrastive", "pairs", True, 2, None),
)[: int(sys.argv[1])]:
    batch = batch_of(kind, table)
    whole, network = gradient(network_of(loss, None, table), batch), network_of(loss, piece, table)
    network.devices = named(count)
    context.export_run_metadata()  # what was done so far
    found = gradient(network, batch)
    graphs = [graph for one in context.export_run_metadata().function_graphs for graph in one.partition_graphs]
    nodes = [node for graph in graphs for node in graph.node if "Conv2D" in node.op]
    works = Counter(("Backprop" in node.op, int(node.device[-1])) for node in nodes)
    each = [[works[backward, device] for device in range(4)] for backward in (False, True)]
    print(json.dumps([count, far(found, whole), each]))
"""

TRAINING = """
import os, shutil
from pathlib import Path
from safetensors.numpy import load_file
from preprocess.common.config import load_config
from train.fit import fit
from train.microbatch import decide
from train.run import make_run

folder = Path(sys.argv[1])

def trained(name, count, *changes, half=None):
    # From the middle of the run `half`, where one is named.
    config = load_config(folder / "config.yaml", changes)
    path = folder / "runs" / name
    if half:
        shutil.copytree(folder / "runs" / half, path)
        shutil.rmtree(path / "checkpoints" / "step-00000006")
        (path / "finished.json").unlink()
        (path / "model.safetensors").unlink()
    run = make_run(config, path)
    decide(run, {"microbatch": "auto", "memory": "auto", "devices": count}, {}, lambda: None)
    fit(run, config.pipeline)
    found = load_file(path / "model.safetensors")
    return np.concatenate([found[key].ravel() for key in sorted(found)]), [line["devices"] for line in run.logged()]

found = {
    "1": trained("1", 1), "2": trained("2", 2),
    "2 then 2": trained("2 then 2", 2, half="2"),
    "2 then 1": trained("2 then 1", 1, half="2"),
}
if int(os.environ.get("SOAK", "1")) > 1:
    found["2, of a table"] = trained("2, of a table", 2, "pipeline.feed=device")
    found["1 then 2"] = trained("1 then 2", 2, half="1")

def far(name, other):
    one, two = found[name][0], found[other][0]
    return float(np.linalg.norm(one - two) / np.linalg.norm(two))

print(json.dumps({name: [far(name, "1"), far(name, "2"), found[name][1]] for name in found}))
"""

WORKER = """
from train.worker import worker
worker.main(sys.argv[1:])
"""


def on_four(script: str, *arguments: object) -> list[str]:
    """Return the lines that a script prints in a process whose TensorFlow has four processors."""
    command = [sys.executable, "-c", VIRTUAL + script, *map(str, arguments)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return answer.stdout.splitlines()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_collection(tmp_path_factory.mktemp("devices"))[0]


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Run:
    return make_run(config, tmp_path / "run")


@pytest.fixture(scope="module")
def trained(once: Once) -> dict[str, Any]:
    """How far the weights of runs are from those of one and of two devices, and what their log says of devices."""

    def fill(folder: Path) -> None:
        tiny_collection(folder)
        write_json(folder / "found.json", json.loads(on_four(TRAINING, folder)[-1]))

    return dict(read_json(once("devices", fill) / "found.json"))


def test_every_device_does_its_share_of_a_gradient_that_is_the_gradient_of_one() -> None:
    """24 pictures; of two devices each has 12, in pieces of 5 or at once, and of four 6."""
    for line in on_four(GRADIENTS, 2 if SOAK == 1 else 3):
        count, far, works = json.loads(line)
        assert far <= 1e-5
        for each in works:  # convolutions forward and backward, on each of four devices
            assert each == [each[0]] * count + [0] * (4 - count), works
            assert each[0] > 0


def test_two_devices_learn_the_same_weights(trained: dict[str, Any]) -> None:
    for name in trained.keys() & {"2", "2, of a table"}:
        assert trained[name][0] <= 1e-5, (name, trained)
    assert [trained[name][2] for name in ("1", "2")] == [[1, 1], [2, 2]]


def test_a_run_goes_on_exactly_on_as_many_devices_and_nearly_on_more_or_less(trained: dict[str, Any]) -> None:
    assert trained["2 then 2"][1:] == [0.0, [2, 2]]
    for name in trained.keys() & {"2 then 1", "1 then 2"}:
        assert trained[name][0] <= 1e-5
        assert trained[name][2] == [int(name[0]), int(name[-1])]


def test_the_trainer_takes_the_devices_that_were_asked_for(run: Run, config: Config) -> None:
    memory = AUTO | {"devices": 2}
    on_four(WORKER, job_of(run.path, config.pipeline.model_dump(mode="json"), 10.0, memory))
    assert {line["devices"] for line in run.logged()} == {2}
    assert read_json(run.path / NAME)["devices"] == 2


def test_devices_that_are_not_there_are_refused_in_one_line(config: Config, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "train", "fit", "--config", str(config.stores.parent / "config.yaml"),
               "--run", str(tmp_path / "run"), "--set", "train.devices=2"]  # fmt: skip
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    said = "error: train.devices asks for 2 devices, but TensorFlow has 1 CPU here; set it to 1, or ask 'make doctor'"
    assert [said in line for line in answer.stderr.splitlines() if line.startswith("error")] == [True]


def test_another_backend_is_refused_in_one_line() -> None:
    script = "from train.devices import named; named(2)"
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert (
        "train.devices asks for 2 devices, but with Keras on jax one is used; set train.devices to 1" in answer.stderr
    )
    assert named(1) == ("",)


def test_a_batch_of_fewer_pictures_than_devices_is_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"a batch of 32 pictures cannot be shared by 33 devices; set train\.devices"):
        decide(run, AUTO | {"devices": 33}, {}, lambda: None)


def test_shares_are_even() -> None:
    assert [shares(30, count) for count in (1, 2, 4)] == [[30], [15, 15], [8, 8, 7, 7]]


def test_gpus_are_counted_and_the_fullest_decides(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake = tmp_path / "nvidia-smi"
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *memory.free*--id=1) echo 900;; *memory.free*) echo 2000; echo 900; echo 800;;'
        " *) echo NVIDIA H200; echo NVIDIA H200; echo NVIDIA H200;; esac\n"
    )
    fake.chmod(0o755)
    assert nvidia("name") == ["NVIDIA H200"] * 3
    assert [budget(0.5, count) for count in (1, 2, 3)] == [half * 2**20 for half in (1000, 450, 400)]
    decide(run, AUTO | {"microbatch": 4}, {}, lambda: None)
    assert devices(run.path) == 3
    assert "microbatch: 4 of 11 pictures on each of 3 devices" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert budget(0.5, 3) == 450 * 2**20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    decide(run, AUTO | {"microbatch": 4}, {}, lambda: None)
    assert devices(run.path) == 1, "another machine has other devices"


def test_cuda_numbers_gpus_as_nvidia_smi_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own order is by speed, and the memory of another GPU would be asked for."""
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    import_tensorflow()
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    import_tensorflow()
    assert os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST", "who asks for it has it"


def test_the_log_has_the_memory_of_the_most_used_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"GPU:0": {"current": 5, "peak": 9}, "GPU:1": {"current": 7, "peak": 8}}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 4)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * 2)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", taken.__getitem__)
    assert use() == (7, 9)


def test_memory_is_probed_and_halved_for_a_share_of_the_batch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[tuple[int, int]] = []

    def probe(job: dict[str, Any]) -> int:
        probed.append((job["devices"], job["piece"]))
        return 10**6

    monkeypatch.setattr(module, "rough", lambda run: float("inf"))
    monkeypatch.setattr(module, "probe", probe)
    for count in (2, 1):
        decide(run, AUTO | {"devices": count}, {"pipeline": {}}, lambda: None)
    assert probed == [(2, 16), (1, 32)]
    write_json(run.path / NAME, {"asked": None, "piece": None, "devices": 2})
    assert halve(run.path, 0, "out of memory")
    assert read_json(run.path / NAME)["piece"] == 8
    keys = {Known(run, {"pipeline": {}, "devices": count}, 1, lambda: None).key for count in (1, 2)}
    assert len(keys) == 2


def test_devices_are_no_part_of_what_is_learned() -> None:
    assert Train(devices=2).content == Train().content
    assert Pipeline().feed == "auto"
