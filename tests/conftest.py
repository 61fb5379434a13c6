"""Fixtures that several test files share."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.gallery.giants import write_giants
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


Once = Callable[[str, Callable[[Path], object]], Path]
"""Of a name and what fills an empty folder, the folder of that name: what takes long is made once for all processes of
pytest-xdist, to be read only."""


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Once:
    """See Once."""
    base = tmp_path_factory.getbasetemp()
    home = (base if worker_id == "master" else base.parent) / "once"

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = home / name, home / f"{name}.done"
        home.mkdir(exist_ok=True)
        with FileLock(home / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def giants(once: Once) -> Path:
    """A folder with the four giants of 12000 x 9000 pixels, and nothing else."""
    return once("giants", write_giants)


@pytest.fixture(scope="session")
def judge(once: Once) -> Path:
    """The directory of a trained and evaluated run on `tests.tiny`, to be read only; its collection lies in `pictures`
    two folders above."""
    from train.evaluate import evaluate
    from train.fit import fit
    from train.run import make_run

    changes = ["train.steps=80", "train.validate_every=40", "train.learning_rate=0.005", "evaluate.crowding=1.2"]

    def trained(home: Path) -> None:
        tiny_collection(home)
        config = load_config(home / "config.yaml", changes)
        run = make_run(config, None)
        fit(run, config.pipeline)
        evaluate(run, config)

    home = once("judge", trained)
    return make_run(load_config(home / "config.yaml", changes), None).path
