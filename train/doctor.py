"""Whether this machine can do the work: each finding says what is, and what to do where that is not enough."""

import platform
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.common.files import exists, free_bytes
from preprocess.store import current_store

ROOT = Path(__file__).parent.parent
SUPPORTED = ((3, 11), (3, 14))
LEAST_FREE_GB = 5.0
LEAST_MEMORY_GB = 4.0
MATRIX = 1024


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer; `remedy` is empty where all is well."""

    subject: str
    what: str
    remedy: str = ""


def examine(config: Config) -> list[Finding]:
    """Return all findings, quick ones first."""
    return [python(), packages(), disk(config), memory(), store(config), gpu()]


def python() -> Finding:
    """Check the version of Python."""
    fine = SUPPORTED[0] <= sys.version_info[:2] < SUPPORTED[1]
    return Finding(
        "Python", platform.python_version(), "" if fine else "use Python 3.11, 3.12 or 3.13: make PYTHON=..."
    )


def packages() -> Finding:
    """Compare what is installed with the lock that was used for it."""
    lock = ROOT / "requirements" / ("cuda.txt" if (ROOT / ".venv" / ".installed-cuda").exists() else "cpu.txt")
    lines = [line.removesuffix("\\").strip() for line in lock.read_text().splitlines() if line[:1].isalnum()]
    wrong = []
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            if not requirement.specifier.contains(version(requirement.name), prereleases=True):
                wrong.append(f"{requirement.name} {version(requirement.name)}")
        except PackageNotFoundError:
            if requirement.name != "pillow" or not any(distributions(name="pillow-simd")):  # make simd
                wrong.append(f"{requirement.name} missing")
    if wrong:
        return Finding("packages", f"differ from {lock.name}: {', '.join(wrong[:5])}", "make clean setup")
    return Finding("packages", f"{len(lines)} as locked in {lock.name}")


def disk(config: Config) -> Finding:
    """Check the free space where stores are kept."""
    free_here = free_bytes(config.stores)
    if free_here is None:
        return Finding("disk", f"stores are kept at {config.stores}")
    free = free_here / 1e9
    remedy = "" if free >= LEAST_FREE_GB else f"free {LEAST_FREE_GB:.0f} GB, or set stores and runs to a larger disk"
    return Finding("disk", f"{free:.0f} GB free for {config.stores}", remedy)


def memory() -> Finding:
    """Check the memory that is available now."""
    available = psutil.virtual_memory().available / 1e9
    remedy = "" if available >= LEAST_MEMORY_GB else "close other programs, or set preprocess.workers: 1"
    return Finding("memory", f"{available:.1f} GB available, {psutil.cpu_count()} cores", remedy)


def store(config: Config) -> Finding:
    """Say whether there is a sealed store."""
    try:
        opened = current_store(config.store_folder)
    except StoreError as error:
        missing = not exists(config.store_folder / "CURRENT")
        return (
            Finding("store", "none yet; 'make store' builds it")
            if missing
            else Finding("store", str(error), "make store")
        )
    return Finding("store", f"{opened.seal['stored']} of {opened.seal['rows']} pictures in {opened.path}")


def driver() -> str | None:
    """Return the names and driver versions of the NVIDIA GPUs, or None where there is no driver."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return "an NVIDIA driver" if Path("/proc/driver/nvidia/version").exists() else None
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    if answer.returncode or not answer.stdout:
        return "an NVIDIA driver that does not answer"
    return " and ".join(f"{count} x {name}" if count > 1 else name
                        for name, count in Counter(answer.stdout.splitlines()).items())  # fmt: skip


def gpu() -> Finding:
    """Prove one matrix product on each GPU against the CPU, or say what is missing."""
    found = driver()
    if found is None:
        return Finding("GPU", "no NVIDIA driver: training runs on the CPU")
    from train.quiet import import_tensorflow

    import_tensorflow()
    import numpy as np
    import tensorflow as tf

    if not tf.test.is_built_with_cuda():
        return Finding("GPU", f"{found}, but this TensorFlow was built without CUDA", "use Linux on x86-64 or WSL2")
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        remedy = (
            "make clean setup (it installs NVIDIA's libraries); if that is done, run nvidia-smi and renew the driver"
        )
        return Finding("GPU", f"{found}, but TensorFlow cannot use it", remedy)
    matrix = np.random.default_rng(0).standard_normal((MATRIX, MATRIX)).astype(np.float32)
    for device in gpus:
        with tf.device(device.name):
            product = tf.matmul(matrix, matrix).numpy()
        # Tensor cores round the inputs of a product to 10 bits of mantissa.
        if not np.allclose(product, matrix @ matrix, atol=0.05 * np.sqrt(MATRIX)):
            wrong = f"{found}: a matrix product came out wrong on {device.name.removeprefix('/device:')}"
            return Finding("GPU", wrong, "renew the driver; test the card's memory")
    many = f" on each of {len(gpus)} that training shares" if len(gpus) > 1 else ""
    return Finding("GPU", f"{found}: a {MATRIX} x {MATRIX} matrix product is right{many}")
