"""Interventions on a memory of sequences: change the token at one place by scale, or by a subspace of the place's own.

A memory is a trained GRU or a hand-built one: it encodes a sequence into a state and decodes a state into answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from train.toys.programs.base import Parameters, generator
from train.toys.programs.gru import GruSettings, cross_entropy, decode, encode


@runtime_checkable
class Memory(Protocol):
    """Several replicas of a network that holds sequences in a state."""

    @property
    def replicas(self) -> int: ...

    @property
    def tokens(self) -> int: ...

    @property
    def length(self) -> int: ...

    @property
    def hidden(self) -> int: ...

    def encode(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "rep n hidden"]:
        """The state that holds each sequence."""
        ...

    def decode(
        self, state: Float[Tensor, "rep n hidden"], tokens: Int[Tensor, "n length"]
    ) -> Float[Tensor, "rep n length token"]:
        """Logits of the answers from a state, with these tokens fed back."""
        ...


@dataclass(frozen=True)
class GruMemory:
    """A trained GRU."""

    settings: GruSettings
    parameters: Parameters

    @property
    def replicas(self) -> int:
        return len(self.parameters["keep"])

    @property
    def tokens(self) -> int:
        return self.settings.tokens

    @property
    def length(self) -> int:
        return self.settings.length

    @property
    def hidden(self) -> int:
        return self.settings.hidden

    def encode(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "rep n hidden"]:
        """See `Memory`."""
        return encode(self.settings, self.parameters, tokens)

    def decode(
        self, state: Float[Tensor, "rep n hidden"], tokens: Int[Tensor, "n length"]
    ) -> Float[Tensor, "rep n length token"]:
        """See `Memory`."""
        return decode(self.settings, self.parameters, state, tokens)


@dataclass(frozen=True)
class Swap:
    """Sequences, others to take a token from, the place of that token, and the sequences with it."""

    base: Int[Tensor, "n length"]
    source: Int[Tensor, "n length"]
    place: Int[Tensor, " n"]
    wanted: Int[Tensor, "n length"]

    @classmethod
    def draw(cls, memory: Memory, n: int, seed: int, *words: object) -> "Swap":
        """Random ones, in which the token does change."""
        drawn = generator(seed, "swap", *words)
        base = torch.randint(memory.tokens, (n, memory.length), generator=drawn)
        source = torch.randint(memory.tokens, (n, memory.length), generator=drawn)
        place = torch.randint(memory.length, (n,), generator=drawn)
        lines = torch.arange(n)
        shift = torch.randint(1, memory.tokens, (n,), generator=drawn)
        source[lines, place] = (base[lines, place] + shift) % memory.tokens
        wanted = base.clone()
        wanted[lines, place] = source[lines, place]
        return cls(base, source, place, wanted)

    @property
    def old(self) -> Int[Tensor, " n"]:
        """The token that goes."""
        return self.base.gather(1, self.place[:, None])[:, 0]

    @property
    def new(self) -> Int[Tensor, " n"]:
        """The token that comes."""
        return self.source.gather(1, self.place[:, None])[:, 0]


Change = Callable[[Parameters, Memory, Swap, Float[Tensor, "rep n hidden"]], Float[Tensor, "rep n hidden"]]
"""(parameters, memory, swap, state) -> what is added to the state."""


def by_scale(parameters: Parameters, memory: Memory, swap: Swap, state: Tensor) -> Float[Tensor, "rep n hidden"]:
    """g(place) x (E[new] - E[old]): one direction a token for all places, g(j) = w gamma^j + beta j + b in every
    dimension (the onion intervention of Csordas et al. 2024)."""
    place = swap.place[None, :, None].float()
    w, gamma, beta, b = (parameters[name][:, None] for name in ("w", "gamma", "beta", "b"))
    size = w * gamma.clamp(1e-3, 10.0) ** place + beta * place + b
    return size * (parameters["E"][:, swap.new] - parameters["E"][:, swap.old])


def by_subspace(parameters: Parameters, memory: Memory, swap: Swap, state: Tensor) -> Float[Tensor, "rep n hidden"]:
    """What the source's state has in the place's own subspace comes, what is there goes: subspaces of equal size, all
    orthogonal (distributed alignment search, Geiger et al. 2024)."""
    skew = parameters["A"] - parameters["A"].mT
    turn = torch.matrix_exp(skew)
    each = memory.hidden // memory.length
    mine = torch.arange(memory.hidden) // each == swap.place[:, None]
    return ((memory.encode(swap.source) - state) @ turn * mine) @ turn.mT


def initial_scale(memory: Memory, seed: int) -> Parameters:
    """Small random directions, whose size falls from place to place."""
    drawn, shape = generator(seed, "scale"), (memory.replicas, memory.hidden)
    return {
        "E": 0.1 * torch.randn(memory.replicas, memory.tokens, memory.hidden, generator=drawn),
        "w": torch.ones(shape),
        "gamma": torch.full(shape, 0.7),
        "beta": torch.zeros(shape),
        "b": torch.zeros(shape),
    }


def initial_subspace(memory: Memory, seed: int, size: float = 0.1) -> Parameters:
    """A random turn."""
    shape = (memory.replicas, memory.hidden, memory.hidden)
    return {"A": size * torch.randn(shape, generator=generator(seed, "subspace"))}


def fitted(
    change: Change, parameters: Parameters, memory: Memory, *, steps: int, batch: int, rate: float, seed: int
) -> Parameters:
    """The intervention after Adam has made its states be decoded as what is wanted; the memory stays as it is."""
    leaves = {name: each.clone().requires_grad_() for name, each in parameters.items()}
    adam = torch.optim.Adam(list(leaves.values()), lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 - step / steps)
        swap = Swap.draw(memory, batch, seed, "fit", step)
        with torch.no_grad():
            state = memory.encode(swap.base)
        adam.zero_grad()
        changed = state + change(leaves, memory, swap, state)
        cross_entropy(memory.decode(changed, swap.wanted), swap.wanted).sum().backward()
        adam.step()
    return {name: each.detach() for name, each in leaves.items()}


@torch.no_grad()
def success(
    change: Change, parameters: Parameters, memory: Memory, n: int = 1024, seed: int = 0
) -> Float[Tensor, " rep"]:
    """Share of sequences that come out wholly as wanted."""
    swap = Swap.draw(memory, n, seed, "success")
    state = memory.encode(swap.base)
    changed = state + change(parameters, memory, swap, state)
    answers = memory.decode(changed, swap.wanted).argmax(-1)
    return (answers == swap.wanted).all(-1).double().mean(1)


@torch.no_grad()
def repeated(memory: Memory, n: int = 1024, seed: int = 0) -> Float[Tensor, " rep"]:
    """Share of sequences that come out right without an intervention."""
    tokens = Swap.draw(memory, n, seed, "success").base
    answers = memory.decode(memory.encode(tokens), tokens).argmax(-1)
    return (answers == tokens).all(-1).double().mean(1)
