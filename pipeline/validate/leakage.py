"""What would make figures wrong: a painting, or an artist that should be unseen, on two sides."""

import polars as pl
from scipy.cluster.hierarchy import DisjointSet

from pipeline.copies import comparable, copies_of
from pipeline.copies.find import Copy
from pipeline.copies.likeness import PROOF
from pipeline.split import DISPUTED, DUPLICATE, SIDES, TEST, VALIDATION
from preprocess.findings import Finding, Severity
from preprocess.spelling import plain
from preprocess.store import Store

UNSEEN = (VALIDATION[1], TEST[1])


def leakage(store: Store, split: pl.DataFrame) -> list[Finding]:
    """Return what is on two sides, or twice on one, and what the split has put right."""
    if not comparable(store):
        return [*leaked_artists(split), not_compared(store)]
    copies = copies_of(store)
    return [*leaked_artists(split), *copied(copies, split), *false_duplicates(split, copies)]


def not_compared(store: Store) -> Finding:
    """Return the finding that copies were not looked for, and why."""
    if not store.hashes_meaningful:
        what = "copies were not looked for: pictures of this source are alike by nature"
        return Finding("copies-not-sought", Severity.NOTE, what, "", (), {})
    what = f"only equal hashes were looked for, no copies: {store.sizes[-1]} pixels say too little to confirm them"
    remedy = f"add {PROOF} or more to preprocess.sizes"
    return Finding("copies-not-sought", Severity.WARNING, what, remedy, (), {"pixels": store.sizes[-1]})


def leaked_artists(split: pl.DataFrame) -> list[Finding]:
    """Return the finding about artists of an unseen side, however spelt, who are on another side as well.

    The rows are those that are not where most of their artist's are.
    """
    names = {name: plain(name) for name in split["artist"].unique()}
    on_sides = split.filter(pl.col("side").is_in(SIDES)).with_columns(
        person=pl.col("artist").replace_strict(names, return_dtype=pl.String)
    )
    sides = pl.col("side").unique().over("person", mapping_strategy="join")
    leaked = on_sides.with_columns(sides=sides).filter(
        pl.col("sides").list.len() > 1, pl.col("sides").list.eval(pl.element().is_in(UNSEEN)).list.any()
    )
    if leaked.is_empty():
        return []
    main = leaked.group_by("person", maintain_order=True).agg(pl.col("side").mode(maintain_order=True).first())
    astray = leaked.join(main, on="person", suffix="_main").filter(pl.col("side") != pl.col("side_main"))
    artists = astray["artist"].unique(maintain_order=True).to_list()
    return [
        Finding(
            "leaked-artist", Severity.ERROR,
            f"artists who should be unseen but are on another side as well: {len(main)}, such as {artists[0]!r}",
            "give the artist one name in the table, or make the split anew", rows_of(astray),
            {"artists": len(main), "pictures": len(astray)},
        )
    ]  # fmt: skip


def copied(copies: list[Copy], split: pl.DataFrame) -> list[Finding]:
    """Return what is wrong with groups of pictures that show one painting, and what the split has done with them."""
    side, artist, key = (split[name].to_list() for name in ("side", "artist", "key"))
    cases: dict[str, list[set[int]]] = {}
    for group in groups_of(copies):
        used = {side[row] for row in group if side[row] in SIDES}
        if len({artist[row] for row in group}) > 1:
            kind = "two-artists-used" if used else "two-artists"
        elif len(used) > 1:
            kind = "duplicate-across-sides"
        else:
            twice = sum(side[row] in SIDES for row in group) > 1
            kind = "duplicate-on-one-side" if twice else "duplicate-left-out"
        cases.setdefault(kind, []).append(group)
    mirrored = {row for copy in copies if copy.mirrored for row in copy[:2]}
    found = []
    for kind, (severity, what, remedy) in COPIED.items():
        if groups := cases.get(kind):
            rows = tuple(row for group in groups for row in sorted(group))
            pair = [f"{key[row]} by {artist[row]}" for row in sorted(groups[0])[:2]]
            reflected = len(mirrored.intersection(rows))
            figures = {"paintings": len(groups), "pictures": len(rows), "mirrored": reflected}
            what = f"paintings {what}: {len(groups)}, such as {' and '.join(pair)}"
            found.append(Finding(kind, severity, what, remedy, rows, {**figures}))
    return found


COPIED = {
    "duplicate-across-sides": (
        Severity.ERROR, "on two sides, as copies, other scans or crops", "remove the copies from the table",
    ),
    "two-artists-used": (
        Severity.ERROR, "under two artists, and on a side", "find out whose they are and remove the other row",
    ),
    "two-artists": (
        Severity.WARNING, "under two artists, which the split leaves out under both",
        "find out whose they are and remove the other row",
    ),
    "duplicate-on-one-side": (
        Severity.WARNING, "more than once on one side, where they count as pairs of two",
        "remove the copies from the table",
    ),
    "duplicate-left-out": (
        Severity.WARNING, "there more than once, as copies, other scans or crops, of which the split uses one each",
        "remove the copies from the table, or leave it",
    ),
}  # fmt: skip
"""Severity, what is said and what to do, of each kind of case."""


def groups_of(copies: list[Copy]) -> list[set[int]]:
    """Return the rows that copies link, group by group, in order of their first rows."""
    linked = DisjointSet(sorted({row for copy in copies for row in copy[:2]}))
    for copy in copies:
        linked.merge(copy.whole, copy.part)
    return linked.subsets()


def false_duplicates(split: pl.DataFrame, copies: list[Copy]) -> list[Finding]:
    """Return the finding about pictures that the split leaves out for their hashes, though they are nobody's copy."""
    linked = {row for copy in copies for row in copy[:2]}
    left_out = split.filter(pl.col("side").is_in([DUPLICATE, DISPUTED]), ~pl.col("row").is_in(list(linked)))
    if left_out.is_empty():
        return []
    return [
        Finding(
            "false-duplicate", Severity.NOTE,
            f"pictures left out because another, of something else, has nearly the same hash: {len(left_out)}",
            "lower split.near_duplicate_bits, or leave it; blank pictures are always so", rows_of(left_out),
            {"pictures": len(left_out)},
        )
    ]  # fmt: skip


def rows_of(table: pl.DataFrame) -> tuple[int, ...]:
    """Return the row numbers of what is left of a table."""
    return tuple(table["row"].to_list())
