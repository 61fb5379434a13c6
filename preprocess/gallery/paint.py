"""Painting: a hand covers a motif with marks, pass by pass, then finishes the surface."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from preprocess.gallery.hands import Finish, Hand, Layer
from preprocess.gallery.motifs import SHORT_SIDE, make_motif, smooth_noise
from preprocess.gallery.palette import Floats, Palette, mix_palette

CANVAS_AREA = 400_000  # pixels painted; the finished picture is resized from them
ARM = 3  # steps from the middle of a mark to either end
RELIEF = 128  # mean height of the paint, kept in the alpha channel


@dataclass(frozen=True)
class Model:
    """What the painter looks at: the motif, and where its parts lie. All (h, w, ...) float32 at the motif's scale."""

    colour: Floats
    along: Floats  # radians: direction along the forms
    swirl: Floats  # radians: a turning direction
    chance: dict[str, Floats]  # odds of a mark, 0..1, by where a pass goes

    def at(self, field: Floats, places: Floats) -> Floats:
        """Return `field` at `places`, (..., 2) in units of the short side."""
        height, width = field.shape[:2]
        column = np.clip((places[..., 0] * SHORT_SIDE).astype(np.int32), 0, width - 1)
        row = np.clip((places[..., 1] * SHORT_SIDE).astype(np.int32), 0, height - 1)
        return field[row, column]


def look(motif: Floats, rng: np.random.Generator) -> Model:
    """Study a motif, (h, w, 3) within 0..1."""
    light = motif @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    soft = ndimage.gaussian_filter(light, 2)
    down, across = np.gradient(soft)
    tensor = [ndimage.gaussian_filter(part, 5) for part in (across * across, down * down, across * down)]
    along = 0.5 * np.arctan2(2 * tensor[2], tensor[0] - tensor[1]) + np.pi / 2
    edges = np.sqrt(sum(ndimage.gaussian_gradient_magnitude(motif[:, :, band], 0.7) ** 2 for band in range(3)))
    low, high = np.percentile(light, [10, 90])
    tone = np.clip((light - low) / (high - low + 1e-3), 0, 1)
    chance = {
        "all": np.ones_like(light), "edges": np.clip(edges * 10 - 0.3, 0, 1), "darks": (1 - tone) ** 2, "lights": tone**2,
    }  # fmt: skip
    swirl = smooth_noise(rng, light.shape, 2) * np.pi
    return Model(motif, along.astype(np.float32), swirl.astype(np.float32), chance)


def paths(layer: Layer, model: Model, middles: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Return the spines of marks through `middles` (n, 2): float32 (n, 2 * ARM + 1, 2), in units of the short side."""
    turned = rng.random(len(middles)) < layer.cross
    slant = layer.angle + turned * np.pi / 2
    doubled = layer.slant * np.exp(2j * slant)
    doubled += layer.follow * np.exp(2j * model.at(model.along, middles))
    doubled += layer.swirl * np.exp(2j * model.at(model.swirl, middles))
    angle = np.angle(doubled) / 2 + rng.normal(0, layer.jitter, len(middles))
    colour = model.at(model.colour, middles)
    reach = layer.width * layer.length * scale * rng.uniform(0.7, 1.3, len(middles)) / (2 * ARM)
    tolerance = 0.08 + 2 * (1 - layer.tight) ** 2
    spine = np.repeat(middles[:, None], 2 * ARM + 1, axis=1)
    for side in (-1, 1):
        here, going = middles, np.ones(len(middles), dtype=bool)
        for step in range(1, ARM + 1):
            bend = angle + side * layer.curve * step / (2 * ARM)
            there = here + (side * reach)[:, None] * np.stack([np.cos(bend), np.sin(bend)], axis=1)
            going &= np.abs(model.at(model.colour, there) - colour).max(axis=1) < tolerance
            here = np.where(going[:, None], there, here).astype(np.float32)
            spine[:, ARM + side * step] = here
    return spine


def ribbons(spine: Floats, width: NDArray[np.floating], taper: float, offset: NDArray[np.floating]) -> Floats:
    """Return the outlines of marks, float32 (n, 2 * points, 2): `width` (n,) about a line `offset` (n,) off the spine."""
    ahead = np.gradient(spine, axis=1)
    ahead /= np.linalg.norm(ahead, axis=2, keepdims=True) + 1e-6
    beside = np.stack([-ahead[..., 1], ahead[..., 0]], axis=-1)
    along = np.linspace(-1, 1, spine.shape[1])
    half = 0.5 * width[:, None] * (1.02 - along**2) ** (0.5 * taper)
    left = spine + beside * (offset[:, None] + half)[..., None]
    right = spine + beside * (offset[:, None] - half)[..., None]
    return np.concatenate([left, right[:, ::-1]], axis=1).astype(np.float32)


def mark_colours(layer: Layer, seen: Floats, accent: Floats, rng: np.random.Generator) -> Floats:
    """Return the colours of marks, (n, 3) within 0..1, where the motif shows `seen` (n, 3)."""
    target = np.float32(layer.tint > 0)
    colour = seen + (target - seen) * abs(layer.tint)
    accented = rng.random((len(seen), 1)) < layer.accent
    colour = np.where(accented, 0.25 * colour + 0.75 * accent, colour)
    drift = rng.normal(0, layer.drift, (len(seen), 1)) + rng.normal(0, 0.35 * layer.drift, (len(seen), 3))
    return np.clip(colour + drift, 0, 1).astype(np.float32)


def lay(
    layer: Layer, model: Model, canvas: Image.Image, margin: float, accent: Floats, rng: np.random.Generator
) -> None:
    """Paint one pass on `canvas`, RGBA whose alpha is the height of the paint."""
    unit = min(canvas.size)
    extent = np.array(canvas.size, dtype=np.float32) / unit
    scale = float(np.exp(rng.normal(0, 0.12)))
    count = int(layer.cover * extent.prod() / (layer.width**2 * layer.length * scale**2))
    middles = (rng.random((count, 2)) * (extent - 2 * margin) + margin).astype(np.float32)
    middles = middles[rng.random(count) < model.at(model.chance[layer.where], middles)]
    spine = paths(layer, model, middles, scale, rng)
    colour = mark_colours(layer, model.at(model.colour, middles), accent, rng)
    width = layer.width * scale * rng.uniform(0.75, 1.25, len(middles))
    outlines, inks = [], []
    for hair in range(layer.hairs):
        offset = width * ((hair + 0.5) / layer.hairs - 0.5) + rng.normal(0, 0.05, len(width)) * width
        outlines.append(ribbons(spine, width / layer.hairs * 1.15, layer.taper, offset))
        streak = rng.normal(0, 0.03 * (layer.hairs > 1), (len(width), 1))
        height = rng.normal(RELIEF, 40, (len(width), 1)) / 255
        inks.append(np.concatenate([colour + streak, height], axis=1))
    points = np.stack(outlines, axis=1).reshape(len(width) * layer.hairs, (2 * ARM + 1) * 4) * unit
    ink = (np.clip(np.stack(inks, axis=1).reshape(-1, 4), 0, 1) * 255).astype(np.uint8)
    draw = ImageDraw.Draw(canvas)
    for outline, fill in zip(points.tolist(), map(tuple, ink.tolist()), strict=True):
        draw.polygon(outline, fill=fill)


def finish(canvas: Image.Image, habit: Finish, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return the finished RGB picture at `size`: softened, lit across its relief, on its canvas."""
    soft = habit.soft * min(canvas.size)
    height = np.asarray(canvas.getchannel("A"), dtype=np.float32)
    paint = np.asarray(canvas.convert("RGB"), dtype=np.float32)
    paint = ndimage.gaussian_filter(paint, (soft, soft, 0), truncate=2.5) if soft > 0.5 else paint
    height = ndimage.uniform_filter(height, 3)
    slope = height - np.roll(height, (2, 2), (0, 1))
    rows, columns = (np.linspace(-1, 1, length, dtype=np.float32) for length in height.shape)
    shade = 1 - habit.vignette * 0.5 * (rows[:, None] ** 2 + columns[None] ** 2) ** 1.5 / 1.6
    paint = paint * shade[:, :, None] + (0.35 * habit.impasto * slope)[:, :, None]
    picture = Image.fromarray(np.clip(paint, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    rows, columns = (np.arange(length, dtype=np.float32) for length in (size[1], size[0]))
    threads = np.sin(rows * 2 * np.pi / habit.weave)[:, None] * np.sin(columns * 2 * np.pi / habit.weave)[None]
    grain = threads * habit.weave_depth + rng.standard_normal(threads.shape, dtype=np.float32) * 2
    return Image.fromarray(np.clip(np.asarray(picture) + grain[:, :, None], 0, 255).astype(np.uint8))


def paint(hand: Hand, genre: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a new RGB picture of `genre` by `hand`, `size` (width, height) pixels."""
    palette: Palette = mix_palette(hand.colours, rng)
    aspect = size[0] / size[1]
    model = look(make_motif(genre, aspect, palette, hand.composing, rng), rng)
    short = np.sqrt(CANVAS_AREA / max(aspect, 1 / aspect))
    ground = palette.colour(hand.finish.ground, hand.finish.ground_family) * 255
    fill = (*(int(part) for part in ground), RELIEF)
    canvas = Image.new("RGBA", (round(short * max(1, aspect)), round(short * max(1, 1 / aspect))), fill)
    accent = palette.colour(0.65, 3)
    for layer in hand.layers:
        lay(layer, model, canvas, hand.finish.margin, accent, rng)
    return finish(canvas, hand.finish, size, rng)
