"""Which way to the squares: speed against quality of every candidate, in one interleaved run.

python -m bench.resizing                                    generated paintings
python -m bench.resizing --folder ../shared/data/paintings  the JPEGs of a folder
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from bench.pictures import write_jpegs
from preprocess.common.progress import Progress
from preprocess.images import in_sizes, kernel_for, make_squares, open_picture, orientation_of

SIZES = (64, 128, 256)
BOX, HAMMING, BICUBIC, LANCZOS = (
    Image.Resampling.BOX, Image.Resampling.HAMMING, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
)  # fmt: skip
Made = dict[int, Image.Image]
Box = tuple[float, float, float, float]


def centre(image: Image.Image, shrink: float = 1.0) -> Box:
    """Return the box of the centre square at a reduced scale, in fractions of a pixel."""
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left * shrink, top * shrink, (left + side) * shrink, (top + side) * shrink


def reference(path: Path) -> Made:
    """The best there is: each size from the whole picture by Lanczos."""
    with Image.open(path) as image:
        whole = image.convert("RGB")
    return {size: whole.resize((size, size), LANCZOS, centre(whole)) for size in SIZES}


def plain(path: Path) -> Made:
    """What people write: open, convert, crop, resize to the largest size."""
    with Image.open(path) as image:
        whole = image.convert("RGB")
    left, top, right, bottom = map(int, centre(whole))
    return {max(SIZES): whole.crop((left, top, right, bottom)).resize((max(SIZES),) * 2, LANCZOS)}


def scaled_decode(path: Path) -> Made:
    """The limit with Pillow: decode at the least scale that holds the largest size, and resize nothing."""
    with Image.open(path) as image:
        image.draft("RGB", (max(SIZES), max(SIZES)))
        image.load()
    return {}


def this_stage(path: Path) -> Made:
    """What the store is built with."""
    with open_picture(path) as image:
        squares = make_squares(image, SIZES, "crop", 400)
    return {size: Image.fromarray(pixels) for size, pixels in squares.pixels.items()}


@dataclass(frozen=True)
class Way:
    """A reduced decode that leaves `margin` times the size or more, a filter to that size, a way to smaller ones."""

    margin: float
    kernel: Image.Resampling | Callable[[float], Image.Resampling]
    smaller: Callable[[Image.Image], Made]

    def __call__(self, path: Path) -> Made:
        size = max(SIZES)
        with Image.open(path) as image:
            width, wanted = image.width, size * self.margin / min(image.size)
            box = centre(image)
            drafted = image.draft(None, (math.ceil(image.width * wanted), math.ceil(image.height * wanted)))
            shrink = drafted[1][2] / width if drafted else 1.0
            image.load()
            box = (box[0] * shrink, box[1] * shrink, box[2] * shrink, box[3] * shrink)
            kernel = self.kernel if isinstance(self.kernel, int) else self.kernel((box[2] - box[0]) / size)
            largest = image.convert("RGB").resize((size, size), kernel, box)
        return {size: largest} | self.smaller(largest)


def chained(kernel: Image.Resampling) -> Callable[[Image.Image], Made]:
    """Each size from the next larger one."""

    def smaller(largest: Image.Image) -> Made:
        half = largest.resize((128, 128), kernel)
        return {128: half, 64: half.resize((64, 64), kernel)}

    return smaller


def halved_twice(largest: Image.Image) -> Made:
    """Each size from the next larger one by averaging two by two pixels."""
    half = largest.reduce(2)
    return {128: half, 64: half.reduce(2)}


def halved_once(kernel: Image.Resampling) -> Callable[[Image.Image], Made]:
    """Half of the largest by averaging two by two pixels, and from that the next by `kernel`."""

    def smaller(largest: Image.Image) -> Made:
        half = largest.reduce(2)
        return {128: half, 64: half.resize((64, 64), kernel)}

    return smaller


def as_stored(largest: Image.Image) -> Made:
    """As this stage does it."""
    return in_sizes(largest, (128, 64))


def sharper(left: float) -> Image.Resampling:
    """The less is left, the sharper, in three steps."""
    return LANCZOS if left < 1.25 else BICUBIC if left < 1.5 else HAMMING


WAYS: dict[str, Callable[[Path], Made]] = {
    "plain Pillow, 256 alone": plain,
    "scaled decode alone": scaled_decode,
    "1.5 x, Lanczos; smaller: Lanczos": Way(1.5, LANCZOS, chained(LANCZOS)),
    "1.5 x, Hamming; smaller: Lanczos": Way(1.5, HAMMING, chained(LANCZOS)),
    "1 x, Lanczos; smaller: as stored": Way(1, LANCZOS, as_stored),
    "1 x, bicubic; smaller: as stored": Way(1, BICUBIC, as_stored),
    "1 x, Hamming; smaller: as stored": Way(1, HAMMING, as_stored),
    "1 x, box; smaller: as stored": Way(1, BOX, as_stored),
    "1 x, Lanczos to bicubic to Hamming; smaller: as stored": Way(1, sharper, as_stored),
    "1 x, by what is left; smaller: Lanczos": Way(1, kernel_for, chained(LANCZOS)),
    "1 x, by what is left; smaller: halved, Lanczos": Way(1, kernel_for, halved_once(LANCZOS)),
    "1 x, by what is left; smaller: halved, Hamming": Way(1, kernel_for, halved_once(HAMMING)),
    "1 x, by what is left; smaller: halved twice": Way(1, kernel_for, halved_twice),
    "**this stage**": this_stage,
}


def usable(path: Path) -> bool:
    """Return whether a JPEG decodes, and lies as it is shown, which only this stage would see to."""
    try:
        with Image.open(path) as image:
            image.load()
            return orientation_of(image) == 1
    except OSError:
        return False


def quality(made: Image.Image, best: Image.Image) -> tuple[float, float]:
    """Return PSNR, in dB, at most 99, and SSIM of a square against the best one."""
    left, right = np.asarray(made), np.asarray(best)
    error = float(np.mean((left.astype(np.float32) - right) ** 2))
    similarity = float(structural_similarity(left, right, channel_axis=-1))  # type: ignore[no-untyped-call]
    return min(99.0, 10 * math.log10(255**2 / max(error, 1e-9))), similarity


def measure(paths: list[Path], rounds: int) -> tuple[dict[str, float], dict[tuple[str, int], NDArray[np.float64]]]:
    """Return images/s of CPU time of each way, and (PSNR, SSIM) of each picture by way and size, [picture, 2]."""
    seconds = {name: [0.0] * rounds for name in WAYS}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with Progress("resizing", len(paths), "picture") as progress:
        for path in paths:
            best = reference(path)
            for turn in range(rounds):
                for name, way in WAYS.items():
                    started = time.process_time()
                    made = way(path)
                    seconds[name][turn] += time.process_time() - started
                    if turn == 0 and len(made) > 1:
                        for size, square in made.items():
                            found.setdefault((name, size), []).append(quality(square, best[size]))
            progress.advance(1)
    speed = {name: len(paths) / median(spent) for name, spent in seconds.items()}
    return speed, {key: np.array(values) for key, values in found.items()}


@click.command()
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Use its JPEGs instead.")
@click.option("--pictures", default=120, show_default=True, help="How many.")
@click.option("--rounds", default=3, show_default=True, help="Times each is made; the median counts.")
def resizing(folder: Path | None, pictures: int, rounds: int) -> None:
    """Print the table of docs/resizing.md."""
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        there = sorted(folder.rglob("*.jpg")) if folder else write_jpegs(Path(temporary), pictures)
        paths = [path for path in there[:: max(1, len(there) // pictures)] if usable(path)]
        speed, found = measure(paths, rounds)
    print("| way | images/s | x plain |" + "".join(f" {size} px |" for size in reversed(SIZES)))
    print("|---|---|---|" + "---|" * len(SIZES))
    for name in WAYS:
        cells = [f"{speed[name]:.0f}", f"{speed[name] / speed['plain Pillow, 256 alone']:.2f}"]
        for size in reversed(SIZES):
            values = found.get((name, size))
            cells.append("" if values is None else "{:.1f} / {:.1f}, {:.3f} / {:.3f}".format(
                *(function(values[:, part]) for part in (0, 1) for function in (np.median, np.min))))  # fmt: skip
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    resizing()
