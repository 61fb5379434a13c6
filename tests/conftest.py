"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.manifest import make_manifest
from preprocess.store import Store
from tests.helpers import collection, write_config
from tests.tiny import tiny_collection

ROOT = Path(__file__).resolve().parents[1]
SOAK = int(os.environ.get("SOAK", "1"))
"""How many times as much the tests marked "soak" do: `make soak` sets it."""
SOAK_ONLY = (
    pytest.mark.soak,
    pytest.mark.skipif(SOAK == 1, reason="the like of it was tested; make soak does this, too"),
)
"""Marks of a case that takes long and differs little from others."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures and tables, which never come into the repository; skips where it is absent."""
    folder = (ROOT / os.environ.get("PAINTINGS_DATA", "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist; set PAINTINGS_DATA to its place")
    return folder


@pytest.fixture(scope="session")
def built_config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings of a small collection with all kinds of rows: `helpers.collection` at two sizes, five rows a shard."""
    folder = tmp_path_factory.mktemp("built")
    collection(folder / "pictures")
    return load_config(write_config(folder))


@pytest.fixture(scope="session")
def built(built_config: Config) -> Store:
    """The sealed store of `built_config`, to be read only."""
    return build_store(built_config, make_manifest(built_config))


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The directory of a trained and evaluated run on `tests.tiny`, to be read only; its collection lies in `pictures`
    two folders above. It is made once for all processes of pytest-xdist."""
    from train.evaluate import evaluate
    from train.fit import fit
    from train.run import make_run

    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "judge"
    changes = ["train.steps=80", "train.validate_every=40", "train.learning_rate=0.005", "evaluate.crowding=1.2"]
    with FileLock(home.with_suffix(".lock")):
        if not (home / "config.yaml").exists():
            tiny_collection(home)
        config = load_config(home / "config.yaml", changes)
        run = make_run(config, None)
        if not (run.path / "metrics.json").exists():
            fit(run, config.pipeline)
            evaluate(run, config)
    return run.path
