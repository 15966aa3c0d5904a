"""The figures of a toy's weights: what each is made from, and how to read it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import Figure
from analyze.toys import weights
from analyze.toys.geometry import interference
from analyze.toys.neurons import MONO
from analyze.toys.view import View, spread

MOST_INSTANCES = 12
MOST_NEURONS = 60
SLIGHT = 1e-3
"""Features of an importance below this times the largest keep much of their initial weights, which mean nothing; they
are left out of the drawings of neurons."""


def _geometries(view: View, shown: Sequence[int]) -> list[weights.Geometry]:
    bias = view.best.run.model.parameters.get("b")
    geometries = []
    for i in shown:
        W, b = view.best.weight[i, 0], None if bias is None else bias[i, 0].numpy()
        geometries.append(weights.Geometry(view.title(i), W.numpy(), b, interference(W).numpy()))
    return geometries


def gram_figure(view: View) -> Figure | None:
    """W^T W, b and norms."""
    if not view.run.config.network.is_tied:
        return None
    n = view.run.config.features.n
    shown = view.chosen(MOST_INSTANCES if n <= 40 else 8 if n <= 120 else 4)
    return Figure(
        "weights",
        weights.gram(_geometries(view, shown)),
        "Heat maps of W transposed times W with the bias, and bars of the norm of each feature's column",
        "Which features are held, and which share dimensions: WᵀW is the identity where features are kept apart, and "
        "what stands off the diagonal is interference; the bars are |Wᵢ|, blue with a dimension of its own, orange "
        f"where others fill it. Features run from the top{view.by_importance}. {view.which(shown)}",
    )


def arrow_figure(view: View) -> Figure | None:
    """Columns of W as arrows, in two dimensions or three."""
    network = view.run.config.network
    if not network.is_tied or network.hidden[0] not in (2, 3) or view.run.config.features.n > 30:
        return None
    shown = view.chosen(MOST_INSTANCES)
    is_flat = network.hidden[0] == 2
    space = "in the plane of the two" if is_flat else "in the space of the three, seen from one side,"
    return Figure(
        "arrows",
        weights.arrows(_geometries(view, shown)),
        f"Features as arrows in {network.hidden[0]} hidden dimensions, with the unit circle",
        f"Each arrow is a feature's column of W {space} hidden dimensions; the dotted circle has the radius 1, "
        f"and a dot at the centre is a feature that is not held{view.by_importance}. {view.which(shown)}",
    )


def _stacks(view: View, shown: Sequence[int]) -> list[list[weights.Stacks]]:
    best, network = view.best, view.run.config.network
    first, last = best.run.model.layers[0].weight[:, 0], best.run.model.layers[-1].weight[:, 0]
    share, dead = best.share[:, 0], best.dead[:, 0]
    kind = np.where(dead.numpy(), "dead", np.where((share > MONO[0]).numpy(), "mono", "poly"))
    importances = view.run.config.features.importances()
    reads, writes = _weighty(importances), _weighty(view.all.target.importances(importances))
    widths, is_deep = (network.hidden[0], network.hidden[-1]), len(network.hidden) > 1
    rows = []
    for i in shown:
        read = first[i].numpy()[:, :reads]
        order, title = _order(read), view.title(i)
        kinds = kind[i, : widths[0]]
        name = "W" if network.kind == "neuron" else "W1 (into the neurons)"
        row = [weights.Stacks(f"{title}: {name}" if title else name, read[order], tuple(kinds[order]))]
        if network.kind == "computation":
            out = last[i].T.numpy()[:, :writes]
            order = _order(out) if is_deep else order
            kinds = kind[i, -widths[1] :]
            name = f"W{len(network.hidden) + 1} (out of them)"
            row.append(weights.Stacks(name, out[order], tuple(kinds[order])))
        rows.append(row)
    if network.kind == "neuron":  # one drawing an instance: two fit side by side
        rows = [[each for (each,) in rows[i : i + 2]] for i in range(0, len(rows), 2)]
    return rows


def _order(table: Float[ndarray, "neuron feat"]) -> ndarray:
    """The neurons that are drawn, in order."""
    order = weights.neuron_order(table)
    return order[spread(len(order), MOST_NEURONS)]


def _weighty(importances: tuple[float, ...]) -> int:
    """How many are drawn, from the first on: none that matters is left out."""
    return 1 + max(i for i, each in enumerate(importances) if each >= SLIGHT * max(importances))


def _stack_figure(view: View, name: str, by: str, alt: str, caption: str) -> Figure | None:
    """Neurons as stacks of weights, for networks that have neurons."""
    network, importances = view.run.config.network, view.run.config.features.importances()
    if network.kind == "bottleneck":
        return None
    shown = view.chosen(8)
    of = [f"{each}{view.by_importance}" for each in ("feature", "feature" if network.kind == "neuron" else "output")]
    order = "neurons are ordered by the feature that weighs most"
    if network.kind == "computation":
        order += " in W1, the same order on both sides"
    if len(network.hidden) > 1:
        order = "left are the first layer's neurons and right the last layer's, each ordered by what weighs most"
    some = "" if max(network.hidden) <= MOST_NEURONS else f" {MOST_NEURONS} of {max(network.hidden)} neurons."
    if (n := _weighty(importances)) < len(importances):
        some += f" The first {n} features; the others' importance is below a thousandth of the largest."
    drawn = weights.stacks(_stacks(view, shown), by, (of[0], of[1]))
    return Figure(name, drawn, alt, f"{caption}; {order}. {view.which(shown)}{some}")


def neuron_figure(view: View) -> Figure | None:
    """Neurons as stacks of weights coloured by feature."""
    return _stack_figure(
        view,
        "neurons",
        "feature",
        "Every neuron as a stack of its weights, coloured by feature",
        "Each column is a neuron and each piece a weight, its feature by colour and number (grey: many small ones): "
        "a column of one piece is a neuron of one feature",
    )


def kind_figure(view: View) -> Figure | None:
    """Neurons as stacks of weights coloured by whether they answer to one feature."""
    return _stack_figure(
        view,
        "polysemanticity",
        "kind",
        "Every neuron as a stack of its weights, coloured by whether it is monosemantic",
        f"The same columns; blue is a neuron of whose responses one feature makes up more than {MONO[0]:g}, asked "
        "feature by feature; grey is one through which next to nothing passes",
    )
