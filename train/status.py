"""How far a collection's store and training are, read from what they wrote; nothing is locked or changed."""

from datetime import timedelta
from typing import Any

from preprocess.account import accounts
from preprocess.common.config import Config
from preprocess.common.errors import StoreError
from preprocess.store import current_store
from train.progress import progress, progress_text
from train.run import open_run, run_path


def status(config: Config) -> dict[str, Any]:
    """Return what is known of the store and of the run of the settings, as plain values."""
    answer: dict[str, Any] = {"builds": accounts(config.store_folder), "store": None, "run": None}
    try:
        store = current_store(config.store_folder)
    except StoreError:
        return answer
    answer["store"] = {"path": str(store.path), "pictures": store.seal["rows"], "stored": store.seal["stored"]}
    path = run_path(config, store)
    if not (path / "run.json").exists():
        return answer
    answer["run"] = progress(open_run(path))
    return answer


def build_text(name: str, account: dict[str, Any]) -> str:
    """Return what is known of a build, running or not, as lines for people."""
    left = f", about {timedelta(seconds=account['seconds_left'])} left" if account["seconds_left"] else ""
    reasons = "".join(f"\n       {count} quarantined: {reason}" for reason, count in account["quarantined"].items())
    return (
        f"build: {name} {account['state']}, {account['pictures']} of {account['total']} pictures{left}; "
        f"{account['pictures_per_second']} pictures/s, {account['megabytes_per_second']} MB/s, "
        f"{account['memory_per_worker'] / 1e6:.0f} MB a worker, on {account['host']} at {account['at']}{reasons}"
    )


def status_text(answer: dict[str, Any]) -> str:
    """Return the status as lines for people."""
    lines = []
    for name, account in answer["builds"].items():
        lines.append(build_text(name, account))
    if store := answer["store"]:
        lines.append(f"store: {store['stored']} of {store['pictures']} pictures: {store['path']}")
    else:
        lines.append("store: none sealed yet; run 'make store'")
    if run := answer["run"]:
        lines.append(progress_text(run))
    elif answer["store"]:
        lines.append("train: no run of these settings yet; run 'make train'")
    return "\n".join(lines)
