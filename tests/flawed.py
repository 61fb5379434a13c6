"""A collection of generated paintings into which faults are planted, and splits that are doctored."""

from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from PIL import Image, ImageOps

from pipeline.split import make_split
from preprocess.build import build_store
from preprocess.common.config import Config, load_config
from preprocess.findings import Finding
from preprocess.manifest import make_manifest
from preprocess.store import Store
from tests.helpers import encoded, write_config, write_table

SETTINGS = {"preprocess": {"sizes": [64, 128], "rows_per_shard": 64, "workers": 2}, "train": {"size": 64}}
NOBODY, BLANKS = "Nemo Blank", ("blank-0.png", "blank-1.png", "blank-2.png")
SHRUNK = 30
"""Pictures that are saved at a third of their size."""


class Painting(NamedTuple):
    """A row of the table."""

    key: str
    artist: str


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """Return a picture as JPEG."""
    return encoded(image, "JPEG", **options).getvalue()


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG."""
    return encoded(image).getvalue()


def half(data: bytes) -> bytes:
    """Return the first half of a file."""
    return data[: len(data) // 2]


def scaled(image: Image.Image, scale: float) -> Image.Image:
    """Return a picture at another size."""
    return image.resize((round(image.width * scale), round(image.height * scale)))


def cropped(image: Image.Image) -> Image.Image:
    """Return all but the right and the lower tenth of a picture."""
    return image.crop((0, 0, image.width * 9 // 10, image.height * 9 // 10))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "copy.jpg": lambda image: jpeg(scaled(image, 0.8), quality=60),
    "mirrored.jpg": lambda image: jpeg(ImageOps.mirror(image)),
    "cropped.jpg": lambda image: jpeg(cropped(image)),
    "stolen.jpg": jpeg,
}
"""Files that are added; the last one under another artist."""
IN_PLACE: dict[str, Callable[[Image.Image], bytes]] = {
    "lie": png,
    "truncated": lambda image: half(jpeg(image)),
    "grey": lambda image: jpeg(image.convert("L")),
    "framed": lambda image: jpeg(ImageOps.expand(image, image.width // 8, "white")),
    "long": lambda image: jpeg(image.resize((1300, 260))),
    "tiny": lambda image: jpeg(image.resize((60, 50))),
    "cmyk": lambda image: jpeg(image.convert("CMYK")),
    "profile": lambda image: jpeg(image, icc_profile=b"no profile"),
}
"""Files that are changed, under their names."""


class Flawed:
    """The store of a flawed collection; `made_of` and `hurt` give the picture that each fault was planted with."""

    def __init__(self, config: Config, made_of: dict[str, str], hurt: dict[str, str], shrunk: list[str]) -> None:
        self.config, self.made_of, self.hurt, self.shrunk = config, made_of, hurt, shrunk
        self.store: Store = build_store(config, make_manifest(config))

    @cached_property
    def split(self) -> pl.DataFrame:
        """The split as it is made, which leaves out the copies."""
        return make_split(self.store, self.config)

    def rows(self, *keys: str) -> tuple[int, ...]:
        """Return the row numbers of pictures, ascending."""
        return tuple(self.store.rows.filter(pl.col("key").is_in(keys))["row"].to_list())

    def side(self, key: str) -> str:
        """Return the side on which a picture is."""
        return str(self.split.filter(pl.col("key") == key)["side"].item())


def put(split: pl.DataFrame, side: str, keys: Iterable[str]) -> pl.DataFrame:
    """Return `split` with pictures put on another side."""
    moved = pl.col("key").is_in(list(keys))
    return split.with_columns(side=pl.when(moved).then(pl.lit(side)).otherwise("side"))


def by_kind(found: list[Finding]) -> dict[str, Finding]:
    """Return findings by their kinds, which must differ."""
    kinds = {finding.kind: finding for finding in found}
    assert len(kinds) == len(found)
    return kinds


def ordinary(path: Path) -> bool:
    """Return whether a file is a JPEG in colour of usual size that can be read and shows something."""
    try:
        with Image.open(path) as image:
            usual = image.format == "JPEG" and image.mode == "RGB" and max(image.size) < 2000
            image.draft("L", (64, 64))
            return usual and len(set(image.convert("L").tobytes())) > 50
    except OSError:
        return False


def flawed(folder: Path, gallery: Path) -> Flawed:
    """Copy the ordinary pictures of a `gallery` to `folder`, plant faults in them, and build the store."""
    pictures = folder / "pictures"
    pictures.mkdir()
    table = pl.read_csv(gallery / "train_info.csv", infer_schema=False).select("filename", "artist")
    whole = [Painting(*row) for row in table.iter_rows() if ordinary(gallery / "images" / row[0])]
    for row in whole:
        (pictures / row.key).write_bytes((gallery / "images" / row.key).read_bytes())
    # The gallery's last original has a twin already.
    unhurt = iter(whole)
    made_of = {name: next(unhurt) for name in COPIES}
    hurt = {name: next(unhurt).key for name in IN_PLACE}
    shrunk = [next(unhurt).key for _ in range(SHRUNK)]
    for name, original in made_of.items():
        (pictures / name).write_bytes(COPIES[name](opened(pictures / original.key)))
    for name, key in hurt.items():
        (pictures / key).write_bytes(IN_PLACE[name](opened(pictures / key)))
    for key in shrunk:
        (pictures / key).write_bytes(jpeg(scaled(opened(pictures / key), 0.3)))
    for number, name in enumerate(BLANKS):
        (pictures / name).write_bytes(png(Image.new("RGB", (300 + number, 200), (40 * number, 9, 9))))
    thief = next(row.artist for row in whole if row.artist != made_of["stolen.jpg"].artist)
    copies = [Painting(name, thief if name == "stolen.jpg" else row.artist) for name, row in made_of.items()]
    rows = [*whole, *copies, *(Painting(name, NOBODY) for name in BLANKS)]
    write_table(folder / "train_info.csv", [(*row, "", "", "", "") for row in rows])
    config = load_config(write_config(folder, source={"kind": "csv", "path": "pictures"}, **SETTINGS))
    return Flawed(config, {name: row.key for name, row in made_of.items()}, hurt, shrunk)


def opened(path: Path) -> Image.Image:
    """Return a picture, upright."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")
