"""A tiny collection whose artists can be told apart in seconds, and the settings that train on it."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.manifest import make_manifest
from preprocess.store import Store, store_of

SETTINGS: dict[str, dict[str, object]] = {
    "source": {"kind": "folders", "path": "pictures"},
    "preprocess": {"sizes": [16, 32], "rows_per_shard": 64, "workers": 1},
    "pipeline": {"paintings_per_artist": 4, "evaluation_pairs": 200},
    "train": {"size": 16, "width": 8, "embedding": 16, "batch": 32, "steps": 6, "validate_every": 3},
    "evaluate": {"bootstrap": 20},
}


def paint(folder: Path, artists: int, paintings: int, seed: int = 0) -> None:
    """Write pictures of stripes; an artist is a colour and a direction, a painting a phase and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:40, 0:40]
    for artist in range(artists):
        colour, angle, own = rng.uniform(60, 200, 3), rng.uniform(0, np.pi), folder / f"artist-{artist:02d}"
        own.mkdir(parents=True)
        for painting in range(paintings):
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 0.8 + rng.uniform(0, 6.3))
            pixels = colour + 50 * wave[..., None] + rng.normal(0, 12, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(own / f"{painting}.png")


def write_settings(folder: Path, **changes: dict[str, object]) -> Path:
    """Write a config.yaml of the tiny settings, sections updated by `changes`, and return its path."""
    settings = {name: section | changes.get(name, {}) for name, section in SETTINGS.items()}
    settings |= {name: section for name, section in changes.items() if name not in settings}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def tiny_collection(folder: Path, artists: int = 14, paintings: int = 10) -> tuple[Config, Store]:
    """Paint a collection in `folder` and build its store; one more file there is no picture."""
    shutil.copytree(made_once(artists, paintings), folder, dirs_exist_ok=True)
    config = load_config(folder / "config.yaml")
    return config, store_of(config)


@cache
def made_once(artists: int, paintings: int) -> Path:
    """Return a folder with such a collection, made once in a process and removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    atexit.register(shutil.rmtree, folder)
    paint(folder / "pictures", artists, paintings)
    (folder / "pictures" / "artist-00" / "broken.jpg").write_bytes(b"no picture")
    config = load_config(write_settings(folder))
    build_store(config, make_manifest(config))
    return folder
