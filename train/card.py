"""The model card: what a trained model is, what it was made from, how good it is and where it ends, as Markdown."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.split import summary
from preprocess.common.errors import RunError
from preprocess.common.files import read_json, write_text
from train.calibrate import load_calibration
from train.run import Run, ending

TEMPLATE = "model-card.md.j2"


def write_card(run: Run) -> Path:
    """Write model-card.md of an evaluated run and return its path. Raises RunError."""
    try:
        metrics = read_json(run.path / "metrics.json")
    except FileNotFoundError:
        raise RunError(f"{run.path} has not been evaluated; run 'make evaluate'") from None
    environment = Environment(  # no name of a picture or an artist comes into it
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # noqa: S701 - Markdown
    )  # fmt: skip
    text = environment.get_template(TEMPLATE).render(
        name=run.path.name, collection=run.store.path.parent.name, seal_digest=run.store.fingerprint[:12],
        rows=run.store.seal["rows"], stored=run.store.seal["stored"], square=run.pins["preprocess"]["square"],
        train=run.settings, split=summary(run.split), ending=ending(run), sides=metrics["sides"],
        confidence=metrics["confidence"], calibration=load_calibration(run.path), versions=run.pins["versions"],
    )  # fmt: skip
    path = run.path / "model-card.md"
    write_text(path, text)
    return path
