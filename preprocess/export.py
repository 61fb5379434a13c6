"""Rows of a store, turned back into picture files."""

from pathlib import Path

from PIL import Image

from preprocess.common.errors import QuarantinedRow, StoreError
from preprocess.common.files import written_aside
from preprocess.common.progress import Progress
from preprocess.store import STORED, Store


def export_rows(store: Store, rows: list[int], size: int, out: Path) -> None:
    """Write `rows` as RGB PNG files of `size` pixels, out/<row>.png.

    Raises StoreError for a row or a size that the store does not have, QuarantinedRow for one without a picture.
    """
    if size not in store.sizes:
        raise StoreError(f"{store.path} holds sizes {store.sizes}, not {size}; name one of them with --size")
    with Progress("export", len(rows), "picture") as progress:
        for row in rows:
            if row >= len(store.rows):
                raise StoreError(f"{store.path} has rows 0 to {len(store.rows) - 1}, got {row}")
            key, status, reason = store.rows.select("key", "status", "reason").row(row)
            if status != STORED:
                raise QuarantinedRow(f"row {row} ({key}) has no picture: {reason}; leave it out of --rows")
            with written_aside(out / f"{row:06d}.png") as aside:
                Image.fromarray(store.picture(row, size)).save(aside, format="PNG")
            progress.advance(1)
