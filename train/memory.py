"""What training may take of the memory, what it takes, and its most: of the accelerator, where there is one.

On the processor that is the memory that belongs to this process alone (RssAnon of Linux), not files that it has mapped.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline.budget import memory_left

ON_PROCESSOR, ON_ACCELERATOR = 0.8, 0.92
"""The shares that `auto` takes: beside the processor's memory lives the rest of the machine."""
STATUS, VMSTAT = Path("/proc/self/status"), Path("/proc/vmstat")


class Use(NamedTuple):
    """Bytes: now, and at the highest."""

    used: int
    peak: int


def share_of(asked: float | int | str, there: int, auto: float) -> int:
    """Return the bytes that train.memory allows of those that are `there`."""
    share = auto if asked == "auto" else asked
    return int(share * there) if isinstance(share, float) else min(int(share), there)


def budget(asked: float | int | str, devices: int = 1) -> int:
    """Return the bytes that train.memory allows: of what each of the first `devices` GPUs has free, or, where there is
    none, of what this process has and may still take on this machine, or in this job or container."""
    if free := nvidia("memory.free")[:devices]:
        return share_of(asked, min(map(int, free)) * 2**20, ON_ACCELERATOR)
    return share_of(asked, memory_left() + processor().used, ON_PROCESSOR)


def limit_accelerators(most: int, devices: int) -> None:
    """Keep TensorFlow from taking more than `most` bytes of each of the first `devices` GPUs, and anything of others.
    To be called before it uses one.

    No one has run this on a GPU yet.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")[:devices]
    tf.config.set_visible_devices(gpus, "GPU")
    for device in gpus:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=most // 2**20)
        tf.config.set_logical_device_configuration(device, [limit])


def utilisation() -> float | None:
    """Return the share of the last second in which the GPUs were at work, their mean; None where there is none."""
    shares = nvidia("utilization.gpu")
    return sum(map(float, shares)) / len(shares) / 100 if shares else None


def nvidia(field: str) -> list[str]:
    """Return what nvidia-smi, which asks NVML, says of each GPU that this process may use (CUDA_VISIBLE_DEVICES); empty
    where it is absent or has no answer."""
    command, visible = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if command is None or visible == "":
        return []
    query = [command, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    query += [f"--id={visible}"] if visible else []
    answer = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def processor() -> Use:
    """Return what this process takes.

    The kernel keeps the peak of all that is resident, VmHWM; the files in it hardly change.
    """
    if not STATUS.exists():  # no Linux
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Use(psutil.Process().memory_info().rss, most * (1 if sys.platform == "darwin" else 1024))
    found = {name: 1024 * int(size) for name, size in re.findall(r"(\w+):\s+(\d+) kB", STATUS.read_text())}
    used = found["RssAnon"]
    return Use(used, max(used, found["VmHWM"] - found["RssFile"] - found["RssShmem"]))


def kernel_kills() -> int:
    """Return how many processes this machine's kernel has killed because memory ran out; 0 where it does not say."""
    found = re.search(r"^oom_kill (\d+)$", VMSTAT.read_text(), re.M) if VMSTAT.exists() else None
    return int(found[1]) if found else 0


def use() -> Use:
    """Return what training takes of the most used GPU, or of the processor's memory where there is none."""
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return processor()
    count = len(tf.config.list_logical_devices("GPU"))
    found: list[dict[str, int]] = [tf.config.experimental.get_memory_info(f"GPU:{n}") for n in range(count)]
    return Use(*(max(each[when] for each in found) for when in ("current", "peak")))
