"""The trained embedder for other programs, and whether it still gives the embeddings it was trained to give."""

import secrets
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from preprocess.common.errors import RunError
from preprocess.common.files import fsync_file, fsync_folder
from train.predict import load_network
from train.run import open_run

PARITY = 1e-5
"""Most that a number of an embedding may differ; embeddings have length one."""
PICTURES = 8
Embed = Callable[[NDArray[np.float32]], Any]


class Format(NamedTuple):
    """How an embedder is written, and how what was written is read back as a function from pictures to embeddings."""

    suffix: str
    write: Callable[[keras.Model, Path], None]
    read: Callable[[Path], Embed]


def export(path: Path, form: str, out: Path | None = None) -> dict[str, Any]:
    """Write the embedder of the finished run at `path` in one of FORMATS, by default into the run's folder `export`.

    It takes RGB pictures, float32 [n, size, size, 3], 0 to 255, and returns unit vectors, float32 [n, embedding].
    Returns format, path, and the largest difference to the run's own embeddings. Raises RunError where the run has not
    finished, `out` exists, the format cannot say the same, or the difference is above PARITY.
    """
    run = open_run(path)
    if not run.finished:
        raise RunError(f"{path} has not finished training; run 'make train', which goes on where it stopped")
    if form == "onnx" and run.settings.precision != "float32":  # bfloat16 it cannot read, float16 it rounds otherwise
        raise RunError(f"{path} was trained with {run.settings.precision}, which ONNX does not repeat; "
                       "export another format")  # fmt: skip
    suffix, write, read = FORMATS[form]
    out = out or path / "export" / f"embedder{suffix}"
    if out.exists():
        raise RunError(f"{out} exists; move it away, or name another with --out")
    embedder = load_network(run).evaluator
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".aside-{secrets.token_hex(8)}-{out.name}")
    try:
        write(embedder, aside)
        difference = largest_difference(embedder, read(aside), run.settings.size)
        if difference > PARITY:
            raise RunError(
                f"{out}: its embeddings differ from those of the run by {difference:.1e}; export another format"
            )
        for file in [aside, *aside.rglob("*")]:
            if file.is_file():
                fsync_file(file)
        aside.rename(out)
        fsync_folder(out.parent)
    finally:
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)
    return {"format": form, "path": str(out), "difference": difference}


def largest_difference(embedder: keras.Model, other: Embed, size: int) -> float:
    """Return the largest difference between what two embedders say of pictures from flat to noise."""
    noise = np.random.default_rng(0).uniform(0, 255, (PICTURES, size, size, 3)).astype(np.float32)
    share = np.linspace(0, 1, PICTURES, dtype=np.float32)[:, None, None, None]
    pictures = share * noise + (1 - share) * noise.mean(axis=(1, 2), keepdims=True)
    return float(np.abs(np.asarray(embedder(pictures)) - np.asarray(other(pictures))).max())


def write_onnx(embedder: keras.Model, path: Path) -> None:
    """Write ONNX, which any runtime reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf2onnx about numpy's names
        embedder.export(path, format="onnx", verbose=False)


def read_onnx(path: Path) -> Embed:
    """Return what ONNX Runtime makes of a file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return lambda pictures: session.run(None, {session.get_inputs()[0].name: pictures})[0]


def read_savedmodel(path: Path) -> Embed:
    """Return what TensorFlow makes of a SavedModel."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda pictures: loaded.serve(pictures)  # the whole is kept, as it owns the variables


FORMATS = {
    "keras": Format(".keras", lambda embedder, path: embedder.save(path), keras.saving.load_model),
    "savedmodel": Format(
        "-savedmodel", lambda embedder, path: embedder.export(path, format="tf_saved_model", verbose=False),
        read_savedmodel,
    ),
    "onnx": Format(".onnx", write_onnx, read_onnx),
}  # fmt: skip
