"""Planted neurons as activations: a score reads them as if `collect` had written them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from jaxtyping import BFloat16, Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.activations.in_memory import activations_in_memory
from analyze.activations.store import FORMAT_VERSION, Activations, ActivationsMeta, TokenSample
from analyze.activations.token_sample import make_plan, select
from analyze.text.context_states import context_states
from analyze.text.stream import stream_of
from analyze.validation.admission import Admitted
from analyze.validation.design import (
    BROAD,
    CASES,
    MAIN,
    N_CONTROLS,
    Case,
    Neuron,
    TooFewFeatures,
    draw_neurons,
    planted_activations,
    random_tokens,
    random_words,
    single_token,
)
from train.data.tokens import TokenFile
from train.errors import BadInput

LONG = 1000
"""Tokens to which documents are cut at most where a corpus has too many."""
PARTS_OF_THE_DOCUMENTS = {"half of the documents": 2, "a quarter of the documents": 4}


@dataclass(frozen=True)
class Corpus:
    """All the held-out tokens of a data directory: neurons are planted on them."""

    data: TokenFile
    tokens: TokenSample

    @classmethod
    def of(cls, data: TokenFile) -> "Corpus":
        """Take the eval split of a data directory.

        Raises:
            BadInput: it contains nothing but separators.
        """
        return cls(data, make_plan(data, data.n_rows, 1.0).tokens)

    def at_most(self, n_tokens: int) -> "Corpus":
        """The same corpus, or one of about so many tokens: long documents are cut, and then documents left out.

        Documents are cut to LONG tokens at least; which are left out goes by a hash of their index.
        """
        if len(self.tokens) <= n_tokens:
            return self
        document = self.tokens.document
        starts = np.flatnonzero(np.diff(document, prepend=-1))
        lengths = np.diff(np.append(starts, len(document)))
        place = np.arange(len(document)) - np.repeat(starts, lengths)
        longest = LONG
        while np.minimum(lengths, longest + 100).sum() <= n_tokens:
            longest += 100
        cut = np.minimum(lengths, longest)
        order = [sha256(f"corpus/{index}".encode()).digest() for index in document[starts].tolist()]
        by_hash = np.array(sorted(range(len(order)), key=order.__getitem__))
        stays = np.zeros(len(starts), bool)
        stays[by_hash[np.cumsum(cut[by_hash]) <= n_tokens]] = True
        return Corpus(self.data, select(self.tokens, (place < longest) & np.repeat(stays, lengths)))

    def one_document_in(self, n: int) -> Bool[ndarray, "t"]:
        """The tokens of one document in n, chosen by a hash of its index."""
        indices = range(self.tokens.document.max() + 1)
        chosen = [sha256(f"planted/{index}".encode()).digest()[0] % n == 0 for index in indices]
        return np.array(chosen)[self.tokens.document]

    def activations(
        self, values: Float[ndarray, "t n"], name: str, kept: Bool[ndarray, "t"] | None = None
    ) -> Activations:
        """Activations with the moments and examples that `collect` would give these values.

        They have no checkpoint, no weights and no sums by token id.

        Args:
            values: the activation of every neuron on every token of the corpus.
            kept: the tokens to use; None: all.
        """
        tokens = self.tokens if kept is None else select(self.tokens, kept)
        activations = torch.from_numpy(values if kept is None else values[kept])
        return activations_in_memory(activations, tokens, self._meta(tokens, activations.shape[1], name))

    def activations_of(self, values: BFloat16[Tensor, "t n"], name: str, act: str = "relu") -> Activations:
        """The same for values in bf16, as `collect` keeps them, of neurons with some activation function."""
        return activations_in_memory(values, self.tokens, self._meta(self.tokens, values.shape[1], name, act))

    def _meta(self, tokens: TokenSample, n: int, name: str, act: str = "relu") -> ActivationsMeta:
        return ActivationsMeta(
            format_version=FORMAT_VERSION,
            run="planted",
            variant=name,
            seed=0,
            step=0,
            tokens_seen=0,
            layer=0,
            hook="mid",
            act=act,
            n_neurons=n,
            n_params=0,
            root_variant=name,
            checkpoint_hash="",
            checkpoint_dir="",
            data_hash=self.data.data_hash,
            data_dir=str(self.data.directory),
            n_ctx=self.data.n_ctx,
            n_tokens=len(tokens),
            n_sampled_tokens=len(tokens),
            n_documents=len(np.unique(tokens.document)),
            quantiles="all tokens",
            sample_hash=None,
            settings={"planted": name},
        )

    def broad(self) -> Bool[ndarray, "t b"]:
        """The token classes and context states named in BROAD, each as a set of tokens.

        Raises:
            BadInput: a name in BROAD is neither.
        """
        stream = stream_of(self.data)
        classes = {name: inside[stream.ids] for name, inside in stream.vocabulary.classes.items()}
        known = classes | context_states(stream)
        for name in BROAD:
            if name not in known:
                raise BadInput(f"broad feature {name!r}: neither a class of tokens nor a state of the context")
        return np.stack([known[name][self.tokens.stream_position] for name in BROAD], axis=1)


@dataclass(frozen=True)
class PlantedSet:
    """Neurons planted together, and the truth about them."""

    name: str
    acts: Activations
    k: Int[ndarray, "n"]
    """How many features each neuron sums; 0 for random sets."""
    members: Bool[ndarray, "n f"]
    """Which of the admitted features those are; none for controls."""


def members_of(neurons: list[Neuron], n_features: int) -> Bool[ndarray, "n f"]:
    """Which features each neuron sums."""
    members = np.zeros((len(neurons), n_features), bool)
    for row, neuron in zip(members, neurons):
        row[list(neuron.features)] = True
    return members


def planted_case(
    corpus: Corpus, admitted: Admitted, case: Case, kept: Bool[ndarray, "t"] | None = None, name: str = ""
) -> PlantedSet:
    """Plant the neurons of one case.

    Args:
        kept: the tokens to plant on; None: all of the corpus.

    Raises:
        TooFewFeatures: see `draw_neurons`.
    """
    neurons = draw_neurons(case, admitted)
    values = planted_activations(admitted.tokens, neurons, case.noise, case.name)
    acts = corpus.activations(values, name or case.name, kept)
    k = np.array([neuron.k for neuron in neurons])
    return PlantedSet(name or case.name, acts, k, members_of(neurons, len(admitted.features)))


def control_sets(corpus: Corpus, admitted: Admitted) -> Iterator[PlantedSet]:
    """One planted set for each of CONTROLS."""
    ids, broad = np.asarray(corpus.tokens.ids, np.int64), corpus.broad()
    makers: dict[str, tuple[Callable[[int], Bool[ndarray, "t"]], int]] = {
        "broad": (lambda index: broad[:, index % len(BROAD)], 1),
        "random words": (lambda index: random_words(ids, index), 0),
        "random tokens": (lambda index: random_tokens(len(ids), admitted, index), 0),
        "single tokens": (lambda index: single_token(ids, index), 1),
    }
    neurons = [Neuron((index,), (1.0,)) for index in range(N_CONTROLS)]
    no_members = np.zeros((N_CONTROLS, len(admitted.features)), bool)
    for name, (make, k) in makers.items():
        tokens = np.stack([make(index) for index in range(N_CONTROLS)], axis=1)
        acts = corpus.activations(planted_activations(tokens, neurons, MAIN.noise, name), name)
        yield PlantedSet(name, acts, np.full(N_CONTROLS, k), no_members)


CHANGES = ("offset -0.25", "offset 1", "scale 8", "three of each")
"""Changes that must leave a score unmoved, made to every fifth neuron of the main case."""


def changed_sets(corpus: Corpus, admitted: Admitted) -> Iterator[PlantedSet]:
    """Every fifth neuron of the main case, first as it is ("unchanged"), then under each of CHANGES."""
    neurons = draw_neurons(MAIN, admitted)
    chosen = np.arange(0, len(neurons), 5)
    values = planted_activations(admitted.tokens, neurons, MAIN.noise, MAIN.name)[:, chosen]
    k = np.array([neuron.k for neuron in neurons])[chosen]
    members = members_of(neurons, len(admitted.features))[chosen]
    for name, changed in (
        ("unchanged", values),
        (CHANGES[0], values - np.float32(0.25)),
        (CHANGES[1], values + np.float32(1)),
        (CHANGES[2], values * np.float32(8)),
    ):
        yield PlantedSet(name, corpus.activations(changed, name), k, members)
    thrice = np.repeat(np.arange(len(chosen)), 3)
    yield PlantedSet(CHANGES[3], corpus.activations(values[:, thrice], CHANGES[3]), k[thrice], members[thrice])


def planted_sets(corpus: Corpus, admitted: Admitted, say: Callable[[str], None]) -> Iterator[PlantedSet]:
    """Everything that scores are measured on, in order; `say` takes a line for each case with too few features."""
    cases = [(case, None, case.name) for case in CASES]
    parts = [(MAIN, corpus.one_document_in(n), name) for name, n in PARTS_OF_THE_DOCUMENTS.items()]
    for case, kept, name in (*cases, *parts):
        try:
            yield planted_case(corpus, admitted, case, kept, name)
        except TooFewFeatures:
            say(f"{name}: too few features for it, left out")
    yield from control_sets(corpus, admitted)
    yield from changed_sets(corpus, admitted)
