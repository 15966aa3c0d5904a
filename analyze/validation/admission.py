"""Which features are admitted on a corpus: frequent enough to plant, and unlike anything that a score reads.

Over the held-out tokens, a set R that scores read (a rule of the grammar, a label of the bank) keeps a feature F out
for one of three reasons:

    same       |F & R| / |F | R| >= SAME
    holds      R lies in F (INSIDE of R's tokens) and covers HALF of F
    held by    F lies in R (INSIDE of F's tokens) and R has fewer than WIDER times F's tokens

Broad sets contain features all the same ("letters only" contains every word list); they do not count as the feature
because they are at least WIDER times as large. Only single sets are compared. A union of rules may come near a
feature: scores that take several rules exist for that.
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

from analyze.labels.bank import LabelBank
from analyze.rules.grammar import Grammar
from analyze.validation.features import FEATURES, Feature, Part
from analyze.validation.parsed_text import ParsedText

SAME, INSIDE, HALF, WIDER = 0.5, 0.9, 0.5, 4.0
FEWEST_TOKENS, FEWEST_DOCUMENTS, LARGEST_SHARE = 150, 60, 0.05


@runtime_checkable
class ScoreSets(Protocol):
    """Sets of tokens that scores read."""

    @property
    def kind(self) -> str:
        """What they are: "rule" or "label"."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each set."""
        ...

    @property
    def sizes(self) -> Float[ndarray, " r"]:
        """How many tokens each set has."""
        ...

    def shared(self, inside: Bool[ndarray, "t f"]) -> Float[ndarray, "r f"]:
        """How many tokens each set shares with each feature."""
        ...


class RuleSets:
    """The rules of a grammar at some positions of the stream."""

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
        """How many tokens each rule shares with each feature."""
        return np.concatenate([sums @ inside.astype(np.float64) for sums in self._sums])


class LabelSets:
    """The labels of a bank at some positions of the stream."""

    kind = "label"

    def __init__(self, bank: LabelBank, positions: Int[ndarray, "t"]) -> None:
        self.names = bank.names
        self._tokens = sp.csr_array(bank.matrix(positions).T)
        self.sizes = np.asarray(self._tokens.sum(axis=1)).ravel()

    def shared(self, inside: Bool[ndarray, "t f"]) -> Float[ndarray, "r f"]:
        """How many tokens each label shares with each feature."""
        return np.asarray(self._tokens @ inside.astype(np.float64))


@dataclass(frozen=True)
class Refused:
    """A feature that is not planted, and why."""

    feature: Feature
    why: str
    """`few`, `many`, `same`, `holds` or `held by`."""
    by: str = ""
    """The set that keeps it out."""
    n_tokens: int = 0
    """How many tokens have it."""


@dataclass(frozen=True)
class Admitted:
    """The features that may be planted on a corpus, as sets of its held-out tokens."""

    features: tuple[Feature, ...]
    tokens: Bool[ndarray, "t f"]
    refused: tuple[Refused, ...]

    @property
    def share(self) -> Float[ndarray, " f"]:
        """The share of the tokens that have each feature."""
        return self.tokens.mean(axis=0)

    @property
    def hash(self) -> str:
        """sha256 of the admitted names and of their tokens."""
        digest = sha256("\n".join(feature.name for feature in self.features).encode())
        digest.update(np.packbits(self.tokens, axis=0).tobytes())
        return digest.hexdigest()

    def of(self, part: Part) -> "Admitted":
        """The features of one part."""
        kept = np.array([index for index, feature in enumerate(self.features) if feature.part == part], np.int64)
        refused = tuple(refusal for refusal in self.refused if refusal.feature.part == part)
        return Admitted(tuple(self.features[index] for index in kept.tolist()), self.tokens[:, kept], refused)

    def lines(self) -> list[str]:
        """How many features were admitted and refused, by part and reason."""
        lines = []
        for part in ("tuning", "held"):
            mine = self.of(part)
            counts = Counter(refusal.why for refusal in mine.refused)
            reasons = ", ".join(f"{why} {count}" for why, count in sorted(counts.items())) or "none"
            lines.append(f"{part}: {len(mine.features)} features admitted, {len(mine.refused)} refused ({reasons})")
        return lines


def admit(
    text: ParsedText,
    positions: Int[ndarray, "t"],
    score_sets: Iterable[ScoreSets],
    features: tuple[Feature, ...] = FEATURES,
) -> Admitted:
    """Compare every feature with the sets that scores read, at some positions of the stream."""
    tokens = np.stack([feature.tokens(text)[positions] for feature in features], axis=1)
    document = text.document[positions]
    count = tokens.sum(axis=0)
    n_documents = np.array([len(np.unique(document[column])) for column in tokens.T])
    why = np.full(len(features), "", object)
    by = np.full(len(features), "", object)
    why[(count < FEWEST_TOKENS) | (n_documents < FEWEST_DOCUMENTS)] = "few"
    why[count > LARGEST_SHARE * len(positions)] = "many"
    for sets in score_sets:
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
    kept = np.flatnonzero(why == "")
    refused = tuple(
        Refused(features[index], why[index], by[index], int(count[index]))
        for index in np.flatnonzero(why != "").tolist()
    )
    return Admitted(tuple(features[index] for index in kept.tolist()), tokens[:, kept], refused)
