"""disagreements.md: neurons of which K_eff and P(one feature) say unlike things, with their text, to be judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.store import SCORED, Activations, open_activations
from analyze.comparison.results import Cell
from analyze.report.cards import Text, shown
from analyze.tables import number, percent, plain

MOST = 10
"""Neurons of each kind,"""
N_STRONGEST, N_HALF = 7, 5
"""and examples of each: its strongest, and others between .3 and .7 of its range."""
HALF_BANDS = (3, 4, 5, 6)
BEFORE, AFTER = 8, 4

KINDS = {
    "K_eff says one word rule, P(one feature) is low": (True, False),
    "K_eff says several word rules or nothing, P(one feature) is high": (False, True),
}
"""Title -> whether K_eff says one rule, and whether those of the largest P come first."""


def disagreements(cells: Sequence[Cell], data: Path) -> str:
    """The page: MOST neurons of each kind, taken from the layers in turn, the strongest disagreement of each first."""
    opened = [(cell, open_activations(cell.directory.path), Text(cell.meta, cell.path, [data])) for cell in cells]
    lines = ["# Where K_eff and P(one feature) disagree", "", _INTRODUCTION]
    for title, (one_rule, largest) in KINDS.items():
        lines += ["", f"## {title}", ""]
        queues = [_disagreeing(cell, one_rule, largest) for cell in cells]
        taken = 0
        for turn in range(MOST):
            for (cell, acts, text), queue in zip(opened, queues):
                if taken < MOST and turn < len(queue):
                    taken += 1
                    lines += _card(taken, cell, acts, text, queue[turn])
        if not taken:
            lines.append("None.")
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    "Written by `polysem rescore`. The token that fires stands in « ». First the strongest examples of held-out text, "
    "at most one a document, then some at .3 to .7 of the neuron's range. The neurons lie where planted ones were seen."
)


def _disagreeing(cell: Cell, one_rule: bool, largest: bool) -> list[dict[str, Any]]:
    rows = cell.neurons().filter((pl.col("status") == SCORED) & pl.col("one_feature_seen").fill_null(False))
    says_one = pl.col("k_eff_mono").fill_null(False)
    of_kind = rows.filter(says_one if one_rule else ~says_one)
    return of_kind.sort("one_feature", "neuron", descending=[largest, False]).head(MOST).to_dicts()


def _card(number_of: int, cell: Cell, acts: Activations, text: Text, row: dict[str, Any]) -> list[str]:
    neuron = row["neuron"]
    k_eff = "no figure" if row["k_eff"] is None else number(row["k_eff"])
    lines = [
        f"**{number_of}. {cell.meta.run} {cell.place} neuron {neuron}**: P {number(row['one_feature'])}, "
        f"K_eff {k_eff}, fires on {percent(row['firing_rate'])} % of tokens; "
        f"first rule: {plain(row.get('rule_1') or 'none')}.",
        "",
    ]
    if text.trouble is not None:
        return [*lines, text.trouble, ""]
    own = (pl.col("neuron") == neuron) & (pl.col("half") == "eval")
    strongest = acts.examples.filter(own).sort("rank").head(N_STRONGEST)
    parts = [strongest]
    if acts.bands is not None:
        parts.append(acts.bands.filter(own & pl.col("band").is_in(HALF_BANDS)).sort("rank", "band").head(N_HALF))
    for part, label in zip(parts, ("", "(half) ")):
        lines += [f"- {label}{each['activation']:.3g}: {_passage(text, each)}" for each in part.to_dicts()]
    return [*lines, ""]


def _passage(text: Text, row: dict[str, Any]) -> str:
    """The text around an example."""
    first, pieces = text.around(row["stream_position"], row["document"])
    out = []
    for place, piece in enumerate(pieces, first):
        if row["stream_position"] - BEFORE <= place <= row["stream_position"] + AFTER:
            word = plain(shown(piece)[0])
            out.append(f"«{word}»" if place == row["stream_position"] else word)
    return "".join(out).strip()
