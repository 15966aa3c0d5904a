"""The report's part about widened models: figures, a table of verdicts, and single parents beside their children."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.figures import Figure, Styles
from analyze.fission.families import MEDIAN, MOST, RANDOM, RULE, SHOWN, called, chosen_parents, shown_children, value
from analyze.fission.merge_loss import n_noticeable
from analyze.fission.store import Fission, find_fission, plan_line
from analyze.fission.verdicts import FEW_TOKENS, THRESHOLDS, VERDICTS
from analyze.html import render
from analyze.report.base import Part, Section, Study
from analyze.report.cards import Card, Example, Text, example_of
from analyze.report.fission_figures import arm_title, arms_of, divergence_figure, verdict_figure
from analyze.tables import Table, count, number, percent, visible

TITLES = {
    MOST: f"The parent with the {MOST}",
    MEDIAN: f"The parent with the {MEDIAN}",
    RANDOM: "A parent drawn at random",
}


@dataclass(frozen=True)
class Branch:
    """A child that stands for itself, and the siblings that count with it."""

    told: str
    duplicates: str


@dataclass(frozen=True)
class Family:
    """A parent beside its children."""

    title: str
    told: str
    branches: tuple[Branch, ...]
    cards: tuple[Card, ...]
    """The parent's, then those of the children that are shown."""
    rest: str
    """What is not shown; empty where all is."""


@dataclass(frozen=True)
class Arm:
    """The families of one widened run that are shown."""

    title: str
    colour: str
    facts: str
    trouble: str | None
    families: tuple[Family, ...]


@dataclass(frozen=True)
class FissionPart:
    """Everything that the page prints about who became what."""

    figures: tuple[Figure, ...]
    table: Table
    rule: str
    arms: tuple[Arm, ...]


def _section(study: Study) -> Section | None:
    part = fission_part(study.results, study.styles)
    if part is None:
        return None
    families = render("fission.html.j2", rule=part.rule, arms=part.arms)
    return Section("fission", "Who became what", "Who became what", (*part.figures, part.table, families))


def fission_part(results: Path, styles: Styles) -> FissionPart | None:
    """What was measured under a results directory of the variants in `styles`; None where nothing was.

    Raises:
        BadInput: damaged directories, or ones of another format version.
    """
    found = [one for one in find_fission(results) if one.meta.variant in styles]
    if not found:
        return None
    arms = arms_of(found)
    arms = {arm: arms[arm] for variant in styles for arm in arms if arm[0] == variant}
    return FissionPart(
        (divergence_figure(found, styles), verdict_figure(found, styles)),
        arms_table(arms),
        RULE,
        tuple(_arm(arm, seeds[min(seeds)][-1], styles[arm[0]][0]) for arm, seeds in arms.items()),
    )


def arms_table(arms: dict[tuple[str, int], dict[int, list[Fission]]]) -> Table:
    """What children became at the last step of every arm, in sums over its seeds."""
    rows = []
    for arm, seeds in arms.items():
        ends = [steps[-1] for steps in seeds.values()]
        parents = pl.concat([one.parents for one in ends])
        sums = {
            name: int(parents[name].sum()) for name in (*VERDICTS, "n_related", "n_few", "n_clusters", "n_children")
        }
        rows.append(
            (
                arm_title(arm),
                str(len(seeds)),
                count(sums["n_children"]),
                *(count(sums[name]) for name in VERDICTS),
                count(sums["n_related"]),
                number(sums["n_clusters"] / parents.height),
                count(sums["n_few"]),
                *_worth(ends),
            )
        )
    return Table(
        "What the children of widened neurons became",
        f"At the last step, all seeds together. {THRESHOLDS}. Related: new, yet more of it inside its parent than "
        "inside any of the matched ones. Different a parent: children alive, duplicates counted once. On little: of "
        f"these, those that fire on fewer than {FEW_TOKENS} tokens. What an arm without noise shows as new is drift, "
        "not fission: its siblings are one neuron. Merged: millinats a token that the loss rises by when the children "
        "of every parent are given the mean of their weights, mean over seeds; parents worth it: of those merged one "
        "at a time, the share where it rises by more than two standard errors over held-out rows.",
        (
            "arm",
            "seeds",
            "children",
            *VERDICTS,
            "related",
            "different a parent",
            "on little",
            "merged",
            "parents worth it %",
        ),
        tuple(rows),
    )


def _worth(ends: Sequence[Fission]) -> tuple[str, str]:
    """What merging costs, and the share of parents whose split was worth something."""
    known = [one for one in ends if one.splits is not None and one.recovered is not None]
    if not known:
        return number(None), percent(None)
    shares = [n_noticeable(one.splits) / one.splits.height for one in known if one.splits is not None]
    worths = [one.recovered for one in known if one.recovered is not None]
    return number(1000 * sum(worths) / len(worths)), percent(sum(shares) / len(shares))


def _arm(arm: tuple[str, int], one: Fission, colour: str) -> Arm:
    meta = one.meta
    facts = f"{meta.run}, step {meta.step:,}, from {meta.parent_run}, {plan_line(meta.plan)}"
    text = Text(meta.data_dir, meta.data_hash, meta.n_ctx)
    chosen = chosen_parents(one.parents, meta.layer) if one.examples is not None else {}
    families = [_family(one, reason, parent, text) for reason, parent in chosen.items()]
    trouble = text.trouble
    if one.examples is None:
        trouble = "This is not the run's last step, so no examples were kept; measure the last one."
    return Arm(visible(arm_title(arm)), colour, visible(facts), trouble, tuple(families))


def _family(one: Fission, reason: str, parent: int, text: Text) -> Family:
    mine = one.children.filter(pl.col("parent") == parent)
    own = one.parents.row(by_predicate=pl.col("parent") == parent, named=True)
    rows = {row["neuron"]: row for row in mine.iter_rows(named=True)}
    branches = []
    for row in rows.values():
        if row["duplicate_of"] is None:
            copies = [str(each["neuron"]) for each in rows.values() if each["duplicate_of"] == row["neuron"]]
            duplicates = f"; {len(copies)} duplicate{'s' * (len(copies) > 1)}: {', '.join(copies)}" if copies else ""
            branches.append(Branch(f"neuron {row['neuron']} {called(row)}", duplicates))
    layer, hook = one.meta.layer, one.meta.hook
    fires = ("fires on", f"{100 * own['parent_firing_rate']:.2g} % of tokens")
    cards = [
        Card(
            f"Parent: L{layer}.{hook} neuron {parent}",
            "parent",
            "parent",
            (fires,),
            (),
            (),
            tuple(_examples(one, parent, parent, True, text)),
        )
    ]
    shown = shown_children(one.children, parent)
    for neuron in shown:
        row = rows[neuron]
        facts = [("fires on", f"{100 * row['n_fires'] / one.meta.n_tokens:.2g} % of tokens")]
        facts += [
            (word, value(row[key]))
            for word, key in (
                ("inside its parent", "inside"),
                ("by chance", "null_inside"),
                ("overlap", "overlap"),
                ("cover", "cover"),
                ("correlation", "correlation"),
                ("moved W_in", "moved_in"),
            )
        ]
        title = f"Child: L{layer}.{hook} neuron {neuron}"
        examples = tuple(_examples(one, parent, neuron, False, text))
        cards.append(Card(title, called(row), row["verdict"], tuple(facts), (), (), examples))
    n_left = own["n_clusters"] - len(shown)
    told = ", ".join(f"{own[name]} {name}" for name in VERDICTS if own[name])
    rest = f"{n_left} more children are not shown (the first {SHOWN} are)." if n_left else ""
    return Family(
        TITLES[reason],
        f"{own['n_children']} children: {told}",
        tuple(branches),
        tuple(cards),
        rest,
    )


def _examples(one: Fission, family: int, neuron: int, is_parent: bool, text: Text) -> list[Example]:
    assert one.examples is not None
    assert one.passages is not None
    who = (pl.col("family") == family) & (pl.col("neuron") == neuron) & (pl.col("is_parent") == is_parent)
    rows: Sequence[dict[str, Any]] = one.examples.filter(who).sort("rank").to_dicts()
    around = one.passages.filter(who).select("stream_position", "activation")
    held = dict(around.iter_rows())
    top = max((row["activation"] for row in rows), default=0.0)
    found = []
    for row in rows:
        label = f"{row['activation']:.3g}" if is_parent else f"{row['activation']:.3g} ({row['parent_activation']:.2g})"
        found.append(example_of(text, row, top, held.get, label))
    return found


PART = Part("fission", 60, _section)
