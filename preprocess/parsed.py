"""The table as TensorFlow Data Validation gets it: years as numbers, one spelling of each style and genre."""

import polars as pl

from preprocess.years import years

FOLDED = ("style", "genre")
SIZES = ("bytes", "width", "height")
FEATURES = (
    "filename", "artist", "title", *FOLDED, "year", *(f"log2_{name}" for name in SIZES), "mean", "contrast", "colour",
    "side",
)  # fmt: skip


def known(column: str) -> pl.Expr:
    """Return a column of text without the blanks at its ends; null where nothing is left."""
    return pl.col(column).str.strip_chars().replace("", None)


def folded(column: str) -> pl.Expr:
    """Return a name in one spelling: "Naïve_Art (Primitivism)", "NaiveArt-Primitivism": "naive art primitivism"."""
    spaced = known(column).str.replace_all(r"(\p{Ll})(\p{Lu})", "$1 $2").str.normalize("NFKD")
    letters = spaced.str.replace_all(r"\p{M}", "").str.replace_all(r"[^\p{L}\p{N}.]+", " ")
    return letters.str.to_lowercase().str.strip_chars().replace("", None)


def with_years(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `rows` with the first `year` of each date, Int32, null where there is none."""
    return rows.with_columns(years(rows["date"])["first"].alias("year"))


def features(rows: pl.DataFrame) -> pl.DataFrame:
    """Return those of FEATURES that `rows` (a manifest or a store's, with years) have, without columns of nothing.

    `year` is text, and the date itself where it has no year: of too many such, TFDV says that the type is wrong.
    Sizes are in doublings, null for 0.
    """
    sizes = [pl.col(name).replace(0, None).log(2).alias(f"log2_{name}") for name in SIZES if name in rows.columns]
    told = pl.coalesce(pl.col("year").cast(pl.String), known("date")).alias("year")
    named = rows.rename({"key": "filename"}).with_columns(*map(folded, FOLDED), *sizes, told)
    present = [name for name in FEATURES if name in named.columns and named[name].is_not_null().any()]
    return named.select(present)
