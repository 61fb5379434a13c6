"""What several tests share: small collections of pictures, configuration files, and command lines."""

import csv
import importlib
import io
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from preprocess.common.cli import main
from preprocess.common.config import Config, load_config
from preprocess.common.files import list_files, put_file, sha256_file
from preprocess.common.places import place
from preprocess.images import Squares, make_squares
from preprocess.store import Store

Pixels = NDArray[np.uint8]
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
WHITE, GREY = (255, 255, 255), (128, 128, 128)
ARTISTS = ("Anker, Albert", 'Émile "Le Vieux"', "八大山人", "zorn")
QUARANTINED = {"broken.jpg": "image file is truncated", "text.png": "not a picture of an allowed format"}


def smooth(seed: int, width: int, height: int) -> Image.Image:
    """Return an RGB picture of soft random colours with some grain, the same for the same arguments."""
    rng = np.random.default_rng([seed, width, height])
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    base = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((base + rng.normal(0, 6, base.shape)).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    """Return a picture as a file of a kind that Pillow can write."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def squares(file: io.BytesIO, *sizes: int, square: str = "crop", most: float = 400) -> Squares:
    """Return what make_squares makes of a file."""
    with Image.open(file) as image:
        return make_squares(image, sizes, square, most)


def pixels(image: Image.Image, size: int = 32, square: str = "crop", **options: Any) -> Pixels:
    """Return the square made of a picture that was written as a file before."""
    return squares(encoded(image, **options), size, square=square).pixels[size]


def near(pixel: Pixels, colour: tuple[int, int, int], most: int = 3) -> bool:
    """Return whether no channel is further than `most` from the colour."""
    return int(np.abs(pixel.astype(int) - colour).max()) <= most


def psnr(left: Pixels, right: Pixels) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean((left.astype(float) - right) ** 2)))))


def write_table(
    path: Path, rows: Iterable[Iterable[str]], header: str = "filename,artist,title,style,genre,date"
) -> None:
    """Write a CSV table in the columns of Painter by Numbers."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def collection(folder: Path, count: int = 18) -> list[str]:
    """Write `count` pictures by four artists, one of them black, two that cannot be read, and their table."""
    folder.mkdir(parents=True)
    names = []
    for index in range(count):
        name = f"{index:02d}.{('jpg', 'png')[index % 2]}"
        smooth(index, 60 + 7 * index % 40, 90 - 5 * index % 50).save(folder / name)
        names.append(name)
    Image.new("RGB", (50, 30)).save(folder / names[3])
    data = (folder / names[0]).read_bytes()
    (folder / "broken.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.png").write_text("no picture")
    names[2:2] = QUARANTINED
    titles = ('Hills, "blue", at noon', "Nächtliche Straße\nII", "山水", "")
    write_table(
        folder / "train_info.csv",
        [(name, ARTISTS[i % 4], titles[i % 4], "Realism", "", "c.1645") for i, name in enumerate(names)],
    )
    return names


def write_config(folder: Path, **sections: Any) -> Path:
    """Write folder/config.yaml for the pictures in folder/pictures, with `sections` added or replaced."""
    values: dict[str, Any] = {
        "source": {"kind": "csv", "path": "pictures"},
        "preprocess": {"sizes": [16, 40], "rows_per_shard": 5, "workers": 2},
        "train": {"size": 16},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


class Answer(NamedTuple):
    """What a command line left: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of a user's error; checks that it is one, and no traceback."""
        last = self.err.splitlines()[-1]
        assert self.status == 2, self
        assert last.startswith("error: "), self
        assert self.err.count("error: ") == 1, self
        assert "Traceback" not in self.err
        return last


def command(*arguments: object, program: str = "preprocess") -> Answer:
    """Run `python -m program arguments` inside this process."""
    out, err = io.StringIO(), io.StringIO()
    group = getattr(importlib.import_module(f"{program}.__main__"), program)
    argv = mock.patch.object(sys, "argv", [program, *map(str, arguments)])
    status = 0
    with argv, redirect_stdout(out), redirect_stderr(err):
        try:
            main(group, program)
        except SystemExit as error:
            status = int(error.code or 0)
    return Answer(status, out.getvalue(), err.getvalue())


def remote_config(folder: Path, bucket: str) -> Config:
    """Return the settings in folder/config.yaml of `collection` in the bucket with that URL, its store too."""
    pictures = folder / "pictures"
    collection(pictures)
    for name in list_files(pictures):
        put_file(pictures / name, place(f"{bucket}/museum/pictures") / name)
    source = {"path": f"{bucket}/museum/pictures"}
    return load_config(write_config(folder, source=source, stores=f"{bucket}/stores", preprocess={"workers": 1}))


def raiser(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises `error` whatever it is given."""

    def fail(*arguments: object, **options: object) -> Any:
        raise error

    return fail


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` by its path from there, without locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def store_files(store: Store) -> dict[str, str]:
    """Return the SHA-256 of every file of a store, read anew."""
    return {name: sha256_file(store.path / name) for name in sorted(list_files(store.path))}
