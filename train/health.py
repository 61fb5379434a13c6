"""Whether a network is still learning: what two runs in three of the 2017 report died of, found within 100 steps."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.model import PairNetwork
from train.predict import embed, score
from train.validation import Validation

CHECK_EVERY = 100
"""Steps; and at every validation."""
PICTURES = 32
LEAST_SPREAD = 1e-3
"""Of unit vectors: 1 - |mean|^2, which is 0 where they are all one point, and 1 where they average zero."""
LEAST_RANK = 1.05
LEAST_VARIETY = 1e-4
"""The standard deviation of the verifier's outputs: logits of one scale, distances from 0 to 2."""
LEAST_GRADIENT = 1e-12
CHANCE, CHANCE_FROM = 0.52, 300
"""A validation AUC up to which, from which step on, nothing counts as learned."""
CONSTANT = {"sigmoid": math.log(2), "contrastive": 0.125}
"""The loss of the best constant answer, both kinds of pairs weighing half: log 2; (d^2 + (1 - d)^2) / 4 at d = 1/2."""


class Collapse(Exception):  # noqa: N818 - named for what it is about
    """Training came to nothing at `step`; the message says by which sign."""

    def __init__(self, step: int, sign: str) -> None:
        super().__init__(sign)
        self.step = step


def effective_rank(embeddings: NDArray[np.float32]) -> float:
    """Return in how many directions embeddings [n, d] vary (Roy and Vetterli 2007): 1 on a line, at most d."""
    strengths = np.linalg.svd(embeddings - embeddings.mean(axis=0), compute_uv=False)
    shares = strengths / max(float(strengths.sum()), 1e-30)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def ailment(embeddings: NDArray[np.float32], outputs: NDArray[np.float64], gradient: float) -> str | None:
    """Return by which sign a network has collapsed, or None: unit vectors [n, d], outputs for pairs [m], and the norm
    of the last gradient."""
    if not (np.isfinite(embeddings).all() and np.isfinite(outputs).all() and math.isfinite(gradient)):
        return "values are not finite"
    spread = 1 - float(np.square(embeddings.mean(axis=0, dtype=np.float64)).sum())
    if spread < LEAST_SPREAD:
        return f"all embeddings lie near one point, their spread is {spread:.1e}"
    if (rank := effective_rank(embeddings)) < LEAST_RANK:
        return f"all embeddings lie on one line, their effective rank is {rank:.2f}"
    if (variety := float(outputs.std())) < LEAST_VARIETY:
        return f"every pair gets the same answer, their standard deviation is {variety:.1e}"
    if gradient < LEAST_GRADIENT:
        return f"the gradient has vanished, its norm is {gradient:.1e}"
    return None


class Health:
    """Looks at a network in training on a few validation pictures, always the same."""

    def __init__(self, network: PairNetwork, validation: Validation) -> None:
        self.network, self.validation, self.loss = network, validation, validation.run.settings.loss
        rows = validation.rows
        self.pictures = validation.source.read(rows[np.unique(np.linspace(0, len(rows) - 1, PICTURES).astype(int))])
        self.left, self.right = np.triu_indices(len(self.pictures), k=1)

    def check(self, step: int) -> None:
        """Raise Collapse where the network has collapsed."""
        piece = self.network.piece or PICTURES
        cut = (self.pictures[start : start + piece] for start in range(0, len(self.pictures), piece))
        embeddings = np.concatenate([embed(self.network, pictures) for pictures in cut])
        outputs = score(self.network, self.loss, embeddings[self.left], embeddings[self.right])
        if sign := ailment(embeddings, outputs, float(self.network.optimizer.gradient_norm.numpy())):
            raise Collapse(step, sign)

    def check_validation(self, line: dict[str, Any]) -> None:
        """Raise Collapse where a line of the log shows that nothing was learned, nor is being learned.

        Its AUC is that of averaged weights, which may still be good; what counts is that of the weights in training.
        """
        learning = line["loss"] < 0.99 * CONSTANT[self.loss]
        if line["step"] >= CHANCE_FROM and not learning:
            auc = max(self.validation.measure(self.network).values())
            if auc <= CHANCE:
                raise Collapse(line["step"], f"validation AUC is at chance, {auc:.3f}, with the loss of a constant")
        self.check(line["step"])
