"""Painting: a hand covers a motif with marks, pass by pass, then finishes the surface."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from scipy import ndimage

from preprocess.gallery.hands import Finish, Hand, Layer
from preprocess.gallery.motifs import SHORT_SIDE, make_motif, smooth_noise
from preprocess.gallery.palette import Floats, Palette, mix_palette

Scalar = TypeVar("Scalar", np.float32, np.complex64)
CANVAS_AREA = 400_000  # pixels painted; the finished picture is resized from them
ARM = 3  # steps from the middle of a mark to either end
Doubled = NDArray[np.complex64]  # directions as unit numbers of twice the angle, so that opposite ones are the same
RELIEF = 128  # mean height of the paint, kept in the alpha channel


@dataclass(frozen=True)
class Model:
    """What the painter looks at: the motif, and where its parts lie. All (h, w, ...) at the motif's scale."""

    colour: Floats
    along: Doubled  # the direction along the forms
    swirl: Doubled  # a turning, wind-like direction
    chance: dict[str, Floats]  # odds of a mark, 0..1, by where a pass goes

    def at(self, field: NDArray[Scalar], places: Floats) -> NDArray[Scalar]:
        """Return `field` at `places`, (..., 2) in units of the short side."""
        height, width = field.shape[:2]
        column = np.clip((places[..., 0] * SHORT_SIDE).astype(np.int32), 0, width - 1)
        row = np.clip((places[..., 1] * SHORT_SIDE).astype(np.int32), 0, height - 1)
        return field[row, column]


def look(motif: Floats, rng: np.random.Generator) -> Model:
    """Study a motif, (h, w, 3) within 0..1."""
    light = motif @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    down, across = np.gradient(ndimage.gaussian_filter(light, 1.5))
    tensor = (across + 1j * down) ** 2
    along = -(ndimage.gaussian_filter(tensor.real, 3) + 1j * ndimage.gaussian_filter(tensor.imag, 3))
    along /= np.abs(along) + 1e-6  # fades out where there is no form to follow
    edges = np.sqrt(sum(ndimage.gaussian_gradient_magnitude(motif[:, :, band], 0.7) ** 2 for band in range(3)))
    low, high = np.percentile(light, [10, 90])
    tone = np.clip((light - low) / (high - low + 1e-3), 0, 1)
    chance = {
        "all": np.ones_like(light), "edges": np.clip(edges * 10 - 0.3, 0, 1),
        "darks": (1 - tone) ** 2, "lights": tone**2,
    }  # fmt: skip
    swirl = np.exp(2j * np.pi * smooth_noise(rng, light.shape, 2))
    return Model(motif, along.astype(np.complex64), swirl.astype(np.complex64), chance)


def scatter(layer: Layer, extent: Floats, margin: float, area: float, rng: np.random.Generator) -> Floats:
    """Return the middles of marks of `area` each, float32 (n, 2), anywhere or in rows that follow the slant."""
    pitch = np.sqrt(area / layer.cover)
    reach = np.hypot(*extent) / 2
    steps = np.arange(-reach, reach, pitch)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1)
    grid[1::2, :, 0] += pitch / 2
    grid = grid.reshape(-1, 2) + rng.normal(0, pitch * (1.1 - layer.even) / 2, (grid.size // 2, 2))
    turn = np.array([[np.cos(layer.angle), np.sin(layer.angle)], [-np.sin(layer.angle), np.cos(layer.angle)]])
    places = rng.permutation(grid @ turn + extent / 2)
    inside = ((places > margin) & (places < extent - margin)).all(axis=1)
    return places[inside].astype(np.float32)


def paths(layer: Layer, model: Model, middles: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Return the spines of marks through `middles` (n, 2): float32 (n, 2 * ARM + 1, 2), in units of the short side."""
    slant = layer.slant * np.exp(2j * (layer.angle + (rng.random(len(middles)) < layer.cross) * np.pi / 2))
    stray = rng.normal(0, layer.jitter, len(middles))
    reach = layer.width * layer.length * scale * rng.uniform(0.7, 1.3, len(middles)) / (2 * ARM)
    tolerance = 0.06 + 2 * (1 - layer.tight) ** 2
    colour = model.at(model.colour, middles)
    spine = np.repeat(middles[:, None], 2 * ARM + 1, axis=1)
    for side in (-1, 1):
        here, going = middles, np.ones(len(middles), dtype=bool)
        for step in range(1, ARM + 1):
            doubled = slant + layer.follow * model.at(model.along, here) + layer.swirl * model.at(model.swirl, here)
            bearing = np.angle(doubled) / 2 + stray
            if step == 1:
                before = bearing  # lines have no head: keep going the way the mark went
            bearing = bearing + np.pi * np.round((before - bearing) / np.pi)
            before, bend = bearing, bearing + side * layer.curve * step / (2 * ARM)
            there = here + (side * reach)[:, None] * np.stack([np.cos(bend), np.sin(bend)], axis=1)
            going &= np.abs(model.at(model.colour, there) - colour).max(axis=1) < tolerance
            here = np.where(going[:, None], there, here).astype(np.float32)
            spine[:, ARM + side * step] = here
    return spine


def ribbons(layer: Layer, spine: Floats, width: NDArray[np.floating], offset: NDArray[np.floating]) -> Floats:
    """Return outlines of marks, float32 (n, 2 * points, 2): `width` (n,) about a line `offset` (n,) off the spine."""
    ahead = np.gradient(spine, axis=1)
    ahead /= np.linalg.norm(ahead, axis=2, keepdims=True) + 1e-6
    beside = np.stack([-ahead[..., 1], ahead[..., 0]], axis=-1)
    along = np.linspace(-1, 1, spine.shape[1])
    half = 0.5 * width[:, None] * (1.02 - along**2) ** (0.5 * layer.taper) * (1 + layer.wedge * along)
    left = spine + beside * (offset[:, None] + half)[..., None]
    right = spine + beside * (offset[:, None] - half)[..., None]
    return np.concatenate([left, right[:, ::-1]], axis=1).astype(np.float32)


def mark_colours(layer: Layer, seen: Floats, accent: Floats, rng: np.random.Generator) -> Floats:
    """Return the colours of marks, (n, 3) within 0..1, where the motif shows `seen` (n, 3)."""
    target = np.float32(layer.tint > 0)
    colour = seen + (target - seen) * abs(layer.tint)
    accented = rng.random((len(seen), 1)) < layer.accent
    colour = np.where(accented, 0.25 * colour + 0.75 * accent, colour)
    drift = rng.normal(0, layer.drift, (len(seen), 1)) + rng.normal(0, layer.broken * layer.drift, (len(seen), 3))
    return np.clip(colour + drift, 0, 1).astype(np.float32)


def lay(
    layer: Layer, model: Model, canvas: Image.Image, margin: float, accent: Floats, rng: np.random.Generator
) -> None:
    """Paint one pass on `canvas`, RGBA whose alpha is the height of the paint."""
    unit = min(canvas.size)
    extent = np.array(canvas.size, dtype=np.float32) / np.float32(unit)
    scale = float(np.exp(rng.normal(0, 0.1)))
    middles = scatter(layer, extent, margin, layer.width**2 * layer.length * scale**2, rng)
    middles = middles[rng.random(len(middles)) < model.at(model.chance[layer.where], middles)]
    spine = paths(layer, model, middles, scale, rng)
    colour = mark_colours(layer, model.at(model.colour, middles), accent, rng)
    width = layer.width * scale * rng.uniform(0.75, 1.25, len(middles))
    outlines, inks = [], []
    for hair in range(layer.hairs):
        offset = width * ((hair + 0.5) / layer.hairs - 0.5) + rng.normal(0, 0.15 / layer.hairs, len(width)) * width
        outlines.append(ribbons(layer, spine, width / layer.hairs * layer.comb, offset))
        streak = rng.normal(0, 0.03 * (layer.hairs > 1), (len(width), 1))
        height = rng.normal(RELIEF, 40, (len(width), 1)) / 255
        inks.append(np.concatenate([colour + streak, height], axis=1))
    points = np.stack(outlines, axis=1).reshape(len(width) * layer.hairs, (2 * ARM + 1) * 4) * unit
    ink = (np.clip(np.stack(inks, axis=1).reshape(-1, 4), 0, 1) * 255).astype(np.uint8)
    draw = ImageDraw.Draw(canvas)
    for outline, fill in zip(points.tolist(), map(tuple, ink.tolist()), strict=True):
        draw.polygon(outline, fill=fill)


def grey(band: Image.Image) -> Image.Image:
    """Return a band of greys as RGB."""
    return Image.merge("RGB", [band] * 3)


def finish(canvas: Image.Image, habit: Finish, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return the finished RGB picture at `size`: softened, lit across its relief, on its canvas."""
    picture = canvas.convert("RGB")
    if habit.soft:
        picture = picture.filter(ImageFilter.GaussianBlur(habit.soft * min(canvas.size)))
    lit_from_above_left = ImageFilter.Kernel((3, 3), [-2, -1, 0, -1, 0, 1, 0, 1, 2], 4 / habit.impasto, 128)
    picture = ImageChops.add(picture, grey(canvas.getchannel("A").filter(lit_from_above_left)), 1, -128)
    rows, columns = np.ogrid[-1:1:64j, -1:1:64j]
    shade = 255 * (1 - 0.5 * abs(habit.vignette) * np.hypot(rows, columns) ** 3 / 2)
    corners = grey(Image.fromarray(shade.astype(np.uint8)).resize(canvas.size, Image.Resampling.BILINEAR))
    darken = habit.vignette > 0
    picture = (
        ImageChops.multiply(picture, corners) if darken else ImageChops.screen(picture, ImageChops.invert(corners))
    )
    turns = [np.sin(np.arange(length, dtype=np.float32) * 2 * np.pi / habit.weave) for length in size]
    threads = habit.weave_depth * turns[1][:, None] * turns[0]
    texture = threads.astype(np.int8) + rng.integers(125, 132, threads.shape, dtype=np.uint8)
    return ImageChops.add(
        picture.resize(size, Image.Resampling.BICUBIC), grey(Image.fromarray(texture.astype(np.uint8))), 1, -128
    )


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
    turn, stress = rng.normal(0, 0.42), rng.normal(0, 0.3)  # a picture is slanted its own way, restless or calm
    for habit in hand.layers:
        layer = replace(habit, angle=habit.angle + turn, drift=habit.drift * np.exp(stress))
        lay(layer, model, canvas, hand.finish.margin, accent, rng)
    return finish(canvas, hand.finish, size, rng)
