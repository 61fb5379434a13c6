"""Which pictures of a store show one painting: found once, and kept beside the store."""

from pathlib import Path

import numpy as np

from pipeline.copies.find import Copy, find_copies
from pipeline.copies.likeness import PROOF
from preprocess.common.files import digest, read_json, write_json
from preprocess.store import STORED, Store

FILE = "copies.json"


def comparable(store: Store) -> bool:
    """Return whether copies can be told: the source's hashes mean something, and there are pictures of PROOF pixels."""
    return store.hashes_meaningful and store.sizes[-1] >= PROOF


def copies_of(store: Store) -> list[Copy]:
    """Return the copies among the stored pictures of `store`, if they can be told from its pictures at all.

    They depend on the store and on the code of this folder. The list is found where it was made from others, about
    14 kB of memory a picture, and kept in copies.json beside the store. Raises StoreError where a picture is damaged.
    """
    if not comparable(store):
        return []
    path = store.path.parent / FILE
    code = [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    made_from = digest([store.fingerprint, code])
    try:
        kept = read_json(path)
    except (FileNotFoundError, ValueError):
        kept = {}
    if not isinstance(kept, dict) or kept.get("made_from") != made_from:
        stored = np.flatnonzero((store.rows["status"] == STORED).to_numpy())
        kept = {"made_from": made_from, "copies": find_copies(store, stored)}
        write_json(path, kept)
    return [Copy(*each) for each in kept["copies"]]
