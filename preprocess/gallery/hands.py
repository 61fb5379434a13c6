"""Hands: what an invented artist does the same way in every picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from preprocess.gallery.palette import ColourHabit, pick_habit

Where = Literal["all", "edges", "darks", "lights"]
Span = tuple[float, float]


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

    genres: tuple[float, ...]  # odds of each genre
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


# Spans a style allows its artists, for each of its passes; what a pass does not name is drawn from PLAIN.
PLAIN: dict[str, Span] = {
    "cover": (1.3, 1.8), "width": (0.03, 0.05), "length": (3, 6), "slant": (0.1, 1), "cross": (0, 0), "follow": (0.1, 1),
    "swirl": (0, 0.5), "jitter": (0.05, 0.3), "curve": (-0.9, 0.9), "taper": (0.1, 1.1), "wedge": (-0.6, 0.6), "even": (0, 1),
    "tight": (0.5, 0.95), "hairs": (1, 3), "comb": (0.6, 1.3), "drift": (0.03, 0.08), "broken": (0, 1), "tint": (0, 0),
    "accent": (0, 0.06),
}  # fmt: skip
WASH: dict[str, Span] = {
    "cover": (1.6, 2.2), "width": (0.06, 0.12), "length": (1.5, 4), "taper": (0, 0.5), "wedge": (0, 0), "tight": (0.8, 1),
    "comb": (1.2, 1.2),
}  # fmt: skip
Recipe = tuple[tuple[Where, dict[str, Span]], ...]
STYLES: dict[str, tuple[Recipe, Span, Span]] = {  # passes, softening, relief
    "Divisionism": (
        (("all", WASH), ("all", {"cover": (0.7, 1.3), "width": (0.022, 0.05), "length": (1, 2.2), "taper": (0.5, 1),
          "jitter": (0.1, 0.9), "hairs": (1, 1), "drift": (0.06, 0.16), "accent": (0.04, 0.2)})),
        (0, 0), (0.2, 0.8),
    ),
    "Impressionism": (
        (("all", WASH), ("all", {"cover": (1.2, 2), "width": (0.025, 0.05), "length": (2, 5), "accent": (0, 0.12)}),
         ("lights", {"cover": (0.2, 0.6), "width": (0.02, 0.035), "tint": (0.1, 0.5)})),
        (0, 0), (0.4, 1.2),
    ),
    "Expressionism": (
        (("all", {**WASH, "hairs": (2, 4)}), ("all", {"cover": (0.8, 1.6), "width": (0.03, 0.07), "length": (5, 11),
          "swirl": (0, 1.2), "curve": (-1.2, 1.2), "hairs": (2, 4)}), ("edges", {"cover": (0.4, 1.2),
          "width": (0.018, 0.035), "length": (5, 9), "slant": (0, 0), "follow": (1, 1), "tint": (-0.8, -0.3)})),
        (0, 0), (0.4, 1.4),
    ),
    "Cloisonnism": (
        (("all", {**WASH, "tight": (0.8, 1), "drift": (0.0, 0.03)}), ("all", {"cover": (1, 1.5), "width": (0.04, 0.08),
          "length": (2, 4), "tight": (0.8, 1), "drift": (0, 0.03), "hairs": (1, 2)}),
         ("edges", {"cover": (1, 2.2), "width": (0.014, 0.034), "length": (4, 8), "slant": (0, 0), "follow": (1, 1),
          "swirl": (0, 0), "jitter": (0, 0.1), "curve": (0, 0), "tint": (-0.95, -0.3), "tight": (0, 0), "accent": (-0.6, 0.8)})),
        (0, 0), (0.1, 0.5),
    ),
    "Tonalism": (
        (("all", WASH), ("all", {"cover": (0.8, 1.6), "width": (0.04, 0.09), "length": (2, 5), "drift": (0.01, 0.05)}),
         ("lights", {"cover": (0.1, 0.4), "width": (0.02, 0.04), "length": (1.5, 4), "tint": (0.2, 0.6)})),
        (0.004, 0.013), (0.1, 0.5),
    ),
    "Cubism": (
        (("all", {**WASH, "taper": (0, 0)}), ("all", {"cover": (0.8, 1.5), "width": (0.06, 0.12), "length": (1, 2.5),
          "cross": (0.1, 0.5), "taper": (0, 0.4), "curve": (0, 0), "hairs": (1, 1), "drift": (0.06, 0.16),
          "swirl": (0, 0.2)}), ("edges", {"cover": (0.2, 0.9), "width": (0.012, 0.025), "length": (6, 12),
          "curve": (0, 0), "tint": (-0.8, 0.6), "tight": (0, 0)})),
        (0, 0), (0.2, 0.7),
    ),
    "Graphic Realism": (
        (("all", WASH), ("darks", {"cover": (0.3, 0.9), "width": (0.012, 0.022), "length": (7, 16), "cross": (0, 0.5),
          "jitter": (0.0, 0.15), "hairs": (1, 1), "tint": (-0.7, -0.3)}),
         ("lights", {"cover": (0.1, 0.6), "width": (0.012, 0.022), "length": (6, 14), "tint": (0.3, 0.7), "hairs": (1, 1),
          "jitter": (0, 0.15)})),
        (0, 0), (0.1, 0.5),
    ),
    "Gestural Abstraction": (
        (("all", WASH), ("all", {"cover": (0.5, 1.2), "width": (0.05, 0.11), "length": (4, 9), "swirl": (0, 1.2),
          "jitter": (0.1, 0.9), "curve": (-1.6, 1.6), "tight": (0, 0.3), "hairs": (3, 5), "drift": (0.05, 0.15),
          "accent": (0.02, 0.15)})),
        (0, 0), (0.6, 1.5),
    ),
}  # fmt: skip


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
        genres=tuple(rng.dirichlet(np.full(6, 0.8))),
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
