"""Single neurons for the report: which ones, what their scores say, and the text around their examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int
from numpy import ndarray

from analyze.activations.directory import beside
from analyze.activations.provenance import open_held_out
from analyze.activations.store import SCORED, STATUS_NAMES, Activations, open_activations
from analyze.comparison.results import Cell
from analyze.scores.passages import AFTER, BEFORE, read_passages, shown_examples, shown_neurons
from analyze.tables import number, visible
from analyze.text.vocabulary import Vocabulary
from train.data.tokens import load_tokenizer
from train.errors import BadInput

LEVELS = 8


@dataclass(frozen=True)
class Piece:
    """One token as it is shown: its text, its CSS classes, its activation where that is known."""

    text: str
    classes: str
    activation: str | None
    may_break: bool
    """Whether a line may end before it: not inside a word that the tokenizer cut."""


@dataclass(frozen=True)
class Example:
    """A strong example of a neuron with the text around it; no pieces where the text is not at hand."""

    activation: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Rule:
    """A rule as a sentence, with its held-out gain."""

    sentence: str
    gain: str


@dataclass(frozen=True)
class Card:
    """A neuron as the report shows it."""

    title: str
    verdict: str
    verdict_class: str
    facts: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]
    rule_share: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Group:
    """Cards chosen in one way, which the title states."""

    title: str
    cards: tuple[Card, ...]


class Text:
    """The held-out text that activations were collected on; without it there is a `trouble`."""

    def __init__(self, data_dir: str, data_hash: str, n_ctx: int) -> None:
        self.trouble: str | None = None
        try:
            self._tokens = open_held_out(data_dir, data_hash, n_ctx)
            self._pieces = Vocabulary.of(load_tokenizer(Path(data_dir) / "tokenizer.json")).pieces
        except BadInput as failure:
            self.trouble = f"The text of examples is not shown: {visible(str(failure))}."

    @cached_property
    def _extents(self) -> tuple[Int[ndarray, "d"], Int[ndarray, "d"]]:
        documents = self._tokens.documents()
        return documents["start"].to_numpy(), documents["length"].to_numpy()

    def around(self, stream_position: int, document: int) -> tuple[int, list[bytes]]:
        """The first offset shown and the bytes of each token, cut at the ends of the document."""
        starts, lengths = self._extents
        first = max(int(starts[document]), stream_position - BEFORE)
        stop = min(int(starts[document] + lengths[document]), stream_position + AFTER + 1)
        ids = self._tokens.stream(first, stop - first)
        return first, [self._pieces[token] for token in ids.tolist()]


def shown(piece: bytes) -> tuple[str, bool]:
    """A token as a reader sees it, and whether it is a part of a character alone (shown as \\x bytes)."""
    try:
        text, odd = piece.decode(), False
    except UnicodeDecodeError:
        text, odd = "".join(f"\\x{byte:02X}" if byte > 127 else chr(byte) for byte in piece), True
    text = text.replace("\r\n", "⏎").replace("\n", "⏎").replace("\t", "⇥")
    if "  " in text or text == " ":
        text = text.replace(" ", "␣")
    return visible(text), odd


class Cards:
    """Cards of one cell: opens its activations once."""

    def __init__(self, cell: Cell, text: Text) -> None:
        self.cell, self.text = cell, text
        self.rows = cell.neurons()
        self.acts: Activations = open_activations(beside(cell.directory, "activations"))
        self.troubles = [] if text.trouble is None else [text.trouble]
        self.shown = shown_neurons(self.rows, cell.meta["layer"])
        self.held = self._read_held()

    def _read_held(self) -> dict[tuple[int, int], float]:
        """(neuron, stream position) -> activation, where it is known."""
        if self.text.trouble is not None:
            return {}
        neurons = [neuron for group in self.shown.values() for neuron in group]
        try:
            table = read_passages(self.acts, neurons)
        except BadInput as failure:
            self.troubles.append(f"Only peaks are highlighted: {visible(str(failure))}.")
            return {}
        return {(neuron, place): value for neuron, place, value in table.iter_rows()}

    def groups(self) -> list[Group]:
        """The neurons with the smallest and the largest K_eff, and a random sample of all scored ones."""
        n_scored = self.rows.filter(pl.col("status") == SCORED).height
        n_judged = self.rows["k_eff_mono"].drop_nulls().len()
        return [
            Group(f"A random sample of the {n_scored:,} scored neurons", self._cards("random")),
            Group(f"Smallest K_eff of the {n_judged:,} judged neurons", self._cards("smallest")),
            Group("Largest K_eff", self._cards("largest")),
        ]

    def _cards(self, group: str) -> tuple[Card, ...]:
        rows = {row["neuron"]: row for row in self.rows.iter_rows(named=True)}
        return tuple(self._card(rows[neuron]) for neuron in self.shown[group])

    def _card(self, row: dict[str, Any]) -> Card:
        neuron, moments = row["neuron"], self.acts.moments
        states = [STATUS_NAMES[row["status"]]]
        states += [name for key, name in (("dense", "dense"), ("always_on", "always on")) if row[key]]
        facts = [
            ("K_eff", _figure(row["k_eff"])),
            ("reach", _figure(row["reach"])),
            ("fires on", f"{100 * row['firing_rate']:.2g} % of tokens"),
            ("status", ", ".join(states)),
            ("max", f"{float(moments.maximum[neuron]):.3g}"),
        ]
        if row["single_token"]:
            facts.append(("answers to", "a single token"))
        members = self.rows.filter(pl.col("duplicate_cluster") == row["duplicate_cluster"]).height
        if members > 1:
            facts.append(("one of", f"{members} duplicates"))
        verdict = {None: "not judged", True: "mono", False: "poly"}[row["k_eff_mono"]]
        return Card(
            f"L{self.cell.meta['layer']}.{self.cell.meta['hook']} neuron {neuron}",
            verdict,
            verdict.replace(" ", "-"),
            tuple(facts),
            tuple(_rules(row)),
            _rule_share(row),
            tuple(self._examples(neuron)),
        )

    def _examples(self, neuron: int) -> list[Example]:
        rows = shown_examples(self.acts, neuron).to_dicts()
        top = max((row["activation"] for row in rows), default=0.0)
        return [
            example_of(
                self.text,
                row,
                top,
                lambda place: self.held.get((neuron, place)),
                f"{row['activation']:.3g}",
            )
            for row in rows
        ]


def example_of(text: Text, row: dict[str, Any], top: float, held: Callable[[int], float | None], label: str) -> Example:
    """An example with the text around it.

    Args:
        row: of a table of examples: document, stream_position, position, activation.
        top: activation of the strongest example shown, which shades go by.
        held: the neuron's activation at a place in the stream, where it is known.
        label: what stands before the text.
    """
    peak = row["stream_position"]
    if text.trouble is not None:
        return Example(label, ())
    first, pieces = text.around(peak, row["document"])
    row_start = peak - (row["position"] - 1)
    out = []
    for place, piece in enumerate(pieces, first):
        activation = row["activation"] if place == peak else held(place)
        words, odd = shown(piece)
        classes = ["t", f"h{level(activation, top)}"]
        classes += ["held"] * (activation is not None) + ["peak"] * (place == peak)
        classes += ["far"] * (place < row_start) + ["odd"] * odd
        title = None if activation is None else f"{activation:.3g}"
        shades = " ".join(name for name in classes if name != "h0")
        out.append(Piece(words, shades, title, odd or not words[:1].isalnum()))
    return Example(label, tuple(out))


def level(activation: float | None, top: float) -> int:
    """Shade 0 to 8 of an activation as a share of the neuron's strongest example shown; 0 below 0."""
    if activation is None or not activation > 0 or not top > 0:
        return 0
    return min(LEVELS, round(LEVELS * activation / top))


def _figure(value: float | None) -> str:
    return "not judged" if value is None or not np.isfinite(value) else number(value)


def _rules(row: dict[str, Any]) -> list[Rule]:
    found = []
    for rank in range(1, 5):
        sentence, gain = row.get(f"rule_{rank}"), row.get(f"gain_{rank}")
        if sentence is not None and gain is not None and np.isfinite(gain):
            found.append(Rule(visible(sentence), f"{100 * gain:.1f} %"))
    return found


def _rule_share(row: dict[str, Any]) -> str:
    share, rule = row.get("rule_share"), row.get("rule_share_rule")
    if share is None or not np.isfinite(share) or rule is None:
        return "Rule share: not judged."
    verdict = {None: "not judged", True: "mono", False: "not mono"}[row.get("rule_share_mono")]
    base = row.get("rule_share_base_rate")
    rate = "" if base is None or not np.isfinite(base) else f", which holds for {100 * base:.2g} % of all tokens"
    covered = f"{100 * share:.0f} % of the strongest held-out examples"
    return f"Rule share: {covered}: {visible(rule)}{rate} ({verdict})."


def shown_cells(places: dict[tuple[int, str], dict[int, Cell]]) -> Sequence[Cell]:
    """Which cells' neurons are shown: of the first seed, each layer's `mid`, else what there is."""
    layers = sorted({layer for layer, _ in places})
    chosen = [places.get((layer, "mid")) or places[layer, "post"] for layer in layers]
    return [by_seed[min(by_seed)] for by_seed in chosen]
