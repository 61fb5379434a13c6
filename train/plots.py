"""The report's plots: each function returns one `<svg>` element as text, the same bytes for the same numbers."""

import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import det_curve, roc_curve

COLOURS = {
    "same": "#14696b",
    "different": "#c3821d",
    "unseen": "#6a3b6f",
    "seen": "#7c93ad",
    "ink": "#2b2823",
    "faint": "#d9d3c7",
}
BINS = 40
RELIABILITY_BINS = 10
STYLE = {
    "axes.axisbelow": True, "axes.edgecolor": COLOURS["faint"], "axes.grid": True, "axes.labelcolor": COLOURS["ink"],
    "axes.spines.right": False, "axes.spines.top": False, "font.family": ["DejaVu Sans"], "font.size": 8.5,
    "grid.color": COLOURS["faint"], "grid.linewidth": 0.5, "legend.frameon": False, "lines.linewidth": 1.6,
    "svg.fonttype": "none", "svg.hashsalt": "painting-pairs", "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["ink"], "xtick.major.pad": 6, "xtick.major.size": 0,
    "ytick.color": COLOURS["ink"], "ytick.major.size": 0,
}  # fmt: skip
"""Text stays text: the page's own style sheet chooses its font."""


class Scored(NamedTuple):
    """The pairs of one side: same bool [m], probability float64 [m] from 0 to 1, and its equal error rate, 0 to 1."""

    same: NDArray[np.bool_]
    probability: NDArray[np.float64]
    equal_error_rate: float


def draw_roc(sides: dict[str, Scored]) -> str:
    """Return the ROC curves of `sides`, by "unseen" or "seen", with their points of equal errors."""
    with rc_context(STYLE):
        figure = new_figure()
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=COLOURS["faint"], linewidth=1)
        for side, scored in sides.items():
            false_alarms, hits, _ = roc_curve(scored.same, scored.probability)
            axes.plot(false_alarms, hits, color=COLOURS[side], label=f"{side} artists")
        for side, scored in sides.items():
            point = scored.equal_error_rate, 1 - scored.equal_error_rate
            axes.plot(*point, "o", color=COLOURS[side], markeredgecolor="white", label=f"equal errors, {side}")
        axes.set(xlabel="different pairs called same", ylabel="same pairs called same", aspect="equal")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        as_shares(axes.xaxis, axes.yaxis)
        axes.legend(loc="lower right")
        return svg(figure, "roc")


def draw_det(sides: dict[str, Scored]) -> str:
    """Return the errors of both kinds at every threshold, on scales where normal scores make straight lines (Martin et
    al. 1997, "The DET curve in assessment of detection task performance")."""
    shown = np.array([0.001, 0.01, 0.05, 0.2, 0.5, 0.8])
    with rc_context(STYLE):
        figure = new_figure()
        axes = figure.subplots()
        axes.plot(*2 * [norm.ppf(shown[[0, -1]])], color=COLOURS["faint"], linewidth=1)
        for side, scored in sides.items():
            false_alarms, misses, _ = det_curve(scored.same, scored.probability)
            points = norm.ppf(np.clip([false_alarms, misses], shown[0] / 2, 1 - shown[0] / 2))
            axes.plot(*points, color=COLOURS[side], label=f"{side} artists")
        limits = norm.ppf([shown[0] / 1.5, 0.9])
        axes.set(xlabel="different pairs called same", ylabel="same pairs missed", aspect="equal")
        axes.set(xlim=limits, ylim=limits)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(norm.ppf(shown), [f"{100 * share:g} %" for share in shown])
        axes.legend(loc="upper right")
        return svg(figure, "det")


def draw_scores(side: str, scored: Scored, threshold: float) -> str:
    """Return the histograms of the probabilities of same and of different pairs, and the `threshold`, 0 to 1."""
    with rc_context(STYLE):
        figure = new_figure()
        axes = figure.subplots()
        for kind, chosen in (("different", ~scored.same), ("same", scored.same)):
            weights = np.full(chosen.sum(), 1 / chosen.sum())
            label = "one hand" if kind == "same" else "two hands"
            axes.hist(
                scored.probability[chosen], BINS, range=(0, 1), weights=weights, label=label, **filled(COLOURS[kind])
            )
        axes.axvline(threshold, color=COLOURS["ink"], linewidth=1, linestyle="--", label="called same from here on")
        axes.set(xlabel="probability of one hand", ylabel="share of its kind of pairs", xlim=(0, 1))
        as_shares(axes.xaxis, axes.yaxis)
        axes.legend(loc="upper center", frameon=True, facecolor="#fdfcf9", edgecolor="none", framealpha=1)
        return svg(figure, f"scores-{side}")


def draw_reliability(sides: dict[str, Scored]) -> str:
    """Return, above, how often pairs given a probability are in truth same; below, how many pairs each bin holds."""
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    with rc_context(STYLE):
        figure = new_figure()
        above, below = figure.subplots(2, sharex=True, height_ratios=(4, 1))
        above.plot([0, 1], [0, 1], color=COLOURS["faint"], linewidth=1)
        width = 0.8 / RELIABILITY_BINS / len(sides)
        for number, (side, scored) in enumerate(sides.items()):
            found, said = calibration_curve(scored.same, scored.probability, n_bins=RELIABILITY_BINS)
            above.plot(said, found, "o-", color=COLOURS[side], markersize=4, label=f"{side} artists")
            # calibration_curve puts a probability that lies on an edge into the bin below; so do these counts.
            bins = np.searchsorted(edges[1:-1], scored.probability)
            counts = np.bincount(bins, minlength=RELIABILITY_BINS)
            left = edges[:-1] + 0.1 / RELIABILITY_BINS + number * width
            below.bar(left, counts, width, align="edge", color=COLOURS[side])
        above.set(ylabel="share in truth by one hand", xlim=(0, 1), ylim=(-0.02, 1.02))
        above.legend(loc="upper left")
        below.set(xlabel="probability of one hand", ylabel="pairs")
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        below.yaxis.set_major_formatter("{x:,.0f}")
        as_shares(below.xaxis, above.yaxis)
        return svg(figure, "reliability")


def draw_training(
    log: Sequence[dict[str, Any]], names: dict[str, str], label: str, incidents: Sequence[int] = ()
) -> str:
    """Return curves over the steps of `log`; `names` maps a key of its lines to "unseen", "seen" or "ink". Steps with
    `incidents` are marked."""
    with rc_context(STYLE):
        figure = new_figure()
        axes = figure.subplots()
        for name, colour in names.items():
            points = [(line["step"], line[name]) for line in log if name in line]
            if points:
                legend = None if colour == "ink" else f"{colour} artists"
                axes.plot(*zip(*points, strict=True), "o-", markersize=2.5, color=COLOURS[colour], label=legend)
        for step in incidents:
            axes.axvline(step, color=COLOURS["different"], linewidth=1, linestyle=":")
        axes.set(xlabel="step", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if "ink" not in names.values():
            axes.legend(loc="best")
        return svg(figure, label.split()[-1])


def new_figure() -> Any:
    """Return an empty figure of the size that all plots share."""
    return Figure(figsize=(4.6, 3.6), layout="constrained")


def filled(colour: str) -> dict[str, Any]:
    """Return how a histogram in `colour` (#rrggbb) looks: an outline, and inside it a third of the colour."""
    return {"histtype": "stepfilled", "facecolor": colour + "59", "edgecolor": colour, "linewidth": 1.2}


def as_shares(*axes: Any) -> None:
    """Label `axes`, whose values are 0 to 1, in percent."""
    for axis in axes:
        axis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def svg(figure: Any, name: str) -> str:
    """Return `figure` as an `<svg>` element whose ids begin with `name`, so that several can share a page."""
    buffer = io.StringIO()
    undated = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=undated)
    text = buffer.getvalue()
    return prefixed(text[text.index("<svg") :], name)


def prefixed(text: str, name: str) -> str:
    """Return an `<svg>` element whose ids begin with `name`, and so do the references to them."""
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
