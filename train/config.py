"""What the TOML file of a run may hold: its model, optimizer, training and widening."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, Strict, field_validator, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from train.errors import BadInput
from train.section import MAX_COUNT, Grown, Section, Several, UserPath

if TYPE_CHECKING:
    from train.activations import Activation


ATTENTION_ONLY = "none"
"""The `act` of a model without MLPs."""


def _known_activation(name: str) -> str:
    from train.activations import ACTIVATIONS  # with torch, which reading other files does not wait for

    if name != ATTENTION_ONLY and name not in ACTIVATIONS:
        *most, last = map(repr, (*ACTIVATIONS, ATTENTION_ONLY))
        expected = f"{', '.join(most)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


ActivationName = Annotated[str, AfterValidator(_known_activation)]
"""A key of `train.activations.ACTIVATIONS`, or `none` for a model of attention alone, without MLPs."""

MAX_LAYERS = 64
MAX_D_MODEL = 16384
MAX_WIDTH = 2**24
MAX_N_CTX = 65536


class ModelConfig(Section):
    """A transformer's shape, resolved: one width and one mid-LayerNorm epsilon a layer.

    Raises:
        ValueError: (pydantic's ValidationError) heads that do not divide d_model, or another number of widths or
            epsilons than of layers.
    """

    n_layers: int = Field(ge=1, le=MAX_LAYERS)
    d_model: int = Field(ge=1, le=MAX_D_MODEL)
    n_heads: int = Field(ge=1)
    n_ctx: int = Field(ge=2, le=MAX_N_CTX)
    d_vocab: int = Field(ge=2, le=2**20)
    act: ActivationName
    widths: Several[int] = ()
    """d_mlp of each layer; default 4 x d_model; 0 where there are no MLPs."""
    mlp_ln_eps: Several[float] = ()
    """Epsilon of each layer's mid LayerNorm; kept but unused where the activation has none."""
    unembed_bias: bool = False
    """Whether the unembedding has a bias, as some imported models have; what polysem trains from scratch has none."""

    @model_serializer(mode="wrap")
    def _as_before_where_there_is_no_bias(self, handler: Any) -> dict[str, Any]:
        """Configs of earlier versions do not have the key: what is hashed of them stays what it was."""
        return {key: value for key, value in handler(self).items() if key != "unembed_bias" or value}

    @model_validator(mode="after")
    def _resolve(self) -> "ModelConfig":
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads: {self.n_heads} heads do not divide d_model = {self.d_model}")
        if not self.has_mlp:
            if any(self.widths):
                raise ValueError(
                    f"widths: {list(self.widths)}, but act = 'none' is a model without MLPs; leave them out"
                )
            object.__setattr__(self, "widths", (0,) * self.n_layers)
            object.__setattr__(self, "mlp_ln_eps", (1e-5,) * self.n_layers)
            return self
        if not self.widths:
            object.__setattr__(self, "widths", (4 * self.d_model,) * self.n_layers)
        if len(self.widths) != self.n_layers:
            raise ValueError(f"widths: {len(self.widths)} widths for {self.n_layers} layers")
        if min(self.widths) < 1 or max(self.widths) > MAX_WIDTH:
            raise ValueError(f"widths: {list(self.widths)} must lie between 1 and {MAX_WIDTH}")
        if not self.mlp_ln_eps:
            eps = tuple(self.activation.mid_ln_eps(self.d_model, width) for width in self.widths)
            object.__setattr__(self, "mlp_ln_eps", eps)
        if len(self.mlp_ln_eps) != self.n_layers:
            raise ValueError(f"mlp_ln_eps: {len(self.mlp_ln_eps)} values for {self.n_layers} layers")
        if not all(0 < eps < 1 for eps in self.mlp_ln_eps):
            raise ValueError("mlp_ln_eps: every epsilon must lie between 0 and 1")
        return self

    @property
    def d_head(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.n_heads

    @property
    def activation(self) -> "Activation":
        """What `act` names.

        Raises:
            BadInput: a model without MLPs.
        """
        from train.activations import ACTIVATIONS

        if not self.has_mlp:
            raise BadInput("act = 'none': this model is attention-only, it has no MLPs")
        return ACTIVATIONS[self.act]

    @property
    def has_mlp(self) -> bool:
        """Whether there are MLPs; without them the model is attention-only."""
        return self.act != ATTENTION_ONLY

    @property
    def has_mid_ln(self) -> bool:
        """Whether a LayerNorm stands between the activation and W_out."""
        return self.has_mlp and self.activation.mid_ln

    @property
    def n_params(self) -> int:
        """Number of parameters, by arithmetic."""
        d = self.d_model
        attention = 4 * (d * d + d)
        around = 2 * d * self.n_layers * (2 if self.has_mlp else 1)
        mlps = sum(2 * d * width + width + d + (2 * width if self.has_mid_ln else 0) for width in self.widths)
        mlps = mlps if self.has_mlp else 0
        embeddings = (2 * self.d_vocab + self.n_ctx) * d + (self.d_vocab if self.unembed_bias else 0)
        return embeddings + self.n_layers * attention + around + mlps + 2 * d


class ModelSpec(Section):
    """The `[model]` table of a run: as ModelConfig, with `mlp_ratio` for widths and the vocabulary left out."""

    act: ActivationName
    n_layers: int = Field(default=1, ge=1, le=MAX_LAYERS)
    d_model: int = Field(ge=1, le=MAX_D_MODEL)
    n_heads: int = Field(ge=1)
    n_ctx: int = Field(ge=2, le=MAX_N_CTX)
    mlp_ratio: float | None = Field(default=None, gt=0, le=MAX_WIDTH)
    """d_mlp / d_model of every layer; default 4. Give this or `widths`, not both; neither where `act` is `none`."""
    widths: Several[int] | None = None
    mlp_ln_eps: Several[float] | None = None

    @model_validator(mode="after")
    def _one_way_to_give_widths(self) -> "ModelSpec":
        if self.mlp_ratio is not None and self.widths is not None:
            raise ValueError("mlp_ratio: give mlp_ratio or widths, not both")
        if self.act == ATTENTION_ONLY and (self.mlp_ratio is not None or any(self.widths or ())):
            key = "widths" if self.mlp_ratio is None else "mlp_ratio"
            raise ValueError(f"{key}: act = 'none' is a model without MLPs; leave {key} out")
        self.resolve(d_vocab=2)
        return self

    def resolve(self, d_vocab: int) -> ModelConfig:
        """The ModelConfig with its widths spelled out."""
        given = self.model_dump(exclude={"mlp_ratio"}, exclude_none=True)
        if self.mlp_ratio is not None:
            given["widths"] = (round(self.mlp_ratio * self.d_model),) * self.n_layers
        return ModelConfig(d_vocab=d_vocab, **given)


Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Section):
    """AdamW with linear warmup and cosine decay, both in tokens, so that batch size does not move them."""

    lr: float = Field(gt=0, le=1)
    warmup_tokens: int = Field(default=200_000, ge=0, le=MAX_COUNT)
    final_lr_share: float = Field(default=0.1, ge=0, le=1)
    """Rate at the end of the cosine, as a share of `lr`."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Decoupled decay of matrices; embeddings, biases and LayerNorms have none."""
    betas: Annotated[tuple[Beta, Beta], Strict(False)] = (0.9, 0.99)
    eps: float = Field(default=1e-8, gt=0)
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the whole gradient."""
    widened_rates: Literal["tied", "full"] = "tied"
    """`tied`: in a layer widened k times W_out takes lr / k with k times the decay and W_in eps / k, so that copies
    step in function space as their parent would. `full`: a widened layer as any other."""
    w_in_rate: float = Field(default=1.0, ge=0, le=1000)
    """Multiplies the rate of the weights and biases into MLP neurons, widened or not; 0 holds them."""
    w_out_rate: float = Field(default=1.0, ge=0, le=1000)
    """Multiplies the rate of the weights out of MLP neurons, widened or not; 0 holds them."""
    state: Literal["fresh", "transplant"] = "fresh"
    """Adam's moments of a run with a `start`: none, or those of the start, scaled to its copies."""
    l1: float = Field(default=0.0, ge=0)
    """Times the sum over neurons of |activation| (before a mid LayerNorm), mean over tokens, summed over the layers
    whose MLP trains: added to the loss. Logged apart, as `l1`, without this coefficient."""


LEAST_ALPHABET = 24
"""Tokens of the longest segment of repeated rows."""


class TrainConfig(Grown):
    """How many tokens, how many a step, in which arithmetic, and which steps are kept."""

    later: ClassVar[frozenset[str]] = frozenset({"memory", "repeated_rows", "repeated_alphabet", "name_rows"})

    tokens: int = Field(gt=0, le=MAX_COUNT)
    repeated_rows: float = Field(default=0.0, ge=0, le=1)
    """Share of training rows that are made up: tokens of the row in random order, repeated to its end, which teaches
    induction where there is enough of it."""
    repeated_alphabet: int = Field(default=0, ge=0, le=MAX_COUNT)
    """Where it is not 0 these rows repeat short segments, of 2 to 24 tokens; in two of five rows they are of so many of
    the text's most frequent ones. With 64 of these and most rows made up small models learn induction within 2 million
    tokens (configs/study/problems.toml)."""
    name_rows: float = Field(default=0.0, ge=0, le=1)
    """Share of training rows that are made up of sentences such as "When France and Spain were at the lake, France gave
    a book to Spain.": the task of indirect objects."""
    rows_per_step: int = Field(default=16, gt=0, le=MAX_COUNT)
    """Rows of all processes and accumulation steps together: the global batch."""
    accumulate: int = Field(default=1, gt=0)
    """Forward-backward passes a step; each takes rows_per_step / accumulate / processes rows."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16 is autocast over fp32 master weights. `auto`: bf16 where the processor or GPU multiplies it, else fp32;
    settled when a run or study begins, recorded, and kept when it goes on. Twins must share it."""
    memory: Literal["auto", "save", "recompute"] = "auto"
    """`save` keeps the MLPs' neurons for the backward pass. `recompute` has those of a few tokens at a time in memory
    and computes them again: a third more products of the MLPs, gradients that differ by rounding. `auto`: `recompute`
    where the other would not fit into the machine's memory (the GPU's); settled when a run begins, and kept."""
    compile: bool = False
    """By torch.compile. In fp32 on an AMD processor this is slower: its products are torch's (`train/products.py`)."""
    device: Literal["auto", "cpu"] = "auto"
    eval_tokens: int = Field(default=262_144, gt=0)
    """Held-out tokens of every evaluation, the same ones (all there are, where there are fewer)."""
    eval_every: int = Field(default=500, gt=0)
    """Steps between evaluations; step 0 and the last step are always evaluated."""
    log_every: int = Field(default=10, gt=0)
    checkpoint_every: int = Field(default=0, ge=0)
    """Steps between resume points, besides the log-spaced permanent ones; 0: log-spaced and last only."""
    wandb: Literal["off", "offline", "online"] = "off"

    @model_validator(mode="after")
    def _no_more_than_all_rows(self) -> "TrainConfig":
        if self.repeated_rows + self.name_rows > 1:
            raise ValueError(
                f"name_rows: {self.name_rows:g} and repeated_rows = {self.repeated_rows:g} are more than all rows"
            )
        if self.repeated_alphabet and not self.repeated_rows:
            raise ValueError("repeated_alphabet: there are no such rows; give repeated_rows a share above 0")
        if 0 < self.repeated_alphabet < LEAST_ALPHABET:
            raise ValueError(f"repeated_alphabet: {self.repeated_alphabet} must be 0 or at least {LEAST_ALPHABET}")
        return self


Noise = Literal["none", "zero_sum", "w_in", "antithetic", "w_out"]
Split = Literal["equal", "dirichlet"]
Copies = Literal["tiled", "fresh"]


class WidenPlan(Section):
    """The `[widen]` table: copy each neuron of these layers' MLPs `factor` times, then add noise.

    What the schemes do stands in `train.widening.schemes`; which of them keep the function, at `keeps_the_function`.
    """

    layers: Literal["all"] | tuple[int, ...]
    """Layers whose MLPs are widened: [0], [0, 1], or "all"."""
    factor: int = Field(ge=1, le=100)
    copies: Copies = "tiled"
    """`tiled`: k copies of every neuron. `fresh`: new neurons that write nothing yet join the old ones, the control
    for copying."""
    split: Split = "equal"
    """How siblings share their parent's W_out: a k-th each, or shares drawn per neuron."""
    concentration: float = Field(default=1.0, ge=1e-3, le=1e6)
    """Of the Dirichlet split: 1 is uniform over all shares, larger is more equal."""
    noise: Noise = "zero_sum"
    sigma: float = Field(default=0.1, ge=0)
    """Noise relative to the root mean square of the neuron's own weights."""
    exact: bool = False
    """Refuse a scheme that does not keep the function; otherwise the receipt says how far it moved."""
    seed: int = 0
    """Of the noise, the shares and the fresh neurons."""

    @property
    def keeps_the_function(self) -> bool:
        """Whether the widened model computes what its parent did, up to rounding.

        Any split does, and zero-sum noise. Noise on W_in does not, not even in pairs, nor does independent noise on
        W_out.
        """
        return self.noise in ("none", "zero_sum") or self.sigma == 0 or self.factor == 1

    def layers_in(self, n_layers: int) -> tuple[int, ...]:
        """The layers that are widened in a model of `n_layers`.

        Raises:
            BadInput: a layer that is not there.
        """
        if self.layers == "all":
            return tuple(range(n_layers))
        for layer in self.layers:
            if not 0 <= layer < n_layers:
                raise BadInput(f"widen.layers: layer {layer} is not there; the model has layers 0 to {n_layers - 1}")
        return self.layers

    @field_validator("layers", mode="before")
    @classmethod
    def _all_or_a_list(cls, value: Any) -> Any:
        # Checked here, so that a message names the key and not the alternatives of a union.
        if value == "all":
            return value
        if not isinstance(value, list | tuple) or not value or not all(type(each) is int for each in value):
            raise ValueError('give a list of layers such as [0], or "all"')
        if len(set(value)) != len(value):
            raise ValueError(f"{list(value)} names a layer twice")
        return tuple(value)

    @model_validator(mode="after")
    def _schemes_fit(self) -> "WidenPlan":
        if self.copies == "fresh" and (self.noise, self.split) != ("none", "equal"):
            raise ValueError(
                'copies: fresh neurons have no siblings to differ from; give noise = "none" and split = "equal"'
            )
        if self.exact and not self.keeps_the_function:
            raise ValueError(f'exact: {INEXACT[self.noise]}; take noise = "zero_sum" or "none", or leave `exact` out')
        return self


INEXACT = {
    "w_in": "noise on W_in changes when each copy fires, so that siblings no longer sum to their parent",
    "antithetic": "pairs of +e and -e on W_in cancel to first order only, not where the activation bends",
    "w_out": "independent noise on W_out does not cancel among siblings",
}
"""Why a scheme cannot keep the function."""


class RunConfig(Section):
    """A RUN.toml: a model trained from scratch, or one that starts from a checkpoint."""

    data: UserPath
    """A DATA.toml, or a directory that `train prepare` wrote."""
    seed: int = Field(default=0, ge=0)
    """Of the initial weights, the order of rows and the noise of widening."""
    variant: str | None = None
    """What comparison tables call it; default: the run directory's name without its `-s<seed>`."""
    model: ModelSpec | None = None
    start: UserPath | None = None
    """A run or step directory to start from instead of fresh weights."""
    trainable: str | None = None
    """Glob over parameter names; everything else is frozen and stays bit-identical. Default: the widened
    layers' MLPs where there is a [widen] table, everything where there is none."""
    widen: WidenPlan | None = None
    optim: OptimConfig
    train: TrainConfig

    @model_validator(mode="after")
    def _one_beginning(self) -> "RunConfig":
        if (self.model is None) == (self.start is None):
            raise ValueError("model: give [model] for fresh weights or `start` for a checkpoint, one of them")
        if self.widen is not None and self.start is None:
            raise ValueError("widen: needs `start`, the checkpoint that is widened")
        if self.optim.state == "transplant" and self.start is None:
            raise ValueError("optim.state: 'transplant' needs `start`, the checkpoint whose moments are taken")
        return self
