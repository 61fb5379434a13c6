"""python -m preprocess: from paintings on disk to a sealed store."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from preprocess.common.cli import as_json, fail, main, say, verb

if TYPE_CHECKING:
    from preprocess.common.config import Config


@click.group(help=__doc__)
def preprocess() -> None:
    pass


@preprocess.command()
@verb
def gallery(config: "Config") -> None:
    """Generate the embedded gallery of paintings, unless it is there."""
    from preprocess.sources import ensure_gallery

    new = ensure_gallery(config)
    click.echo(f"gallery: {'made' if new else 'already there'}: {config.source.path}")


@preprocess.command()
@verb
@as_json
def manifest(config: "Config", machine: bool) -> None:
    """List every picture with its artist, size and SHA-256, from headers only."""
    from preprocess.manifest import make_manifest, manifest_path

    rows = make_manifest(config)
    problems = int(rows["problem"].is_not_null().sum())
    answer = {
        "path": str(manifest_path(config)), "pictures": len(rows), "artists": rows["artist"].n_unique(),
        "megabytes": round(int(rows["bytes"].sum()) / 1e6), "unreadable_headers": problems,
    }  # fmt: skip
    say(answer, machine, "manifest: {pictures} pictures by {artists} artists, {megabytes} MB, "
        "{unreadable_headers} with an unreadable header: {path}".format(**answer))  # fmt: skip


@preprocess.command()
@verb
@as_json
def store(config: "Config", machine: bool) -> None:
    """Square and resize every picture once, into a sealed zarr store."""
    from preprocess.build import build_store
    from preprocess.manifest import make_manifest

    built = build_store(config, make_manifest(config))
    reasons = built.rows.drop_nulls("reason")["reason"].value_counts(sort=True)
    answer = {
        "path": str(built.path), "pictures": built.seal["rows"], "stored": built.seal["stored"],
        "quarantined": dict(reasons.iter_rows()),
    }  # fmt: skip
    lines = "".join(f"\n  {count} quarantined: {reason}" for reason, count in answer["quarantined"].items())
    say(answer, machine, f"store: {answer['stored']} of {answer['pictures']} pictures: {built.path}{lines}")


@preprocess.command("check-store")
@verb
def check(config: "Config") -> None:
    """Read every file of the current store and compare it with the seal."""
    from preprocess.store import check_store, current_store

    opened = current_store(config.store_folder)
    if damage := check_store(opened):
        for line in damage:
            click.echo(line)
        fail(f"{opened.path}: {len(damage)} files differ from the seal; move the store away and run 'make store'")
    click.echo(f"check-store: {len(opened.seal['files'])} files as sealed: {opened.path}")


@preprocess.command()
@verb
@click.option("--rows", "count", type=click.IntRange(1, 10_000), default=96, show_default=True, help="Pictures shown.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("contact-sheet.png"),
    show_default=True,
    help="The PNG to write.",
)
def sheet(config: "Config", count: int, out: Path) -> None:
    """Draw a contact sheet of rows of the store, evenly spaced, to look at."""
    from preprocess.sheet import contact_sheet
    from preprocess.store import current_store

    contact_sheet(current_store(config.store_folder), count, out)
    click.echo(f"sheet: {out}")


if __name__ == "__main__":
    main(preprocess, "preprocess")
