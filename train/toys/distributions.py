"""Synthetic sparse features: which are active, together or apart, and with which values."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from train.toys.config import ToyConfig
from train.toys.features_config import ValuesConfig

_JUMP = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Draws between the streams of two replicas: numpy's own jump for PCG64, 2^128 over the golden ratio (a power
of two would leave the low bits of such streams correlated)."""
_BLOCK = 2**16
"""Draws at a time where every replica has its own samples: they stay in a core's cache."""
_NEVER = 2.0
"""A draw that no probability reaches."""


@dataclass(frozen=True)
class Sampler:
    """Draws features for instances that may differ in how often their features are active.

    One uniform draw u an element decides both whether the feature is active (u < p) and its value (u / p is
    uniform again). All instances use the same draws, so that a feature that is active at a low probability is also
    active at a higher one, with the same value: instances are compared on paired samples. (With exactly
    `active` features a second draw orders the features; the active ones of a small number stay active in a
    larger one.) Draws have 24 bits: a feature of probability p has about p x 2^24 different values.
    """

    probability: Float[Tensor, "inst 1 feat 1"]
    active: tuple[int, ...]
    """Of each instance, where exactly so many features are active; else empty."""
    values: ValuesConfig
    pairs: str

    @classmethod
    def of(cls, configs: Sequence[ToyConfig]) -> "Sampler":
        """The sampler of a config's instances (`ToyConfig.instances()`).

        Raises:
            ValueError: the instances differ in more than probabilities and the number of active features.
        """
        features = [config.features for config in configs]
        kinds = {(each.n, each.values, each.pairs, each.active is None) for each in features}
        if len(kinds) != 1:
            raise ValueError("instances of one sampler share n, values and pairs, and all or none give `active`")
        probability = torch.tensor([each.probabilities() for each in features], dtype=torch.float32)
        active = tuple(each.active for each in features if each.active is not None)
        return cls(probability[:, None, :, None], active, features[0].values, features[0].pairs)

    @property
    def n_features(self) -> int:
        return self.probability.shape[2]

    def sample(
        self, n: int, seed: int, stream: str | int, own: int | None = None, first: int = 0
    ) -> Float[Tensor, "inst rep batch feat"]:
        """`n` samples an instance, float32, 0 where a feature is not active: a function of the arguments alone.

        Memory holds them feature by feature: `.mT` of the result is contiguous.

        Args:
            n: samples.
            seed: of the experiment.
            stream: the purpose of the samples, such as the step; streams are independent.
            own: number of replicas, each with its own samples; None for one set that all share (replica 0's).
            first: index of the first of these replicas: 10 replicas from 20 on are the last 10 of 30.
        """
        return self.values_of(self.draws(n, seed, stream, own, first))

    def draws(
        self, n: int, seed: int, stream: str | int, own: int | None = None, first: int = 0
    ) -> Float[Tensor, "1 rep width batch"]:
        """The draws behind `sample`, the same for every instance: for callers that take some instances at a time."""
        width = self.n_features * (2 if self.active else 1)
        return _uniform(width, n, 1 if own is None else own, first, seed, stream)

    def values_of(self, draws: Float[Tensor, "1 rep width batch"]) -> Float[Tensor, "inst rep batch feat"]:
        """The samples that follow from draws of this sampler, or of one of other instances."""
        if not self.active:
            if self.pairs == "independent":
                return _values(draws, self.probability, self.values, marked=False).mT
            return _values(self._paired(draws), self.probability, self.values, marked=True).mT
        order, u = draws[:, :, : self.n_features], draws[:, :, self.n_features :]
        # Places and not a threshold on the draws: 24 bits leave ties.
        places = order.argsort(dim=2, stable=True)
        chosen = torch.full((len(self.active), *u.shape[1:]), _NEVER)
        for instance, active in enumerate(self.active):
            some = places[0, :, :active]
            chosen[instance].scatter_(1, some, u[0].gather(1, some))
        return _values(chosen, torch.ones(1, 1, 1, 1), self.values, marked=True).mT

    def _paired(self, u: Float[Tensor, "1 rep feat batch"]) -> Float[Tensor, "_ rep feat batch"]:
        """Draws that follow the law of the pairs, below their probability or else `_NEVER`."""
        p = self.probability[:, :, ::2]
        even, odd = u[:, :, ::2], u[:, :, 1::2]
        if self.pairs == "correlated":
            partner = torch.where(even < p, odd * p, _NEVER)
        else:
            # The interval after the one that activates the even feature; p <= 1/2 leaves room for it.
            partner = torch.where((even >= p) & (even < 2 * p), even - p, _NEVER)
        return torch.stack([torch.where(even < p, even, _NEVER), partner], dim=3).flatten(2, 3)


def _uniform(
    width: int, n: int, replicas: int, first: int, seed: int, stream: str | int
) -> Float[Tensor, "1 rep width n"]:
    """Uniform draws in [0, 1), multiples of 2^-24.

    Raw bits of PCG64DXSM turned into floats here take 60 % of the time of numpy's `random` or `torch.rand`.
    """
    key = sha256(f"{seed} {type(stream).__name__} {stream}".encode()).digest()
    bits = np.random.PCG64DXSM(int.from_bytes(key, "little"))
    count = n * width
    words = (count + 1) // 2
    bits.advance(_JUMP * first)
    u = torch.empty(replicas, count)
    for some in u.split(max(1, _BLOCK // max(1, count))):
        raw = np.empty((len(some), words), dtype=np.uint64)
        for row in raw:
            row[:] = bits.random_raw(words)
            bits.advance(_JUMP - words)
        some.copy_(torch.from_numpy(raw.view(np.int32))[:, :count].bitwise_and_(0xFFFFFF)).mul_(2.0**-24)
    return u.view(1, replicas, width, n)


def _values(
    u: Float[Tensor, "_ rep feat batch"], p: Float[Tensor, "_ 1 _ 1"], values: ValuesConfig, marked: bool
) -> Float[Tensor, "inst rep feat batch"]:
    """The value of each feature where its draw lies below its probability, 0 elsewhere.

    `marked`: the draws of inactive features are `_NEVER`, so that rounding cannot separate paired features.
    """
    if values.kind == "choice":
        chosen = torch.zeros(torch.broadcast_shapes(u.shape, p.shape))
        edges = [p * ((i + 1) / len(values.choices)) for i in range(len(values.choices))]
        if marked:
            edges[-1] = torch.full_like(p, (1 + _NEVER) / 2)
        for edge, choice in zip(reversed(edges), reversed(values.choices), strict=True):
            chosen = torch.where(u < edge, choice, chosen)
        return chosen
    # high - u (high - low) / p falls from high to low as u rises to p: one affine map, cut off below low.
    low, high = values.low, values.high
    slope = torch.where(p > 0, (low - high) / p, 0.0)
    start = torch.where(p > 0, high, 2 * low - high)
    # Of marked draws, inactive features come out at least high - low below low.
    below_low = low - (high - low) / 2 if marked else float(np.nextafter(np.float32(low), np.float32(-np.inf)))
    # Fresh memory costs as much as the draws, so marked draws, which nobody else holds, are overwritten.
    scaled = u.mul_(slope) if marked and len(u) >= len(p) else u * slope
    return torch.nn.functional.threshold(scaled.add_(start), below_low, 0.0, inplace=True)
