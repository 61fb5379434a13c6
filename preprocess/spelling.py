"""Which names of artists are probably one person's under two spellings."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

# NFKD takes accents off letters, but these are letters of their own.
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"})
SHORTEST_WITH_SLIP = 8
"""Letters in a name below which one letter more or less may well be another person."""


def plain(name: str) -> str:
    """Return a name in lower case without accents and punctuation, its words in alphabetical order.

    "Anker, Albert", "Albert ANKER" and "albert-anker" are all "albert anker".
    """
    letters = unicodedata.normalize("NFKD", name.casefold().translate(LETTERS))
    return " ".join(sorted(re.findall(r"\w+", "".join(c for c in letters if not unicodedata.combining(c)))))


def respelt(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of `names` that differ in case, accents, punctuation or the order of their words alone."""
    groups = defaultdict(list)
    for name in sorted(set(names)):
        groups[plain(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def slips(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of `names` that a slip tells apart: one letter more, less or other, or two changed places.

    Names that share what is left when any one letter is taken out are such pairs (Boytsov 2011, "Indexing methods for
    approximate dictionary searching", section 5.2), so no name need be compared with all others. Numbers are no slips:
    "Master of 1460" is not "Master of 1461", and names that are digests have nothing in common.
    """
    spelt = {plain(name): name for name in sorted(set(names), reverse=True)}
    shared = defaultdict(set)
    for key in spelt:
        for left in without_a_letter(key):
            shared[left].add(key)
    pairs = {pair for keys in shared.values() for pair in combinations(sorted(keys), 2) if is_slip(*pair)}
    return sorted((spelt[first], spelt[second]) for first, second in pairs)


def without_a_letter(key: str) -> Iterator[str]:
    """Yield a name and what is left of it when any one letter is taken out; short names only whole."""
    yield key
    if len(key) >= SHORTEST_WITH_SLIP:
        yield from {key[:place] + key[place + 1 :] for place in range(len(key))}


def is_slip(first: str, second: str) -> bool:
    """Return whether two plain names that are so near each other may be one person's: no numbers, same initials."""
    words = first.split(), second.split()
    return (
        not re.search(r"\d", first + second)
        and len(words[0]) == len(words[1])
        and all((one[0] == other[0] and len(one) > 2) or one == other for one, other in zip(*words, strict=True))
    )
