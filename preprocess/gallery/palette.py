"""Colour: palettes built in OKLCH, where equal steps look equal and mixtures stay harmonious."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LMS_FROM_LAB = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def srgb(lightness: float, chroma: float, hue: float) -> Floats:
    """Return the sRGB colour, float32 (3,) within 0..1, of an OKLCH colour; hue in radians, clipped to the gamut."""
    lab = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    linear = np.clip(_RGB_FROM_LMS @ (_LMS_FROM_LAB @ lab) ** 3, 0, 1)
    encoded: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)


@dataclass(frozen=True)
class ColourHabit:
    """How an artist relates colours; the hues themselves wander from picture to picture."""

    hue: float  # radians, the hue the artist comes back to
    spread: float  # radians between neighbouring families of hues
    accent: float  # radians from the base hue to the accent
    chroma: float  # OKLCH chroma of the middle tones
    dark: float  # OKLCH lightness of the deepest tone
    light: float  # OKLCH lightness of the highest tone
    shadow_turn: float  # radians by which the hue turns from light to shadow
    shadow_chroma: float  # chroma of the darks relative to the lights


@dataclass(frozen=True)
class Palette:
    """The colours of one picture: a tone from 0 (dark) to 1 (light) in one of four families of hues."""

    hues: tuple[float, float, float, float]  # ground, second, third, accent
    chroma: float
    dark: float
    light: float
    gamma: float
    habit: ColourHabit

    def colour(self, tone: float, family: int) -> Floats:
        """Return sRGB, float32 (3,) within 0..1."""
        tone = float(np.clip(tone, 0, 1)) ** self.gamma
        shade = 1 - tone
        chroma = self.chroma * (1 + shade * (self.habit.shadow_chroma - 1)) * (1.5 if family == 3 else 1.0)
        lightness = self.dark + tone * (self.light - self.dark)
        room = 0.35 + 0.65 * np.sin(np.pi * np.clip(lightness, 0.08, 0.95))  # extremes of lightness hold little chroma
        return srgb(lightness, chroma * room, self.hues[family] + shade * self.habit.shadow_turn)


def pick_habit(rng: np.random.Generator) -> ColourHabit:
    """Return the colour habit of a new artist."""
    return ColourHabit(
        hue=rng.uniform(0, 2 * np.pi),
        spread=rng.uniform(0.3, 1.3),
        accent=rng.choice([np.pi, 2.1, -2.1]) + rng.normal(0, 0.2),
        chroma=np.exp(rng.uniform(np.log(0.05), np.log(0.15))),
        dark=rng.uniform(0.14, 0.34),
        light=rng.uniform(0.80, 0.97),
        shadow_turn=rng.uniform(-1.2, 1.2),
        shadow_chroma=rng.uniform(0.5, 1.6),
    )


def mix_palette(habit: ColourHabit, rng: np.random.Generator) -> Palette:
    """Return the palette of a new picture: the artist's relations of colours, in another key and about another hue."""
    base = habit.hue + rng.normal(0, 0.9)
    fade = rng.uniform(0, 0.3)  # some pictures are faint, most are not
    spread = habit.spread * rng.choice([-1, 1]) * rng.uniform(0.8, 1.2)
    return Palette(
        hues=(base, base + spread, base - 0.8 * spread, base + habit.accent),
        chroma=habit.chroma * np.exp(rng.normal(0, 0.25)),
        dark=habit.dark + fade * rng.uniform(0, 1) + rng.normal(0, 0.03),
        light=habit.light - fade * rng.uniform(0, 1),
        gamma=np.exp(rng.normal(0, 0.45)),  # the key: below 1 a light picture, above 1 a dark one
        habit=habit,
    )
