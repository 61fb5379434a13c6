"""Figures: classes without number, made of the outlines of pictures. Each is drawn several times, never twice alike.

A network that learns ten classes by heart cannot tell others apart; one that learns thousands of figures can
(docs/learning.md).
"""

from preprocess.figures.drawing import draw
from preprocess.figures.invention import Figure, invent

__all__ = ["Figure", "draw", "invent"]
