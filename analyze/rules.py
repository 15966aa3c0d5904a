"""The grammar: rules over tokens that are read from text alone, as sentences and as sparse sets.

A view gives every token a key (its id, the id before it, its context, its document); a rule is a set of
keys of one view. Sums over a rule's tokens are then sums over keys followed by one small sparse product,
which is what makes thousands of rules affordable for every neuron.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.embeddings import k_means, unit_rows
from analyze.text import COARSE_CLASSES, ContextStates, Vocabulary, in_backticks

FEWEST_TOKENS = 10
"""A rule needs this many fit tokens."""
CLUSTERINGS = (8, 24, 64)
DOCUMENTS_A_CLUSTER = 4
FULL_SIMILARITY = 0.4
"""Mean pairwise cosine from which two rules count as one."""
_STEPS_KEPT = 1024
_COUNTS_KEPT = 4096
_DOCUMENT_COUNTS_KEPT = 65536

Kind = Literal["token", "form", "class", "context", "cluster"]
ViewName = Literal["current", "previous", "context", "documents"]
Half = Literal["fit", "eval"]


@dataclass(frozen=True)
class View:
    """One way to look at a token: its key, and the rules over keys."""

    name: ViewName
    keys: Int[ndarray, "s"]
    """Key of every position of the eval stream."""
    members: "SetsOfKeys"
    """The keys of each rule."""
    phrases: tuple[str, ...]
    """Each rule as a sentence of its own."""
    nouns: tuple[str, ...]
    """What each rule says of the current token itself; "" where nothing."""
    places: tuple[str, ...]
    """What each rule says of where the current token stands; "" where nothing."""
    kinds: tuple[Kind, ...]
    vectors: Float[ndarray, "keys d"] | None = None
    """Embedding of each key; None where rules of this view are never alike."""
    alphabetic: Bool[ndarray, "keys"] | None = None


class Step(NamedTuple):
    """What the last rule of a list covers that the earlier ones do not; indices into fit and eval tokens."""

    new_fit: Int[ndarray, "f"]
    new_eval: Int[ndarray, "e"]
    n_left: Int[ndarray, "rules"]
    """Fit tokens of every rule that the whole list leaves uncovered."""


class SetsOfKeys:
    """Sets of the integers 0 .. n_keys - 1, one after another."""

    def __init__(self, sets: list[Int[ndarray, "_"]], n_keys: int) -> None:
        self.n_keys = n_keys
        self.ends = np.cumsum([0, *map(len, sets)])
        self.flat = np.concatenate(sets) if sets else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> Int[ndarray, "_"]:
        return self.flat[self.ends[index] : self.ends[index + 1]]

    @cached_property
    def matrix(self) -> sp.csr_array:
        """[sets keys], ones."""
        return sp.csr_array((np.ones(len(self.flat)), self.flat, self.ends), (len(self), self.n_keys))


def _repeated(kind: Kind, n: int) -> tuple[Kind, ...]:
    return (kind,) * n


def token_views(
    ids: Int[ndarray, "s"],
    previous: Int[ndarray, "s"],
    vocabulary: Vocabulary,
    vectors: Float[ndarray, "v d"],
) -> tuple[View, View]:
    """The views of the current and of the previous token: identity, folded form, classes."""
    n = len(vocabulary)
    forms: dict[str, list[int]] = {}
    for index, form in enumerate(vocabulary.folded):
        if form is not None:
            forms.setdefault(form, []).append(index)
    joined = {form: np.array(members) for form, members in forms.items() if len(members) > 1}
    classes = {name: np.flatnonzero(inside) for name, inside in vocabulary.classes.items()}
    alone = [np.array([index]) for index in range(n)]
    members = SetsOfKeys([*alone, *joined.values(), *classes.values()], n)
    kinds = _repeated("token", n) + _repeated("form", len(joined)) + _repeated("class", len(classes))
    shown = [vocabulary.shown(index) for index in range(n)]
    folded = [f"{in_backticks(form.encode())} in any case or spacing" for form in joined]
    current = [
        *(f"{token} as the current token" for token in shown),
        *(f"{form} as the current token" for form in folded),
    ]
    nouns = (*shown, *folded, *(name.replace("after a space", "with its leading space") for name in classes))
    after = tuple(f"after {name}" for name in (*shown, *folded, *classes))
    nothing = ("",) * len(nouns)
    alphabetic = vocabulary.alphabetic
    return (
        View("current", ids, members, (*current, *classes), nouns, nothing, kinds, vectors, alphabetic),
        View("previous", previous, members, after, nothing, after, kinds, vectors, alphabetic),
    )


def context_view(ids: Int[ndarray, "s"], context: ContextStates, vocabulary: Vocabulary) -> View:
    """Each context state alone, and with each coarse class of the current token."""
    packed = vocabulary.coarse[ids]
    for index, state in enumerate(context.states.values()):
        packed = packed + len(COARSE_CLASSES) * 2**index * state
    values, keys = np.unique(packed, return_inverse=True)
    coarse, bits = values % len(COARSE_CLASSES), values // len(COARSE_CLASSES)
    sets, phrases, nouns, places = [], [], [], []
    for index, state in enumerate(context.states):
        on = bits >> index & 1 == 1
        sets.append(np.flatnonzero(on))
        phrases.append(state)
        nouns.append("")
        for number, name in enumerate(COARSE_CLASSES):
            sets.append(np.flatnonzero(on & (coarse == number)))
            phrases.append(f"{name}, {state}")
            nouns.append(name)
        places += [state] * (1 + len(COARSE_CLASSES))
    kinds = _repeated("context", len(sets))
    members = SetsOfKeys(sets, len(values))
    return View("context", keys, members, tuple(phrases), tuple(nouns), tuple(places), kinds)


def document_view(
    ids: Int[ndarray, "s"],
    document: Int[ndarray, "s"],
    vocabulary: Vocabulary,
    vectors: Float[ndarray, "v d"],
) -> View:
    """Clusters of documents: spherical k-means on tf-idf means of token embeddings, at several sizes.

    Described by the words that set a cluster apart (count x log of its share against all documents').
    """
    n_documents = int(document.max()) + 1
    inside = document >= 0
    counts = sp.csr_array((np.ones(int(inside.sum())), (document[inside], ids[inside])), (n_documents, len(vocabulary)))
    found_in = np.unique(document[inside] * len(vocabulary) + ids[inside]) % len(vocabulary)
    rarity = np.log((1 + n_documents) / (1 + np.bincount(found_in, minlength=len(vocabulary))))
    points = unit_rows(counts @ (vectors * rarity[:, None]))
    worded = np.array(
        [bool(text and text[:1] == " " and len(text) > 4 and text[1:].isalpha()) for text in vocabulary.texts]
    )
    share = np.asarray(counts.sum(axis=0)) + 1.0
    sets, phrases = [], []
    for k in CLUSTERINGS:
        if n_documents < k * DOCUMENTS_A_CLUSTER:
            break
        cluster = k_means(points, k)
        for index in np.unique(cluster):
            members = np.flatnonzero(cluster == index)
            own = np.asarray(counts[members].sum(axis=0))
            telling = own * np.log((own + 0.01) / (own.sum() + 1) / (share / share.sum()))
            words = np.argsort(-np.where(worded, telling, -np.inf), kind="stable")[:4]
            sets.append(members)
            named = ", ".join(f"`{vocabulary.folded[word]}`" for word in words if telling[word] > 0)
            phrases.append(f"in documents around {named or 'no word in particular'} ({len(members)} documents)")
    keys = np.where(inside, document, n_documents)
    kinds = _repeated("cluster", len(sets))
    members = SetsOfKeys(sets, n_documents + 1)
    return View("documents", keys, members, tuple(phrases), ("",) * len(sets), tuple(phrases), kinds)


class Grammar:
    """The rules that a sample of tokens supports, ready for sums over its fit and eval halves.

    Rules with fewer than FEWEST_TOKENS fit tokens are left out, as is a rule with the same tokens as an
    earlier one of its view (so a folded form that only one token spells is that token).
    """

    def __init__(self, views: tuple[View, ...], positions: Int[ndarray, "t"], is_fit: Bool[ndarray, "t"]) -> None:
        """Of the sampled `positions` of the eval stream, each in the fit or the eval half."""
        self.views = tuple(_supported(view, positions, is_fit) for view in views)
        self.fit, self.eval = np.flatnonzero(is_fit), np.flatnonzero(~is_fit)
        self.phrases = tuple(phrase for view in self.views for phrase in view.phrases)
        self.nouns = tuple(noun for view in self.views for noun in view.nouns)
        self.places = tuple(place for view in self.views for place in view.places)
        self.kinds = tuple(kind for view in self.views for kind in view.kinds)
        self.view_of = np.concatenate([np.full(len(view.members), number) for number, view in enumerate(self.views)])
        self.starts = np.cumsum([0, *(len(view.members) for view in self.views)])
        self._fit_keys = [view.keys[positions[self.fit]].astype(np.intp) for view in self.views]
        self._eval_keys = [view.keys[positions[self.eval]].astype(np.int32) for view in self.views]
        self._members = sp.csr_array(sp.block_diag([view.members.matrix for view in self.views], format="csr"))
        self._fit_tokens = self._tokens(positions[self.fit])
        self._eval_tokens = self._tokens(positions[self.eval])
        self.n_fit = np.diff(self._fit_tokens.ends)
        self.n_eval = np.diff(self._eval_tokens.ends)
        self._vectors, self._comparable = self._embedded()
        self.step = lru_cache(maxsize=_STEPS_KEPT)(self._step)
        self.n_within = lru_cache(maxsize=_COUNTS_KEPT)(self._n_within)
        self.n_documents = lru_cache(maxsize=_DOCUMENT_COUNTS_KEPT)(self._n_documents)

    def __len__(self) -> int:
        return len(self.phrases)

    @cached_property
    def base_rate_fit(self) -> Float[ndarray, "rules"]:
        """Share of the fit tokens that each rule covers."""
        return self.n_fit / max(len(self.fit), 1)

    @cached_property
    def base_rate_eval(self) -> Float[ndarray, "rules"]:
        """Share of the eval tokens that each rule covers."""
        return self.n_eval / max(len(self.eval), 1)

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
            views: numbers of the views wanted, the rules of others come out as 0; by default all.
        """
        if tokens is None and views is None:
            return self._members @ (self._by_key @ values)
        by_key = []
        for number, (held, view) in enumerate(zip(self._fit_keys, self.views)):
            if views is None or number in views:
                keys = held if tokens is None else held[tokens]
                by_key.append(np.bincount(keys, values, view.members.n_keys))
            else:
                by_key.append(np.zeros(view.members.n_keys))
        return self._members @ np.concatenate(by_key)

    @cached_property
    def _by_key(self) -> sp.csr_array:
        """[keys of all views, fit tokens], ones: sums over all tokens take half of the time that counting takes."""
        n, ends = len(self.fit), np.cumsum([0, *(view.members.n_keys for view in self.views)])
        keys = np.concatenate([held + start for held, start in zip(self._fit_keys, ends)])
        tokens = np.tile(np.arange(n), len(self.views))
        return sp.csr_array((np.ones(len(keys)), (keys, tokens)), (int(ends[-1]), n))

    def covers(self, positions: Int[ndarray, "n k"]) -> Int[ndarray, "n rules"]:
        """How many of each row's stream positions each rule covers."""
        n, k = positions.shape
        row = np.repeat(np.arange(n), k)
        per_view = []
        for view in self.views:
            keys = view.keys[positions.ravel()]
            held = sp.csr_array((np.ones(n * k), (row, keys)), (n, view.members.n_keys))
            per_view.append((held @ view.members.matrix.T).toarray())
        return np.concatenate(per_view, axis=1).astype(np.int64)

    def holds(self, positions: Int[ndarray, "k"]) -> Bool[ndarray, "k rules"]:
        """Whether each rule covers each of some stream positions."""
        row = np.arange(len(positions))
        per_view = []
        for view in self.views:
            shape = (len(positions), view.members.n_keys)
            held = sp.csr_array((np.ones(len(positions)), (row, view.keys[positions])), shape)
            per_view.append((held @ view.members.matrix.T).astype(bool).toarray())
        return np.concatenate(per_view, axis=1)

    def tokens(self, half: Half, rules: tuple[int, ...]) -> Int[ndarray, "_"]:
        """The tokens of a half, as indices into it and in order, that all of one or more `rules` cover."""
        held, keys = (self._fit_tokens, self._fit_keys) if half == "fit" else (self._eval_tokens, self._eval_keys)
        first, *others = sorted(rules, key=lambda rule: held.ends[rule + 1] - held.ends[rule])
        found = held[first]
        for rule in others:
            number = int(self.view_of[rule])
            members = self.views[number].members
            inside = np.zeros(members.n_keys, bool)
            inside[members[rule - int(self.starts[number])]] = True
            found = found[inside[keys[number][found]]]
        return found

    def similarity(self, rules: Int[ndarray, "k"]) -> Float[ndarray, "k k"]:
        """Z: 1 on the diagonal; mean pairwise cosine / FULL_SIMILARITY, clipped to [0, 1], for two alphabetic
        rules of the current-token view or of the previous-token view; else 0."""
        vectors, view = self._vectors[rules], self.view_of[rules]
        alike = (view[:, None] == view[None, :]) & self._comparable[rules][:, None] & self._comparable[rules]
        z = np.clip(vectors @ vectors.T / FULL_SIMILARITY, 0.0, 1.0) * alike
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
                held = [by_key[ends[key] : ends[key + 1]] for key in view.members[rule].tolist()]
                sets.append(np.sort(np.concatenate(held)).astype(np.int32))
        return SetsOfKeys(sets, len(positions))

    def _embedded(self) -> tuple[Float[ndarray, "rules d"], Bool[ndarray, "rules"]]:
        width = max((view.vectors.shape[1] for view in self.views if view.vectors is not None), default=1)
        vectors, comparable = [], []
        for view, keys in zip(self.views, self._fit_keys):
            n_rules, n_keys = len(view.members), view.members.n_keys
            if view.vectors is None or view.alphabetic is None:
                vectors.append(np.zeros((n_rules, width)))
                comparable.append(np.zeros(n_rules, bool))
                continue
            counts = np.bincount(keys, minlength=n_keys).astype(np.float64)
            total = np.maximum(view.members.matrix @ counts, 1.0)
            vectors.append((view.members.matrix @ (view.vectors * counts[:, None])) / total[:, None])
            comparable.append(view.members.matrix @ (counts * ~view.alphabetic) == 0)
        return np.concatenate(vectors), np.concatenate(comparable)

    def _n_within(self, rules: tuple[int, ...]) -> Int[ndarray, "rules"]:
        """Fit tokens that each rule shares with all of `rules`."""
        tokens = self.tokens("fit", rules)
        return np.rint(self.sums(np.ones(len(tokens)), tokens)).astype(np.int32)

    def _n_documents(self, rules: tuple[int, ...]) -> int:
        """Fit documents with a token that all of `rules` cover."""
        return int(np.count_nonzero(np.bincount(self.fit_documents[self.tokens("fit", rules)])))

    def _step(self, rules: tuple[int, ...]) -> Step:
        """The last of `rules`, in their order."""
        new_fit, new_eval = (_not_covered(tokens, rules) for tokens in (self._fit_tokens, self._eval_tokens))
        before = self.step(rules[:-1]).n_left if len(rules) > 1 else self.n_fit
        gone = self.sums(np.ones(len(new_fit)), new_fit)
        return Step(new_fit, new_eval, (before - np.rint(gone)).astype(np.int32))


def _not_covered(tokens: SetsOfKeys, rules: tuple[int, ...]) -> Int[ndarray, "_"]:
    covered = np.zeros(tokens.n_keys, bool)
    for earlier in rules[:-1]:
        covered[tokens[earlier]] = True
    last = tokens[rules[-1]]
    return last[~covered[last]].astype(np.intp)


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
