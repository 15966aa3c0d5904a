"""What every score makes of every planted set; each pair is measured once and kept beside the result."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from analyze.activations.store import Activations
from analyze.scores.base import KnowsLess, NeuronScore
from analyze.scores.fingerprint import fingerprint
from analyze.scores.made import table_of
from analyze.validation.admission import Admitted
from analyze.validation.design import MAIN, PLANTED_HASH
from analyze.validation.plant import Corpus, PlantedSet, planted_sets
from train.files import canonical_json, write_atomic
from train.parquet import read_parquet

MEASURE_VERSION = 1
"""Counts up when a change here changes numbers."""


@dataclass(frozen=True)
class Scored:
    """What one score made of the neurons of a planted set."""

    value: Float[ndarray, "n"]
    mono: Float[ndarray, "n"] | None
    """Its verdicts: 1, 0, or NaN where it gives none; None for a score without verdicts."""


@dataclass(frozen=True)
class MeasuredSet:
    """A planted set without its activations, and what every score made of it."""

    name: str
    k: Int[ndarray, "n"]
    members: Bool[ndarray, "n f"]
    firing_rate: Float[ndarray, "n"]
    scored: dict[str, Scored]
    less: dict[str, dict[str, Scored]]
    """Of the main case only: by score, and by which part of its knowledge was taken away."""


def score_planted(score: NeuronScore, acts: Activations) -> Scored:
    """A score's values and verdicts, from its table."""
    table = table_of(acts, score)
    value = _floats(table[score.rank])
    return Scored(value, None if score.verdict is None else _floats(table[score.verdict.column]))


def _floats(column: pl.Series) -> Float[ndarray, "n"]:
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)


def why_not(score: NeuronScore) -> str:
    """Why a score cannot read planted neurons; empty where it can."""
    missing = [what for what in ("weights", "token_sums") if what in score.needs]
    return f"it needs {' and '.join(missing)}" if missing else ""


def measure(
    corpus: Corpus, admitted: Admitted, scores: list[NeuronScore], cache: Path, say: Callable[[str], None]
) -> list[MeasuredSet]:
    """Score every planted set; what `cache` already has is read from there.

    Args:
        cache: directory with one file for each score and planted set, named by a hash of all that it depends on.
        say: takes a line for each planted set and score.
    """
    keys = {score.name: _key(score, corpus, admitted) for score in scores}
    measured = []
    for planted in planted_sets(corpus, admitted, say):

        def scored(score: NeuronScore, *less: str, planted: PlantedSet = planted) -> Scored:
            path = cache / f"{'-'.join((keys[score.name], *map(_slug, (planted.name, *less))))}.parquet"
            return _cached(score, planted, path, say)

        whole = {score.name: scored(score) for score in scores}
        less = {
            score.name: {name: scored(with_less, name) for name, with_less in score.knowing_less.items()}
            for score in scores
            if isinstance(score, KnowsLess) and planted.name == MAIN.name
        }
        rate = planted.acts.moments.firing_rate
        measured.append(MeasuredSet(planted.name, planted.k, planted.members, rate, whole, less))
    return measured


def _cached(score: NeuronScore, planted: PlantedSet, path: Path, say: Callable[[str], None]) -> Scored:
    if not path.is_file():
        start = time.perf_counter()
        scored = score_planted(score, planted.acts)
        columns = {"value": scored.value} | ({} if scored.mono is None else {"mono": scored.mono})
        buffer = io.BytesIO()
        pl.DataFrame(columns).write_parquet(buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
        say(f"{planted.name}: {score.name} of {len(planted.k)} neurons in {time.perf_counter() - start:.1f} s")
    table = read_parquet(path)
    return Scored(table["value"].to_numpy(), table["mono"].to_numpy() if "mono" in table.columns else None)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in name)


def _key(score: NeuronScore, corpus: Corpus, admitted: Admitted) -> str:
    code = fingerprint(type(score).__module__, deep=True)
    inputs = [MEASURE_VERSION, corpus.data.data_hash, corpus.data.n_ctx, PLANTED_HASH, admitted.hash, score.name, code]
    return f"{score.name}-{sha256(canonical_json(inputs)).hexdigest()[:16]}"
