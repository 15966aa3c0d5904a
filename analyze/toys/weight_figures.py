"""The figures of a toy's weights: what each is made from, and how it is read in a sentence."""

import numpy as np

from analyze.figures import Figure
from analyze.toys import weights
from analyze.toys.geometry import interference
from analyze.toys.neurons import MONO
from analyze.toys.view import View

MOST_INSTANCES = 12
MOST_NEURONS = 60
SLIGHT = 1e-3
"""Features of an importance below this times the largest keep much of their initial weights, which mean nothing; they
are left out of the drawings of neurons."""


def _geometries(view: View, shown: list[int]) -> list[weights.Geometry]:
    found = []
    for i in shown:
        weight, bias = view.best.weight[i, 0], view.best.run.model.parameters.get("b")
        found.append(
            weights.Geometry(
                view.title(i),
                weight.numpy(),
                None if bias is None else bias[i, 0].numpy(),
                interference(weight).numpy(),
            )
        )
    return found


def gram_figure(view: View) -> Figure | None:
    """W^T W, b and norms."""
    if not view.is_tied:
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
    hidden = view.run.config.network.hidden[0]
    if not view.is_tied or hidden not in (2, 3) or view.run.config.features.n > 30:
        return None
    shown = view.chosen(MOST_INSTANCES)
    space = "in the plane of the two" if hidden == 2 else "in the space of the three, seen from one side,"
    return Figure(
        "arrows",
        weights.arrows(_geometries(view, shown)),
        f"Features as arrows in {hidden} hidden dimensions, with the unit circle",
        f"Each arrow is a feature's column of W {space} hidden dimensions; the dotted circle has the radius 1, "
        f"and a dot at the centre is a feature that is not held{view.by_importance}. {view.which(shown)}",
    )


def _stacks(view: View, shown: list[int]) -> list[list[weights.Stacks]]:
    best, network = view.best, view.run.config.network
    first, last = best.run.model.layers[0].weight[:, 0], best.run.model.layers[-1].weight[:, 0]
    share, dead = best.share[:, 0], best.dead[:, 0]
    kind = np.where(dead.numpy(), "dead", np.where((share > MONO[0]).numpy(), "mono", "poly"))
    reads, writes = _weighty(view.run.config.features.importances()), _weighty(_output_importances(view))
    widths, is_deep = (network.hidden[0], network.hidden[-1]), len(network.hidden) > 1
    rows = []
    for i in shown:
        read = first[i].numpy()[:, :reads]
        order = weights.neuron_order(read)
        order = order[weights.spread(len(order), MOST_NEURONS)]
        title = view.title(i)
        kinds = kind[i, : widths[0]]
        name = "W" if network.kind == "neuron" else "W1 (into the neurons)"
        row = [weights.Stacks(f"{title}: {name}" if title else name, read[order], tuple(kinds[order]))]
        if network.kind == "computation":
            out = last[i].T.numpy()[:, :writes]
            if is_deep:
                order = weights.neuron_order(out)
                order = order[weights.spread(len(order), MOST_NEURONS)]
            kinds = kind[i, -widths[1] :]
            name = f"W{len(network.hidden) + 1} (out of them)"
            row.append(weights.Stacks(name, out[order], tuple(kinds[order])))
        rows.append(row)
    if network.kind == "neuron":  # one drawing an instance: two fit side by side
        rows = [[each for (each,) in rows[i : i + 2]] for i in range(0, len(rows), 2)]
    return rows


def _output_importances(view: View) -> tuple[float, ...]:
    return view.all.target.importances(view.run.config.features.importances())


def _weighty(importances: tuple[float, ...]) -> int:
    """How many are drawn, from the first on: none that matters is left out."""
    return 1 + max(i for i, each in enumerate(importances) if each >= SLIGHT * max(importances))


def _neuron_words(view: View, shown: list[int]) -> str:
    hidden = view.run.config.network.hidden
    some = "" if max(hidden) <= MOST_NEURONS else f" {MOST_NEURONS} of {max(hidden)} neurons."
    importances = view.run.config.features.importances()
    if (n := _weighty(importances)) < len(importances):
        some += f" The first {n} features; the others' importance is below a thousandth of the largest."
    order = "neurons are ordered by the feature that weighs most in W1, the same order on both sides"
    if len(hidden) > 1:
        order = "left are the first layer's neurons and right the last layer's, each ordered by what weighs most"
    elif view.run.config.network.kind == "neuron":
        order = "neurons are ordered by the feature that weighs most"
    return f"{order}. {view.which(shown)}{some}"


def neuron_figure(view: View) -> Figure | None:
    """Neurons as stacks of weights coloured by feature."""
    if view.run.config.network.kind == "bottleneck":
        return None
    shown = view.chosen(8)
    names = (f"feature{view.by_importance}", f"output{view.by_importance}")
    if view.run.config.network.kind == "neuron":
        names = (names[0], names[0])
    return Figure(
        "neurons",
        weights.stacks(_stacks(view, shown), "feature", names),
        "Every neuron as a stack of its weights, coloured by feature",
        "Each column is a neuron and each piece a weight, its feature by colour and number (grey: many small ones): "
        f"a column of one piece is a neuron of one feature; {_neuron_words(view, shown)}",
    )


def kind_figure(view: View) -> Figure | None:
    """Neurons as stacks of weights coloured by whether they answer to one feature."""
    if view.run.config.network.kind == "bottleneck":
        return None
    shown = view.chosen(8)
    return Figure(
        "polysemanticity",
        weights.stacks(_stacks(view, shown), "kind", ("", "")),
        "Every neuron as a stack of its weights, coloured by whether it is monosemantic",
        f"The same columns; blue is a neuron of whose responses one feature makes up more than {MONO[0]:g}, asked "
        f"feature by feature; grey is one through which next to nothing passes; {_neuron_words(view, shown)}",
    )
