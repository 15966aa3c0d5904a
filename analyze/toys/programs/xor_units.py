"""4.19: how much of what hidden units do is joint dependence on several inputs, that no sum of parts can give?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import hadamard

from analyze.figures import COLOURS, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement
from analyze.toys.programs.base import ProgramQuestion, Replica, settled
from analyze.toys.verdicts.question import toy_rule
from train.toys.programs.parity import hidden, inputs
from train.toys.programs.run import ProgramRun, VariantRun

SOLVED = 0.05
"""Largest mean squared error of answers of variance 1 from which a network counts as one that does the task."""


def energies(units: Float[ndarray, "inputs unit"]) -> Float[ndarray, "order unit"]:
    """Variance of each unit over all inputs by how many bits its parts read jointly, from 1 on (Walsh transform).

    Row 0 over the sum of rows is the sum of first-order Sobol indices, exactly.
    """
    n = len(units)
    coefficients = hadamard(n) @ units / n
    order = np.array([int(subset).bit_count() for subset in range(n)])
    return np.stack([(coefficients[order == size] ** 2).sum(0) for size in range(1, int(order.max()) + 1)])


def joint_share(units: Float[ndarray, "inputs unit"]) -> float:
    """Share of the layer's variance that is not a sum of parts of one bit each; a rotation of units leaves it alone."""
    by_order = energies(units).sum(1)
    return float(1 - by_order[0] / by_order.sum())


def of_layers(
    answering: Sequence[Float[ndarray, "inputs unit"]],
    additive: Sequence[Float[ndarray, "inputs unit"]],
    details: Sequence[dict[str, float]] = (),
) -> list[Measurement]:
    """One measurement a layer, against the layers of additive networks."""
    null = np.array([joint_share(units) for units in additive])
    return [
        Measurement(joint_share(units), null, details=details[i] if details else {})
        for i, units in enumerate(answering)
    ]


def measure(run: ProgramRun) -> dict[str, list[Replica]]:
    """The second hidden layer of the xor network, against that of the network that computes sums."""
    xor, additive = run.variants["xor"], run.variants["sum"]
    first, last = layers(xor)
    details = [
        {
            "loss": float(xor.losses[r]),
            "joint share of the first layer": joint_share(first[r]),
            "median over units": float(np.median(unit_shares(last[r]))),
            "median over rotated units": float(np.median(unit_shares(rotated(last[r], r)))),
        }
        for r in range(xor.replicas)
    ]
    solved = additive.losses <= SOLVED
    if not solved.any():
        found = [Measurement.impossible("no additive network had learned its task")] * xor.replicas
    else:
        found = of_layers(last, [units for units, ok in zip(layers(additive)[1], solved) if ok], details)
    rests = settled(xor)
    replicas = []
    for r, each in enumerate(found):
        if xor.losses[r] > SOLVED:
            each = Measurement.impossible(f"did not learn the task (loss {xor.losses[r]:.2g})", loss=xor.losses[r])
        replicas.append(Replica(r, replace(each, settled=bool(rests[r]))))
    return {"xor": replicas}


def layers(run: VariantRun) -> list[list[Float[ndarray, "inputs unit"]]]:
    """Both hidden layers on all inputs, of each replica."""
    with torch.no_grad():
        both = hidden(run.parameters, inputs(run.settings.bits))
    return [list(layer.double().numpy()) for layer in both]


def unit_shares(units: Float[ndarray, "inputs unit"]) -> Float[ndarray, " live"]:
    """The joint share of each unit that varies at all."""
    by_order = energies(units)
    total = by_order.sum(0)
    live = total > 1e-6 * total.max()
    return 1 - by_order[0, live] / total[live]


def rotated(units: Float[ndarray, "inputs unit"], seed: int) -> Float[ndarray, "inputs unit"]:
    """The same layer in a random basis."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((units.shape[1],) * 2))
    return units @ turn


def figures(run: ProgramRun, measured: Sequence[Measured]) -> list[Figure]:
    """Variance of the second layer by the number of bits that are read jointly."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(5, 3), layout="constrained")
        axes = canvas.subplots()
        for name, colour in zip(("xor", "sum"), COLOURS):
            for r, units in enumerate(layers(run.variants[name])[1]):
                by_order = energies(units).sum(1)
                label = {"xor": "parities", "sum": "sums"}[name] if r == 0 else None
                orders = np.arange(1, len(by_order) + 1)
                axes.plot(orders, by_order / by_order.sum(), color=colour, lw=0.8, label=label)
        axes.set(xlabel="bits read jointly", ylabel="share of the variance", ylim=(0, 1))
        axes.legend(frameon=False)
        svg = svg_of(canvas)
    caption = "Second hidden layer, a line a network: how its variance over all 256 inputs splits by order (exact)."
    return [Figure("orders", svg, "variance of hidden units by the number of bits they read jointly", caption)]


QUESTION = ProgramQuestion(
    program="parity",
    problem="4.19",
    rule=toy_rule(
        "yes if the joint share of the second hidden layer lies at least .3 above that of networks that compute sums "
        "of the same bits, above 95 % of these in every replica, with the whole interval over replicas there; no if "
        "the whole interval lies below .3",
        0.3,
    ),
    statistic="share of the second layer's variance, over all inputs, that is not a sum of parts of one bit each",
    null="the same of networks of equal shape that compute sums of the same groups of bits",
    measure=measure,
    figures=figures,
    doubts=(
        "Shown relative to one class only: sums of parts that read one input bit each. In terms of the pairs' xors the "
        "same units may well be sums; whether any set of parts would do is not a question that a finite class can "
        "settle.",
        "The share is one of the whole layer and does not change when its units are rotated; the medians over units "
        "and over rotated units stand among the details.",
    ),
    sources=("Sobol 1993 (sensitivity estimates)",),
)
