"""What came of a fit of the headline, and of the held half, in Markdown."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.headline.coefficients import Coefficients
from analyze.headline.fit import LeftOut, Planted, left_out
from analyze.headline.judge import Judged, Worth, reliability, worth
from analyze.metrics import auroc
from analyze.scores.validity import shown
from analyze.tables import Table

BY = ("families", "kinds", "corpus", "layer")
CONTRIBUTIONS = (
    "k_eff reach",
    "rule_share",
    "fidelity",
    "ms",
    "token_ bigram_",
    "likeness",
    "transfer",
    "coherence",
    "own_part",
    "part_likeness",
)
"""Beginnings of the names of figures that are left out together."""
FEW_EXAMPLES = 100
"""Of a fit that only shows what a figure brings: there are many."""
HEAD = (
    "neurons",
    "one + several",
    "AUROC",
    "one against two",
    "equal rate (pairs)",
    "firing rate alone",
    "P with rate",
    "wrongly one (upper)",
    "rightly one",
    "told",
)


def fit_page(planted: Planted, found: Coefficients, judged: Mapping[str, LeftOut], random_inside: float) -> str:
    """The page of a fit: what came of neurons that were left out of it, and what each figure brings.

    Args:
        judged: what `left_out` gave by each of BY.
        random_inside: share of random sets of tokens within the domain.
    """
    rows = []
    for by, each in judged.items():
        rows.append(_row(f"{by}: all", _judged(planted, found, each), found))
        for design in ("symmetric", "density matched"):
            chosen = planted.table["design"].to_numpy()[each.neuron] == design
            rows.append(_row(f"{by}: {design}", _judged(planted, found, each).where(chosen), found))
        for name in dict.fromkeys(each.group):
            chosen = np.array([group == name for group in each.group])
            rows.append(_row(f"{by}: {name}", _judged(planted, found, each).where(chosen), found))
    families = judged["families"]
    parts = [
        "# P(one feature): the fit\n",
        _facts(found),
        f"Within the domain: {shown(float(found.is_like_planted(planted.figures).mean()))} of these neurons, "
        f"{shown(random_inside)} of random sets of tokens and of words.",
        "## Left out\n\nEach group was judged by a fit that had not seen it.\n\n" + _table(HEAD, rows),
        "## Reliability, families left out\n\n"
        + _reliability(families.p, families.one, planted.weight[families.neuron]),
        "## What each figure brings\n\n" + _contributions(planted),
    ]
    return "\n\n".join(parts) + "\n"


def held_page(planted: Planted, found: Coefficients) -> str:
    """The page of the held half, which no fit has seen."""
    table = planted.table
    p, seen = found.probability(planted.figures), found.is_like_planted(planted.figures)
    judged = Judged(p, table["k"].to_numpy(), table["firing_rate"].to_numpy(), seen)
    layer, design, corpus = (table[name].cast(str).to_numpy() for name in ("layer", "design", "corpus"))
    groups: dict[str, Bool[ndarray, " n"]] = {"all": np.ones(len(p), bool)}
    for number in sorted(set(layer.tolist())):
        groups[f"layer {number}"] = layer == number
        for name in sorted(set(design.tolist())):
            groups[f"layer {number}, {name}"] = (layer == number) & (design == name)
    for name in sorted(set(corpus.tolist())):
        groups[name] = corpus == name
    rows = [_row(name, judged.where(chosen), found) for name, chosen in groups.items() if chosen.any()]
    parts = [
        "# P(one feature) on the held half\n",
        _facts(found),
        f"Within the domain: {shown(float(seen.mean()))} of these neurons.",
        _table(HEAD, rows),
        "## Reliability\n\n" + _reliability(p, planted.one, planted.weight),
    ]
    return "\n\n".join(parts) + "\n"


def _judged(planted: Planted, found: Coefficients, each: LeftOut) -> Judged:
    seen = found.is_like_planted(planted.figures)[each.neuron]
    k, rate = (planted.table[name].to_numpy()[each.neuron] for name in ("k", "firing_rate"))
    return Judged(each.p, k, rate, seen)


def _row(name: str, judged: Judged, found: Coefficients) -> tuple[str, ...]:
    figures: Worth = worth(judged, found.one_from, found.several_to)
    return (
        name,
        f"{figures.n_one} + {figures.n_several}",
        shown(figures.auroc),
        shown(figures.one_against_two),
        f"{shown(figures.at_equal_rate)} ({figures.n_pairs})",
        shown(figures.by_rate),
        shown(figures.with_rate),
        f"{shown(figures.wrongly)} ({shown(figures.wrongly_high)})",
        shown(figures.rightly),
        shown(figures.told),
    )


def _facts(found: Coefficients) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in found.fitted_on.items())
    return (
        f"One feature from P = {found.one_from:.3f}, several down to {found.several_to:.3f}; "
        f"{len(found.terms)} figures. Fitted on: {facts}."
    )


def _reliability(p: Float[ndarray, " n"], one: Bool[ndarray, " n"], weight: Float[ndarray, " n"]) -> str:
    rows = [(shown(mean), shown(share), str(n)) for mean, share, n in reliability(p, one, weight)]
    return _table(("mean P", "share of one feature", "neurons"), rows)


def _contributions(planted: Planted) -> str:
    """AUROC with families left out, without the figures of each kind and with these alone; with fewer examples."""
    whole = left_out(planted, "families", n_examples=FEW_EXAMPLES)
    rows = [("all", shown(auroc(whole.p, whole.one)), "")]
    for group in CONTRIBUTIONS:
        mine = {name for name in planted.figures if name.startswith(tuple(group.split()))}
        without = left_out(
            planted.of(planted.table, [name for name in planted.figures if name not in mine]),
            "families",
            n_examples=FEW_EXAMPLES,
        )
        alone = left_out(planted.of(planted.table, sorted(mine)), "families", n_examples=FEW_EXAMPLES)
        rows.append((group, shown(auroc(without.p, without.one)), shown(auroc(alone.p, alone.one))))
    return _table(("figures", "AUROC without", "AUROC alone"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return Table("", "", head, tuple(rows)).markdown()
