"""Contact sheets of a store, to look at: what was stored, and what was not and why."""

import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from preprocess.common.config import Config
from preprocess.common.errors import StoreError, UnreadablePicture
from preprocess.common.files import written_aside
from preprocess.decoder import Decoder
from preprocess.manifest import kept_manifest
from preprocess.shard import How
from preprocess.sources import make_source
from preprocess.store import QUARANTINED, STORED, Store

COLUMNS, GAP, SIZE, LETTERS = 12, 6, 128, 20
WORDS_HEIGHT = 92


def contact_sheet(store: Store, count: int, seed: int, out: Path) -> None:
    """Write a PNG of `count` stored pictures, drawn with `seed`, to `out`. Raises StoreError."""
    size = store.size_for(min(SIZE, store.sizes[-1]))
    pictures = [Image.fromarray(store.picture(row, size)) for row in chosen(store, STORED, count, seed)]
    write_tiles(pictures, size, size, COLUMNS, out)


def quarantine_sheet(config: Config, store: Store, count: int, seed: int, out: Path) -> None:
    """Write a PNG of `count` quarantined pictures, as far as they decode, with key and reason. Raises StoreError."""
    source, places = make_source(config), kept_manifest(config)["place"]
    tiles = []
    with Decoder((SIZE,), "pad", config.preprocess.max_megapixels, How.of(config.preprocess).memory) as decoder:
        for row in chosen(store, QUARANTINED, count, seed):
            key, reason = store.rows.select("key", "reason").row(int(row))
            tile = Image.new("RGB", (SIZE, SIZE + WORDS_HEIGHT), "white")
            with suppress(UnreadablePicture):
                if places[int(row)] is not None:
                    with source.fetch(places[int(row)]) as path:
                        tile.paste(Image.fromarray(decoder.decode(path, lenient=True).squares.pixels[SIZE]))
            words = textwrap.wrap(key, LETTERS)[:2] + textwrap.wrap(reason, LETTERS)[:5]
            ImageDraw.Draw(tile).text((2, SIZE + 2), "\n".join(words), "black", spacing=1)
            tiles.append(tile)
    write_tiles(tiles, SIZE, SIZE + WORDS_HEIGHT, COLUMNS // 2, out)


def chosen(store: Store, status: str, count: int, seed: int) -> NDArray[np.int64]:
    """Return at most `count` rows of that status, drawn with `seed`, ascending."""
    rows = store.rows.filter(pl.col("status") == status)["row"].to_numpy()
    if not len(rows):
        raise StoreError(f"{store.path} holds no {status} picture; its rows.parquet says what became of each")
    return np.sort(np.random.default_rng(seed).choice(rows, min(count, len(rows)), replace=False)).astype(np.int64)


def write_tiles(tiles: list[Image.Image], width: int, height: int, columns: int, out: Path) -> None:
    """Write the tiles, line by line on white, as a PNG."""
    columns = min(columns, len(tiles))
    lines = -(-len(tiles) // columns)
    canvas = Image.new("RGB", (columns * (width + GAP) + GAP, lines * (height + GAP) + GAP), "white")
    for place, tile in enumerate(tiles):
        canvas.paste(tile, (GAP + place % columns * (width + GAP), GAP + place // columns * (height + GAP)))
    with written_aside(out) as aside:
        canvas.save(aside, format="PNG")
