"""Planted neurons as activations: any score reads them as if they had been collected."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.moments import StreamMoments, combine, sampled_statistics
from analyze.activations.sample import HeldSample
from analyze.activations.store import FORMAT_VERSION, Activations, ActivationsMeta, TokenSample
from analyze.activations.token_sample import make_plan, select
from analyze.activations.top_examples import TopExamples
from analyze.text.context_states import context_states
from analyze.text.stream import stream_of
from analyze.text.vocabulary import Vocabulary
from analyze.validation.admission import Admitted
from analyze.validation.design import (
    BROAD,
    CASES,
    MAIN,
    N_CONTROLS,
    Case,
    Neuron,
    TooFewFeatures,
    drawn,
    planted,
    random_tokens,
    random_words,
    single_token,
)
from train.data.tokens import TokenFile, load_tokenizer
from train.errors import BadInput

_CHUNK = 8192
PARTS_OF_THE_DOCUMENTS = {"half of the documents": 2, "a quarter of the documents": 4}


@dataclass(frozen=True)
class Ground:
    """The held-out tokens that neurons are planted on, all of them."""

    data: TokenFile
    tokens: TokenSample

    @classmethod
    def of(cls, data: TokenFile) -> "Ground":
        """Of the eval split of a data directory.

        Raises:
            BadInput: nothing but separators there.
        """
        return cls(data, make_plan(data, data.n_rows, 1.0).tokens)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What the token ids stand for."""
        return Vocabulary.of(load_tokenizer(self.data.directory / "tokenizer.json"))

    def among(self, n: int) -> Bool[ndarray, "t"]:
        """The tokens of one document in n, chosen by a hash of its index."""
        chosen = [
            sha256(f"planted/{index}".encode()).digest()[0] % n == 0 for index in range(self.tokens.document.max() + 1)
        ]
        return np.array(chosen)[self.tokens.document]

    def activations(
        self, values: Float[ndarray, "t n"], name: str, kept: Bool[ndarray, "t"] | None = None
    ) -> Activations:
        """Values on these tokens, or on those `kept`, with the moments and examples that `collect` would give them.

        There is no checkpoint and there are no weights, and nothing is summed by token id.
        """
        tokens = self.tokens if kept is None else select(self.tokens, kept)
        held = torch.from_numpy(values if kept is None else values[kept])
        n = held.shape[1]
        stream, examples = StreamMoments(n), TopExamples(n)
        for first in range(0, len(held), _CHUNK):
            piece = held[first : first + _CHUNK]
            stream.update(piece)
            examples.update(piece, select(tokens, np.arange(first, first + len(piece))))
        sample = HeldSample(held)
        moments = combine(stream, sampled_statistics(sample, tokens, n))
        return Activations(self._meta(tokens, n, name), tokens, moments, examples.finish(), sample)

    def _meta(self, tokens: TokenSample, n: int, name: str) -> ActivationsMeta:
        return ActivationsMeta(
            format_version=FORMAT_VERSION,
            run="planted",
            variant=name,
            seed=0,
            step=0,
            tokens_seen=0,
            layer=0,
            hook="mid",
            act="relu",
            n_neurons=n,
            n_params=0,
            factor=1,
            start_run=None,
            root_variant=name,
            eval_loss=None,
            unigram_loss=None,
            bigram_loss=None,
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
        """The classes and context states named in BROAD, each as a set of tokens.

        Raises:
            BadInput: one that texts are no longer read for.
        """
        stream = stream_of(self.data)
        known = {name: inside[stream.ids] for name, inside in self.vocabulary.classes.items()} | context_states(stream)
        for name in BROAD:
            if name not in known:
                raise BadInput(f"broad feature {name!r}: neither a class of tokens nor a state of the context")
        return np.stack([known[name][self.tokens.stream_position] for name in BROAD], axis=1)


@dataclass(frozen=True)
class Plot:
    """Neurons planted together, and what is known of them."""

    name: str
    acts: Activations
    k: Int[ndarray, "n"]
    """How many features each adds up; 0 for sets by chance."""
    members: Bool[ndarray, "n f"]
    """Which of the admitted features; none for controls."""


def members_of(neurons: list[Neuron], n_features: int) -> Bool[ndarray, "n f"]:
    """Which features each neuron adds up."""
    found = np.zeros((len(neurons), n_features), bool)
    for row, one in zip(found, neurons):
        row[list(one.features)] = True
    return found


def case_plot(
    ground: Ground, bank: Admitted, case: Case, kept: Bool[ndarray, "t"] | None = None, name: str = ""
) -> Plot:
    """The neurons of one case.

    Raises:
        TooFewFeatures: see `drawn`.
    """
    neurons = drawn(case, bank)
    values = planted(bank.tokens, neurons, case.noise, case.name)
    acts = ground.activations(values, name or case.name, kept)
    return Plot(name or case.name, acts, np.array([one.k for one in neurons]), members_of(neurons, len(bank.features)))


def control_plots(ground: Ground, bank: Admitted) -> Iterator[Plot]:
    """One plot a control: broad features, random words, random tokens, single tokens."""
    ids, n, count = np.asarray(ground.tokens.ids, np.int64), len(ground.tokens), range(N_CONTROLS)
    alone = [Neuron((index,), (1.0,)) for index in count]
    none = np.zeros((N_CONTROLS, len(bank.features)), bool)
    broad = [Neuron((index % len(BROAD),), (1.0,)) for index in count]
    for name, sets, neurons, k in (
        ("broad", ground.broad, broad, 1),
        ("random words", lambda: np.stack([random_words(ids, index) for index in count], axis=1), alone, 0),
        ("random tokens", lambda: np.stack([random_tokens(n, bank, index) for index in count], axis=1), alone, 0),
        ("single tokens", lambda: np.stack([single_token(ids, index) for index in count], axis=1), alone, 1),
    ):
        acts = ground.activations(planted(sets(), neurons, MAIN.noise, name), name)
        yield Plot(name, acts, np.full(N_CONTROLS, k), none)


CHANGES = ("offset -0.25", "offset 1", "scale 8", "three of each")
"""What must leave a score unmoved, made on every fifth neuron of the main case."""


def changed_plots(ground: Ground, bank: Admitted) -> Iterator[Plot]:
    """Every fifth neuron of the main case, as it is ("unchanged"), and then under each of CHANGES."""
    neurons = drawn(MAIN, bank)
    chosen = np.arange(0, len(neurons), 5)
    values = planted(bank.tokens, neurons, MAIN.noise, MAIN.name)[:, chosen]
    k, members = np.array([one.k for one in neurons])[chosen], members_of(neurons, len(bank.features))[chosen]
    for name, moved in (
        ("unchanged", values),
        (CHANGES[0], values - np.float32(0.25)),
        (CHANGES[1], values + np.float32(1)),
        (CHANGES[2], values * np.float32(8)),
    ):
        yield Plot(name, ground.activations(moved, name), k, members)
    thrice = np.repeat(np.arange(len(chosen)), 3)
    yield Plot(CHANGES[3], ground.activations(values[:, thrice], CHANGES[3]), k[thrice], members[thrice])


def plots(ground: Ground, bank: Admitted) -> Iterator[Plot | str]:
    """All that scores are measured on, one after another; the name alone of a case with too few features."""
    for case in CASES:
        try:
            yield case_plot(ground, bank, case)
        except TooFewFeatures:
            yield case.name
    for name, n in PARTS_OF_THE_DOCUMENTS.items():
        try:
            yield case_plot(ground, bank, MAIN, ground.among(n), name)
        except TooFewFeatures:
            yield name
    yield from control_plots(ground, bank)
    yield from changed_plots(ground, bank)
