"""W_in rotated: a layer of neurons that read random mixtures of what the real neurons read, and fire as often.

The rotation after the activation mixes values, so each of its rows fires where any of hundreds of neurons fires. Here
the mixing comes before the activation: each row is a neuron with its own threshold, sparsity and rectified tail, and
its input direction is a random one in the span of the layer's. A layer that beats this null has neurons that read
better directions than chance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from analyze.activations.provenance import held_out, require_origin
from analyze.activations.sample import blocks
from analyze.activations.store import Activations
from analyze.nulls.base import Null, NullStyle
from analyze.nulls.making import CHUNK, MOST, activations_of, living
from analyze.nulls.rotation import haar
from train.model import MLP, Transformer

MOST_COUPLED = 4096
"""Most neurons that are turned together where the activation couples them (solu): the matrix of all of 51,200 would
take 10.5 GB in fp32."""
FITTED_TOKENS = 65_536
"""Most tokens, evenly spaced, that the biases of coupled neurons are fitted on."""
LEAST_RATE = 2e-4
"""A neuron fires above 0.1 x the 99.99th percentile, so no bias makes it fire much less often than this."""
ROUNDS = 20
BISECTIONS = 60
MICRO_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Turned:
    """Neurons of a layer with W_in rotated among them, biases not yet fitted."""

    neurons: Int[np.ndarray, "m"]
    """Their indices in the layer."""
    weight: Float[Tensor, "m d_model"]
    rate: Float[np.ndarray, "m"]
    """Target firing rate of each direction: that of the neuron at its place."""


def w_in_rotated(
    acts: Activations, seed: int = 0, most: int = MOST, most_coupled: int = MOST_COUPLED
) -> Activations | None:
    """The layer with its living neurons' W_in replaced by R^T W_in, and biases refitted to their firing rates.

    R is a Haar rotation of those neurons, so pre-activations less their biases are those of the layer times R. Row i
    gets the bias at which it fires as often as the neuron at its place (meta.settings["neurons"][i]), so the rates
    of the rows are those of the neurons. The network is then run again on the sampled tokens, activation, mid
    LayerNorm and all.

    relu and the gelus act on each neuron alone: `most` neurons are turned, and the bias is exact in fp32 (see
    `elementwise_biases`); storing activations in bf16 moves the rate by a few parts in a thousand. solu couples a
    layer's neurons through its softmax, and a mid LayerNorm couples what follows it (`post`): there up to
    `most_coupled` living neurons are turned together (of more, so many drawn by `seed`), their biases are fitted
    together on at most FITTED_TOKENS tokens (see `coupled_biases`), and `most` of the rows are kept. Such rates are
    only near their targets, and not even that where no bias within reach gives them; meta.settings["rate_error"] is
    the median |ln(rate / wanted)| over the rows. Neurons that were not turned keep their weights, and their part in
    the softmax and the LayerNorm.

    None where fewer than two neurons are alive or the activations name no checkpoint.

    Memory: 4 x d_model bytes a sampled token, 2 x 512 for what is kept, and four fp32 copies of a block of 256
    neurons; where neurons are coupled also 2 x FITTED_TOKENS + 16 x CHUNK bytes a turned one.

    Raises:
        BadInput: the checkpoint or the data are in none of the places that `train.locate` looks in.
    """
    origin, hook = require_origin(acts, "w_in_rotated", "--nulls"), acts.meta.hook
    if origin is None:
        return None
    model = origin.checkpoint.model()
    mlp = model.mlp(acts.meta.layer)
    coupled = not mlp.activation.elementwise or (hook == "post" and mlp.ln is not None)
    alive = living(acts, seed, most_coupled if coupled else most)
    if len(alive) < 2:
        return None
    inputs = mlp_inputs(model, acts)
    neurons = origin.neurons[alive]
    with torch.no_grad():
        weight = (haar(len(alive), seed).T @ mlp.fc_in.weight[torch.from_numpy(neurons)].double()).float()
    turned = Turned(neurons, weight, acts.moments.firing_rate[alive])
    if coupled:
        bias = coupled_biases(mlp, turned, inputs, acts.tokens.is_fit, hook)
    else:
        bias = elementwise_biases(mlp.activation.function, turned, inputs, acts.tokens.is_fit)
    kept = np.arange(len(alive))
    if len(alive) > most:
        kept = np.sort(np.random.default_rng([seed, 1]).choice(len(alive), most, replace=False))
    values = run_again(mlp, turned, bias, inputs, kept, coupled, hook)
    null = activations_of(acts, values, "w_in_rotated", seed, alive[kept], turned=len(alive))
    null.meta.settings["rate_error"] = rate_error(null.moments.firing_rate, turned.rate[kept])
    return null


def rate_error(rate: Float[np.ndarray, "n"], wanted: Float[np.ndarray, "n"]) -> float:
    """Median |ln(rate / wanted)|, rates at least LEAST_RATE."""
    return float(np.median(np.abs(np.log(np.maximum(rate, LEAST_RATE) / np.maximum(wanted, LEAST_RATE)))))


@torch.no_grad()
def mlp_inputs(model: Transformer, acts: Activations) -> Float[Tensor, "t d_model"]:
    """What the layer's W_in reads at each sampled token.

    Raises:
        BadInput: the data directory has gone or is not the one that was collected on.
    """
    data = held_out(acts)
    n_ctx, row = data.n_ctx, acts.tokens.stream_position // data.n_ctx
    inputs = torch.empty(len(row), model.config.d_model)
    step = max(1, MICRO_BATCH_TOKENS // n_ctx)
    for first in range(0, int(row.max()) + 1, step):
        low, high = np.searchsorted(row, (first, first + step))
        if low == high:
            continue
        rows = data.plain_rows(first, min(step, data.n_rows - first))[:, :n_ctx]
        at = torch.from_numpy(row[low:high] - first), torch.from_numpy(acts.tokens.position[low:high].astype(np.int64))
        inputs[low:high] = model.mlp_input(rows, acts.meta.layer)[at]
    return inputs


@torch.no_grad()
def elementwise_biases(
    function: Callable[[Tensor], Tensor], turned: Turned, inputs: Float[Tensor, "t d_model"], fit: np.ndarray
) -> Float[Tensor, " m"]:
    """The bias at which each direction fires at its rate, for an activation that is 0 at 0 and rises above it.

    A direction with values u = x W fires where f(u + b) > 0.1 f(p + b), p the 99.99th percentile of u on fit
    tokens. So it fires on the wanted share of tokens where f(q + b) = 0.1 f(p + b), q being the value that this
    share of u exceeds; bisection finds b, from -p, where nothing fires, upwards.
    """
    fitted = torch.from_numpy(np.flatnonzero(fit) if fit.any() else np.arange(len(fit)))
    bias = torch.empty(len(turned.weight))
    for first, stop in blocks(len(turned.weight)):
        u = (turned.weight[first:stop] @ inputs.T).contiguous()
        p = peaks(u[:, fitted])
        q = torch.empty_like(p)
        for index, rate in enumerate(turned.rate[first:stop].tolist()):
            above = round(max(rate, LEAST_RATE) * u.shape[1])
            q[index] = u[index].kthvalue(max(u.shape[1] - above, 1)).values
        p, q = p.double(), q.double()
        # With p - q well above the activation's bend f is a line, and b = (0.1 p - q) / 0.9.
        low, high = -p, (0.1 * p - q) / 0.9 + 10 * (p - q).clamp(min=1)
        for _ in range(BISECTIONS):
            b = (low + high) / 2
            fires = function(q + b) > 0.1 * function(p + b)
            low, high = torch.where(fires, low, b), torch.where(fires, b, high)
        bias[first:stop] = ((low + high) / 2).float()
    return bias


def peaks(values: Float[Tensor, "m t"]) -> Float[Tensor, " m"]:
    """The 99.99th percentile of each row, as `analyze.activations.moments` takes it."""
    above = values.shape[1] - max(int(np.ceil(0.9999 * values.shape[1] - 1e-9)), 1)
    return values.topk(above + 1, dim=1).values[:, -1]


@dataclass(frozen=True)
class Others:
    """How the neurons that keep their weights affect the turned ones at each token, [t] each."""

    n: int
    """Neurons of the whole layer."""
    log_total: Float[Tensor, " t"]
    """Of solu: log sum exp of their pre-activations. -inf where there are none."""
    total: Float[Tensor, " t"]
    """Sum of their values; of solu those they have among one another alone."""
    squares: Float[Tensor, " t"]

    @classmethod
    @torch.no_grad()
    def of(cls, mlp: MLP, turned: Turned, inputs: Float[Tensor, "t d_model"]) -> "Others":
        """Of the layer's neurons that are not turned."""
        n, length = mlp.fc_in.weight.shape[0], len(inputs)
        stay = torch.ones(n, dtype=torch.bool)
        stay[torch.from_numpy(turned.neurons)] = False
        others = cls(n, torch.full((length,), -torch.inf), torch.zeros(length), torch.zeros(length))
        weight, offset = mlp.fc_in.weight[stay], mlp.fc_in.bias[stay]
        for first in range(0, length if len(weight) else 0, MICRO_BATCH_TOKENS):
            part = slice(first, first + MICRO_BATCH_TOKENS)
            pre = F.linear(inputs[part], weight, offset)
            mid = mlp.activation.function(pre)
            others.log_total[part], others.total[part] = pre.logsumexp(1), mid.sum(1)
            others.squares[part] = mid.square().sum(1)
        return others

    def values(
        self, mlp: MLP, turned: Turned, pre: Float[Tensor, "m c"], part: slice, hook: str
    ) -> Float[Tensor, "m c"]:
        """The turned neurons' values at `hook` from their pre-activations at the tokens of `part`."""
        total, squares = self.total[part], self.squares[part]
        if not mlp.activation.elementwise:
            log_total = torch.logaddexp(pre.logsumexp(0), self.log_total[part])
            mid = pre * (pre - log_total).exp()
            share = (self.log_total[part] - log_total).exp()
            total, squares = total * share, squares * share**2
        else:
            mid = mlp.activation.function(pre)
        if hook == "mid" or mlp.ln is None:
            return mid
        mean = (mid.sum(0) + total) / self.n
        variance = (mid.square().sum(0) + squares) / self.n - mean**2
        rows = torch.from_numpy(turned.neurons)
        scaled = (mid - mean) * (variance.clamp(min=0) + mlp.ln.eps).rsqrt()
        return scaled * mlp.ln.weight[rows, None] + mlp.ln.bias[rows, None]


@torch.no_grad()
def coupled_biases(
    mlp: MLP, turned: Turned, inputs: Float[Tensor, "t d_model"], fit: np.ndarray, hook: str
) -> Float[Tensor, " m"]:
    """Biases at which directions that a softmax or a LayerNorm couples fire at about their rates.

    Each bias changes the rates of the others, so all move together: in each round a bias steps up where its direction
    fires too seldom and down where it fires too often; a step that turned back is halved, any other grows by a fifth
    (Riedmiller and Braun, "RPROP", 1993). Biases start at those of the neurons at their place and stay within 4
    deviations of the pre-activations around the range of those. The result is the round whose rates are nearest, by
    the mean |ln(rate / wanted)|.
    """
    chosen = np.unique(np.linspace(0, len(inputs) - 1, min(FITTED_TOKENS, len(inputs))).astype(np.int64))
    x, in_fit = inputs[torch.from_numpy(chosen)], fit[chosen]
    fitted = torch.from_numpy(np.flatnonzero(in_fit) if in_fit.any() else np.arange(len(chosen)))
    others = Others.of(mlp, turned, x)
    wanted = torch.from_numpy(np.maximum(turned.rate, LEAST_RATE)).float()
    bias = mlp.fc_in.bias[torch.from_numpy(turned.neurons)].clone()
    spread = (x[:CHUNK] @ turned.weight.T).std(0)
    low, high = bias.min() - 4 * spread.max(), bias.max() + 4 * spread.max()
    step, before = spread / 2, torch.zeros(len(bias))
    best, least = bias, torch.inf
    values = torch.empty(len(bias), len(x), dtype=torch.bfloat16)
    for _ in range(ROUNDS):
        for first in range(0, len(x), MICRO_BATCH_TOKENS):
            part = slice(first, first + MICRO_BATCH_TOKENS)
            pre = turned.weight @ x[part].T + bias[:, None]
            values[:, part] = others.values(mlp, turned, pre, part, hook).bfloat16()
        rate = torch.empty(len(bias))
        for first, stop in blocks(len(bias)):
            block = values[first:stop].float()
            threshold = 0.1 * peaks(block[:, fitted])
            rate[first:stop] = (block > threshold[:, None]).float().mean(1)
        error = (rate.clamp(min=LEAST_RATE) / wanted).log()
        if float(error.abs().mean()) < least:
            best, least = bias, float(error.abs().mean())
        way = -error.sign()
        step = step * torch.where(way * before < 0, 0.5, torch.where(way * before > 0, 1.2, 1.0))
        bias, before = (bias + way * step).clamp(low, high), way
    return best


@torch.no_grad()
def run_again(
    mlp: MLP,
    turned: Turned,
    bias: Float[Tensor, " m"],
    inputs: Float[Tensor, "t d_model"],
    kept: Int[np.ndarray, "k"],
    coupled: bool,
    hook: str,
) -> Tensor:
    """The kept turned neurons' values at `hook` on all tokens, bf16 [t k]. Changes `mlp`.

    Where nothing couples the neurons, runs only those that are kept.
    """
    rows = torch.from_numpy(turned.neurons)
    mlp.fc_in.weight[rows], mlp.fc_in.bias[rows] = turned.weight, bias
    wanted = rows[torch.from_numpy(kept)]
    values = torch.empty(len(inputs), len(kept), dtype=torch.bfloat16)
    weight, offset = mlp.fc_in.weight[wanted], mlp.fc_in.bias[wanted]
    size = MICRO_BATCH_TOKENS if coupled else CHUNK
    for first in range(0, len(inputs), size):
        x = inputs[first : first + size]
        if coupled:
            piece = mlp.neurons(x[None], hook)[0, :, wanted]  # pyright: ignore[reportArgumentType]
        else:
            piece = mlp.activation.function(F.linear(x, weight, offset))
        values[first : first + size] = piece.bfloat16()
    return values


NULL = Null(
    name="w_in_rotated",
    title="W_in rotated",
    phrase="the same layer with W_in rotated",
    meaning="the layer run again with W_in rotated and biases refitted, so that its directions fire as often as the "
    "neurons do",
    style=NullStyle("#555555", (0, (5, 1.5, 1.5, 1.5)), "^", "triangle"),
    order=2,
    shown=True,
    make=w_in_rotated,
    needs="two neurons that are not dead, of a checkpoint",
    reads_weights=True,
)
