"""4.33: can a few tokens of other features make a polysemantic neuron fire as if its main feature were there?

Tokens are exchanged one by one along the gradient (HotFlip), at the last three positions of a context; none may be of
the neuron's main feature. Neurons that answer to few kinds of tokens are paired with ones of like W_in that answer to
many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from analyze.figures import COLOURS, Figure, look, svg_of
from analyze.metrics import effective_number
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

FLIPS = 3
"""Tokens that may be exchanged, and the last positions of a context where they may be."""
CANDIDATES = 12
"""Exchanges that are tried at each flip, those that the gradient likes best."""
CONTEXTS, LENGTH = 8, 24
PAIRS, LEAST_PAIRS = 20, 8
STRONGEST = 200
"""Tokens by which a neuron is known: its strongest."""
ALIKE = 0.3
"""Cosine of embeddings from which a token counts as one of the main feature."""
AS_IF = 0.5
"""Share of what the neuron does at its main feature that counts as firing as if that were there."""
DRAWS = 500
MOST_ROWS = 64


@dataclass(frozen=True)
class Known:
    """What a neuron answers to."""

    neuron: int
    kinds: float
    """Effective number of unlike tokens among its strongest."""
    main: Bool[Tensor, " vocab"]
    """Tokens of its main feature."""
    target: float
    """Activation from which it fires as if the main feature were there."""


def measure(subject: Subject) -> Measurement:
    """Share of contexts that fool neurons of many kinds, less that of neurons of few kinds and like weights."""
    assert subject.rows is not None
    model = subject.model
    rows = subject.rows[:: max(1, len(subject.rows) // MOST_ROWS)][:MOST_ROWS]
    pairs = paired(model, known_of(model, rows))
    if len(pairs) < LEAST_PAIRS:
        return Measurement.impossible(f"{len(pairs)} pairs of neurons of few and of many kinds; needs {LEAST_PAIRS}")
    rng = np.random.default_rng(0)
    contexts = subject.rows[torch.from_numpy(rng.choice(len(subject.rows), CONTEXTS, replace=False))][:, :LENGTH]
    attacked = {each.neuron: Attack(model, each, contexts) for pair in pairs for each in pair}
    fooled = {neuron: attack.along_the_gradient() for neuron, attack in attacked.items()}
    by_chance = {neuron: attack.at_random(rng) for neuron, attack in attacked.items()}
    difference = np.array([fooled[many.neuron] - fooled[few.neuron] for few, many in pairs])
    random = np.array([by_chance[many.neuron] - by_chance[few.neuron] for few, many in pairs])
    signs = rng.choice([-1.0, 1.0], (DRAWS, len(pairs)))
    norms = model.mlp(model.config.n_layers - 1).fc_in.weight.norm(dim=1)
    side = {name: [pair[i] for pair in pairs] for i, name in enumerate(("few kinds", "many kinds"))}
    return Measurement(
        statistic=float(difference.mean()),
        null=(signs * difference).mean(1),
        reference=float(random.mean()),
        details={
            "pairs": float(len(pairs)),
            **{f"fooled, {name}": float(np.mean([fooled[k.neuron] for k in them])) for name, them in side.items()},
            **{
                f"by random tokens, {name}": float(np.mean([by_chance[k.neuron] for k in them]))
                for name, them in side.items()
            },
            **{f"kinds, {name}": float(np.mean([k.kinds for k in them])) for name, them in side.items()},
            **{f"|W_in|, {name}": float(np.mean([norms[k.neuron] for k in them])) for name, them in side.items()},
            "cosine of the last token and W_in": float(
                np.nanmean([attack.alignment for attack in attacked.values()])
                if any(np.isfinite(attack.alignment) for attack in attacked.values())
                else 0.0
            ),
        },
        tables={
            "neurons": pl.DataFrame(
                [
                    {
                        "neuron": k.neuron,
                        "side": name,
                        "kinds": k.kinds,
                        "fooled": fooled[k.neuron],
                        "random": by_chance[k.neuron],
                    }
                    for name, them in side.items()
                    for k in them
                ]
            )
        },
    )


@torch.no_grad()
def known_of(model: Transformer, rows: Int[Tensor, "row pos_and_one"]) -> list[Known]:
    """What each neuron of the last MLP answers to, for those that answer to anything."""
    layer = model.config.n_layers - 1
    values = torch.cat([model.mlp_activations(c, layer, "mid").flatten(0, 1) for c in rows[:, :-1].split(8)])
    tokens = rows[:, :-1].flatten()
    embedding = F.normalize(model.tok_embed.weight - model.tok_embed.weight.mean(0), dim=1)
    found = []
    for neuron in range(values.shape[1]):
        top = values[:, neuron].topk(min(STRONGEST, len(values)))
        if not float(top.values[-1]) > 0:
            continue
        ids, place = tokens[top.indices].unique(return_inverse=True)
        weight = torch.zeros(len(ids)).index_add(0, place, top.values)
        likeness = (embedding[ids] @ embedding[ids].T).clamp(min=0).fill_diagonal_(1.0)
        kinds = effective_number(weight.double().numpy(), likeness.double().numpy())
        main = embedding @ embedding[ids[weight.argmax()]] >= ALIKE
        target = AS_IF * float(top.values[main[tokens[top.indices]]].mean())
        found.append(Known(neuron, kinds, main, target))
    return found


def paired(model: Transformer, known: Sequence[Known]) -> list[tuple[Known, Known]]:
    """Neurons of the lower third by kinds, each with one of the upper third whose W_in is as long as can be had."""
    ordered = sorted(known, key=lambda each: each.kinds)
    third = len(ordered) // 3
    few, many = ordered[:third], ordered[len(ordered) - third :]
    norms = model.mlp(model.config.n_layers - 1).fc_in.weight.norm(dim=1).log()
    cost = np.array([[abs(float(norms[a.neuron] - norms[b.neuron])) for b in many] for a in few]).reshape(third, third)
    rows, columns = linear_sum_assignment(cost)
    nearest = np.argsort(cost[rows, columns], kind="stable")[:PAIRS]
    return [(few[rows[i]], many[columns[i]]) for i in nearest]


class Attack:
    """Attempts to make one neuron fire at the last position of contexts that do not."""

    def __init__(self, model: Transformer, known: Known, contexts: Int[Tensor, "context pos"]) -> None:
        self.model, self.known = model, known
        self.layer = model.config.n_layers - 1
        self.alignment = float("nan")
        """Cosine of W_in and what the last position's new token adds, over contexts that were fooled."""
        # The last positions first hold no token of the main feature, or the neuron may fire already.
        allowed = (~known.main).nonzero()[:, 0]
        plain = contexts.clone()
        last = plain[:, -FLIPS:]
        plain[:, -FLIPS:] = torch.where(known.main[last], allowed[last % max(len(allowed), 1)], last)
        self.contexts = plain[self._values(plain) < known.target] if len(allowed) else plain[:0]
        self.allowed = allowed

    @torch.no_grad()
    def _values(self, tokens: Int[Tensor, "n pos"]) -> Float[Tensor, " n"]:
        read = self.model.mlp_input(tokens, self.layer)[:, -1:]
        return self.model.mlp(self.layer).neurons(read, "mid")[:, 0, self.known.neuron]

    def _gradient(self, tokens: Int[Tensor, "n pos"]) -> Float[Tensor, "n flip d"]:
        """Of the neuron before its activation, by the embeddings at the last positions."""
        with torch.enable_grad():
            embedded = self.model.tok_embed(tokens).detach().requires_grad_()
            x = embedded + self.model.pos.weight[: tokens.shape[1]]
            for layer in range(self.layer):
                x = self.model.block(layer)(x)
            block = self.model.block(self.layer)
            read = block.ln2(x + block.attn(block.ln1(x)))[:, -1]
            pre = read @ block.mlp.fc_in.weight[self.known.neuron]
            (gradient,) = torch.autograd.grad(pre.sum(), embedded)
        return gradient[:, -FLIPS:]

    def along_the_gradient(self) -> float:
        """Share of contexts in which three exchanges at most make it fire; NaN-free: 0 where there is no context."""
        tokens, fooled = self.contexts.clone(), torch.zeros(len(self.contexts), dtype=torch.bool)
        if not len(tokens):
            return 0.0
        embedding = self.model.tok_embed.weight
        for _ in range(FLIPS):
            gradient = self._gradient(tokens)
            now = (gradient * embedding[tokens[:, -FLIPS:]]).sum(-1, keepdim=True)
            gain = (gradient @ embedding.T - now).masked_fill(self.known.main, -torch.inf)
            best = gain.flatten(1).topk(CANDIDATES, dim=1).indices
            place, token = best // embedding.shape[0], best % embedding.shape[0]
            tried = tokens[:, None].repeat(1, CANDIDATES, 1)
            tried.scatter_(2, (place + tokens.shape[1] - FLIPS)[..., None], token[..., None])
            values = self._values(tried.flatten(0, 1)).view(len(tokens), CANDIDATES)
            better = values.max(1)
            gained = better.values > self._values(tokens)
            chosen = tried[torch.arange(len(tokens)), better.indices]
            tokens = torch.where(gained[:, None], chosen, tokens)
            fooled |= better.values >= self.known.target
        self.alignment = self._alignment(tokens[fooled][:, -1])
        return float(fooled.float().mean())

    def _alignment(self, tokens: Int[Tensor, " n"]) -> float:
        if not len(tokens):
            return float("nan")
        block = self.model.block(self.layer)
        embedding = self.model.tok_embed.weight
        added = (embedding[tokens] - embedding.mean(0)) * block.ln2.weight
        return float(F.cosine_similarity(added, block.mlp.fc_in.weight[self.known.neuron][None]).mean())

    def at_random(self, rng: np.random.Generator) -> float:
        """The same share for as many tries with random tokens at all three positions."""
        if not len(self.contexts):
            return 0.0
        n = FLIPS * CANDIDATES
        tried = self.contexts[:, None].repeat(1, n, 1)
        drawn = rng.choice(self.allowed.numpy(), (len(self.contexts), n, FLIPS))
        tried[:, :, -FLIPS:] = torch.from_numpy(drawn)
        values = self._values(tried.flatten(0, 1)).view(len(self.contexts), n)
        return float((values.amax(1) >= self.known.target).float().mean())


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """Share of contexts that fool a neuron, by the kinds of tokens it answers to."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(5.5, 3.4), layout="constrained")
        axes = canvas.subplots()
        variants = list(dict.fromkeys(each.variant for each in measured))
        for variant in variants:
            table = pl.concat([each.measurement.tables["neurons"] for each in measured if each.variant == variant])
            colour = COLOURS[variants.index(variant) % len(COLOURS)]
            axes.plot(table["kinds"], table["fooled"], "o", ms=3, alpha=0.6, color=colour, label=variant)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="kinds of tokens that it answers to (effective number)", ylabel="contexts that fool it")
        if variants:
            axes.legend(frameon=False, fontsize=8)
        svg = svg_of(canvas)
    caption = (
        "A dot a neuron. Fooled: three exchanged tokens, none of its main feature, make it fire as if that were there."
    )
    return [Figure("fooled", svg, "contexts that fool neurons, by the kinds they answer to", caption)]


def planted(seed: int) -> Subject:
    """Half of the neurons read one group of like tokens, the others two unlike groups."""
    return _made_up(seed, two_kinds=True)


def null(seed: int) -> Subject:
    """Neurons with random weights: those of few and of many kinds differ by chance."""
    return _made_up(seed, two_kinds=False)


def _made_up(seed: int, two_kinds: bool) -> Subject:
    d, n, groups, each = 64, 64, 60, 4
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=128, d_vocab=each * groups, act="relu", widths=(n,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight, block.mlp.fc_in.bias):
        weight.zero_()
    directions = torch.linalg.qr(torch.randn((d, d), generator=generator))[0][:groups]
    noise = 0.3 * torch.randn((each * groups, d), generator=generator) / d**0.5
    model.tok_embed.weight.copy_(directions.repeat_interleave(each, 0) + noise)
    if two_kinds:
        first = torch.randint(0, groups, (n,), generator=generator)
        second = (first + torch.randint(1, groups, (n,), generator=generator)) % groups
        two = (torch.arange(n) % 2 == 1).float()[:, None]
        weight = directions[first] + 0.8 * two * directions[second]
    else:
        weight = torch.randn((n, d), generator=generator)
    block.mlp.fc_in.weight.copy_(F.normalize(weight, dim=1))
    rows = torch.randint(0, each * groups, (64, 129), generator=generator)
    name = "planted" if two_kinds else "random weights"
    return Subject(name, name, seed, model, rows=rows)


PROBLEM = Problem(
    name="4.33",
    measure=measure,
    rule=Rule(
        says="yes if three exchanged tokens, none of the main feature, make neurons of many kinds fire in a share of "
        "contexts that exceeds that of neurons of few kinds and like W_in by .15 more than as many random tokens do, "
        "beyond 95 % of sign flips of the pairs in every seed, and the whole interval over seeds lies there; no if the "
        "whole interval lies below",
        least=0.15,
        against_untrained=False,
    ),
    statistic="share of contexts that three exchanged tokens fool: neurons of many kinds less paired ones of few kinds",
    null="500 random sign flips of the pairs",
    reference="the same difference for as many tries with random tokens",
    minutes=0.2,
    needs=Needs(attention_only=False),
    figures=figures,
    trials=Trials(planted, null, says="neurons of one and of two unlike groups of tokens; neurons with random weights"),
    doubts=(
        "Kinds are counted over the current token: a neuron of contexts looks like one of many kinds.",
        "A token of another feature of the same neuron counts as a success: it is what superposition says should work.",
    ),
    sources=("Ebrahimi et al. 2018, HotFlip, arXiv 1712.06751",),
)
