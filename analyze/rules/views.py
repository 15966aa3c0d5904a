"""Views of tokens: ways to look at one, each with the rules that it can tell, as sets of keys.

A view gives every token a key (its id, the id one or two before it, its context, its document); a rule is a set of
keys of one view, with a sentence of its own. `analyze.rules.grammar` makes a grammar of them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.text.embeddings import k_means, unit_rows
from analyze.text.vocabulary import COARSE_CLASSES, ContextStates, Vocabulary, in_backticks

CLUSTERINGS = (8, 24, 64)
DOCUMENTS_A_CLUSTER = 4

Kind = Literal["token", "form", "class", "context", "cluster"]
ViewName = Literal["current", "previous", "two before", "context", "documents"]


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
    spelling: sp.csr_array | None = None
    """[keys letters], unit rows or zeros: how each key is spelled (analyze.text.spelling)."""
    alphabetic: Bool[ndarray, "keys"] | None = None


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
    spelling: sp.csr_array | None = None,
) -> tuple[View, ...]:
    """The three views of tokens, the current, the one before and the one before that: identity, folded form, classes.

    Args:
        previous: token before each, and the id 0 where there is none.
    """
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
    nothing = ("",) * len(nouns)
    compared = (vectors, spelling, vocabulary.alphabetic)
    earlier: list[View] = []
    # A token without one before it has none two before it either: rows and documents begin there.
    two_before = np.where(previous == 0, 0, np.concatenate([[0], previous[:-1]]))
    places: tuple[tuple[ViewName, str, ndarray], ...] = (
        ("previous", "after", previous),
        ("two before", "two tokens after", two_before),
    )
    for name, place, keys in places:
        after = tuple(f"{place} {what}" for what in (*shown, *folded, *classes))
        earlier.append(View(name, keys, members, after, nothing, after, kinds, *compared))
    return (View("current", ids, members, (*current, *classes), nouns, nothing, kinds, *compared), *earlier)


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
