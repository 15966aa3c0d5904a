"""The grammar: rules over tokens that are read from text alone, as phrases and as sparse sets.

A rule is a set of keys of one view (views.py). A sum over a rule's tokens is a sum over its keys: add up the tokens of
each key once, then one small sparse product adds up the keys of every rule. This makes thousands of rules affordable
for every neuron.
"""

from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.rules.views import SetsOfKeys, View

FEWEST_TOKENS = 10
"""A rule needs this many fit tokens."""
FULL_SIMILARITY = 0.4
"""Mean pairwise cosine of embeddings from which two rules count as one."""
FULL_SPELLING = 0.2
"""Mean pairwise cosine of spellings from which two rules count as one."""
_MANY_TOKENS = 4000
"""From so many on it is quicker to go through all rules than through those that cover them."""
_COUNTS_KEPT = 4096
_DOCUMENT_COUNTS_KEPT = 65536

Half = Literal["fit", "eval"]


class Grammar:
    """The rules that a sample of tokens supports, ready for sums over its fit and eval halves.

    Rules with fewer than FEWEST_TOKENS fit tokens are left out, as is a rule with the same tokens as an
    earlier one of its view (so a folded form that only one token spells is that token).
    """

    def __init__(
        self,
        views: tuple[View, ...],
        positions: Int[ndarray, "t"],
        is_fit: Bool[ndarray, "t"],
        full_spelling: float = FULL_SPELLING,
    ) -> None:
        """Of the sampled `positions` of the held-out stream, each in the fit or the eval half."""
        self._full_spelling = full_spelling
        self.views = tuple(_supported(view, positions, is_fit) for view in views)
        self.fit, self.eval = np.flatnonzero(is_fit), np.flatnonzero(~is_fit)
        self.phrases = tuple(phrase for view in self.views for phrase in view.phrases)
        self.nouns = tuple(noun for view in self.views for noun in view.nouns)
        self.places = tuple(place for view in self.views for place in view.places)
        self.kinds = tuple(kind for view in self.views for kind in view.kinds)
        self.view_of = np.concatenate([np.full(len(view.members), number) for number, view in enumerate(self.views)])
        self.starts = np.cumsum([0, *(len(view.members) for view in self.views)])
        self._fit_keys = [view.keys[positions[self.fit]].astype(np.intp) for view in self.views]
        self._first_keys = np.cumsum([0, *(view.members.n_keys for view in self.views)])
        self._eval_keys = [view.keys[positions[self.eval]].astype(np.int32) for view in self.views]
        self._members = sp.csr_array(sp.block_diag([view.members.matrix for view in self.views], format="csr"))
        self._fit_tokens = self._tokens(positions[self.fit])
        self._eval_tokens = self._tokens(positions[self.eval])
        self.n_fit = np.diff(self._fit_tokens.ends)
        self.n_eval = np.diff(self._eval_tokens.ends)
        self._vectors, self._spelled, self._comparable = self._embedded()
        self.n_among = lru_cache(maxsize=_COUNTS_KEPT)(self._n_among)
        self.n_within = lru_cache(maxsize=_COUNTS_KEPT)(self._n_within)
        self.n_documents = lru_cache(maxsize=_DOCUMENT_COUNTS_KEPT)(self._n_documents)

    def __len__(self) -> int:
        return len(self.phrases)

    @cached_property
    def base_rate_fit(self) -> Float[ndarray, "rules"]:
        """Share of the fit tokens that each rule covers."""
        return self.n_fit / max(len(self.fit), 1)

    @property
    def fit_documents(self) -> Int[ndarray, "f"]:
        """Document of every fit token."""
        return self._fit_keys[[view.name for view in self.views].index("documents")]

    def sums(
        self, values: Float[ndarray, "f"], tokens: Int[ndarray, "k"] | None = None, views: tuple[int, ...] | None = None
    ) -> Float[ndarray, "rules"]:
        """Sum of `values` over each rule's fit tokens, fp64.

        Args:
            tokens: which fit tokens the values are of; by default all.
            views: numbers of the views to sum over; rules of others get 0. By default all.
        """
        if tokens is None and views is None:
            return self._members @ (self._by_key @ values)
        sums = []
        for number, (keys, view) in enumerate(zip(self._fit_keys, self.views)):
            if views is None or number in views:
                sums.append(np.bincount(keys if tokens is None else keys.take(tokens), values, view.members.n_keys))
            else:
                sums.append(np.zeros(view.members.n_keys))
        return self._members @ np.concatenate(sums)

    @cached_property
    def _by_key(self) -> sp.csr_array:
        """[keys of all views, fit tokens], ones: sums over all tokens take half of the time that counting takes."""
        n = len(self.fit)
        tokens = np.tile(np.arange(n), len(self.views))
        return sp.csr_array((np.ones(len(tokens)), (self._all_keys.ravel(), tokens)), (int(self._first_keys[-1]), n))

    @cached_property
    def _all_keys(self) -> Int[ndarray, "views f"]:
        """Key of every fit token in every view; the keys of a view follow those of the views before it."""
        return np.stack([keys + first for keys, first in zip(self._fit_keys, self._first_keys)])

    @cached_property
    def _rules_of(self) -> tuple[Int[ndarray, "keys"], Int[ndarray, "keys"], Int[ndarray, "members"]]:
        """Where the rules of each key of all views begin, how many they are, and the rules, key after key."""
        by_key = sp.csr_array(self._members.T)
        return (
            by_key.indptr[:-1].astype(np.intp),
            np.diff(by_key.indptr).astype(np.intp),
            by_key.indices.astype(np.intp),
        )

    def few_sums(self, values: Float[ndarray, "k"], tokens: Int[ndarray, "k"]) -> Float[ndarray, "rules"]:
        """`sums` where few of the tokens have a value that is not zero."""
        positive = values != 0
        values, tokens = values[positive], tokens[positive]
        if len(tokens) > _MANY_TOKENS:
            return self.sums(values, tokens)
        if not len(tokens):
            return np.zeros(len(self))
        by_key = np.bincount(self._all_keys[:, tokens].ravel(), np.tile(values, len(self.views)), self._first_keys[-1])
        # Only the rules of these few keys: a sparse product would look at all keys of all rules.
        touched = np.flatnonzero(by_key != 0)
        starts, lengths, rules_by_key = self._rules_of
        n = lengths[touched]
        ends = np.cumsum(n)
        rules = rules_by_key[np.repeat(starts[touched] - ends + n, n) + np.arange(ends[-1])]
        return np.bincount(rules, np.repeat(by_key[touched], n), len(self))

    def candidates(self, rules: Int[ndarray, "k"]) -> "Candidates":
        """Some rules, for sums over few tokens again and again."""
        return Candidates(self._all_keys, int(self._first_keys[-1]), self._members[rules])

    def holds(self, positions: Int[ndarray, "k"]) -> Bool[ndarray, "k rules"]:
        """Whether each rule covers each of some stream positions."""
        per_view = [sp.csr_array(view.members.matrix.T)[view.keys[positions]].toarray() > 0 for view in self.views]
        return np.concatenate(per_view, axis=1)

    def covers(self, rules: Int[ndarray, "k"], positions: Int[ndarray, "m"]) -> Bool[ndarray, "k m"]:
        """Whether each of some rules covers each of some stream positions."""
        out = np.empty((len(rules), len(positions)), bool)
        keys: dict[int, ndarray] = {}
        for row, rule in zip(out, rules.tolist()):
            number = int(self.view_of[rule])
            members = self.views[number].members
            if number not in keys:
                keys[number] = self.views[number].keys[positions]
            inside = np.zeros(members.n_keys, bool)
            inside[members[rule - int(self.starts[number])]] = True
            row[:] = inside[keys[number]]
        return out

    def tokens(self, half: Half, rules: tuple[int, ...]) -> Int[ndarray, "_"]:
        """The tokens of a half, as indices into it and in order, that all of one or more `rules` cover."""
        of_rule, keys = (self._fit_tokens, self._fit_keys) if half == "fit" else (self._eval_tokens, self._eval_keys)
        first, *others = sorted(rules, key=lambda rule: of_rule.ends[rule + 1] - of_rule.ends[rule])
        tokens = of_rule[first]
        for rule in others:
            number = int(self.view_of[rule])
            members = self.views[number].members
            inside = np.zeros(members.n_keys, bool)
            inside[members[rule - int(self.starts[number])]] = True
            tokens = tokens[inside[keys[number][tokens]]]
        return tokens

    def similarity(self, rules: Int[ndarray, "k"]) -> Float[ndarray, "k k"]:
        """Z: 1 on the diagonal; for two alphabetic rules of one view of tokens the larger of the mean pairwise cosines
        of their tokens' embeddings / FULL_SIMILARITY and spellings / `full_spelling`, clipped to [0, 1]; else 0."""
        vectors, view, comparable = self._vectors[rules], self.view_of[rules], self._comparable[rules]
        alike = (view[:, None] == view[None, :]) & comparable[:, None] & comparable
        z = vectors @ vectors.T / FULL_SIMILARITY
        # Spellings of the comparable rules alone: the sparse product is most of the cost, and others count for nothing.
        at = np.flatnonzero(comparable)
        if len(at):
            spelled = self._spelled[rules[at]]
            by_spelling = (spelled @ spelled.T).toarray() / self._full_spelling
            z[np.ix_(at, at)] = np.maximum(z[np.ix_(at, at)], by_spelling)
        z = np.clip(z, 0.0, 1.0) * alike
        np.fill_diagonal(z, 1.0)
        return z

    def _tokens(self, positions: Int[ndarray, "t"]) -> SetsOfKeys:
        """The tokens that each rule covers, in order."""
        sets = []
        for view in self.views:
            keys = view.keys[positions]
            by_key = np.argsort(keys, kind="stable")
            ends = np.cumsum([0, *np.bincount(keys, minlength=view.members.n_keys).tolist()])
            for rule in range(len(view.members)):
                of_keys = [by_key[ends[key] : ends[key + 1]] for key in view.members[rule].tolist()]
                sets.append(np.sort(np.concatenate(of_keys)).astype(np.int32))
        return SetsOfKeys(sets, len(positions))

    def _embedded(self) -> tuple[Float[ndarray, "rules d"], sp.csr_array, Bool[ndarray, "rules"]]:
        """Mean embedding and mean spelling of each rule's fit tokens, and whether these can be compared."""
        width = max((view.vectors.shape[1] for view in self.views if view.vectors is not None), default=1)
        spellings = [view.spelling for view in self.views if view.spelling is not None]
        n_letters = max((spelling.shape[1] for spelling in spellings), default=1)  # pyright: ignore[reportOptionalSubscript]
        vectors, spelled, comparable = [], [], []
        for view, keys in zip(self.views, self._fit_keys):
            n_rules, n_keys = len(view.members), view.members.n_keys
            means, letters = np.zeros((n_rules, width)), sp.csr_array((n_rules, n_letters))
            alone = np.zeros(n_rules, bool)
            if view.alphabetic is not None:
                counts = np.bincount(keys, minlength=n_keys).astype(np.float64)
                total = np.maximum(view.members.matrix @ counts, 1.0)
                weights = sp.csr_array(sp.diags_array(1 / total) @ view.members.matrix @ sp.diags_array(counts))
                means = means if view.vectors is None else weights @ view.vectors
                letters = letters if view.spelling is None else weights @ view.spelling
                alone = view.members.matrix @ (counts * ~view.alphabetic) == 0
            vectors.append(means)
            spelled.append(letters)
            comparable.append(alone)
        return np.concatenate(vectors), sp.csr_array(sp.vstack(spelled)), np.concatenate(comparable)

    def _n_among(self, rule: int) -> Float[ndarray, "rules"]:
        """Fit tokens that each rule shares with this one."""
        tokens = self.tokens("fit", (rule,))
        return self.few_sums(np.ones(len(tokens)), tokens)

    def _n_within(self, rules: tuple[int, ...]) -> Int[ndarray, "rules"]:
        """Fit tokens that each rule shares with all of `rules`."""
        tokens = self.tokens("fit", rules)
        return np.rint(self.sums(np.ones(len(tokens)), tokens)).astype(np.int32)

    def _n_documents(self, rules: tuple[int, ...]) -> int:
        """Fit documents with a token that all of `rules` cover."""
        return int(np.count_nonzero(np.bincount(self.fit_documents[self.tokens("fit", rules)])))


class Candidates:
    """Some rules of a grammar. Their sums are `Grammar.few_sums` of them, bit for bit, sooner."""

    def __init__(self, keys: Int[ndarray, "views f"], n_keys: int, members: sp.csr_array) -> None:
        self._keys, self._n_keys, self._members = keys, n_keys, members

    def sums(self, values: Float[ndarray, "k"], tokens: Int[ndarray, "k"]) -> Float[ndarray, "rules"]:
        """Sum of `values` over those of some fit `tokens` that each rule covers, fp64."""
        keys = self._keys.take(tokens, axis=1)
        by_key = np.bincount(keys.ravel(), np.tile(values, len(keys)), self._n_keys)
        return self._members @ by_key


def _supported(view: View, positions: Int[ndarray, "t"], is_fit: Bool[ndarray, "t"]) -> View:
    """The view without its rules that have too few fit tokens or repeat another rule's tokens."""
    n_keys = view.members.n_keys
    present = np.bincount(view.keys[positions], minlength=n_keys) > 0
    in_fit = np.bincount(view.keys[positions[is_fit]], minlength=n_keys)
    seen: set[bytes] = set()
    kept: list[int] = []
    sets: list[ndarray] = []
    for rule in np.flatnonzero(view.members.matrix @ in_fit >= FEWEST_TOKENS).tolist():
        keys = np.sort(view.members[rule])
        code = keys[present[keys]].tobytes()
        if code not in seen:
            seen.add(code)
            kept.append(rule)
            sets.append(keys)
    return replace(
        view,
        members=SetsOfKeys(sets, n_keys),
        phrases=tuple(view.phrases[rule] for rule in kept),
        nouns=tuple(view.nouns[rule] for rule in kept),
        places=tuple(view.places[rule] for rule in kept),
        kinds=tuple(view.kinds[rule] for rule in kept),
    )
