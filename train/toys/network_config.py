"""The [target] and [network] tables of a TOY.toml: what is to be computed, and by which network."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from train.section import Section, Several

TargetFunction = Literal[
    "identity", "abs", "square", "relu", "and", "or", "xor", "max", "max_abs", "product", "one_hot", "argmax", "which"
]
PAIRED: tuple[TargetFunction, ...] = ("and", "or", "xor", "max", "max_abs", "product", "argmax")
"""Functions of two features; the others take one, but for `which`, which takes all."""
CLASSES: tuple[TargetFunction, ...] = ("one_hot", "argmax", "which")
"""Functions whose outputs come in groups, one of which is right."""

Activation = Literal["relu", "gelu", "solu", "linear"]


class TargetConfig(Section):
    """What the network has to compute."""

    function: TargetFunction = "identity"
    pairs: Literal["adjacent", "all"] = "adjacent"
    """The pairs that a function of two features takes: (0, 1), (2, 3), ...; or all pairs."""
    mixing: float = Field(default=0.0, ge=0)
    """Noise through a mixing matrix: the answer wanted is f(x) + mixing x M x, with the entries of M drawn once from a
    standard normal (compressed computation)."""
    mixing_seed: int = Field(default=0, ge=0)
    """Of M."""
    levels: Several[float] = ()
    """`one_hot`: one output for each of these values of each feature (an inactive feature has the value 0)."""

    @model_validator(mode="after")
    def _levels_fit(self) -> "TargetConfig":
        if (self.function == "one_hot") != bool(self.levels):
            raise ValueError("levels: needed by function = 'one_hot', and by no other function")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"levels: {list(self.levels)} names a level twice")
        if self.mixing and self.function in CLASSES:
            raise ValueError(f"mixing: function = {self.function!r} has classes, to which nothing can be added")
        return self


class NetworkConfig(Section):
    """The network; every instance and replica has its own weights of this shape."""

    kind: Literal["bottleneck", "neuron", "computation"]
    """bottleneck: out(W^T W x + b). neuron: out(W^T act(W x) + b). computation: out(W2 act(W1 x) + b)."""
    hidden: Several[int]
    """Hidden size; several for several hidden layers (computation only)."""
    neurons: int | None = Field(default=None, ge=1)
    """Hidden neurons that take part, `hidden` or fewer (neuron, computation): the others have weights of 0 and stay so.
    What a sweep over the number of neurons changes."""
    activation: Activation = "relu"
    """Of hidden neurons (neuron, computation); solu is x softmax(x) over the layer."""
    output: Activation = "relu"
    bias: bool = True
    """Of the output."""
    hidden_bias: bool = False
    """Of hidden neurons (computation)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of hidden neurons (in training only; the kept ones are scaled up by 1 / (1 - dropout))."""
    init: Literal["kaiming", "xavier"] = "kaiming"
    """Uniform within sqrt(6 / fan_in), or normal with sd sqrt(2 / (fan_in + fan_out)); biases are 0."""
    init_scale: float = Field(default=1.0, gt=0)
    """Factor of all initial weights."""

    @property
    def is_tied(self) -> bool:
        """Whether the output weights are the input weights, so that columns of W have a geometry."""
        return self.kind != "computation"

    @field_validator("hidden", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _shape_fits(self) -> "NetworkConfig":
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden: {list(self.hidden)} must be at least 1")
        if self.is_tied and len(self.hidden) > 1:
            raise ValueError(f"hidden: {len(self.hidden)} layers; a {self.kind} model ties W to W^T and has one")
        if self.neurons is not None:
            self._neurons_fit(self.neurons)
        if self.is_tied and self.hidden_bias:
            raise ValueError(f"hidden_bias: a {self.kind} model has none")
        return self

    def _neurons_fit(self, neurons: int) -> None:
        if self.kind == "bottleneck" or len(self.hidden) > 1 or self.activation == "solu":
            raise ValueError("neurons: for one layer of hidden neurons, each of which acts alone (not solu)")
        if neurons > max(self.hidden):
            raise ValueError(f"neurons: {neurons} of hidden = {max(self.hidden)}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each hidden layer that take part."""
        return self.hidden if self.neurons is None else (self.neurons,)

    @property
    def parameters(self) -> list[str]:
        """Names of all parameters, as in `train.toys.models.ToyModel`."""
        output = ["b"] if self.bias else []
        if self.is_tied:
            return ["W", *output]
        layers = range(1, len(self.hidden) + 1)
        hidden = [f"b{i}" for i in layers] if self.hidden_bias else []
        return [*(f"W{i}" for i in layers), f"W{len(self.hidden) + 1}", *hidden, *output]
