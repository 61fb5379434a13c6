"""Motifs: what a picture shows, as flat shapes of colour at a low resolution, before a hand paints it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from preprocess.gallery.hands import Composing
from preprocess.gallery.palette import Floats, Palette

SHORT_SIDE = 144  # pixels of a motif; marks are wider than one of them


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Floats:
    """Return float32 `shape`, about normal(0, 1), with `cells` lumps along the short side."""
    step = min(shape) / cells
    coarse = rng.normal(size=(int(shape[0] / step) + 2, int(shape[1] / step) + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


@dataclass
class Scene:
    """A motif under way. Places and sizes are in units of the short side; x runs to `right`, y to `bottom`."""

    draw: ImageDraw.ImageDraw
    right: float
    bottom: float
    palette: Palette
    habit: Composing
    rng: np.random.Generator

    def count(self, usual: float) -> int:
        """Return how many things to paint where most artists paint `usual`."""
        return max(1, int(self.rng.poisson(usual * self.habit.crowd)))

    def shape(self, points: NDArray[np.floating], tone: float, family: int) -> None:
        """Fill the polygon `points`, (n, 2), with a flat colour."""
        red, green, blue = (int(255 * part) for part in self.palette.colour(tone, family))
        self.draw.polygon((points * SHORT_SIDE).ravel().tolist(), fill=(red, green, blue))

    def box(self, left: float, top: float, right: float, bottom: float, tone: float, family: int) -> None:
        """Fill a rectangle."""
        self.shape(np.array([(left, top), (right, top), (right, bottom), (left, bottom)]), tone, family)

    def backdrop(self, top: float, bottom: float, tones: tuple[float, float], family: int) -> None:
        """Fill the full width from `top` to `bottom` with bands that pass from one tone to the other."""
        edges = np.linspace(top, bottom, 13)
        for index, tone in enumerate(np.linspace(*tones, 12)):
            self.box(0, edges[index], self.right, edges[index + 1] + 0.02, tone, family)

    def form(self, x: float, y: float, wide: float, high: float, tone: float, family: int) -> None:
        """Paint a rounded or angular body, lit from the artist's side."""
        habit, corners = self.habit, self.habit.corners
        wide, high = wide / np.sqrt(habit.tall), high * np.sqrt(habit.tall)
        around = np.linspace(0, 2 * np.pi, corners, endpoint=False) + self.rng.uniform(0, 2 * np.pi)
        radius = 1 + habit.lumps * self.rng.normal(0, 1, corners)
        outline = np.stack([wide * radius * np.cos(around), high * radius * np.sin(around)], axis=1)
        turn = np.array([[np.cos(habit.lean), np.sin(habit.lean)], [-np.sin(habit.lean), np.cos(habit.lean)]])
        outline = outline @ turn
        towards = 0.8 * np.hypot(wide, high) / np.sqrt(2) * np.array([np.cos(habit.light), np.sin(habit.light)])
        for echo in range(habit.echoes):
            inward = echo / habit.echoes
            step = (echo % 2 - 0.5) if habit.banded else (inward - 0.4)
            centre = np.array([x, y]) + (0 if habit.banded else inward) * towards
            self.shape(centre + outline * (1 - inward), tone + 1.8 * step * habit.modelling, family)

    def ridge(self, level: float, relief: float, tone: float, family: int) -> None:
        """Fill everything below an uneven line."""
        steps = max(3, self.habit.corners)
        heights = level + relief * self.rng.normal(0, 1, steps).cumsum() / np.sqrt(steps)
        line = np.stack([np.linspace(0, self.right, steps), heights], axis=1)
        self.shape(np.concatenate([line, [(self.right, self.bottom), (0, self.bottom)]]), tone, family)


def landscape(scene: Scene) -> None:
    """Sky, ridges that darken towards the front, trees, sometimes a sun or water."""
    rng, bottom = scene.rng, scene.bottom
    horizon = bottom * np.clip(scene.habit.horizon + rng.normal(0, 0.07), 0.15, 0.85)
    sky = int(rng.choice(2))
    scene.backdrop(0, horizon, (rng.uniform(0.55, 0.8), rng.uniform(0.8, 1)), sky)
    if rng.random() < 0.4:
        size = rng.uniform(0.05, 0.12) * scene.habit.size
        scene.form(rng.uniform(0.1, 0.9) * scene.right, horizon * rng.uniform(0.3, 0.9), size, size, 1, 3)
    count = scene.count(3)
    for index in range(count):
        near = (index + 1) / count
        scene.ridge(horizon + (bottom - horizon) * 0.8 * (near - 1 / count), 0.1, 0.7 - 0.45 * near, int(rng.choice(3)))
    if rng.random() < 0.3:
        scene.backdrop(horizon, bottom, (0.75, 0.4), sky)
    for _ in range(scene.count(5)):
        x, base = rng.uniform(0, scene.right), rng.uniform(horizon, 0.5 * (bottom + horizon))
        size = rng.uniform(0.05, 0.15) * scene.habit.size * (1 + base - horizon)
        scene.box(x - 0.015, base - size, x + 0.015, base + size, 0.1, 1)
        scene.form(
            x, base - size, size, size * rng.uniform(0.9, 2), rng.uniform(0.15, 0.5), int(rng.choice([1, 2, 2, 3]))
        )


def figures(scene: Scene) -> None:
    """One or a few people before a wall."""
    rng, bottom = scene.rng, scene.bottom
    wall = rng.uniform(0.1, 0.9)
    scene.backdrop(0, bottom, (wall, wall + rng.normal(0, 0.2)), 0)
    scene.ridge(bottom * rng.uniform(0.65, 0.95), 0.02, rng.uniform(0.1, 0.6), 1)
    count = scene.count(1.3)
    skin = rng.uniform(0.6, 0.95)
    for index in range(count):
        x = scene.right * (index + 0.5 + rng.normal(0, 0.1)) / count
        size = min(0.2 * scene.habit.size, 0.5 * scene.right / count)
        neck = bottom * rng.uniform(0.35, 0.5)
        dress = 1.0 - wall + rng.normal(0, 0.15)
        scene.form(x, neck + 2.6 * size, 1.6 * size, 2.5 * size, dress, int(rng.choice([1, 2, 3])))
        scene.form(x, neck - 0.75 * size, 0.75 * size, 0.95 * size, rng.uniform(0, 0.5), 1)
        scene.form(x, neck - 0.5 * size, 0.58 * size, 0.75 * size, skin, 2)
        scene.form(x + size * rng.normal(0, 0.6), neck + 2.4 * size, 0.4 * size, 0.3 * size, skin, 2)


def still_life(scene: Scene) -> None:
    """Fruit, jars and bottles on a table."""
    rng, bottom = scene.rng, scene.bottom
    table = bottom * np.clip(scene.habit.horizon + 0.1 + rng.normal(0, 0.05), 0.3, 0.85)
    wall = rng.uniform(0.1, 0.9)
    scene.backdrop(0, table, (wall, wall + rng.normal(0, 0.15)), 0)
    scene.backdrop(table, bottom, (1 - wall, 1 - wall + rng.normal(0, 0.2)), 1)
    for _ in range(scene.count(2)):
        x, size = rng.uniform(0.1, 0.9) * scene.right, 0.11 * scene.habit.size * rng.uniform(0.7, 1.3)
        tone, family = rng.uniform(0.1, 0.9), int(rng.choice(4))
        scene.form(x, table - size, size, 1.6 * size, tone, family)
        scene.box(x - 0.3 * size, table - 3.6 * size, x + 0.3 * size, table - 2 * size, tone - 0.1, family)
    for _ in range(scene.count(6)):
        x, size = rng.uniform(0.1, 0.9) * scene.right, 0.09 * scene.habit.size * rng.uniform(0.6, 1.5)
        y = rng.uniform(table, 0.6 * bottom + 0.4 * table)
        scene.form(x + 0.5 * size, y + 0.8 * size, 1.2 * size, 0.35 * size, 0.1, 1)
        scene.form(x, y, size, size, rng.uniform(0.35, 0.95), int(rng.choice([2, 3])))


def town(scene: Scene) -> None:
    """Houses with roofs and windows under a sky."""
    rng, bottom = scene.rng, scene.bottom
    horizon = bottom * np.clip(scene.habit.horizon + 0.1, 0.4, 0.8)
    scene.backdrop(0, horizon, (rng.uniform(0.4, 0.9), rng.uniform(0.7, 1)), 0)
    scene.backdrop(horizon, bottom, (rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.6)), 1)
    for _ in range(scene.count(7)):
        wide = rng.uniform(0.08, 0.2) * scene.habit.size
        x, top = rng.uniform(0, scene.right), horizon - rng.uniform(0.1, 0.45) * bottom * scene.habit.size
        base, tone, family = horizon + rng.uniform(0, 0.2), rng.uniform(0.2, 0.9), int(rng.choice(3))
        scene.box(x - wide, top, x + wide, base, tone, family)
        scene.box(x, top, x + wide, base, tone - scene.habit.modelling, family)
        roof = np.array([(x - 1.15 * wide, top), (x, top - rng.uniform(0.3, 1.2) * wide), (x + 1.15 * wide, top)])
        scene.shape(roof, rng.uniform(0.1, 0.5), int(rng.choice([2, 3])))
        for step in range(scene.count(2)):
            y = top + 0.1 + 0.13 * step
            scene.box(x - 0.6 * wide, y, x - 0.25 * wide, y + 0.06, 1 - tone, 2)


def fields(scene: Scene) -> None:
    """Abstract: slabs of colour, a few forms upon them."""
    rng = scene.rng
    scene.box(0, 0, scene.right, scene.bottom, rng.uniform(0.1, 0.95), 0)
    for _ in range(scene.count(6)):
        x, y = rng.uniform(0, scene.right), rng.uniform(0, scene.bottom)
        wide, high = rng.uniform(0.1, 0.5, 2) * scene.habit.size
        scene.box(x - wide, y - high, x + wide, y + high, rng.uniform(0, 1), int(rng.choice(3)))
    for _ in range(scene.count(3)):
        size = rng.uniform(0.05, 0.2) * scene.habit.size
        scene.form(rng.uniform(0, scene.right), rng.uniform(0, scene.bottom), size, size, rng.uniform(0, 1), 3)


def all_over(scene: Scene) -> None:
    """Forms scattered over the whole picture: foliage, a crowd, or nothing nameable."""
    rng = scene.rng
    scene.box(0, 0, scene.right, scene.bottom, rng.uniform(0.1, 0.9), 0)
    for _ in range(scene.count(45)):
        size = rng.uniform(0.05, 0.16) * scene.habit.size
        place = rng.uniform(0, scene.right), rng.uniform(0, scene.bottom)
        scene.form(*place, size, size * rng.uniform(0.5, 1.5), rng.uniform(0, 1), int(rng.choice([0, 1, 1, 2, 2, 3])))


COMPOSITIONS: dict[str, Callable[[Scene], None]] = {
    "landscape": landscape, "portrait": figures, "still life": still_life,
    "cityscape": town, "abstract": fields, "design": all_over,
}  # fmt: skip


def make_motif(genre: str, aspect: float, palette: Palette, habit: Composing, rng: np.random.Generator) -> Floats:
    """Return the motif as sRGB float32 (h, w, 3) within 0..1; the short side has SHORT_SIDE pixels, aspect is w / h."""
    right, bottom = max(1.0, aspect), max(1.0, 1 / aspect)
    image = Image.new("RGB", (round(right * SHORT_SIDE), round(bottom * SHORT_SIDE)))
    COMPOSITIONS[genre](Scene(ImageDraw.Draw(image), right, bottom, palette, habit, rng))
    motif = np.asarray(image, dtype=np.float32) / 255
    mottle = smooth_noise(rng, motif.shape[:2], 7) * habit.mottle
    return np.clip(motif * (1 + mottle[:, :, None]), 0, 1)
