"""What training costs, for a line of the log: time, the wait for batches, and memory."""

from train.checkpoint import Chunk
from train.memory import use, utilisation


def costs(chunk: Chunk, steps: int, devices: int) -> dict[str, float]:
    """Return seconds in all and of a step, the share of them that was spent waiting for batches, pictures per second,
    on how many devices, bytes of memory now and at the highest, and the share of the last second in which GPUs worked,
    where there are any."""
    memory, busy = use(), utilisation()
    found = {
        "seconds": round(chunk.seconds, 3),
        "step_seconds": round(chunk.seconds / steps, 5),
        "input_wait": round(chunk.waited / chunk.seconds, 5),
        "pictures_per_second": round(chunk.pictures / chunk.seconds, 1),
        "devices": devices,
        "memory_used": memory.used,
        "memory_peak": memory.peak,
    }
    return found if busy is None else found | {"gpu_utilisation": round(busy, 3)}
