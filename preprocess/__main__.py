"""python -m preprocess: from paintings on disk to a sealed store."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from preprocess.common.cli import as_json, fail, main, say, verb
from preprocess.options import as_part, as_rows, gate, rehash, scheduler

if TYPE_CHECKING:
    from preprocess.common.config import Config
    from preprocess.gate import Verdict
    from preprocess.plan import Part
    from preprocess.store import Store


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
@rehash
@as_json
def manifest(config: "Config", rehash: bool, machine: bool) -> None:
    """List every picture with its artist, size and time; pictures are not read."""
    from preprocess.manifest import make_manifest, manifest_path

    rows = make_manifest(config, rehash)
    answer = {
        "path": str(manifest_path(config)), "pictures": len(rows), "artists": rows["artist"].n_unique(),
        "megabytes": round(int(rows["bytes"].sum()) / 1e6), "without_file": rows["place"].null_count(),
    }  # fmt: skip
    say(answer, machine, "manifest: {pictures} pictures by {artists} artists, {megabytes} MB, "
        "{without_file} without a file: {path}".format(**answer))  # fmt: skip


@preprocess.command()
@gate
def validate(config: "Config", allow: tuple[str, ...], install: bool) -> "Verdict":
    """Judge the table before the pictures are read; errors leave with status 2 unless --allow names them."""
    from preprocess.gate import decide_table
    from preprocess.manifest import make_manifest

    return decide_table(config, make_manifest(config), allow, install)


@preprocess.command()
@verb
@scheduler
@rehash
@click.option("--retry", is_flag=True, help="Try quarantined pictures again.")
@click.option("--shards", "part", metavar="I/N", callback=as_part, help="Build shards I, I+N, ... and do not seal.")
@as_json
def store(
    config: "Config", scheduler: str | None, rehash: bool, retry: bool, part: "Part | None", machine: bool
) -> None:
    """Square and resize every picture once, into a sealed zarr store."""
    from preprocess.build import build_part, build_store
    from preprocess.manifest import kept_manifest, make_manifest

    if part is None:
        tell(build_store(config, make_manifest(config, rehash), scheduler, retry), machine)
        return
    if rehash or retry:
        raise click.UsageError("--shards builds what the manifest lists; --rehash and --retry go without it")
    answer = build_part(config, kept_manifest(config), part, scheduler)
    say(answer, machine, f"store: part {part.first} of {part.step}, {answer['shards']} shards with "
        f"{answer['pictures']} pictures, is built; 'python -m preprocess seal' comes after all parts")  # fmt: skip


@preprocess.command()
@verb
@as_json
def seal(config: "Config", machine: bool) -> None:
    """Seal a store whose shards were built in parts, if none is missing."""
    from preprocess.build import seal_parts
    from preprocess.manifest import kept_manifest

    tell(seal_parts(config, kept_manifest(config)), machine)


def tell(built: "Store", machine: bool) -> None:
    """Print what a store holds."""
    rows = built.rows.filter(built.rows["status"] == "quarantined")
    answer = {
        "path": str(built.path), "pictures": built.seal["rows"], "stored": built.seal["stored"],
        "removed": built.seal["rows"] - built.seal["stored"] - len(rows),
        "quarantined": dict(rows["reason"].value_counts(sort=True).iter_rows()),
    }  # fmt: skip
    lines = "".join(f"\n  {count} quarantined: {reason}" for reason, count in answer["quarantined"].items())
    gone = f", {answer['removed']} no longer in the source" if answer["removed"] else ""
    say(answer, machine, f"store: {answer['stored']} of {answer['pictures']} pictures{gone}: {built.path}{lines}")


@preprocess.command("check-store")
@verb
def check(config: "Config") -> None:
    """Read every file of the current store and compare it with the seal."""
    from preprocess.check import check_store
    from preprocess.store import current_store

    opened = current_store(config.store_folder)
    if damage := check_store(opened):
        for one in damage:
            click.echo(one)
        fail(f"{opened.path}: {len(damage)} files differ from the seal; run 'python -m preprocess repair', and remove "
             "those that are not in the seal")  # fmt: skip
    click.echo(f"check-store: {len(opened.seal['files'])} files as sealed: {opened.path}")


@preprocess.command()
@verb
@scheduler
def repair(config: "Config", scheduler: str | None) -> None:
    """Make damaged shards of the current store again, exactly as they were sealed."""
    from preprocess.manifest import make_manifest
    from preprocess.repair import repair_store

    repaired = repair_store(config, make_manifest(config), scheduler)
    for one in repaired:
        click.echo(one)
    click.echo(f"repair: {len(repaired)} files were made again, all as sealed")


@preprocess.command()
@verb
@click.option("--rows", "count", type=click.IntRange(1, 10_000), default=96, show_default=True, help="Pictures shown.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which rows are drawn.")
@click.option("--quarantined", is_flag=True, help="Show quarantined pictures and the reasons instead.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("contact-sheet.png"),
    show_default=True,
    help="The PNG to write.",
)
def sheet(config: "Config", count: int, seed: int, quarantined: bool, out: Path) -> None:
    """Draw a contact sheet of random rows of the store, to look at."""
    from preprocess.sheet import contact_sheet, quarantine_sheet
    from preprocess.store import current_store

    opened = current_store(config.store_folder)
    if quarantined and not (opened.rows["status"] == "quarantined").any():
        click.echo("sheet: no picture is quarantined")
        return
    if quarantined:
        quarantine_sheet(config, opened, count, seed, out)
    else:
        contact_sheet(opened, count, seed, out)
    click.echo(f"sheet: {out}")


@preprocess.command()
@verb
@click.option("--rows", required=True, metavar="ROWS", callback=as_rows, help="For example 17 or 0-9,17.")
@click.option("--size", type=click.IntRange(1), help="Pixels: one of the sizes stored; by default the largest.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("exported"), show_default=True,
    help="The folder to write to.",
)  # fmt: skip
def export(config: "Config", rows: list[int], size: int | None, out: Path) -> None:
    """Turn rows of the store back into PNG files."""
    from preprocess.export import export_rows
    from preprocess.store import current_store

    opened = current_store(config.store_folder)
    export_rows(opened, rows, size or opened.sizes[-1], out)
    click.echo(f"export: {len(rows)} pictures in {out}")


if __name__ == "__main__":
    main(preprocess, "preprocess")
