"""The forgery page: known pictures of one painter, suspected ones, and the probability of every pair of them.

As the competition's organiser compared paintings by Vermeer with those of van Meegeren, who forged him.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.common.errors import SourceError
from preprocess.common.files import write_text
from preprocess.common.pages import templates
from preprocess.sources.files import is_picture
from train.calibrate import load_calibration
from train.compare import Bench
from train.familiar import load_familiar
from train.plots import COLOURS
from train.predict import embed, load_network, read_pictures, score_cosines
from train.report import data_uri
from train.run import open_run

TEMPLATE = "suspects.html.j2"
MOST = 100
"""Pictures on the page."""


def write_suspects(path: Path, known: Path, suspected: Path, out: Path, bench: Bench) -> Path:
    """Write the page about the pictures in two folders, judged by the run at `path`, to `out` and return that.

    Raises RunError for a run without a calibrated model, SourceError for a folder without pictures or with too many.
    """
    run = open_run(path)
    calibration, familiar, network = load_calibration(path), load_familiar(path), load_network(run)
    folders = [pictures_in(known), pictures_in(suspected)]
    counts = [len(files) for files in folders]
    if sum(counts) > MOST:
        raise SourceError(f"{known} and {suspected} hold {sum(counts)} pictures; choose at most {MOST}")
    pixels = read_pictures(run, [file for files in folders for file in files])
    embeddings = familiar.weighed(embed(network, pixels))
    cosines = (embeddings @ embeddings.T).clip(-1, 1)
    scores = score_cosines(network, run.settings.loss, cosines.ravel())
    probabilities = calibration.probability(scores, bench.prior).reshape(cosines.shape)
    same = calibration.said_same(scores, bench.point, bench.prior).reshape(cosines.shape)
    strange = familiar.strange(embeddings)
    names = [file.name for files in folders for file in files]
    pictures = [
        {"name": name, "image": data_uri(pixels[number], 112), "strange": bool(strange[number]),
         "probabilities": [None if other == number else float(p) for other, p in enumerate(probabilities[number])]}
        for number, name in enumerate(names)
    ]  # fmt: skip
    environment = templates(Path(__file__).parent)
    page = environment.get_template(TEMPLATE).render(
        run=path.name, known=known.name, suspected=suspected.name, counts=counts, pictures=pictures, prior=bench.prior,
        point=bench.point, colours=COLOURS, blocks=blocks(probabilities, same, counts[0]),
    )  # fmt: skip
    write_text(out, page)
    return out


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files in a folder, by name. Raises SourceError where there are none."""
    files = sorted(file for file in folder.iterdir() if is_picture(file.name)) if folder.is_dir() else []
    if not files:
        raise SourceError(f"{folder} is no folder of pictures; name one")
    return files


def blocks(probabilities: NDArray[np.float64], same: NDArray[np.bool_], known: int) -> list[dict[str, Any]]:
    """Return name, pairs, median probability and share called the same, of pairs [n, n] within and between both kinds;
    the first `known` pictures are the known ones."""
    above = np.triu(np.ones(probabilities.shape, bool), 1)
    kind = np.arange(len(probabilities)) >= known
    parts = {"known": ~kind[:, None] & ~kind, "known and suspected": ~kind[:, None] & kind}
    parts["suspected"] = kind[:, None] & kind
    return [
        {"name": name, "pairs": int(chosen.sum()), "median": float(np.median(probabilities[chosen])),
         "called_same": float(same[chosen].mean())}
        for name, chosen in ((name, part & above) for name, part in parts.items()) if chosen.any()
    ]  # fmt: skip
