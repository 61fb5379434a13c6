"""The plan of a gallery: which picture is whose, what kind of file holds it, and what the table says of it."""

import csv
import io
from dataclasses import dataclass

import numpy as np

from preprocess.gallery import words
from preprocess.gallery.hands import GENRES, Hand, make_hand

# Shares of the kinds of files; there is at least one of each where there is room, and the rest are ordinary JPEG.
SHARES = {
    "rotated": 0.03, "png": 0.03, "grey": 0.025, "unicode": 0.02, "cmyk": 0.015, "palette": 0.015, "grey16": 0.01,
    "truncated": 0.002, "text": 0.00125, "twin": 0.00125, "nocturne": 0, "giant": 0,
}  # fmt: skip
ONE_ODD_IN = 3  # in a gallery of a few pictures every third is out of the ordinary, and some kinds are absent
ENDINGS = {"png": "png", "palette": "png", "grey16": "png"}
UNICODE_STEMS = ("Été à la mer", "冬の夜", "Ночь", "naïveté ½", "Ζωή", "Łąka w maju", "صباح")
GIANT = (12_000, 9_000)
COLUMNS = ("filename", "artist", "title", "style", "genre", "date")


@dataclass(frozen=True)
class Picture:
    """One file of the gallery. A twin shows the picture numbered `shows`; any other shows its own."""

    seed: int
    artist: int
    index: int
    shows: int
    kind: str

    @property
    def file(self) -> str:
        """The file's name within the folder of images."""
        stem = f"{self.index + 1}"
        if self.kind == "unicode":
            stem += f" {UNICODE_STEMS[self.index % len(UNICODE_STEMS)]}"
        return f"{stem}.{ENDINGS.get(self.kind, 'jpg')}"


@dataclass(frozen=True)
class Subject:
    """What a painting is of, and its size (width, height) in pixels."""

    genre: str
    size: tuple[int, int]
    title: str


def sources(seed: int, artist: int, index: int) -> list[np.random.Generator]:
    """Return the picture's sources of chance: for its subject, its paint and its file."""
    return [np.random.default_rng(part) for part in np.random.SeedSequence([seed, artist, index]).spawn(3)]


def subject(hand: Hand, rng: np.random.Generator) -> Subject:
    """Return what `hand` paints next: sides log-normal about 800 pixels, mostly 4:3 or 3:4, never beyond 3:1."""
    genre = GENRES[int(rng.choice(len(GENRES), p=hand.composing.genres))]
    odd = rng.random() < 0.08
    usual = rng.choice([-1, 0, 1], p=[0.4, 0.15, 0.45]) * np.log(4 / 3) + rng.normal(0, 0.08)
    stretch = rng.uniform(-np.log(3), np.log(3)) if odd else usual
    side = np.clip(800 * np.exp(rng.normal(0, 0.28)), 300, 1800)
    size = round(side * np.exp(stretch / 2)), round(side * np.exp(-stretch / 2))
    return Subject(genre, size, words.title(genre, rng))


def plan(seed: int, pictures: int, artists: int) -> list[Picture]:
    """Return the pictures of a gallery. Kinds fall by index, so that they say nothing of the artist."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
    fame = rng.lognormal(0, 0.3, artists)
    first = np.arange(min(2 * artists, pictures)) % artists  # everyone has two pictures before anyone has more
    rest = rng.choice(artists, pictures - len(first), p=fame / fame.sum())
    owners = rng.permutation(np.concatenate([first, rest])).tolist()
    order = rng.permutation(pictures).tolist()
    odd = [kind for kind, share in SHARES.items() for _ in range(max(1, round(share * pictures)))]
    kinds = dict(zip(order, odd[: pictures // ONE_ODD_IN], strict=False))
    shows = list(range(pictures))
    twins = [index for index in order if kinds.get(index) == "twin"]
    for twin, original in zip(twins, reversed(order), strict=False):
        shows[twin], owners[twin] = original, owners[original]
    return [Picture(seed, owners[i], i, shows[i], kinds.get(i, "jpeg")) for i in range(pictures)]


def table(seed: int, artists: int, pictures: list[Picture]) -> str:
    """Return `train_info.csv`, in the columns of Kaggle's Painter by Numbers."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    names: dict[str, None] = {}
    while len(names) < artists:
        names[words.artist_name(rng)] = None
    known = list(names)
    born = rng.integers(1600, 1960, artists)
    hands = [make_hand(seed, artist) for artist in range(artists)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for picture in pictures:
        hand = hands[picture.artist]
        seen = subject(hand, sources(seed, picture.artist, picture.shows)[0])
        style = hand.style if rng.random() < 0.95 else ""
        genre = seen.genre if rng.random() < 0.93 else ""
        year = int(born[picture.artist] + rng.integers(20, 65))
        writer.writerow([picture.file, known[picture.artist], seen.title, style, genre, words.date(year, rng)])
    return text.getvalue()
