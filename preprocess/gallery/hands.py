"""Hands: what an invented artist does the same way in every picture."""

from dataclasses import dataclass

import numpy as np

from preprocess.gallery.palette import ColourHabit, pick_habit
from preprocess.gallery.styles import PLAIN, STYLES, Span, Where

GENRES = ("landscape", "portrait", "still life", "cityscape", "abstract", "design")


@dataclass(frozen=True)
class Layer:
    """One pass of marks over the picture. Widths are fractions of the picture's short side, angles radians."""

    where: Where
    cover: float  # area of the marks relative to the area they may fall on
    width: float
    length: float  # in widths
    slant: float  # weight of one direction held all over the picture
    angle: float  # that direction
    cross: float  # share of the marks turned by a right angle
    follow: float  # weight of the direction along the forms
    swirl: float  # weight of a turning, wind-like direction
    jitter: float  # spread of the direction from mark to mark
    curve: float  # bend of a mark from end to end
    taper: float  # 0: a block, 1: a leaf, beyond: a thorn
    wedge: float  # how much wider one end is than the other, -1..1
    even: float  # 0: marks fall anywhere, 1: in rows
    tight: float  # 1: a mark stops where another colour begins, 0: it runs across
    hairs: int  # parallel streaks the brush leaves within a mark
    comb: float  # width of a streak relative to the space for it: below 1 what lies beneath shows
    drift: float  # change of tone from mark to mark
    broken: float  # change of hue from mark to mark, relative to that of tone
    tint: float  # -1: nearly black, 0: the colour of the thing, 1: nearly white
    accent: float  # share of marks in the complementary accent


@dataclass(frozen=True)
class Composing:
    """Habits of composition; places are fractions of the picture."""

    genres: tuple[float, ...]  # odds of each of GENRES
    horizon: float
    crowd: float  # how many things, about 1
    size: float  # how large they are, about 1
    tall: float  # elongation of forms: above 1 upright, below 1 lying
    lean: float  # radians by which forms lean over
    echoes: int  # nested repetitions of an outline within a form
    banded: bool  # whether these alternate in tone, instead of turning to the light
    corners: int  # vertices of a form: few are angular, many round
    lumps: float  # unevenness of the outlines
    light: float  # direction the light comes from
    modelling: float  # contrast between the lit and the shaded side of a form
    mottle: float  # unrest of the tones beneath the marks


@dataclass(frozen=True)
class Finish:
    """What is done to the whole surface."""

    ground: float  # tone of the ground beneath the marks
    ground_family: int
    margin: float  # bare ground along the borders
    vignette: float  # darkening towards the corners; negative: lightening
    soft: float  # radius of the softening of edges, fraction of the short side
    impasto: float  # relief of the paint
    weave: float  # period of the canvas threads in pixels
    weave_depth: float


@dataclass(frozen=True)
class Hand:
    """An artist's way of painting."""

    style: str
    colours: ColourHabit
    layers: tuple[Layer, ...]
    composing: Composing
    finish: Finish


def _between(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def _layer(where: Where, spans: dict[str, Span], angle: float, rng: np.random.Generator) -> Layer:
    drawn = {name: _between(rng, span) for name, span in (PLAIN | spans).items()}
    hairs = round(drawn.pop("hairs"))
    return Layer(where=where, angle=angle + rng.normal(0, 0.1), hairs=hairs, **drawn)


def make_hand(seed: int, artist: int) -> Hand:
    """Return the hand of artist number `artist` of the gallery of `seed`."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, artist)))
    style = list(STYLES)[artist % len(STYLES)]
    recipe, soft, relief = STYLES[style]
    angle = rng.uniform(0, np.pi)
    composing = Composing(
        genres=tuple(rng.dirichlet(np.full(len(GENRES), 0.8))),
        horizon=rng.uniform(0.3, 0.7),
        crowd=np.exp(rng.normal(0, 0.35)),
        size=np.exp(rng.normal(0, 0.25)),
        tall=np.exp(rng.normal(0, 0.35)),
        lean=rng.normal(0, 0.35),
        echoes=int(rng.choice([1, 2, 3, 3, 4])),
        banded=bool(rng.random() < 0.35),
        corners=int(rng.choice([3, 4, 5, 6, 8, 14, 20])),
        lumps=rng.uniform(0, 0.25),
        light=rng.uniform(0, 2 * np.pi),
        modelling=rng.uniform(0.05, 0.4),
        mottle=rng.uniform(0.0, 0.2),
    )
    finish = Finish(
        ground=rng.uniform(0, 1),
        ground_family=int(rng.integers(4)),
        margin=rng.choice([0, 0, 1]) * rng.uniform(0.03, 0.09),
        vignette=rng.choice([0, 0, 1, 1, -1]) * rng.uniform(0.2, 0.6),
        soft=_between(rng, soft),
        impasto=_between(rng, relief),
        weave=rng.uniform(2.5, 6),
        weave_depth=rng.uniform(0, 5),
    )
    layers = tuple(_layer(where, spans, angle, rng) for where, spans in recipe)
    return Hand(style, pick_habit(rng), layers, composing, finish)
