"""4.32: does a hand-written circuit of a few neurons do what the model does for one feature?

The circuit knows nothing but the label: where it stands, its neurons have one value each, elsewhere another. The label
is chosen, its neurons are chosen and both values are read on half of the rows; the other half judges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.figures import COLOURS, FAINT, Figure, look, svg_of
from analyze.interventions import Change, losses, mean_ablation, read_site
from analyze.interventions.carriers import carriers
from analyze.problems.base import Measured, Measurement, Needs, Problem, Rule, Trials
from analyze.problems.feature_directions import Features, features_of
from analyze.problems.subject import Subject
from train.config import ModelConfig
from train.model import Transformer

LEAST_RISE = 0.02
"""Nats a token that the MLP must be worth at a label's tokens."""
CANDIDATES = 4
"""Labels that the MLP matters to most, among which that of the fewest neurons is taken."""
LEAST_RIVALS = 5
MOST_RIVALS = 12
SHARE = 0.9
"""Of the whole rise, which the circuit's neurons must make up alone."""


@dataclass(frozen=True)
class Circuit:
    """Neurons and the two values that each has."""

    neurons: Int[Tensor, " k"]
    inside: Float[Tensor, " k"]
    """Where the label stands."""
    outside: Float[Tensor, " k"]


def measure(subject: Subject) -> Measurement:
    """Share of the loss at the label's tokens that the circuit gives back of what its neurons are worth there."""
    assert subject.rows is not None
    features, layer = features_of(subject), subject.model.config.n_layers - 1
    half = torch.arange(len(subject.rows)) % 2 == 0
    first, second = subject.rows[half], subject.rows[~half]
    marks = features.where.view(len(features.names), len(subject.rows), -1)
    chosen = _simplest(subject.model, first, Features(features.names, marks[:, half].flatten(1)), layer)
    if chosen is None:
        return Measurement.impossible(
            f"no label that the last MLP matters to ({LEAST_RISE} nats a token) has neurons that make up "
            f"{SHARE:.0%} of it"
        )
    label, neurons = chosen
    values = _neurons_of(subject.model, first, layer)
    means = values.mean(0)
    own = _circuit(values, marks[label][half].flatten(), neurons)
    intact = losses(subject.model, second)
    without = losses(subject.model, second, [mean_ablation(layer, neurons, means)])
    here = marks[label][~half]

    def recovered(circuit: Circuit, where: Bool[Tensor, "row pos"]) -> Float[Tensor, "row pos"]:
        return losses(subject.model, second, [written(layer, circuit, where)])

    worth = float((without - intact)[here].mean())
    if worth <= 0:
        return Measurement.impossible(f"neurons of {features.names[label]!r} are worth nothing on the other rows")
    ours = recovered(own, here)
    rivals = [i for i in range(len(features.names)) if i != label and _apart(marks[i], marks[label])][:MOST_RIVALS]
    if len(rivals) < LEAST_RIVALS:
        return Measurement.impossible(f"{len(rivals)} other labels to compare with; needs {LEAST_RIVALS}")
    theirs = []
    for rival in rivals:
        circuit = _circuit(values, marks[rival][half].flatten(), neurons)
        theirs.append(1 - float((recovered(circuit, marks[rival][~half]) - intact)[here].mean()) / worth)
    return Measurement(
        statistic=1 - float((ours - intact)[here].mean()) / worth,
        null=np.clip(theirs, 0, None),
        details={
            "neurons": float(len(neurons)),
            "tokens": float(here.sum()),
            "worth of these neurons, nats": worth,
            "left at other tokens, nats": float((ours - intact)[~here].mean()),
        },
        tables={
            "circuit": pl.DataFrame(
                {
                    "label": features.names[label],
                    "neuron": own.neurons.numpy(),
                    "where it stands": own.inside.numpy(),
                    "elsewhere": own.outside.numpy(),
                }
            ),
            "rivals": pl.DataFrame({"label": [features.names[i] for i in rivals], "recovered": theirs}),
        },
        doubts=(f"In {subject.name} the label is {features.names[label]!r}.",),
    )


def written(layer: int, circuit: Circuit, where: Bool[Tensor, "row pos"]) -> Change:
    """The circuit's neurons say no more than whether the label stands at a token; for rows read from the first on."""
    place = [0]

    def edit(values: Tensor) -> Tensor:
        here = where[place[0] : place[0] + len(values)]
        place[0] += len(values)
        values = values.clone()
        values[..., circuit.neurons] = torch.where(here[..., None], circuit.inside, circuit.outside).to(values)
        return values

    return Change(layer, "post", edit)


def _circuit(
    values: Float[Tensor, "token neuron"], marks: Bool[Tensor, " token"], neurons: Int[Tensor, " k"]
) -> Circuit:
    own = values[:, neurons]
    return Circuit(neurons, own[marks].mean(0), own[~marks].mean(0))


@torch.no_grad()
def _neurons_of(model: Transformer, rows: Int[Tensor, "row pos_and_one"], layer: int) -> Float[Tensor, "token neuron"]:
    return torch.cat([read_site(model, chunk, layer, "post").flatten(0, 1) for chunk in rows[:, :-1].split(16)])


def _simplest(
    model: Transformer, rows: Int[Tensor, "row pos_and_one"], features: Features, layer: int
) -> tuple[int, Int[Tensor, " k"]] | None:
    """The label whose rise the fewest neurons make up, of those that the MLP matters to most, and these neurons."""
    means = _neurons_of(model, rows, layer).mean(0)
    every = torch.arange(len(means))
    rise = (losses(model, rows, [mean_ablation(layer, every, means)]) - losses(model, rows)).flatten()
    worth = np.array([float(rise[where].mean()) if where.any() else 0.0 for where in features.where])
    best: tuple[int, Int[Tensor, " k"]] | None = None
    for label in np.argsort(-worth, kind="stable")[:CANDIDATES].tolist():
        if worth[label] < LEAST_RISE:
            break
        where = features.where[label].view(len(rows), -1)
        most = len(means) if best is None else len(best[1]) - 1
        found = carriers(model, rows, where, layer, most=max(1, most), orders=0, until=SHARE)
        needed = found.needed(SHARE)
        if needed is not None and (best is None or needed < len(best[1])):
            best = label, torch.from_numpy(np.sort(found.order[:needed]))
    return best


def _apart(a: Bool[Tensor, "row pos"], b: Bool[Tensor, "row pos"]) -> bool:
    """Whether fewer than a tenth of a label's tokens bear the other, too."""
    return float((a & b).sum()) < 0.1 * float(b.sum())


def figures(measured: Sequence[Measured]) -> list[Figure]:
    """What the circuit gives back, beside circuits of other labels."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(6, 0.8 + 0.35 * max(len(measured), 3)), layout="constrained")
        axes = canvas.subplots()
        names = []
        for line, each in enumerate(measured):
            rivals = each.measurement.tables["rivals"]["recovered"].clip(-0.5, None)
            axes.plot(rivals, [line] * len(rivals), "|", ms=10, color=FAINT)
            axes.plot(each.measurement.statistic, line, "o", ms=6, color=COLOURS[0])
            names.append(f"{each.run}: {each.measurement.tables['circuit']['label'][0]}")
        axes.axvline(1, color=FAINT, lw=0.8)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.set(xlabel="share of the loss that the circuit gives back", xlim=(-0.55, 1.1))
        svg = svg_of(canvas)
    caption = "Dots: the label's own circuit. Grey strokes: the same neurons, told of another label instead."
    return [Figure("circuit", svg, "loss recovered by a hand-written circuit", caption)]


def planted(seed: int) -> Subject:
    """A neuron a feature: it has one value where the feature is and another elsewhere, and says what follows."""
    return _made_up(seed, by_label=True)


def null(seed: int) -> Subject:
    """Each of the label's tokens has a neuron and an answer of its own, which the label alone does not tell."""
    return _made_up(seed, by_label=False)


def _made_up(seed: int, by_label: bool) -> Subject:
    """Eight features of four tokens each; 32 further tokens are answers."""
    d, vocabulary = 64, 64
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(n_layers=1, d_model=d, n_heads=2, n_ctx=32, d_vocab=vocabulary, act="relu", widths=(48,))
    model = Transformer(config, seed).requires_grad_(False)
    block = model.block(0)
    for weight in (model.pos.weight, block.attn.o.weight, block.mlp.fc_in.weight, block.mlp.fc_out.weight):
        weight.copy_(0.02 * torch.randn(weight.shape, generator=generator))
    directions = torch.linalg.qr(torch.randn((d, d), generator=generator))[0]
    model.tok_embed.weight.copy_(2 * directions)
    model.head.weight.copy_(directions)
    model.head.weight[:32] = 0.0
    rows = torch.randint(0, vocabulary, (256, 33), generator=generator)
    answers = 32 + (torch.arange(32) // 4 if by_label else torch.arange(32))
    for token in range(32):
        neuron = token // 4 if by_label else token
        block.mlp.fc_in.weight[neuron] += directions[token]
        if not by_label or token % 4 == 0:
            block.mlp.fc_out.weight[:, neuron] += directions[answers[token]]
    for position in range(1, 33):
        before = rows[:, position - 1]
        marked = before < 32
        rows[marked, position] = answers[before[marked]]
    labels = {f"feature {i}": rows[:, :-1] // 4 == i for i in range(8)}
    name = "planted" if by_label else "token by token"
    return Subject(name, name, seed, model, rows=rows, planted_labels=labels)


PROBLEM = Problem(
    name="4.32",
    measure=measure,
    rule=Rule(
        says="yes if, on rows that did not choose it, a circuit that knows nothing but the label gives back at least "
        ".8 more of what its neurons are worth at the label's tokens than circuits of other labels (counted from 0), "
        "beyond 95 % of them in every seed, and the whole interval over seeds lies there; no if it lies below",
        least=0.8,
        against_untrained=False,
    ),
    statistic="share of the loss, at the tokens of the label of fewest neurons, that a two-valued circuit gives back",
    null="circuits of up to 12 other labels in the same neurons",
    minutes=0.7,
    needs=Needs(attention_only=False, labels=True),
    figures=figures,
    trials=Trials(planted, null, says="neurons that know a label alone; neurons that tell the label's tokens apart"),
    doubts=(
        "The label is the easiest of our bank, chosen by the fewest neurons: it does not stand for others.",
        "That the label stands at a token is given to the circuit, not computed by it.",
        "Where a feature is spread over the layer, the fewest neurons are many: their number stands in the table.",
    ),
)
