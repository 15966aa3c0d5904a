"""Which features are admitted on a corpus: often enough to plant, and nothing that a score reads.

A set R that scores read (a rule of the grammar, a label of the bank) keeps a feature F out where, over the
held-out tokens,

    same       |F & R| / |F | R| >= SAME
    holds      R lies in F (INSIDE of R's tokens) and covers HALF of F
    held by    F lies in R (INSIDE of F's tokens) and R has less than WIDER times F's tokens

Broad sets hold features all the same ("letters only" holds every word list): what keeps a set from being the
feature is that it is at least WIDER times as large. Only single sets are looked at: a union of rules may
come near a feature, which is what scores that take several rules are for.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.rules.grammar import Grammar
from analyze.validation.features import FEATURES, Feature, Part
from analyze.validation.reading import Reading

SAME, INSIDE, HALF, WIDER = 0.5, 0.9, 0.5, 4.0
FEWEST_TOKENS, FEWEST_DOCUMENTS, LARGEST_SHARE = 150, 60, 0.05


@runtime_checkable
class SetsRead(Protocol):
    """Sets of tokens that scores read, by what they share with features."""

    @property
    def kind(self) -> str:
        """What they are: "rule" or "label"."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """One each."""
        ...

    @property
    def sizes(self) -> Float[ndarray, " r"]:
        """Tokens of each."""
        ...

    def shared(self, inside: Bool[ndarray, "t f"]) -> Float[ndarray, "r f"]:
        """Tokens that each shares with each feature."""
        ...


class Rules:
    """The rules of a grammar at the stream positions of its sample."""

    kind = "rule"

    def __init__(self, grammar: Grammar, positions: Int[ndarray, "t"]) -> None:
        self.names = grammar.phrases
        self._sums = [
            view.members.matrix
            @ sp.csr_array(
                (np.ones(len(positions)), (view.keys[positions], np.arange(len(positions)))),
                (view.members.n_keys, len(positions)),
            )
            for view in grammar.views
        ]
        self.sizes = self.shared(np.ones((len(positions), 1), bool))[:, 0]

    def shared(self, inside: Bool[ndarray, "t f"]) -> Float[ndarray, "r f"]:
        """Tokens of each rule and each feature."""
        held = inside.astype(np.float64)
        return np.concatenate([sums @ held for sums in self._sums])


@dataclass(frozen=True)
class Refused:
    """A feature that is not planted, and why."""

    feature: Feature
    why: str
    """`few`, `many`, `same`, `holds` or `held by`."""
    by: str = ""
    """The set that keeps it out."""


@dataclass(frozen=True)
class Admitted:
    """The features that may be planted on a corpus, as sets of its held-out tokens."""

    features: tuple[Feature, ...]
    tokens: Bool[ndarray, "t f"]
    refused: tuple[Refused, ...]

    @property
    def share(self) -> Float[ndarray, " f"]:
        """Of the tokens, each."""
        return self.tokens.mean(axis=0)

    @property
    def hash(self) -> str:
        """sha256 of the names admitted and of their tokens: what was planted on this corpus."""
        digest = sha256("\n".join(one.name for one in self.features).encode())
        digest.update(np.packbits(self.tokens, axis=0).tobytes())
        return digest.hexdigest()

    def of(self, part: Part) -> "Admitted":
        """Those of one part."""
        kept = np.array([index for index, one in enumerate(self.features) if one.part == part], np.int64)
        refused = tuple(one for one in self.refused if one.feature.part == part)
        return Admitted(tuple(self.features[index] for index in kept.tolist()), self.tokens[:, kept], refused)

    def lines(self) -> list[str]:
        """How many stand and fell, by part and reason."""
        found = []
        for part in ("tuning", "held"):
            mine = self.of(part)
            reasons = Counter(one.why for one in mine.refused)
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "none"
            found.append(f"{part}: {len(mine.features)} features admitted, {len(mine.refused)} refused ({told})")
        return found


def admitted(
    reading: Reading, positions: Int[ndarray, "t"], read: Iterable[SetsRead], features: tuple[Feature, ...] = FEATURES
) -> Admitted:
    """Hold every definition against the sets that scores read, at the given positions of the stream."""
    tokens = np.stack([one.tokens(reading)[positions] for one in features], axis=1)
    document = reading.document[positions]
    count = tokens.sum(axis=0)
    n_documents = np.array([len(np.unique(document[column])) for column in tokens.T])
    why = np.full(len(features), "", object)
    by = np.full(len(features), "", object)
    why[(count < FEWEST_TOKENS) | (n_documents < FEWEST_DOCUMENTS)] = "few"
    why[count > LARGEST_SHARE * len(positions)] = "many"
    for sets in read:
        size, both = sets.sizes[:, None], sets.shared(tokens)
        reasons = {
            "same": both >= SAME * (size + count - both),
            "holds": (both >= INSIDE * size) & (both >= HALF * count),
            "held by": (both >= INSIDE * count) & (size < WIDER * count),
        }
        for reason, against in reasons.items():
            for index in np.flatnonzero((against & (size > 0)).any(axis=0) & (why == "")).tolist():
                why[index] = reason
                by[index] = f"{sets.kind}: {sets.names[int(np.argmax(against[:, index] * both[:, index]))]}"
    stands = np.flatnonzero(why == "")
    refused = tuple(Refused(features[index], why[index], by[index]) for index in np.flatnonzero(why != "").tolist())
    return Admitted(tuple(features[index] for index in stands.tolist()), tokens[:, stands], refused)
