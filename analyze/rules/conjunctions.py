"""Rules that describe a neuron: one rule of the grammar or a conjunction of up to three, as a sentence.

A conjunction ("` the` after a newline in code") holds where all of its atoms hold: rules of the grammar that
say different things, at most one each of the current token, the two before it, the state of the text and
the kind of document. Two inductions share one beam search: `induce` reads the activations on all fit tokens,
`induce_from_examples` a few strong examples. Both charge for every further atom, so that a longer conjunction wins
only when it is clearly better. No rule says "or".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.rules.grammar import FEWEST_TOKENS, Grammar, Half

FEWEST_DOCUMENTS = 5
"""A rule needs fit tokens in this many documents, and no document weighs more than the one of this rank."""
MOST_ATOMS = 3
BEAM = 4
"""Conjunctions of each length that the search extends."""
LEAST_GAIN = 1.1
"""Factor by which a further atom must raise what a rule explains."""
MOST_BASE_RATE = 0.05
"""Share of the fit tokens above which a rule from examples is too broad: "letters only" would fit most sets."""
_ALIKE = 1e-9
_MANY = 0.25
"""Share of active tokens from which it is quicker to add up all."""
_TOO_BROAD = 1000.0

Atoms = tuple[int, ...]
"""A conjunction: its rules' places in the grammar, ascending. One alone is a conjunction too."""
Values = Callable[[Atoms], Float[ndarray, "rules"]]
"""The value of a conjunction (`()`: nothing yet) with each rule of the grammar added; -inf where that is no rule."""
_SAYS = {"current": 1, "previous": 2, "two before": 4, "context": 8, "documents": 16}


class Conjunctions:
    """The conjunctions of a grammar's rules: which may be made, what they cover, how they read."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._views = np.array([_SAYS[view.name] for view in grammar.views])
        # A context rule may name a class of the current token as well ("digits, in code").
        self._says = self._views[grammar.view_of] | np.array([bool(noun) for noun in grammar.nouns], dtype=np.int64)

    @cached_property
    def supported(self) -> Bool[ndarray, "rules"]:
        """Which rules have fit tokens in FEWEST_DOCUMENTS."""
        counts = (self.grammar.n_documents((rule,)) for rule in range(len(self.grammar)))
        return np.fromiter(counts, np.int64, len(self.grammar)) >= FEWEST_DOCUMENTS

    def _said(self, atoms: Atoms) -> int:
        return int(np.bitwise_or.reduce(self._says[list(atoms)], initial=0))

    def may_join(self, atoms: Atoms) -> Bool[ndarray, "rules"]:
        """Which rules say something that none of `atoms` says."""
        return (self._says & self._said(atoms)) == 0

    def open_views(self, atoms: Atoms) -> tuple[int, ...]:
        """Numbers of the views that rules which may join `atoms` belong to."""
        return tuple(np.flatnonzero((self._views & self._said(atoms)) == 0).tolist())

    def n(self, half: Half, atoms: Atoms) -> int:
        """Tokens of a half that a conjunction covers."""
        if len(atoms) == 1:
            return int((self.grammar.n_fit if half == "fit" else self.grammar.n_eval)[atoms[0]])
        return len(self.grammar.tokens(half, atoms))

    def base_rate(self, half: Half, atoms: Atoms) -> float:
        """Share of a half's tokens that a conjunction covers, counted; 0 of no tokens."""
        return self.n(half, atoms) / max(len(getattr(self.grammar, half)), 1)

    def covered(self, half: Half, atoms: Atoms) -> Bool[ndarray, "_"]:
        """Which tokens of a half a conjunction covers."""
        inside = np.zeros(len(getattr(self.grammar, half)), bool)
        inside[self.grammar.tokens(half, atoms)] = True
        return inside

    def sentence(self, atoms: Atoms) -> str:
        """A conjunction for a reader: the token, what it comes after, where it stands."""
        if len(atoms) == 1:
            return self.grammar.phrases[atoms[0]]
        noun = " ".join(self.grammar.nouns[atom] for atom in atoms if self.grammar.nouns[atom])
        places = [self.grammar.places[atom] for atom in sorted(atoms, key=self._says.__getitem__)]
        return " ".join([noun, ", ".join(place for place in places if place)]).strip()


@dataclass(frozen=True)
class _Candidate:
    """A conjunction and its value."""

    atoms: Atoms
    value: float


def _places(values: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Lower for higher values, equal for values alike.

    Rounded, since the same tokens summed in another order or on another scale differ in the last digits.
    """
    top = np.abs(values).max(initial=0.0)
    return -np.rint(values / (top or 1.0) / _ALIKE)


class _Search:
    """Beam search for the conjunction of highest value. One with a value below 0 may be extended but cannot win."""

    def __init__(self, values: Values, grammar: Grammar, most: Callable[[Atoms], float] = lambda atoms: np.inf) -> None:
        """`most`: an upper bound on the value of every conjunction that contains some atoms; the search does not
        extend those that cannot win."""
        self._values, self._grammar, self._most = values, grammar, most

    def _best(self, candidates: Iterable[_Candidate], most: int) -> list[_Candidate]:
        """The `most` of highest value, highest first; among equal values those with fewer, narrower atoms first."""
        candidates, n_fit = list(candidates), self._grammar.n_fit
        places = _places(np.array([each.value for each in candidates]))
        order = [
            (place, len(each.atoms), int(n_fit[list(each.atoms)].sum()), each.atoms)
            for place, each in zip(places, candidates)
        ]
        return [candidates[index] for index in sorted(range(len(candidates)), key=order.__getitem__)[:most]]

    def run(self) -> Atoms | None:
        """The best conjunction; None where no value is above 0."""
        alone, start = self._values(()), _Candidate((), -np.inf)
        level = [
            child for sign in (alone > 0, alone < 0) for child in self._children(start, np.where(sign, alone, -np.inf))
        ]
        seen = level
        for _ in range(MOST_ATOMS - 1):
            children: dict[Atoms, _Candidate] = {}
            for parent in self._extended(level):
                best = max((each.value for each in (*seen, *children.values())), default=0.0)
                if self._most(parent.atoms) > best:
                    children |= {each.atoms: each for each in self._children(parent, self._values(parent.atoms))}
            level = list(children.values())
            seen = seen + level
        winner = self._best((each for each in seen if each.value > 0), 1)
        return self._pruned(winner[0]).atoms if winner else None

    def _extended(self, level: list[_Candidate]) -> list[_Candidate]:
        """The best that may win, and the best that may only be extended."""
        may_win, may_not = [each for each in level if each.value > 0], [each for each in level if each.value < 0]
        return self._best(may_win, BEAM) + self._best(may_not, BEAM)

    def _children(self, parent: _Candidate, values: Float[ndarray, "rules"]) -> list[_Candidate]:
        """The BEAM best conjunctions of a parent and one rule more with a higher value than the parent's."""
        better = np.flatnonzero(values > parent.value)
        children: list[_Candidate] = []
        for rule in better[np.lexsort((self._grammar.n_fit[better], _places(values[better])))].tolist():
            atoms = tuple(sorted((*parent.atoms, rule)))
            if self._grammar.n_documents(atoms) >= FEWEST_DOCUMENTS:
                children.append(_Candidate(atoms, float(values[rule])))
            if len(children) == BEAM:
                break
        return children

    def _pruned(self, winner: _Candidate) -> _Candidate:
        """Without an atom that came in on the search's path and brings nothing in the end.

        Only of three: of two atoms the search has seen each alone.
        """
        if len(winner.atoms) < MOST_ATOMS:
            return winner
        shorter = [winner]
        for left_out in range(len(winner.atoms)):
            rest = winner.atoms[:left_out] + winner.atoms[left_out + 1 :]
            value = float(self._values(rest[:-1])[rest[-1]])
            if value > 0 and self._grammar.n_documents(rest) >= FEWEST_DOCUMENTS:
                shorter.append(_Candidate(rest, value))
        return self._best(shorter, 1)[0]


def _evened(y: Float[ndarray, "k"], documents: Int[ndarray, "k"]) -> Float[ndarray, "k"]:
    """y with the strongest documents scaled down to the sum of squares of the one of rank FEWEST_DOCUMENTS."""
    by_document = np.bincount(documents, np.square(y), FEWEST_DOCUMENTS)
    most = np.partition(by_document, -FEWEST_DOCUMENTS)[-FEWEST_DOCUMENTS]
    return y * np.sqrt(most / np.maximum(by_document, most))[documents] if most > 0 else np.zeros_like(y)


def induce(y: Float[ndarray, "f"], conjunctions: Conjunctions) -> Atoms | None:
    """The rule that best tells where a neuron is active, from its activations on all fit tokens.

    The value of a rule with n fit tokens is V = (s^2 / n)(1 - 1 / sqrt(n)), s = sum of y - mean(y) over them: what
    it explains of the variance of y, with a discount that grows as n falls (the first round of K_eff). Only
    rules with s > 0, FEWEST_TOKENS and FEWEST_DOCUMENTS count. Every atom after the first divides V by
    LEAST_GAIN. A list of numbers in one document is not a hundred observations: documents with more of the sum
    of squares of y than the one of rank FEWEST_DOCUMENTS are scaled down to it first. The result is the same for
    any positive factor on y.

    Args:
        y: activations, zero where the neuron is at rest (this makes sums quick).

    Returns:
        None where no rule has s > 0.
    """
    grammar = conjunctions.grammar
    active = np.flatnonzero(y != 0)  # twice as fast as np.flatnonzero(y)
    heights = _evened(y[active].astype(np.float64), grammar.fit_documents[active])
    y = np.zeros(len(y))
    y[active] = heights
    mean = float(heights.sum()) / max(len(y), 1)

    def most(atoms: Atoms) -> float:
        # s^2 / n of any set of tokens is at most the sum of squares of its positive differences (Cauchy, Schwarz).
        above = np.maximum(y[grammar.tokens("fit", atoms)] - mean, 0)
        return float(np.square(above).sum()) / LEAST_GAIN ** len(atoms)

    def values(atoms: Atoms) -> Float[ndarray, "rules"]:
        if atoms:
            tokens = grammar.tokens("fit", atoms)
            tokens = tokens[y[tokens] != 0]
            n, allowed = grammar.n_within(atoms), conjunctions.may_join(atoms)
            sums = grammar.sums(y[tokens], tokens, conjunctions.open_views(atoms))
        else:
            n, allowed = grammar.n_fit, conjunctions.supported
            sums = grammar.sums(y) if len(active) > _MANY * len(y) else grammar.sums(heights, active)
        s = sums - mean * n
        value = np.full(len(grammar), -np.inf)
        kept = np.flatnonzero(allowed & (n >= FEWEST_TOKENS) & (s > _ALIKE * mean * n))
        size = n[kept]
        value[kept] = s[kept] ** 2 / size * (1 - 1 / np.sqrt(size)) / LEAST_GAIN ** len(atoms)
        return value

    return _Search(values, grammar, most).run()


def induce_from_examples(holds: Bool[ndarray, "k rules"], conjunctions: Conjunctions) -> Atoms | None:
    """The rule that best fits k strong examples, given which rules hold at each of them.

    Among rules with a base rate of at most MOST_BASE_RATE over the fit tokens (and FEWEST_TOKENS of them, in
    FEWEST_DOCUMENTS) the one that covers most examples; of those the rarest, where every atom after the first
    must halve the base rate. The result is the same for any order of the examples.

    Returns:
        None where no such rule covers an example.
    """
    grammar = conjunctions.grammar
    n_fit = max(len(grammar.fit), 1)
    alone = holds.sum(axis=0)
    narrow = alone[conjunctions.supported & (grammar.base_rate_fit <= MOST_BASE_RATE)]
    # A conjunction covers no more than each of its atoms does: leave out those that cover less than the best rule.
    candidates = np.flatnonzero(conjunctions.supported & (alone >= max(int(narrow.max(initial=0)), 1)))
    of_candidates = holds[:, candidates]

    def values(atoms: Atoms) -> Float[ndarray, "rules"]:
        value = np.full(len(grammar), -np.inf)
        n = grammar.n_within(atoms) if atoms else grammar.n_fit
        allowed = (n[candidates] >= FEWEST_TOKENS) & conjunctions.may_join(atoms)[candidates]
        covers = of_candidates[holds[:, list(atoms)].all(axis=1)].sum(axis=0)
        kept = np.flatnonzero(allowed & (covers > 0))
        base_rate = n[candidates[kept]] / n_fit
        bits = -np.log2(base_rate) - len(atoms)
        # Bits count as a fraction of an example: they order rules that cover equally many.
        value[candidates[kept]] = covers[kept] + bits / 64 - _TOO_BROAD * (base_rate > MOST_BASE_RATE)
        return value

    return _Search(values, grammar).run()
