"""one-feature.md: what P(one feature) makes of trained runs, as tables; a row a variant, or a row a run in the CSV."""

from collections.abc import Callable, Sequence
from math import nan, sqrt

import numpy as np
import polars as pl

from analyze.headline.coefficients import read
from analyze.nulls import NULLS
from analyze.rescore.figures import K_EFF, VERDICTS, AgainstNull, Group, LayerFigures
from analyze.statistics import mean_interval
from analyze.tables import Table, count, number, percent

INTRODUCTION = """# P(one feature) of trained runs

    {command}

{n} layers of {runs} runs. P(one feature) is no passed headline: [its page](headline.md)
says what it gets right on neurons whose truth is known. "One" is said from P = {one:.2f}, "several" down to
{several:.2f}, and of a neuron unlike every planted one nothing is said. Copies count once. Means over
seeds; each seed is given as well, in its order.
"""


def page_of(figures: Sequence[LayerFigures], command: str) -> str:
    """The page, in Markdown.

    Args:
        command: that made it.
    """
    fitted = read()
    head = INTRODUCTION.format(
        command=command,
        n=len(figures),
        runs=len({(each.variant, each.seed) for each in figures}),
        one=fitted.one_from,
        several=fitted.several_to,
    )
    groups = by_variant(figures)
    tables = [_above_nulls(groups), _verdicts(groups), _beside_k_eff(groups)]
    sections = [f"## {t.title}\n\n{t.caption}\n\n{t.markdown() if t.rows else _NO_NULL}" for t in tables]
    return "\n\n".join([head.rstrip(), *sections]) + "\n"


_NO_NULL = "No null was scored (`--nulls`, `--untrained`): nothing here says what chance gives."


def by_variant(figures: Sequence[LayerFigures]) -> dict[str, list[LayerFigures]]:
    """`variant L0.mid` -> its seeds in order."""
    groups: dict[str, list[LayerFigures]] = {}
    for each in sorted(figures, key=lambda each: each.seed):
        groups.setdefault(f"{each.variant} {each.place}", []).append(each)
    first = list(dict.fromkeys(f"{each.variant} {each.place}" for each in figures))
    return {name: groups[name] for name in first}


def _over(values: Sequence[float], least: float = 0.0, digits: int = 2) -> str:
    """Mean [95 % t interval]: each seed; between `least` and 1."""
    estimate = mean_interval(values).clipped(least, 1.0)
    inside = f" [{number(estimate.low, digits)}, {number(estimate.high, digits)}]" if estimate.has_interval else ""
    return f"{number(estimate.mean, digits)}{inside}: {', '.join(number(value, digits) for value in values)}"


def _mean(values: Sequence[float | int]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else nan


def _above_nulls(groups: dict[str, list[LayerFigures]]) -> Table:
    rows = []
    for name, seeds in groups.items():
        for null in dict.fromkeys(null for each in seeds for null in each.against):
            against = [each.against[null] for each in seeds if null in each.against]
            rows.append(
                [
                    ("variant", name),
                    ("null", NULLS[null].title if null in NULLS else null),
                    ("AUROC of P [95 %]: each seed", _over([each.auroc for each in against])),
                    ("error in a seed", number(sqrt(_mean([each.error**2 for each in against])))),
                    ("at equal rate", number(_mean([each.at_equal_rate for each in against]))),
                    ("pairs", count(sum(each.n_pairs for each in against))),
                    ("AUROC of 1 / K_eff", _over([each.by_k_eff for each in against])),
                    ("mean P", number(_mean([each.own.mean for each in seeds]))),
                    ("of the null", number(_mean([each.nulls[null].mean for each in seeds if null in each.nulls]))),
                ]
            )
    caption = (
        "The chance that a neuron of the layer has a larger P than one of the null (1/2: it does not tell them apart); "
        "intervals are t intervals over seeds. `error in a seed`: standard error with neurons for independent. "
        "`at equal rate`: over pairs that fire as often, so many of all seeds. Of K_eff only neurons to "
        "which it gives a figure count."
    )
    return Table.of("Above the nulls", caption, rows)


def _verdicts(groups: dict[str, list[LayerFigures]]) -> Table:
    rows = []
    for name, seeds in groups.items():
        rows.append(_verdict_row(name, "neurons", [each.own for each in seeds], seeds))
        for null in dict.fromkeys(null for each in seeds for null in each.nulls):
            title = NULLS[null].title if null in NULLS else null
            rows.append(_verdict_row(name, title, [each.nulls[null] for each in seeds if null in each.nulls], seeds))
    caption = (
        "Of the neurons with a P: how many lie in the domain, where planted neurons like them were seen, and get each "
        "verdict. `P with rate`: Spearman's correlation of P with the firing rate."
    )
    return Table.of("Verdicts", caption, rows)


def _verdict_row(name: str, whose: str, groups: list[Group], seeds: list[LayerFigures]) -> list[tuple[str, str]]:
    return [
        ("variant", name),
        ("whose", whose),
        ("collected", count(_mean([each.n_neurons for each in seeds])) if whose == "neurons" else ""),
        ("with a P", count(_mean([group.n for group in groups]))),
        ("in domain %", percent(_mean([group.seen for group in groups]))),
        *((f"{verdict} %", percent(_mean([group.verdicts[verdict] for group in groups]))) for verdict in VERDICTS),
        ("P with rate", number(_mean([group.rate_correlation for group in groups]))),
        ("K_eff: one rule %", percent(_mean([group.k_eff_share for group in groups]))),
    ]


def _beside_k_eff(groups: dict[str, list[LayerFigures]]) -> Table:
    rows = []
    for name, seeds in groups.items():
        own = [each.own for each in seeds]
        cells = [
            (f"{k_eff}: {verdict}", count(sum(group.by_k_eff[k_eff, verdict] for group in own)))
            for k_eff in K_EFF
            for verdict in VERDICTS
        ]
        rows.append([("variant", name), *cells, ("rank correlation", _over([g.k_eff_correlation for g in own], -1.0))])
    caption = (
        "Neurons of all seeds by what K_eff says (one word rule, several, no figure) and what P(one feature) says (one "
        "feature, several, cannot tell); and the rank correlation of P with 1 / K_eff. disagreements.md shows some."
    )
    return Table.of("Beside K_eff", caption, rows)


_COLUMNS: dict[str, Callable[[Group], float]] = {
    "n": lambda group: group.n,
    "mean_p": lambda group: group.mean,
    "in_domain": lambda group: group.seen,
    **{name.replace(" ", "_"): lambda group, name=name: group.verdicts[name] for name in VERDICTS},
    "p_with_rate": lambda group: group.rate_correlation,
    "p_with_k_eff": lambda group: group.k_eff_correlation,
    "k_eff_one_rule": lambda group: group.k_eff_share,
}


def table_of(figures: Sequence[LayerFigures]) -> pl.DataFrame:
    """One row a layer and null (`none`: its neurons), with everything that the page has means of."""
    rows = []
    for each in figures:
        for null, group in {"none": each.own, **each.nulls}.items():
            against = each.against.get(null, AgainstNull(nan, nan, nan, 0, nan))
            rows.append(
                {"variant": each.variant, "place": str(each.place), "seed": each.seed, "null": null}
                | {name: float(figure(group)) for name, figure in _COLUMNS.items()}
                | {
                    "auroc": against.auroc,
                    "error": against.error,
                    "auroc_equal_rate": against.at_equal_rate,
                    "pairs": against.n_pairs,
                    "auroc_k_eff": against.by_k_eff,
                }
            )
    return pl.DataFrame(rows)
