"""How long Kaggle's 21.8 million pairs take from embeddings to submission.csv, and in how much memory.

    python -m bench.submit            the figures of docs/kaggle.md
    python -m bench.submit --truth    the competition's AUC as well, offline

Embeddings and tables of the competition's size are generated: 23,817 pictures in 13 groups, all pairs of a group. What
is measured lives in a memory cgroup of 2 GB, files that the system keeps in memory included, where this user may make
one (root), and its own memory is watched. All lies in one temporary folder, 2 GB, and is removed.
"""

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import numpy as np
import polars as pl

from bench.goals import Goal, goals_table
from bench.larger import memory_cgroup
from bench.meter import run

PICTURES, GROUPS, DIMENSION = 23_817, 13, 128
LIMIT = 2_000_000_000
SECONDS = 60


def generate(folder: Path, pictures: int = PICTURES, groups: int = GROUPS) -> int:
    """Write embeddings.npy, submission_info.csv, sample_submission.csv and all_data_info.csv; return the pairs."""
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((pictures, DIMENSION)).astype(np.float32)
    np.save(folder / "embeddings.npy", embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))
    names = np.array([f"{number}.jpg" for number in rng.permutation(5 * pictures)[:pictures]])
    artists = rng.integers(0, pictures // 15, pictures)
    pl.DataFrame({
        "artist": artists, "artist_group": np.where(artists % 4, "train_and_test", "test_only"), "new_filename": names,
    }).write_csv(folder / "all_data_info.csv")  # fmt: skip
    count = 0
    with (folder / "submission_info.csv").open("wb") as pairs, (folder / "sample_submission.csv").open("wb") as sample:
        pairs.write(b"index,image1,image2\n")
        sample.write(b"index,sameArtist\n")
        for group in np.array_split(rng.permutation(pictures), groups):
            left, right = (names[group[hand]] for hand in np.triu_indices(len(group), 1))
            index = np.arange(count, count + len(left))
            table = pl.DataFrame({"index": index, "image1": left, "image2": right})
            table.write_csv(pairs, include_header=False)
            pl.DataFrame({"index": index, "sameArtist": np.full(len(index), 0)}).write_csv(sample, include_header=False)
            count += len(left)
    return count


def score(folder: Path, truth: bool) -> None:
    """Score the pairs in `folder` as `train submit` does once all is embedded."""
    from train.quiet import import_tensorflow

    import_tensorflow()
    from preprocess.common.learning import Train
    from train.calibrate import POINTS, Calibration
    from train.competition import Truth
    from train.model import PairNetwork
    from train.predict import score_cosines
    from train.submission import Judge, picture_names, write_submission

    network = PairNetwork(Train(size=16, width=8))
    names = picture_names(folder / "submission_info.csv")
    calibration = Calibration(1.0, 0.0, dict.fromkeys(POINTS, 0.5), 1)
    judge = Judge(
        np.load(folder / "embeddings.npy"),
        np.ones(len(names), bool),
        partial(score_cosines, network, "sigmoid"),
        calibration,
    )
    told = Truth(folder / "all_data_info.csv", names) if truth else None
    sample = folder / "sample_submission.csv"
    pairs = folder / "submission_info.csv"
    write_submission(folder / "submission.csv", pairs, names, [judge], 0.5, sample, told.note if told else None)
    if told:
        click.echo(told.figures())


@click.command()
@click.option("--truth", is_flag=True, help="Compute the competition's AUC as well.")
@click.option("--score", "folder", type=click.Path(path_type=Path), hidden=True)
def submit(truth: bool, folder: Path | None) -> None:
    """Measure the scoring of 21.8 million pairs and print tables in Markdown."""
    if folder:
        score(folder, truth)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        count = generate(folder)
        command = [sys.executable, "-m", "bench.submit", "--score", folder, *(["--truth"] if truth else [])]
        with ExitStack() as stack:
            try:
                group = stack.enter_context(memory_cgroup(LIMIT))
                command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]
            except OSError as error:
                click.echo(f"memory is not limited: {error}\n")
            usage = run(command, sign=(folder / "submission.csv").exists)
        size = (folder / "submission.csv").stat().st_size
    click.echo(
        f"{count:,} pairs of {PICTURES:,} pictures, {size / 1e6:,.0f} MB written, {usage.cpu:.1f} s of processor\n"
    )
    goals_table([
        Goal("seconds from embeddings to submission.csv", usage.sign, most=SECONDS),
        Goal("GB of anonymous memory at most", usage.peak / 1e9, most=LIMIT / 1e9),
    ])  # fmt: skip


if __name__ == "__main__":
    submit()
