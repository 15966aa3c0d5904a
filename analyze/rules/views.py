"""Views of tokens, and the rules that can be stated in each.

A view gives every token a key: its id, the id one or two before it, its context or its document. A rule is a set of
keys of one view, with a phrase of its own. `analyze.rules.grammar` makes a grammar of all rules.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.text.context_states import context_states
from analyze.text.embeddings import document_vectors, k_means
from analyze.text.stream import Stream
from analyze.text.vocabulary import COARSE_CLASSES, Vocabulary, in_backticks

CLUSTERINGS = (8, 24, 64)
DOCUMENTS_A_CLUSTER = 4

Kind = Literal["token", "form", "class", "context", "cluster"]
ViewName = Literal["current", "previous", "two before", "context", "documents"]


@dataclass(frozen=True, eq=False)
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
    """Which keys are tokens of letters alone: only rules of such tokens can be alike."""


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
    """Three views: the current token, the one before and the one before that; by identity, folded form and class.

    Args:
        previous: token before each, and the id 0 where there is none.
    """
    n = len(vocabulary)
    by_form: dict[str, list[int]] = {}
    for index, form in enumerate(vocabulary.folded):
        if form is not None:
            by_form.setdefault(form, []).append(index)
    forms = {form: np.array(members) for form, members in by_form.items() if len(members) > 1}
    classes = {name: np.flatnonzero(inside) for name, inside in vocabulary.classes.items()}
    members = SetsOfKeys([*np.arange(n)[:, None], *forms.values(), *classes.values()], n)
    kinds = _repeated("token", n) + _repeated("form", len(forms)) + _repeated("class", len(classes))
    tokens = [
        *(vocabulary.shown(index) for index in range(n)),
        *(f"{in_backticks(form.encode())} in any case or spacing" for form in forms),
    ]
    phrases = (*(f"{token} as the current token" for token in tokens), *classes)
    nouns = (*tokens, *(name.replace("after a space", "with its leading space") for name in classes))
    nothing = ("",) * len(nouns)
    compared = (vectors, spelling, vocabulary.alphabetic)
    views = [View("current", ids, members, phrases, nouns, nothing, kinds, *compared)]
    # A token without one before it has none two before it either: rows and documents begin there.
    two_before = np.where(previous == 0, 0, np.concatenate([[0], previous[:-1]]))
    places: tuple[tuple[ViewName, str, ndarray], ...] = (
        ("previous", "after", previous),
        ("two before", "two tokens after", two_before),
    )
    for name, place, keys in places:
        after = tuple(f"{place} {what}" for what in (*tokens, *classes))
        views.append(View(name, keys, members, after, nothing, after, kinds, *compared))
    return tuple(views)


def context_view(stream: Stream) -> View:
    """Each context state alone, and with each coarse class of the current token."""
    states = context_states(stream)
    packed = stream.vocabulary.coarse[stream.ids]
    for index, inside in enumerate(states.values()):
        packed = packed + len(COARSE_CLASSES) * 2**index * inside
    values, keys = np.unique(packed, return_inverse=True)
    coarse, bits = values % len(COARSE_CLASSES), values // len(COARSE_CLASSES)
    sets, phrases, nouns, places = [], [], [], []
    for index, state in enumerate(states):
        on = bits >> index & 1 == 1
        sets += [
            np.flatnonzero(on),
            *(np.flatnonzero(on & (coarse == number)) for number in range(len(COARSE_CLASSES))),
        ]
        phrases += [state, *(f"{name}, {state}" for name in COARSE_CLASSES)]
        nouns += ["", *COARSE_CLASSES]
        places += [state] * (1 + len(COARSE_CLASSES))
    kinds = _repeated("context", len(sets))
    members = SetsOfKeys(sets, len(values))
    return View("context", keys, members, tuple(phrases), tuple(nouns), tuple(places), kinds)


def document_view(stream: Stream, vectors: Float[ndarray, "v d"]) -> View:
    """Clusters of documents: spherical k-means on tf-idf means of token embeddings, at several sizes.

    Each is described by the words that set it apart (count x log of its share against all documents').
    """
    vocabulary, n_documents = stream.vocabulary, len(stream.starts)
    inside = stream.document >= 0
    ids, document = stream.ids[inside], stream.document[inside]
    counts = sp.csr_array((np.ones(len(ids)), (document, ids)), (n_documents, len(vocabulary)))
    points = document_vectors(ids, document, vectors, n_documents)
    is_word = np.array(
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
            distinct = own * np.log((own + 0.01) / (own.sum() + 1) / (share / share.sum()))
            words = np.argsort(-np.where(is_word, distinct, -np.inf), kind="stable")[:4]
            sets.append(members)
            named = ", ".join(f"`{vocabulary.folded[word]}`" for word in words if distinct[word] > 0)
            phrases.append(f"in documents around {named or 'no word in particular'} ({len(members)} documents)")
    keys = np.where(stream.document >= 0, stream.document, n_documents)
    kinds = _repeated("cluster", len(sets))
    members = SetsOfKeys(sets, n_documents + 1)
    return View("documents", keys, members, tuple(phrases), ("",) * len(sets), tuple(phrases), kinds)
