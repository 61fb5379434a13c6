"""What a check of the collection found: one sentence, how grave it is, what to do, and the rows it is about."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    """Figures made from this collection would be wrong: nothing goes on unless the finding's kind is allowed."""
    WARNING = "warning"
    """Somebody should look; the pipeline copes."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing found in a collection."""

    kind: str
    """Short and stable, such as "leaked-artist": what --allow names."""
    severity: Severity
    what: str
    """One plain sentence with its numbers."""
    remedy: str
    """What to do; empty where nothing is to be done."""
    rows: tuple[int, ...]
    """Every row concerned, or none where the finding is about the whole."""
    figures: dict[str, float | int | str]
    """The numbers behind it, by name."""
