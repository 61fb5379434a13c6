"""Kaggle's test pictures, which have no row in any table: decoded and embedded once for each run, and kept with it."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from preprocess.common.config import Preprocess
from preprocess.common.errors import SourceError
from preprocess.common.files import digest, read_bytes, read_json, write_bytes, write_json
from preprocess.common.progress import Progress
from preprocess.decoder import Decoder
from preprocess.shard import Asked, How, batches, decode
from preprocess.sources.base import Found
from preprocess.sources.files import Table
from train.model import PairNetwork
from train.predict import embed
from train.run import Run

KEPT = "submission"
BATCH = 256


def find(folder: Path, pairs: Path, names: Sequence[str]) -> tuple[Table, list[Found]]:
    """Return the source of the pictures in a folder, packed or not, and where each of `names` is in it.

    Raises SourceError for a name that no picture has, or two.
    """
    source = Table(folder, pairs, "quarantine")
    places: dict[str, Found] = {}
    for key, found in source.pictures().items():
        if places.setdefault(key.rpartition("/")[2], found) != found:
            raise SourceError(f"{folder} holds two pictures named {key.rpartition('/')[2]!r}; remove one")
    if lost := [name for name in names if name not in places]:
        raise SourceError(f"{pairs}: {len(lost)} of its pictures are not in {folder}, first {lost[0]!r}; "
                          "add them, or test.zip")  # fmt: skip
    return source, [places[name] for name in names]


def embed_pictures(
    run: Run, network: PairNetwork, source: Table, places: Sequence[Found], settings: Preprocess, mirrored: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_], dict[str, int]]:
    """Return embeddings [n, d] of the pictures at `places` [n], which are usable [n], and reasons with their numbers.

    `mirrored` averages each with its mirror image. What was embedded before is taken from the run directory.
    """
    key = digest([[list(place) for place in places], read_json(run.path / "finished.json"), mirrored])[:16]
    kept, said = (run.path / KEPT / f"{key}.{end}" for end in ("safetensors", "json"))
    try:
        arrays = load(read_bytes(kept))
        return arrays["embeddings"], arrays["usable"], read_json(said)
    except (FileNotFoundError, SafetensorError):
        pass
    embeddings = np.zeros((len(places), run.settings.embedding), np.float32)
    usable = np.zeros(len(places), bool)
    reasons: Counter[str] = Counter()
    how = How.of(settings)._replace(**{name: run.pins["preprocess"][name] for name in ("square", "max_megapixels")})
    how = how._replace(sizes=tuple(run.pins["preprocess"]["sizes"]))
    with Progress("embed test pictures", len(places), "picture") as progress:
        for start, (pictures, problems) in zip(
            range(0, len(places), BATCH), decoded(source, places, how, run.store_size), strict=True
        ):
            good = start + np.flatnonzero([problem is None for problem in problems])
            usable[good] = True
            reasons.update(problem for problem in problems if problem is not None)
            if len(good):
                embeddings[good] = looked_at(network, pictures, mirrored)
            progress.advance(len(problems), f"quarantined: {reasons.total()}")
    write_json(said, dict(reasons))
    write_bytes(kept, save({"embeddings": embeddings, "usable": usable}))
    return embeddings, usable, dict(reasons)


def decoded(
    source: Table, places: Sequence[Found], how: How, size: int
) -> Iterator[tuple[NDArray[np.uint8], list[str | None]]]:
    """Yield, of BATCH places at a time, the pictures uint8 [good, size, size, 3] and of each place why it has none."""
    workers = os.cpu_count() or 1
    asked = [Asked(*place, removed=False) for place in places]
    with ExitStack() as stack:
        decoders = [stack.enter_context(Decoder(*how)) for _ in range(workers)]
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]

            def share(worker: int, batch: list[Asked] = batch) -> list[tuple[str | None, NDArray[np.uint8] | None]]:
                found: list[tuple[str | None, NDArray[np.uint8] | None]] = []
                for some in batches(batch[worker::workers], decoders[worker].task.at_once):
                    rows, squares = decode(source, some, decoders[worker])
                    made = {place: square.pixels[size] for place, square in squares.items()}
                    found += [(row["reason"], made.get(place)) for place, row in enumerate(rows)]
                return found

            shares = list(pool.map(share, range(workers)))
            found = [shares[number % workers][number // workers] for number in range(len(batch))]
            pictures = [picture for _, picture in found if picture is not None]
            yield np.stack(pictures) if pictures else np.empty((0, size, size, 3), np.uint8), [why for why, _ in found]


def looked_at(network: PairNetwork, pictures: NDArray[np.uint8], mirrored: bool) -> NDArray[np.float32]:
    """Return the embeddings [n, d] of pictures, or the directions midway to those of their mirror images."""
    found = embed(network, pictures)
    if mirrored:
        found = found + embed(network, pictures[:, :, ::-1])
        found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found
