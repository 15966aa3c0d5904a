"""Features of real text that no score reads: planted neurons respond to these.

A hash fixed them before any score was tuned (`design.PLANTED_HASH`). Word lists and patterns stand in features.toml and
pool.toml, their meaning in feature_kinds.py and pool.py; this file says which features there are and which half each
belongs to. `admission` decides which of them are admitted on a corpus; how a score does on them plays no part.

Everything in features.toml has been looked at by now, so it is for tuning. held.toml names the families of pool.toml
that judge: a draw by hash made it before any score or figure was fitted on them.
"""

import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from jaxtyping import Bool
from numpy import ndarray

from analyze.validation.feature_kinds import DEFINITIONS, KINDS, NUMBERS, RELATIONS
from analyze.validation.parsed_text import ParsedText
from analyze.validation.pool import POOL_KINDS, pool_definitions
from train.files import canonical_json

Part = Literal["tuning", "held"]
HELD: frozenset[str] = frozenset(
    tomllib.loads(Path(__file__).with_name("held.toml").read_text(encoding="utf-8"))["families"]
)
"""Roots of the features that judge."""


@dataclass(frozen=True)
class Feature:
    """A named set of tokens. Features with the same `root` are about the same thing and belong to the same part."""

    name: str
    root: str
    kind: str
    given: tuple[str | int, ...]
    """What the function of its kind takes after the text."""

    @property
    def part(self) -> Part:
        """`tuning` (authors of scores may look at them: all of features.toml) or `held`."""
        return "held" if self.root in HELD else "tuning"

    def tokens(self, text: ParsedText) -> Bool[ndarray, "s"]:
        """The tokens of a stream that have the feature; never a separator."""
        return _ALL_KINDS[self.kind](text, *self.given) & (text.document >= 0)


LATELY = 8
_ALL_KINDS = KINDS | POOL_KINDS


def _defined() -> tuple[Feature, ...]:
    """Every feature, in the order of features.toml: the order decides how a second feature is made from a word list."""
    features: list[Feature] = []

    def add(name: str, root: str, kind: str, *given: str | int) -> None:
        features.append(Feature(name, root, kind, given))

    for index, name in enumerate(DEFINITIONS["lists"]):
        add(f"a word of {name}", name, "word", name)
        match index % 3:
            case 0:
                add(f"one token after a word of {name}", name, "back", name, 1)
            case 1:
                add(f"two tokens after a word of {name}", name, "back", name, 2)
            case _:
                add(f"within {LATELY} tokens after a word of {name}", name, "lately", name, LATELY)
    for first, second in DEFINITIONS["pairs"]:
        add(f"a word of {first}, then of {second}", f"{first} + {second}", "pair", first, second)
    for pair in DEFINITIONS["skips"]:
        first, second = pair.split()
        add(f"`{second}` two words after `{first}`", f"skip {pair}", "skip", first, second)
    for pair in DEFINITIONS["words_after"]:
        first, n = pair.split()
        add(f"the word {n} words after `{first}`", f"after {first}", "words after", first, int(n))
    for letters in DEFINITIONS["beginnings"].split():
        add(f"a word that begins with {letters}", f"begins {letters}", "spelled", f"^{letters}.")
    for name, pattern in DEFINITIONS["spellings"].items():
        add(f"a word with {name}", f"spelled {name}", "spelled", pattern)
    for letters in DEFINITIONS["endings"].split():
        add(f"a word that ends in {letters}", f"ends {letters}", "spelled", f"..{letters}$")
    for name, pattern in DEFINITIONS["lengths"].items():
        add(f"a word {name}", f"length {name}", "spelled", pattern)
    for event, ordinals in DEFINITIONS["ordinals"].items():
        place = "of the sentence" if event == "sentence" else f"since a {event}"
        for n in ordinals:
            add(f"word {n} {place}", f"{event} {n}", "ordinal", event, n)
    for n in (1, 2, 3, 4):
        add(f"after comma {n} of the sentence", f"comma {n}", "comma of sentence", n)
    for opening in DEFINITIONS["openings"]:
        add(f"early in a sentence that begins with {opening}", opening, "opened", opening)
    for n, fewest in DEFINITIONS["pieces"]:
        add(f"token {n} of a word of {fewest} or more", f"piece {n}", "piece", n, fewest)
    for name, pattern in DEFINITIONS["identifiers"].items():
        add(f"an identifier with {name}", f"identifier {name}", "identifier", pattern)
    for name in NUMBERS:
        add(f"a number: {name}", f"number {name}", "number", name)
    for name in RELATIONS:
        add(f"two words that {name}", f"two words {name}", "relation", name)
    return tuple(features)


FIRST_FEATURES: tuple[Feature, ...] = _defined()
"""Every definition of features.toml, in order."""
POOL_FEATURES: tuple[Feature, ...] = tuple(Feature(*definition) for definition in pool_definitions())
"""Every definition of pool.toml, in order."""
FEATURES: tuple[Feature, ...] = (*FIRST_FEATURES, *POOL_FEATURES)
"""Both; `admission.admit` picks those that a corpus supports."""


def drawn_families() -> tuple[str, ...]:
    """The families of the pool that judge, by a hash of their names: held.toml lists these.

    Kinds of feature that features.toml does not have are drawn as wholes, so that some kinds are new to every score.
    Two thirds of them, and two thirds of the other families, are held: those of the smallest sha256.
    """
    roots = {root: root if kind in KINDS or kind == "ahead" else kind for _, root, kind, _ in pool_definitions()}
    new_kinds = {unit for root, unit in roots.items() if unit != root or unit in POOL_KINDS}
    held: set[str] = set()
    for units in (new_kinds, set(roots.values()) - new_kinds):
        ordered = sorted(units, key=lambda unit: sha256(f"held families/{unit}".encode()).digest())
        held.update(ordered[: len(ordered) * 2 // 3])
    return tuple(sorted(root for root, unit in roots.items() if unit in held))


def families_hash(families: tuple[str, ...]) -> str:
    """sha256 of a list of families, as held.toml states it."""
    return sha256(canonical_json(sorted(families))).hexdigest()
