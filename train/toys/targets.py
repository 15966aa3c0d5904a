"""The functions that a toy network computes, of one feature or of two."""

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from train.toys.config import PAIRED, TargetConfig, TargetFunction, ToyConfig

TRUE_ABOVE = 0.5
"""A feature above this counts as true (and, or, xor)."""

_NAMES: dict[TargetFunction, tuple[str, ...]] = {
    "identity": ("{0}",),
    "abs": ("|{0}|",),
    "square": ("{0}^2",),
    "relu": ("relu({0})",),
    "and": ("{0} and {1}",),
    "or": ("{0} or {1}",),
    "xor": ("{0} xor {1}",),
    "max": ("max({0}, {1})",),
    "max_abs": ("max(|{0}|, |{1}|)",),
    "product": ("{0} {1}",),
    "argmax": ("{0} >= {1}", "{1} > {0}"),
}


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
        forms = _NAMES[self.config.function]
        return [form.format(*(f"x{i}" for i in group)) for group in self.groups for form in forms]

    def __call__(self, x: Float[Tensor, "*lead feat"]) -> Float[Tensor, "*lead out"]:
        """The right answer to each sample; for identity the features themselves, not a copy."""
        match self.config.function:
            case "identity":
                return x
            case "abs":
                return x.abs()
            case "square":
                return x.square()
            case "relu":
                return x.relu()
            case "one_hot":
                return (x[..., None] == torch.tensor(self.config.levels, dtype=x.dtype)).to(x.dtype).flatten(-2)
        a, b = self._pairs_of(x)
        match self.config.function:
            case "and":
                return ((a > TRUE_ABOVE) & (b > TRUE_ABOVE)).to(x.dtype)
            case "or":
                return ((a > TRUE_ABOVE) | (b > TRUE_ABOVE)).to(x.dtype)
            case "xor":
                return ((a > TRUE_ABOVE) ^ (b > TRUE_ABOVE)).to(x.dtype)
            case "max":
                return torch.maximum(a, b)
            case "max_abs":
                return torch.maximum(a.abs(), b.abs())
            case "product":
                return a * b
            case _:
                first = (a >= b).to(x.dtype)
                return torch.stack([first, 1 - first], dim=-1).flatten(-2)

    def _pairs_of(
        self, x: Float[Tensor, "*lead feat"]
    ) -> tuple[Float[Tensor, "*lead pair"], Float[Tensor, "*lead pair"]]:
        if self.config.pairs == "adjacent":
            return x[..., ::2], x[..., 1::2]
        first, second = torch.triu_indices(self.n_features, self.n_features, offset=1)
        return x[..., first], x[..., second]
