"""A batch of the training stream as a picture, to look at: what is stored above, what the network is shown below."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.augmentation import drawer, varied_by_numpy
from pipeline.reader import Reader
from pipeline.split import TRAIN, make_split, side_rows
from pipeline.streams import Batch, training_stream
from preprocess.common.config import Config
from preprocess.common.files import written_aside
from preprocess.store import store_of

WIDTH, GAP, FRAME, LINE, LETTERS = 1440, 4, 3, 18, 13
SMALLEST, LARGEST = 64, 128
"""Pixels of a picture on the sheet: smaller ones are enlarged without smoothing, larger ones reduced."""
SAME, DIFFERENT = "#1b7837", "#c2410c"
COLOURS = ("#1f4e9c", "#c2410c", "#1b7837", "#7b3294", "#8c6d00", "#00708a", "#a6195c", "#4d4d4d")


class Panel(NamedTuple):
    """Pictures that belong together: their `places` in the batch, what to write over them, and their frame's colour."""

    titles: list[str]
    colour: str
    places: list[int]


def show(config: Config, k: int, out: Path) -> str:
    """Draw batch `k` of the training stream to the PNG `out`, and return a sentence that says what it shows.

    Raises StoreError, SplitError or ConfigError where there is no such batch.
    """
    store, train = store_of(config), config.train
    span = train.span_at(k)
    rows = side_rows(make_split(store, config), TRAIN)
    batch = training_stream(config.pipeline, *rows, store.rows, span.batch, train.seed).batch_at(k)
    stored = resized(Reader(store, span.size).read(batch.rows), span.size)
    drawn = drawer(train.augment, train.seed)(k, len(batch.rows))
    fed = varied_by_numpy(stored.astype(np.float32), drawn, train.view)
    artists = store.rows["artist"].gather(batch.rows).to_list()
    panels = list(pairs(batch, artists) if config.pipeline.stream == "pairs" else groups(artists))
    said = (
        f"batch {k} of {config.collection}: {len(batch.rows)} pictures of {span.size} pixels, "
        f"{int(batch.same.sum())} same-artist and {int((1 - batch.same).sum())} different pairs"
    )
    note = f"above: as stored; below: as the network is shown them (augment: {train.augment}, seed: {train.seed})"
    sheet = draw(panels, stored, fed.round().astype(np.uint8), [said, note])
    with written_aside(out) as aside:
        sheet.save(aside, format="PNG")
    return f"{said}: {out}"


def pairs(batch: Batch, artists: list[str]) -> Iterator[Panel]:
    """Yield a panel for each pair; where it is of two artists, with the name of one over either picture."""
    for left, right, same in zip(batch.left.tolist(), batch.right.tolist(), batch.same.tolist(), strict=True):
        titles = [f"same: {artists[left]}"] if same else [artists[left], artists[right]]
        yield Panel(titles, SAME if same else DIFFERENT, [left, right])


def groups(artists: list[str]) -> Iterator[Panel]:
    """Yield a panel for all pictures of one artist."""
    for artist, colour in zip(dict.fromkeys(artists), cycle(COLOURS)):
        yield Panel([artist], colour, [place for place, other in enumerate(artists) if other == artist])


def resized(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return pictures [n, stored, stored, 3] as uint8 [n, size, size, 3], as the device does it, but rounded."""
    resample = Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(picture).resize((size, size), resample)) for picture in pictures])


def draw(panels: list[Panel], above: NDArray[np.uint8], below: NDArray[np.uint8], notes: list[str]) -> Image.Image:
    """Return the panels, line by line on white, below the lines of `notes`. `above` and `below` hold the pictures of
    the batch, uint8 [n, size, size, 3]."""
    font = ImageFont.load_default(LETTERS)
    side = tile(above[0]).width
    height = LINE + 2 * side + GAP + 2 * FRAME
    x, y, top = GAP, 0, GAP + len(notes) * LINE + GAP
    places = []
    for panel in panels:
        width = len(panel.places) * (side + GAP) - GAP + 2 * FRAME
        if x > GAP and x + width > WIDTH:
            x, y = GAP, y + height + 2 * GAP
        places.append((x, top + y, width))
        x += width + 2 * GAP
    used = max(WIDTH // 2, *(x + width + GAP for x, _, width in places))  # the notes need half
    sheet = Image.new("RGB", (used, top + y + height + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for number, note in enumerate(notes):
        pen.text((GAP, GAP + number * LINE), note, "black", font)
    for panel, (x, y, width) in zip(panels, places, strict=True):
        room = width // len(panel.titles)
        for column, title in enumerate(panel.titles):
            pen.text((x + column * room, y), fitting(title, room - GAP, font), panel.colour, font)
        pen.rectangle((x, y + LINE, x + width - 1, y + height - 1), "white", panel.colour, FRAME - 1)
        for column, place in enumerate(panel.places):
            at = x + FRAME + column * (side + GAP)
            sheet.paste(tile(above[place]), (at, y + LINE + FRAME))
            sheet.paste(tile(below[place]), (at, y + LINE + FRAME + side + GAP))
    return sheet


def tile(picture: NDArray[np.uint8]) -> Image.Image:
    """Return a picture as it is drawn."""
    image, size = Image.fromarray(picture), len(picture)
    if size < SMALLEST:
        return image.resize((size * -(-SMALLEST // size),) * 2, Image.Resampling.NEAREST)
    return image.resize((LARGEST, LARGEST), Image.Resampling.LANCZOS) if size > LARGEST else image


def fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return `text`, cut where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
