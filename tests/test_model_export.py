"""The embedder in other programs' formats: the same embeddings, nothing overwritten, nothing half."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from preprocess.common.errors import RunError
from preprocess.common.files import read_json, write_json
from train import export as exporting
from train.export import FORMATS, export
from train.predict import load_network
from train.run import Run, open_run


@pytest.fixture(scope="module")
def run(judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run that has finished, which looks at corners."""
    folder = shutil.copytree(judge, tmp_path_factory.mktemp("export") / "run")
    pins = read_json(folder / "run.json")
    pins["settings"]["train"]["corners"] = 0.625
    write_json(folder / "run.json", pins)
    return open_run(folder)


@pytest.mark.parametrize("form", FORMATS)
def test_an_exported_embedder_gives_the_embeddings_of_the_run(run: Run, form: str, tmp_path: Path) -> None:
    answer = export(run.path, form, tmp_path / f"mine{FORMATS[form].suffix}")
    size = run.settings.size
    pictures = np.random.default_rng(7).integers(0, 256, (3, size, size, 3)).astype(np.float32)
    theirs = np.asarray(FORMATS[form].read(Path(answer["path"]))(pictures))
    np.testing.assert_allclose(theirs, load_network(run).evaluator(pictures), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(theirs, axis=1), 1, rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [f"mine{FORMATS[form].suffix}"]


def test_by_default_it_lies_in_the_run_and_is_not_overwritten(run: Run) -> None:
    assert export(run.path, "keras")["path"] == str(run.path / "export/embedder.keras")
    with pytest.raises(RunError, match=r"embedder.keras exists; move it away, or name another with --out"):
        export(run.path, "keras")


def test_an_export_that_says_something_else_is_not_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = FORMATS["keras"]

    def another(path: Path) -> exporting.Embed:
        embed = honest.read(path)
        return lambda pictures: embed(pictures) + 2e-5

    monkeypatch.setitem(FORMATS, "keras", honest._replace(read=another))
    with pytest.raises(RunError, match=r"its embeddings differ from those of the run by 2.0e-05"):
        export(run.path, "keras", tmp_path / "mine.keras")
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run.path / "run.json").read_bytes())
    with pytest.raises(RunError, match="has not finished training"):
        export(tmp_path, "keras")
