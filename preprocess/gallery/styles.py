"""Styles: the spans within which the artists of one school differ, pass by pass of marks."""

from typing import Literal

Where = Literal["all", "edges", "darks", "lights"]
Span = tuple[float, float]

# What a pass does not name is drawn from here; `Layer` says what the names mean.
PLAIN: dict[str, Span] = {
    "cover": (1.3, 1.8), "width": (0.03, 0.05), "length": (3, 6), "slant": (0.1, 1), "cross": (0, 0),
    "follow": (0.1, 1), "swirl": (0, 0.5), "jitter": (0.05, 0.3), "curve": (-0.9, 0.9), "taper": (0.1, 1.1),
    "wedge": (-0.6, 0.6), "even": (0, 1), "tight": (0.5, 0.95), "hairs": (1, 3), "comb": (0.6, 1.3),
    "drift": (0.03, 0.08), "broken": (0, 1), "tint": (0, 0), "accent": (0, 0.06),
}  # fmt: skip
WASH: dict[str, Span] = {
    "cover": (1.6, 2.2), "width": (0.06, 0.12), "length": (1.5, 4), "taper": (0, 0.5), "wedge": (0, 0),
    "tight": (0.8, 1), "comb": (1.2, 1.2),
}  # fmt: skip
Recipe = tuple[tuple[Where, dict[str, Span]], ...]
STYLES: dict[str, tuple[Recipe, Span, Span]] = {  # passes, softening, relief
    "Divisionism": (
        (("all", WASH), ("all", {"cover": (0.7, 1.3), "width": (0.022, 0.05), "length": (1, 2.2), "taper": (0.5, 1),
          "jitter": (0.1, 0.9), "hairs": (1, 1), "drift": (0.06, 0.16), "accent": (0.04, 0.2)})),
        (0, 0), (0.2, 0.8),
    ),
    "Impressionism": (
        (("all", WASH), ("all", {"cover": (1.2, 2), "width": (0.025, 0.05), "length": (2, 5), "accent": (0, 0.12)}),
         ("lights", {"cover": (0.2, 0.6), "width": (0.02, 0.035), "tint": (0.1, 0.5)})),
        (0, 0), (0.4, 1.2),
    ),
    "Expressionism": (
        (("all", {**WASH, "hairs": (2, 4)}), ("all", {"cover": (0.8, 1.6), "width": (0.03, 0.07), "length": (5, 11),
          "swirl": (0, 1.2), "curve": (-1.2, 1.2), "hairs": (2, 4)}), ("edges", {"cover": (0.4, 1.2),
          "width": (0.018, 0.035), "length": (5, 9), "slant": (0, 0), "follow": (1, 1), "tint": (-0.8, -0.3)})),
        (0, 0), (0.4, 1.4),
    ),
    "Cloisonnism": (
        (("all", {**WASH, "tight": (0.8, 1), "drift": (0.0, 0.03)}), ("all", {"cover": (1, 1.5), "width": (0.04, 0.08),
          "length": (2, 4), "tight": (0.8, 1), "drift": (0, 0.03), "hairs": (1, 2)}),
         ("edges", {"cover": (1, 2.2), "width": (0.014, 0.034), "length": (4, 8), "slant": (0, 0), "follow": (1, 1),
          "swirl": (0, 0), "jitter": (0, 0.1), "curve": (0, 0), "tint": (-0.95, -0.3), "tight": (0, 0),
          "accent": (-0.6, 0.8)})),  # below 0 is none: not every outline is coloured
        (0, 0), (0.1, 0.5),
    ),
    "Tonalism": (
        (("all", WASH), ("all", {"cover": (0.8, 1.6), "width": (0.04, 0.09), "length": (2, 5), "drift": (0.01, 0.05)}),
         ("lights", {"cover": (0.1, 0.4), "width": (0.02, 0.04), "length": (1.5, 4), "tint": (0.2, 0.6)})),
        (0.004, 0.013), (0.1, 0.5),
    ),
    "Cubism": (
        (("all", {**WASH, "taper": (0, 0)}), ("all", {"cover": (0.8, 1.5), "width": (0.06, 0.12), "length": (1, 2.5),
          "cross": (0.1, 0.5), "taper": (0, 0.4), "curve": (0, 0), "hairs": (1, 1), "drift": (0.06, 0.16),
          "swirl": (0, 0.2)}), ("edges", {"cover": (0.2, 0.9), "width": (0.012, 0.025), "length": (6, 12),
          "curve": (0, 0), "tint": (-0.8, 0.6), "tight": (0, 0)})),
        (0, 0), (0.2, 0.7),
    ),
    "Graphic Realism": (
        (("all", WASH), ("darks", {"cover": (0.3, 0.9), "width": (0.012, 0.022), "length": (7, 16), "cross": (0, 0.5),
          "jitter": (0.0, 0.15), "hairs": (1, 1), "tint": (-0.7, -0.3)}),
         ("lights", {"cover": (0.1, 0.6), "width": (0.012, 0.022), "length": (6, 14), "tint": (0.3, 0.7),
          "hairs": (1, 1), "jitter": (0, 0.15)})),
        (0, 0), (0.1, 0.5),
    ),
    "Gestural Abstraction": (
        (("all", WASH), ("all", {"cover": (0.5, 1.2), "width": (0.05, 0.11), "length": (4, 9), "swirl": (0, 1.2),
          "jitter": (0.1, 0.9), "curve": (-1.6, 1.6), "tight": (0, 0.3), "hairs": (3, 5), "drift": (0.05, 0.15),
          "accent": (0.02, 0.15)})),
        (0, 0), (0.6, 1.5),
    ),
}  # fmt: skip
