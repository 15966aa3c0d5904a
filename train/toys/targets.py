"""The functions that a toy network computes, of one feature or of two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from train.toys.config import ToyConfig
from train.toys.network_config import PAIRED, TargetConfig, TargetFunction

TRUE_ABOVE = 0.5
"""A feature above this counts as true (and, or, xor)."""


def _true(x: Tensor) -> Tensor:
    return x > TRUE_ABOVE


_FUNCTIONS: dict[TargetFunction, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "identity": (lambda x: x, ("{0}",)),
    "abs": (torch.abs, ("|{0}|",)),
    "square": (torch.square, ("{0}^2",)),
    "relu": (torch.relu, ("relu({0})",)),
    "and": (lambda a, b: _true(a) & _true(b), ("{0} and {1}",)),
    "or": (lambda a, b: _true(a) | _true(b), ("{0} or {1}",)),
    "xor": (lambda a, b: _true(a) ^ _true(b), ("{0} xor {1}",)),
    "max": (torch.maximum, ("max({0}, {1})",)),
    "max_abs": (lambda a, b: torch.maximum(a.abs(), b.abs()), ("max(|{0}|, |{1}|)",)),
    "product": (torch.mul, ("{0} {1}",)),
    "argmax": (lambda a, b: torch.stack([a >= b, b > a], dim=-1).flatten(-2), ("{0} >= {1}", "{1} > {0}")),
    "which": (lambda x: F.one_hot(x.argmax(-1), x.shape[-1]), ()),
}
"""What each function computes, and the names of its outputs."""


@dataclass(frozen=True)
class Target:
    """A function of `n_features` features, applied to each of them or to pairs.

    argmax has two outputs a pair, one-hot (of equal features the first is the larger); one_hot has an output for
    each level of each feature, 1 where the feature has that value exactly; which has one a feature, 1 for the largest
    (of equal ones the first).
    """

    config: TargetConfig
    n_features: int
    mixings: tuple[float, ...] = ()
    """Of each instance (the first of the leading axes), where noise is mixed in; else empty."""

    @classmethod
    def of(cls, config: ToyConfig) -> "Target":
        """The target of a toy of one instance; of several, which share all but `mixing`, see `of_instances`."""
        return cls.of_instances([config])

    @classmethod
    def of_instances(cls, configs: Sequence[ToyConfig]) -> "Target":
        """The target of several instances, whose answers are [inst ...]."""
        mixings = tuple(each.target.mixing for each in configs)
        return cls(configs[0].target, configs[0].features.n, mixings if any(mixings) else ())

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """The features that the function is applied to, once each: (i,) or (i, j)."""
        if self.config.function == "which":
            return [tuple(range(self.n_features))]
        if self.config.function not in PAIRED:
            return [(i,) for i in range(self.n_features)]
        if self.config.pairs == "all":
            return list(combinations(range(self.n_features), 2))
        return [(i, i + 1) for i in range(0, self.n_features, 2)]

    @property
    def n_classes(self) -> int:
        """Outputs of each group: the classes that cross-entropy chooses among (one_hot, argmax); else 1."""
        classes = {"one_hot": len(self.config.levels), "argmax": 2, "which": self.n_features}
        return classes.get(self.config.function, 1)

    @property
    def n_outputs(self) -> int:
        return len(self.groups) * self.n_classes

    @property
    def inputs(self) -> list[tuple[int, ...]]:
        """The features that each output reads."""
        return [group for group in self.groups for _ in range(self.n_classes)]

    def importances(self, feature_importances: tuple[float, ...]) -> tuple[float, ...]:
        """Of each output: the mean over the features that it reads."""
        return tuple(sum(feature_importances[i] for i in read) / len(read) for read in self.inputs)

    def names(self) -> list[str]:
        """Of each output, such as `|x3|` or `max(x0, x1)`."""
        if self.config.function == "one_hot":
            return [f"x{i} = {level:g}" for (i,) in self.groups for level in self.config.levels]
        if self.config.function == "which":
            return [f"x{i} is largest" for i in range(self.n_features)]
        _, forms = _FUNCTIONS[self.config.function]
        return [form.format(*(f"x{i}" for i in group)) for group in self.groups for form in forms]

    def __call__(self, x: Float[Tensor, "*lead feat"]) -> Float[Tensor, "*lead out"]:
        """The right answer to each sample; for identity the features themselves, not a copy."""
        function = self.config.function
        if function == "one_hot":
            return (x[..., None] == torch.tensor(self.config.levels, dtype=x.dtype)).to(x.dtype).flatten(-2)
        read = self._pairs_of(x) if function in PAIRED else (x,)
        wanted = _FUNCTIONS[function][0](*read).to(x.dtype)
        return wanted + self.mixed(x) if self.mixings else wanted

    def mixed(self, x: Float[Tensor, "*lead feat"]) -> Float[Tensor, "*lead out"]:
        """mixing x M x, what is added to the answers; of several instances the first axis tells them apart."""
        generator = np.random.default_rng([self.config.mixing_seed, 0x6D69])
        matrix = torch.from_numpy(generator.standard_normal((self.n_outputs, self.n_features))).to(x.dtype)
        strength = torch.tensor(self.mixings, dtype=x.dtype)
        return x @ matrix.T * strength.view(-1, *[1] * (x.ndim - 1 if len(strength) > 1 else 0))

    def _pairs_of(
        self, x: Float[Tensor, "*lead feat"]
    ) -> tuple[Float[Tensor, "*lead pair"], Float[Tensor, "*lead pair"]]:
        if self.config.pairs == "adjacent":
            return x[..., ::2], x[..., 1::2]
        first, second = torch.triu_indices(self.n_features, self.n_features, offset=1)
        return x[..., first], x[..., second]
