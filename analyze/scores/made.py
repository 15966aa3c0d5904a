"""Tables of scores: those that read activations, each made once, and those that are made from other scores' columns."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from weakref import ref

import polars as pl

from analyze.activations.store import Activations
from analyze.scores import SCORES
from analyze.scores.base import MadeFromScores, NeuronScore

_KEPT: deque[tuple[ref[Activations], dict[NeuronScore, pl.DataFrame]]] = deque(maxlen=1)


def table_of(acts: Activations, score: NeuronScore) -> pl.DataFrame:
    """The table of one score; those of the last activations are kept, since other scores may be made from them."""
    if not _KEPT or _KEPT[0][0]() is not acts:
        _KEPT.append((ref(acts), {}))
    tables = _KEPT[0][1]
    if score not in tables:
        tables[score] = score.table(acts)
    return tables[score]


def first_hand(names: Iterable[str]) -> list[str]:
    """The scores to make from activations so that all of `names` can be had: what others are made from comes first."""
    wanted: dict[str, None] = {}
    for name in names:
        score = SCORES[name]
        wanted |= dict.fromkeys(score.made_from if isinstance(score, MadeFromScores) else (name,))
    return list(wanted)


def with_second_hand(names: Sequence[str], made: Mapping[str, pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables of `names` in order, from those of `first_hand(names)`."""
    tables = []
    for name in names:
        score = SCORES[name]
        if isinstance(score, MadeFromScores):
            tables.append(score.from_columns(pl.concat([made[each] for each in score.made_from], how="horizontal")))
        else:
            tables.append(made[name])
    return tables
