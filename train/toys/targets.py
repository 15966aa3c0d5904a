"""The functions that a toy network computes, of one feature or of two."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from train.toys.config import PAIRED, TargetConfig, TargetFunction, ToyConfig

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
}
"""What each function computes, and the names of its outputs."""


@dataclass(frozen=True)
class Target:
    """A function of `n_features` features, applied to each of them or to pairs.

    argmax has two outputs a pair, one-hot (of equal features the first is the larger); one_hot has an output for
    each level of each feature, 1 where the feature has that value exactly.
    """

    config: TargetConfig
    n_features: int

    @classmethod
    def of(cls, config: ToyConfig) -> "Target":
        """The target of a toy (the same one for each of its instances)."""
        return cls(config.target, config.features.n)

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """The features that the function is applied to, once each: (i,) or (i, j)."""
        if self.config.function not in PAIRED:
            return [(i,) for i in range(self.n_features)]
        if self.config.pairs == "all":
            return list(combinations(range(self.n_features), 2))
        return [(i, i + 1) for i in range(0, self.n_features, 2)]

    @property
    def n_classes(self) -> int:
        """Outputs of each group: the classes that cross-entropy chooses among (one_hot, argmax); else 1."""
        return {"one_hot": len(self.config.levels), "argmax": 2}.get(self.config.function, 1)

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
        _, forms = _FUNCTIONS[self.config.function]
        return [form.format(*(f"x{i}" for i in group)) for group in self.groups for form in forms]

    def __call__(self, x: Float[Tensor, "*lead feat"]) -> Float[Tensor, "*lead out"]:
        """The right answer to each sample; for identity the features themselves, not a copy."""
        function = self.config.function
        if function == "one_hot":
            return (x[..., None] == torch.tensor(self.config.levels, dtype=x.dtype)).to(x.dtype).flatten(-2)
        read = self._pairs_of(x) if function in PAIRED else (x,)
        return _FUNCTIONS[function][0](*read).to(x.dtype)

    def _pairs_of(
        self, x: Float[Tensor, "*lead feat"]
    ) -> tuple[Float[Tensor, "*lead pair"], Float[Tensor, "*lead pair"]]:
        if self.config.pairs == "adjacent":
            return x[..., ::2], x[..., 1::2]
        first, second = torch.triu_indices(self.n_features, self.n_features, offset=1)
        return x[..., first], x[..., second]
