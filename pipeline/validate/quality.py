"""What is wrong with files and pictures one by one, and what preprocess does with them."""

from collections import Counter
from typing import NamedTuple

import polars as pl

from pipeline.validate.borders import bordered
from preprocess.findings import Finding, Severity
from preprocess.store import QUARANTINED, STORED, Store

BLANK, FAINT = 2.0, 8.0
"""Standard deviation of brightness, of 255, below which there is nothing in a picture, and hardly anything."""
LONG = 3.0
"""Longer side through shorter side, above which a picture counts as extreme."""
COLOURLESS = 3.0
"""Mean distance of the channels, of 255, below which a picture is grey; JPEG leaves 1 or 2."""
SQUARED = {
    "crop": "the crop leaves less than a third of them", "pad": "grey takes more than two thirds of their squares",
    "stretch": "they are pressed into squares",
}  # fmt: skip
"""What becomes of such a picture, by preprocess.square."""
RARE_GREY = 0.5
"""Share of grey pictures from which they are the rule (drawings, prints, digits) and no finding."""
FORMATS = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF",
    "tiff": "TIFF", "bmp": "BMP", "jp2": "JPEG2000", "j2k": "JPEG2000", "avif": "AVIF",
}  # fmt: skip
SAME_FORMAT = {"MPO": "JPEG"}


class Case(NamedTuple):
    """One thing that may be odd about a picture: when it is, and what is said of those that are."""

    kind: str
    severity: Severity
    odd: pl.Expr
    what: str
    treated: str
    remedy: str


def quality(store: Store, size: int) -> list[Finding]:
    """Return the findings about single pictures; `size` is that of training, in pixels."""
    stored = store.rows.filter(pl.col("status") == STORED)
    found = (
        []
        if stored.is_empty()
        else [finding for case in cases(stored, size, store.square) for finding in told(case, stored)]
    )
    return [*corrupt(store.rows), *blank_artists(stored), *found, *bordered(store, stored["row"].to_numpy())]


def cases(stored: pl.DataFrame, size: int, square: str) -> list[Case]:
    """Return what is looked for in the columns of the stored rows; `square` is how they were made square."""
    ending = pl.col("key").str.extract(r"\.([^./]+)$").str.to_lowercase()
    named = ending.replace_strict(FORMATS, default=None)
    short, long = pl.min_horizontal("width", "height"), pl.max_horizontal("width", "height")
    grey = pl.col("colour") < COLOURLESS
    warning, note = Severity.WARNING, Severity.NOTE
    found = [
        Case("blank", warning, pl.col("contrast") < BLANK,
             "blank", "they are stored like any other",
             "remove them from the table: nothing can be learned from them"),
        Case("near-uniform", note, pl.col("contrast").is_between(BLANK, FAINT, closed="left"),
             "nearly of one brightness", "they are stored like any other", "look at them"),
        Case("tiny", warning, short < size,
             f"smaller than the {size} pixels of training", "they are enlarged",
             "find larger files, or lower train.size"),
        Case("extreme-aspect", note, long > LONG * short,
             f"more than {LONG:g} times as long as wide", SQUARED[square], "look at them"),
        Case("wrong-extension", warning, named != pl.col("format").replace(SAME_FORMAT),
             "of another format than their names end in", "they are read for what they are", "rename them"),
        Case("broken-profile", warning, pl.col("profile") == "broken",
             "with a colour profile that cannot be used", "their colours are taken for sRGB", "save them again"),
        Case("colour-profile", note, pl.col("profile") == "applied",
             "with a colour profile", "it brings their colours to sRGB", ""),
        Case("other-colours", note, ~pl.col("mode").is_in(["RGB", "L"]),
             "neither RGB nor grey of 8 bits", "they are brought to sRGB", ""),
    ]  # fmt: skip
    if stored.select(grey.mean()).item() < RARE_GREY:
        what = "grey among pictures in colour"
        found.append(
            Case("greyscale", note, grey, what, "they are stored as they are", "find scans in colour, or leave it")
        )
    return found


def told(case: Case, stored: pl.DataFrame) -> list[Finding]:
    """Return the finding of one case, if there are such pictures."""
    odd = stored.filter(case.odd)
    if odd.is_empty():
        return []
    figures: dict[str, float | int | str] = {"pictures": len(odd), "of": len(stored)}
    what = f"pictures {case.what}: {len(odd):,} of {len(stored):,}; {case.treated}"
    return [Finding(case.kind, case.severity, what, case.remedy, tuple(odd["row"].to_list()), figures)]


def corrupt(rows: pl.DataFrame) -> list[Finding]:
    """Return the finding about pictures that could not be stored, counted by reason."""
    bad = rows.filter(pl.col("status") == QUARANTINED)
    if bad.is_empty():
        return []
    reasons = Counter(bad["reason"].fill_null("unknown").str.replace_all(r"\b\d+\b", "N").to_list())
    common = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
    return [
        Finding(
            "corrupt", Severity.WARNING, f"pictures quarantined: {len(bad):,} of {len(rows):,}; {common}",
            "get the files again; until then no batch has them", tuple(bad["row"].to_list()),
            {"pictures": len(bad), "of": len(rows), **reasons},
        )
    ]  # fmt: skip


def blank_artists(stored: pl.DataFrame) -> list[Finding]:
    """Return the finding about artists of whom there is nothing but blank pictures."""
    blank = stored.filter((pl.col("contrast") < BLANK).all().over("artist"))
    if blank.is_empty():
        return []
    artists = blank["artist"].unique(maintain_order=True).to_list()
    return [
        Finding(
            "all-blank-artist", Severity.ERROR,
            f"artists of whom all pictures are blank: {len(artists)}, such as {artists[0]!r}",
            "get the files again, or remove the artist from the table", tuple(blank["row"].to_list()),
            {"artists": len(artists), "pictures": len(blank)},
        )
    ]  # fmt: skip
