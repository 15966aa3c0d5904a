"""The report's single neurons: which ones, what their scores say, and the text around their examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.store import SCORED, STATUS_NAMES, open_activations
from analyze.comparison.results import Cell, Place
from analyze.comparison.summary import ComparedScore
from analyze.comparison.variants import VariantResult
from analyze.comparison.wording import in_own_words
from analyze.html import render
from analyze.interventions.uses_store import read_uses, use_in_words
from analyze.report.base import Paragraph, Part, Section, Study
from analyze.report.cards import Card, Example, Rule, Text, example_of
from analyze.scores import SCORES
from analyze.scores.passages import N_EXTREME, N_RANDOM, read_passages, shown_examples, shown_neurons
from analyze.tables import number
from train.errors import BadInput, Damaged

_MOST_RULES = 4


@dataclass(frozen=True)
class Group:
    """Cards chosen in one way, which the title states."""

    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class VariantCards:
    """A variant's neurons."""

    title: str
    colour: str
    facts: str
    troubles: tuple[str, ...]
    groups: tuple[Group, ...]


def _section(study: Study) -> Section:
    title = study.comparison.primary.title
    sampling = (
        f"Of the first seed of each variant you see {N_RANDOM} scored neurons drawn at random with a fixed seed, then "
        f"the {N_EXTREME} with the smallest and the {N_EXTREME} with the largest {title}. Only the random ones are "
        "typical. Each neuron has its rules, that is, what it answers to in words, with what each explains of its "
        "variance on held-out documents; and its strongest examples in held-out text, at most one a document. Where "
        "`polysem uses` was run, a card also says what the neuron is used for: the label at whose tokens the loss "
        "rises most when the neuron is set to its mean."
    )
    variants = [_variant_cards(study, variant) for variant in study.comparison.results]
    return Section("neurons", "Neurons", "Neurons", (Paragraph(sampling), render("neurons.html.j2", variants=variants)))


def _variant_cards(study: Study, variant: str) -> VariantCards:
    cells = shown_cells(study.comparison.results[variant])
    groups: list[Group] = []
    troubles: list[str] = []
    for cell in cells:
        cards = CellCards(cell, study.comparison.primary, study.comparison.scores, study.data)
        groups += cards.groups()
        troubles += [trouble for trouble in cards.troubles if trouble not in troubles]
    meta = cells[0].meta
    facts = f"{meta.run}, seed {meta.seed}, step {meta.step:,}, {meta.act}"
    return VariantCards(variant, study.styles[variant].colour, facts, tuple(troubles), tuple(groups))


def shown_cells(places: Mapping[Place, VariantResult]) -> list[Cell]:
    """Which cells' neurons the report shows: of the first seed, each layer's `mid`, else what there is."""
    layers = sorted({place.layer for place in places})
    chosen = [places.get(Place(layer, "mid")) or places[Place(layer, "post")] for layer in layers]
    return [row.cells[0].cell for row in chosen]


class CellCards:
    """Cards of one cell: opens its activations once."""

    def __init__(
        self, cell: Cell, primary: ComparedScore, scores: tuple[ComparedScore, ...], data: tuple[Path, ...] = ()
    ) -> None:
        self.cell, self.primary = cell, primary
        self.others = [SCORES[score.name] for score in scores if score != primary]
        self.text = Text(cell.meta, cell.path, data)
        self.rows = cell.neurons()
        self.activations = open_activations(cell.directory.path)
        self.troubles = [] if self.text.trouble is None else [self.text.trouble]
        self.uses = read_uses(cell.directory.path)
        self.shown = shown_neurons(self.rows, cell.meta.layer, primary.verdict)
        self.sampled = self._read_sampled()

    def _read_sampled(self) -> dict[tuple[int, int], float]:
        """(neuron, stream position) -> activation, where it is known."""
        if self.text.trouble is not None:
            return {}
        neurons = [neuron for group in self.shown.values() for neuron in group]
        try:
            table = read_passages(self.activations, neurons)
        except Damaged:
            raise
        except BadInput as failure:
            self.troubles.append(f"Only peaks are highlighted: {failure}.")
            return {}
        return {(neuron, position): activation for neuron, position, activation in table.iter_rows()}

    def groups(self) -> list[Group]:
        """A random sample of all scored neurons, and those with the smallest and the largest figure."""
        n_scored = self.rows.filter(pl.col("status") == SCORED).height
        n_judged, title = self.rows[self.primary.verdict.column].drop_nulls().len(), self.primary.title
        return [
            Group(f"A random sample of the {n_scored:,} scored neurons", self._cards("random")),
            Group(f"Smallest {title} of the {n_judged:,} judged neurons", self._cards("smallest")),
            Group(f"Largest {title}", self._cards("largest")),
        ]

    def _cards(self, group: str) -> tuple[Card, ...]:
        return tuple(
            self._card(self.rows.row(by_predicate=pl.col("neuron") == n, named=True)) for n in self.shown[group]
        )

    def _card(self, row: dict[str, Any]) -> Card:
        neuron, verdict = row["neuron"], self.primary.verdict
        states = [STATUS_NAMES[row["status"]]]
        states += [name for key, name in (("dense", "dense"), ("always_on", "always on")) if row[key]]
        facts = [(self.primary.title, _figure(row[verdict.value]))]
        if verdict.judged_by is not None:
            facts.append((verdict.judged_by.column, _figure(row[verdict.judged_by.column])))
        facts += [
            ("fires on", f"{100 * row['firing_rate']:.2g} % of tokens"),
            ("status", ", ".join(states)),
            ("max", f"{float(self.activations.moments.maximum[neuron]):.3g}"),
        ]
        if row.get("single_token"):
            facts.append(("answers to", "a single token"))
        facts += use_in_words(self.uses.get(neuron))
        members = self.rows.filter(pl.col("duplicate_cluster") == row["duplicate_cluster"]).height
        if members > 1:
            facts.append(("one of", f"{members} duplicates"))
        says_yes = row[verdict.column]
        return Card(
            f"{self.cell.place} neuron {neuron}",
            verdict.word(says_yes),
            {None: "not-judged", True: "yes", False: "no"}[says_yes],
            tuple(facts),
            self._examples(neuron),
            _rules(row),
            tuple(in_own_words(score.sentence(row), score.verdict) for score in self.others if score.verdict),
        )

    def _examples(self, neuron: int) -> tuple[Example, ...]:
        rows = shown_examples(self.activations, neuron).to_dicts()
        top = max((row["activation"] for row in rows), default=0.0)

        def activation_at(position: int) -> float | None:
            return self.sampled.get((neuron, position))

        return tuple(example_of(self.text, row, top, activation_at, f"{row['activation']:.3g}") for row in rows)


def _figure(value: float | None) -> str:
    return "not judged" if value is None else number(value)


def _rules(row: dict[str, Any]) -> tuple[Rule, ...]:
    pairs = ((row.get(f"rule_{rank}"), row.get(f"gain_{rank}")) for rank in range(1, _MOST_RULES + 1))
    return tuple(
        Rule(sentence, f"{100 * gain:.1f} %") for sentence, gain in pairs if sentence is not None and gain is not None
    )


PART = Part("neurons", 80, _section)
