"""4.20: do networks from different starts solve one xor with different sets of features?"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import COLOURS, Figure, look, svg_of
from analyze.problems.base import Measured, Measurement
from analyze.toys.programs.base import ProgramQuestion, Replica
from analyze.toys.verdicts.question import toy_rule
from train.toys.programs.base import Parameters
from train.toys.programs.bases import hidden
from train.toys.programs.run import ProgramRun

GROUP = 25
"""Starts whose bases make one entropy: the unit of the verdict."""
LEAST_SOLVED = 10
"""Networks of a group that must have learned the task."""
SOLVED = 1e-3
ALIGNED = 0.9
"""|cosine| from which a neuron's input weights count as the difference (1, -1) or the sum (1, 1)."""
LIVE = 0.05
"""A neuron counts if what it passes on varies by at least this part of the strongest one's."""
DRAWS, JITTER = 40, 0.02


def basis_of(parameters: Parameters, replica: int) -> str:
    """The directions that a network's live neurons read, up to order and sign: "difference", "sum", both or other."""
    W1 = parameters["W1"][replica].double().numpy()
    neurons = hidden({name: each[replica : replica + 1] for name, each in parameters.items()})[0]
    passed = np.abs(parameters["W2"][replica].numpy()) * neurons.std(0).numpy()
    words = {_direction(W1[j]) for j in np.flatnonzero(passed >= LIVE * max(float(passed.max()), 1e-12))}
    return " and ".join(sorted(words))


def _direction(weights: Float[ndarray, "2"]) -> str:
    length = max(float(np.hypot(*weights)), 1e-12) * np.sqrt(2)
    if abs(weights[0] - weights[1]) / length >= ALIGNED:
        return "difference"
    return "sum" if abs(weights[0] + weights[1]) / length >= ALIGNED else "other"


def entropy(labels: Sequence[str]) -> float:
    """In bits."""
    counts = np.array(list(Counter(labels).values()), dtype=np.float64)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def copies(parameters: Parameters, replica: int, n: int, seed: int) -> Parameters:
    """One network n times, each with its neurons in another order, the signs of both bits turned or not, the bits
    changed over or not, weights rescaled between layers and jittered: what must not count as another basis."""
    rng = np.random.default_rng(seed)
    made: dict[str, list[torch.Tensor]] = {name: [] for name in parameters}
    for _ in range(n):
        one = {name: each[replica].double().numpy().copy() for name, each in parameters.items()}
        order = rng.permutation(len(one["W2"]))
        one = {"W1": one["W1"][order], "b1": one["b1"][order], "W2": one["W2"][order], "b2": one["b2"]}
        if rng.random() < 0.5:
            one["W1"] = one["W1"][:, ::-1]
        if rng.random() < 0.5:
            one["W1"] = -one["W1"]
        scale = np.exp(0.5 * rng.standard_normal(len(order)))
        one["W1"], one["b1"] = one["W1"] * scale[:, None], one["b1"] * scale
        one["W2"] = one["W2"] / scale
        one["W1"] = one["W1"] * (1 + JITTER * rng.standard_normal(one["W1"].shape))
        for name, value in one.items():
            made[name].append(torch.from_numpy(np.ascontiguousarray(value)).float())
    return {name: torch.stack(each) for name, each in made.items()}


def of_group(parameters: Parameters, solved: Sequence[int], seed: int) -> Measurement:
    """Entropy over the bases of these networks, against that of copies of single ones."""
    if len(solved) < LEAST_SOLVED:
        return Measurement.impossible(f"{len(solved)} starts learned the task; {LEAST_SOLVED} are needed")
    labels = [basis_of(parameters, r) for r in solved]
    rng = np.random.default_rng(seed)
    null = []
    for draw in range(DRAWS):
        chosen = int(rng.choice(solved))
        made = copies(parameters, chosen, len(solved), 1000 * seed + draw)
        null.append(entropy([basis_of(made, i) for i in range(len(solved))]))
    details = {f"networks by {label}": float(n) for label, n in sorted(Counter(labels).items())}
    return Measurement(entropy(labels), np.array(null), details={"learned the task": float(len(solved)), **details})


def measure(run: ProgramRun) -> dict[str, list[Replica]]:
    """Groups of starts, in order."""
    return {
        name: [
            Replica(
                group,
                of_group(
                    each.parameters,
                    [r for r in range(group * GROUP, (group + 1) * GROUP) if each.losses[r] <= SOLVED],
                    group,
                ),
            )
            for group in range(each.replicas // GROUP)
        ]
        for name, each in run.variants.items()
    }


def figures(run: ProgramRun, measured: Sequence[Measured]) -> list[Figure]:
    """How many networks found each basis."""
    from matplotlib.figure import Figure as Canvas

    with look():
        canvas = Canvas(figsize=(5, 2.6), layout="constrained")
        axes = canvas.subplots()
        for number, (name, each) in enumerate(run.variants.items()):
            counts = Counter(basis_of(each.parameters, int(r)) for r in np.flatnonzero(each.losses <= SOLVED))
            labels = sorted(counts, key=lambda label: -counts[label])
            axes.barh(labels, [counts[label] for label in labels], color=COLOURS[number], height=0.6, label=name)
        axes.invert_yaxis()
        axes.set(xlabel="networks that learned the task")
        svg = svg_of(canvas)
    caption = (
        "What the live neurons of each network read: the difference of the two bits, their sum, or both. Either alone "
        "is enough."
    )
    return [Figure("bases", svg, "how many networks found each set of features", caption)]


QUESTION = ProgramQuestion(
    program="bases",
    problem="4.20",
    rule=toy_rule(
        "yes if the entropy over bases found by 25 starts lies at least .5 bits above that of copies of one network, "
        "above 95 % of these in every group of starts, with the whole interval over groups there; no if it lies below "
        ".5",
        0.5,
    ),
    statistic="entropy, in bits, over the sets of directions that the live neurons of 25 networks read",
    null="40 draws of one network, copied with its neurons in another order, signs turned, bits swapped and jitter",
    measure=measure,
    figures=figures,
    doubts=(
        "A unit is a group of 25 starts, all on the same four inputs; starts differ in their initial weights alone.",
        "Bases are told apart by the directions of input weights; networks of one basis may weigh it differently.",
    ),
    sources=("Meloux et al. 2025 (2502.20914)",),
)
