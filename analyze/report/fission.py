"""The report's part about widened models: figures, a table of verdicts, and single parents with their children."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analyze.activations.directory import beside
from analyze.fission.families import MEDIAN, MOST, RANDOM, RULE, SHOWN, called, chosen_parents, shown_children, value
from analyze.fission.merge_loss import n_noticeable
from analyze.fission.store import Fission, find_fission, plan_line
from analyze.fission.verdicts import FEW_TOKENS, THRESHOLDS, VERDICTS
from analyze.html import render
from analyze.interventions.uses_store import read_uses, use_in_words
from analyze.report.base import Part, Section, Study
from analyze.report.cards import Card, Example, Text, example_of
from analyze.report.fission_figures import Arm, arms_of, divergence_figure, verdict_figure
from analyze.tables import Table, count, number, percent
from train.errors import BadInput

TITLES = {
    MOST: f"The parent with the {MOST}",
    MEDIAN: f"The parent with the {MEDIAN}",
    RANDOM: "A parent drawn at random",
}
_FACTS = {
    "inside its parent": "inside",
    "by chance": "null_inside",
    "overlap": "overlap",
    "cover": "cover",
    "correlation": "correlation",
    "moved W_in": "moved_in",
}
"""Words on a child's card, and the column of children.parquet that each stands for."""


@dataclass(frozen=True)
class Branch:
    """A child that stands for itself, and the siblings that count with it."""

    child: str
    duplicates: str


@dataclass(frozen=True)
class Family:
    """A parent and its children."""

    title: str
    counts: str
    branches: tuple[Branch, ...]
    cards: tuple[Card, ...]
    """The parent's, then those of the children that are shown."""
    rest: str
    """What is not shown; empty where all is."""


@dataclass(frozen=True)
class ArmCards:
    """The families of one widened run that are shown."""

    title: str
    colour: str
    facts: str
    trouble: str | None
    families: tuple[Family, ...]


def _section(study: Study) -> Section | None:
    arms, styles = arms_of(find_fission(study.results), study.styles), study.styles
    if not arms:
        return None
    _require_compared(study, arms)
    cards = [arm_cards(arm, styles[arm.variant].colour, study.data) for arm in arms]
    families = render("fission.html.j2", rule=RULE, arms=cards)
    figures = (divergence_figure(arms, styles), verdict_figure(arms))
    return Section("fission", "Who became what", "Who became what", (*figures, arms_table(arms), families))


def _require_compared(study: Study, arms: Sequence[Arm]) -> None:
    """Refuse copies of another run than was scored under the same variant and seed."""
    compared = {(each.cell.meta.variant, each.seed): each.cell for row in study.comparison.rows for each in row.cells}
    for end in (end for arm in arms for end in arm.ends if end.meta.run_hash):
        cell = compared.get((end.meta.variant, end.meta.seed))
        if cell is not None and cell.meta.run_hash != end.meta.run_hash:
            raise BadInput(
                f"{end.directory} and {cell.path}: share variant {end.meta.variant!r} and seed {end.meta.seed} and are "
                "of different runs; run fission again, or remove it"
            )


def arms_table(arms: Sequence[Arm]) -> Table:
    """What children became at the last step of every arm, in sums over its seeds."""
    rows = [
        (
            ("arm", str(arm)),
            ("seeds", str(len(arm.seeds))),
            ("children", count(arm.total("n_children"))),
            *((verdict, count(arm.total(verdict))) for verdict in VERDICTS),
            ("related", count(arm.total("n_related"))),
            ("different a parent", number(arm.total("n_clusters") / sum(end.parents.height for end in arm.ends))),
            ("on little", count(arm.total("n_few"))),
            ("merged", number(_mean([1000 * end.recovered for end in arm.ends if end.recovered is not None]))),
            ("parents worth it %", percent(_mean(_noticeable(arm)))),
        )
        for arm in arms
    ]
    return Table.of(
        "What the children of widened neurons became",
        f"At the last step, all seeds together. {THRESHOLDS}. Related: new, yet more of it inside its parent than "
        "inside any of the matched ones. Different a parent: children alive, duplicates counted once. On little: of "
        f"these, those that fire on fewer than {FEW_TOKENS} tokens. What an arm without noise shows as new is drift, "
        "not fission: its siblings are one neuron. Merged: millinats a token that the loss rises by when the children "
        "of every parent are given the mean of their weights, mean over seeds; parents worth it: of those merged one "
        "at a time, the share where it rises by more than two standard errors over held-out rows.",
        rows,
    )


def _noticeable(arm: Arm) -> list[float]:
    """By seed, the share of parents whose split lowered the loss noticeably."""
    return [n_noticeable(end.splits) / end.splits.height for end in arm.ends if end.splits is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def arm_cards(arm: Arm, colour: str, data: tuple[Path, ...] = ()) -> ArmCards:
    """Single parents with their children, at the last step of the first seed."""
    end = arm.ends[0]
    meta = end.meta
    facts = f"{meta.run}, step {meta.step:,}, from {meta.parent_run}, {plan_line(meta.plan)}"
    text = Text(meta, end.directory, data)
    if end.examples is None:
        trouble = "This is not the run's last step, so no examples were kept; measure the last one."
        return ArmCards(str(arm), colour, facts, trouble, ())
    chosen = chosen_parents(end.parents, meta.layer)
    families = tuple(_family(end, TITLES[reason], parent, text) for reason, parent in chosen.items())
    return ArmCards(str(arm), colour, facts, text.trouble, families)


def _family(end: Fission, title: str, parent: int, text: Text) -> Family:
    own = end.parents.row(by_predicate=pl.col("parent") == parent, named=True)
    children = end.children.filter(pl.col("parent") == parent).to_dicts()
    branches = []
    for child in children:
        if child["duplicate_of"] is None:
            copies = [str(other["neuron"]) for other in children if other["duplicate_of"] == child["neuron"]]
            duplicates = f"; {len(copies)} duplicate{'s' * (len(copies) > 1)}: {', '.join(copies)}" if copies else ""
            branches.append(Branch(f"neuron {child['neuron']} {called(child)}", duplicates))
    where, n_tokens = f"L{end.meta.layer}.{end.meta.hook}", end.meta.n_tokens
    fires = [("fires on", f"{100 * own['parent_firing_rate']:.2g} % of tokens")]
    examples = _examples(end, parent, parent, True, text)
    cards = [Card(f"Parent: {where} neuron {parent}", "parent", "parent", tuple(fires), examples)]
    shown, rows = shown_children(end.children, parent), {child["neuron"]: child for child in children}
    uses = read_uses(beside(end.directory, "activations"), by="of_layer")
    for neuron in shown:
        row = rows[neuron]
        fires = [("fires on", f"{100 * row['n_fires'] / n_tokens:.2g} % of tokens")]
        facts = (*fires, *((words, value(row[column])) for words, column in _FACTS.items()))
        facts += use_in_words(uses.get(neuron))
        examples = _examples(end, parent, neuron, False, text)
        cards.append(Card(f"Child: {where} neuron {neuron}", called(row), row["verdict"], facts, examples))
    counts = ", ".join(f"{own[verdict]} {verdict}" for verdict in VERDICTS if own[verdict])
    n_left = own["n_clusters"] - len(shown)
    rest = f"{n_left} more children are not shown (the first {SHOWN} are)." if n_left else ""
    return Family(title, f"{own['n_children']} children: {counts}", tuple(branches), tuple(cards), rest)


def _examples(end: Fission, family: int, neuron: int, is_parent: bool, text: Text) -> tuple[Example, ...]:
    assert end.examples is not None
    assert end.passages is not None
    who = (pl.col("family") == family) & (pl.col("neuron") == neuron) & (pl.col("is_parent") == is_parent)
    rows = end.examples.filter(who).sort("rank").to_dicts()
    sampled = dict(end.passages.filter(who).select("stream_position", "activation").iter_rows())
    top = max((row["activation"] for row in rows), default=0.0)
    labels = [f"{row['activation']:.3g}" + ("" if is_parent else f" ({row['parent_activation']:.2g})") for row in rows]
    return tuple(example_of(text, row, top, sampled.get, label) for row, label in zip(rows, labels))


PART = Part("fission", 60, _section)
