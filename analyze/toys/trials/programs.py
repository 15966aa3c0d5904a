"""Cases of known truth for the rules of programs: hand-built layers, dictionaries, heads, networks and memories."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from analyze.problems.base import Measured, Measurement
from analyze.toys.programs import attention_heads, circle, onion, several_bases, xor_units
from analyze.toys.programs.base import ProgramQuestion, Replica, measured
from analyze.toys.verdicts.question import LEAST_REPLICAS, ToyQuestion
from analyze.toys.verdicts.trial import ToyTrials
from train.toys.programs.attention import AttentionSettings, n_tokens, two_heads
from train.toys.programs.base import Parameters
from train.toys.programs.bumps import BumpsSettings, code
from train.toys.programs.parity import inputs

SIZES = (20, 40, 80, 160)
EFFORT = onion.Effort(steps=150, batch=32)


def _case(found: Sequence[Measurement]) -> list[Measured]:
    return measured("case", {"case": [Replica(r, each) for r, each in enumerate(found)]}, {}, 0)


def layer(rng: np.random.Generator, joint: bool, bits: int = 6, units: int = 24) -> Float[ndarray, "inputs unit"]:
    """ReLU units over all inputs: of sums of three products of two to four bits, or of weighted sums of single bits."""
    x = inputs(bits).double().numpy()
    drawn = []
    for _ in range(units):
        if joint:
            parts = [x[:, rng.choice(bits, rng.integers(2, 5), replace=False)].prod(1) for _ in range(3)]
            before = np.stack(parts, 1) @ rng.standard_normal(3)
        else:
            before = x @ rng.standard_normal(bits)
        drawn.append(np.maximum(before + 0.5 * rng.standard_normal(), 0))
    return np.stack(drawn, 1)


def xor_case(joint: bool, seed: int) -> list[Measured]:
    """Layers of either kind against layers of sums."""
    rng = np.random.default_rng(seed)
    answering, additive = ([layer(rng, kind) for _ in range(LEAST_REPLICAS)] for kind in (joint, False))
    return _case(xor_units.of_layers(answering, additive))


def xor_network(basis: str) -> Parameters:
    """Two neurons that read the difference or the sum, and a third that does nothing; with a replica axis."""
    reads, writes, start = ([1.0, -1.0], 0.5, 0.0) if basis == "difference" else ([1.0, 1.0], -0.5, 1.0)
    return {
        "W1": torch.tensor([[reads, [-each for each in reads], [0.0, 0.0]]]),
        "b1": torch.zeros(1, 3),
        "W2": torch.tensor([[writes, writes, 0.0]]),
        "b2": torch.tensor([start]),
    }


def bases_case(several: bool, seed: int) -> list[Measured]:
    """Groups of 25 networks whose basis is drawn for each, or that all have one, copied as the null copies."""
    rng = np.random.default_rng(seed)
    found = []
    for group in range(LEAST_REPLICAS):
        one = ["difference", "sum"][rng.integers(2)]
        made = []
        for _ in range(several_bases.GROUP):
            basis = ["difference", "sum"][rng.integers(2)] if several else one
            made.append(several_bases.copies(xor_network(basis), 0, 1, int(rng.integers(2**31))))
        parameters = {name: torch.cat([each[name] for each in made]) for name in made[0]}
        found.append(several_bases.of_group(parameters, range(several_bases.GROUP), 100 * seed + group))
    return _case(found)


def directions(rng: np.random.Generator, size: int, points: int) -> Float[ndarray, "n cells"]:
    """Decoder rows at evenly spaced angles (points = 0) or at so many points of the circle, with a little noise."""
    settings = BumpsSettings(angles="circle", latents=size)
    if points:
        angle = 2 * math.pi * rng.integers(points, size=size) / points
    else:
        angle = 2 * math.pi * (np.arange(size) + rng.uniform(-0.3, 0.3, size)) / size
    rows = code(settings, torch.from_numpy(angle).float()).double().numpy()
    return rows + 0.002 * rng.standard_normal(rows.shape)


def circle_case(continuous: bool, seed: int) -> list[Measured]:
    """Dictionaries that tile the circle, or that sit on 20 points, against others on 20 points."""
    rng = np.random.default_rng(seed)

    def counts(points: int) -> list[list[int]]:
        return [[circle.distinct(directions(rng, size, points)) for size in SIZES] for _ in range(LEAST_REPLICAS)]

    found = circle.of_counts(SIZES, counts(0 if continuous else 20), counts(20))
    return _case(found)


def heads(rng: np.random.Generator, both: bool, noise: float = 0.2) -> Parameters:
    """Two heads that need each other (the published solution), or that each do half of the trigrams alone: a head
    attends to the sources of its own half, else to the destination, which it does not answer."""
    settings = AttentionSettings(sources="shared" if both else "own")
    n, tokens = settings.trigrams, n_tokens(settings)
    built = (
        two_heads(settings) if both else {"QK": torch.zeros(1, 2, tokens, tokens), "OV": torch.zeros(1, 2, tokens, n)}
    )
    if not both:
        for b in range(n):
            built["QK"][0, :, b, b] = 12
            built["QK"][0, b % 2, b, n + b] = 24
            built["OV"][0, b % 2, n + b, b] = 8
    return {
        name: each + noise * torch.from_numpy(rng.standard_normal(tuple(each.shape))).float()
        for name, each in built.items()
    }


def heads_case(both: bool, seed: int) -> list[Measured]:
    """Pairs of heads of either kind, against pairs that work alone."""
    rng = np.random.default_rng(seed)

    def ablated(together: bool, n: int = LEAST_REPLICAS) -> attention_heads.Ablations:
        settings = AttentionSettings(sources="shared" if together else "own")
        made = [heads(rng, together) for _ in range(n)]
        stacked = {name: torch.cat([each[name] for each in made]) for name in made[0]}
        return attention_heads.ablate(settings, stacked, seed)

    return _case(attention_heads.of_ablations(ablated(both), ablated(False)))


@dataclass(frozen=True)
class HandMemory:
    """Memories that hold tokens by scale, in directions that all places share, or in a subspace of each place's own."""

    by_scale: bool
    E: Float[Tensor, "rep token dims"]
    """Directions of tokens: in the whole state by scale, within a place's subspace otherwise."""
    turn: Float[Tensor, "rep hidden hidden"]
    """Subspaces of the places, its columns in order."""
    length: int = 4
    shrink: float = 0.5
    """Size of a place over that of the one before."""
    sharp: float = 12.0

    @classmethod
    def draw(cls, seed: int, by_scale: bool, tokens: int = 6, hidden: int = 24) -> "HandMemory":
        """Random ones."""
        drawn = torch.Generator().manual_seed(seed)
        dims = hidden if by_scale else hidden // 4
        E = torch.randn(LEAST_REPLICAS, tokens, dims, generator=drawn)
        turn = torch.linalg.qr(torch.randn(LEAST_REPLICAS, hidden, hidden, generator=drawn))[0]
        return cls(by_scale, E / E.norm(dim=2, keepdim=True), turn)

    @property
    def replicas(self) -> int:
        return len(self.E)

    @property
    def tokens(self) -> int:
        return self.E.shape[1]

    @property
    def hidden(self) -> int:
        return self.turn.shape[1]

    def encode(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "rep n hidden"]:
        """The sum of scaled directions, or one direction a subspace."""
        places = [self.E[:, tokens[:, place]] for place in range(self.length)]
        if self.by_scale:
            return sum((self.shrink**place * each for place, each in enumerate(places)), torch.zeros(()))
        return torch.cat(places, -1) @ self.turn.mT

    def decode(
        self, state: Float[Tensor, "rep n hidden"], tokens: Int[Tensor, "n length"]
    ) -> Float[Tensor, "rep n length token"]:
        """Read the largest layer, take off what was fed back, go on; or read each subspace."""
        logits = []
        for place in range(self.length):
            if self.by_scale:
                logits.append(self.sharp * state / self.shrink**place @ self.E.mT)
                state = state - self.shrink**place * self.E[:, tokens[:, place]]
            else:
                logits.append(self.sharp * (state @ self.turn).chunk(self.length, -1)[place] @ self.E.mT)
        return torch.stack(logits, 2)


def memory_case(by_scale: bool, seed: int) -> list[Measured]:
    """Memories of either kind."""
    found = onion.intervene(HandMemory.draw(seed, by_scale), EFFORT, seed)
    return _case(onion.of_interventions(found))


def _question(asked: ProgramQuestion, name: str) -> ToyQuestion:
    return replace(asked.question(name), doubts=())


TRIALS = (
    ToyTrials(
        _question(attention_heads.QUESTION, "attention-heads"),
        lambda seed: heads_case(True, seed),
        lambda seed: heads_case(False, seed),
        "a head that writes answers and one that takes them back; two heads that do half of the trigrams each",
    ),
    ToyTrials(
        _question(onion.QUESTION, "gru-onion"),
        lambda seed: memory_case(True, seed),
        lambda seed: memory_case(False, seed),
        "memories that add up a direction a token, half as large at each next place; memories with a subspace a place",
    ),
    ToyTrials(
        _question(circle.QUESTION, "bumps-on-a-circle"),
        lambda seed: circle_case(True, seed),
        lambda seed: circle_case(False, seed),
        "dictionaries that tile the circle; dictionaries on 20 points of it",
    ),
    ToyTrials(
        _question(xor_units.QUESTION, "xor-compositions"),
        lambda seed: xor_case(True, seed),
        lambda seed: xor_case(False, seed),
        "ReLU units of products of bits; ReLU units of sums of bits",
    ),
    ToyTrials(
        _question(several_bases.QUESTION, "two-bases"),
        lambda seed: bases_case(True, seed),
        lambda seed: bases_case(False, seed),
        "networks that each read the difference or the sum; networks of a group that all read one of them",
    ),
)
