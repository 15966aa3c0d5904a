"""Scores on planted neurons: measured once each, kept beside the result, found again."""

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
from analyze.validation.admission import Admitted
from analyze.validation.design import MAIN, PLANTED_HASH
from analyze.validation.plant import Ground, Plot, plots
from train.files import canonical_json, write_atomic

TRIAL_VERSION = 1
"""Counts up when a change here changes numbers."""


@dataclass(frozen=True)
class Read:
    """What one score made of a plot's neurons."""

    value: Float[ndarray, "n"]
    mono: ndarray | None
    """Its verdict: 1, 0, or NaN where there is none; None of a score without verdicts."""


@dataclass(frozen=True)
class Measured:
    """A plot without its activations, and what every score made of it."""

    name: str
    k: Int[ndarray, "n"]
    members: Bool[ndarray, "n f"]
    firing_rate: Float[ndarray, "n"]
    read: dict[str, Read]
    less: dict[str, dict[str, Read]]
    """The main case's, by score and by what was taken from what it knows."""


def read_score(score: NeuronScore, acts: Activations) -> Read:
    """A score and its verdict from its table: column <name>_score, or <name>, and <name>_mono."""
    table = score.table(acts)
    column = f"{score.name}_score" if f"{score.name}_score" in table.columns else score.name
    verdict = f"{score.name}_mono"
    value = table[column].cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
    if verdict not in table.columns:
        return Read(value, None)
    mono = table[verdict].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return Read(value, mono.astype(np.float64))


def why_not(score: NeuronScore) -> str:
    """Why planted neurons cannot be measured with a score; empty where they can."""
    missing = [what for what in ("weights", "token_sums") if what in score.needs]
    return f"it needs {' and '.join(missing)}" if missing else ""


def measure(
    ground: Ground, bank: Admitted, scores: list[NeuronScore], keep: Path, say: Callable[[str], None]
) -> list[Measured]:
    """Every plot and what the scores make of it; the part that `keep` holds already is read from there.

    Args:
        keep: directory of what was measured, one file a score and plot, named by all that it depends on.
        say: told about each plot and score.
    """
    keys = {one.name: _key(one, ground, bank) for one in scores}
    found = []
    for plot in plots(ground, bank):
        if isinstance(plot, str):
            say(f"{plot}: too few features for it, left out")
            continue

        def read(score: NeuronScore, *less: str, plot: Plot = plot) -> Read:
            path = keep / f"{'-'.join((keys[score.name], *map(_slug, (plot.name, *less))))}.parquet"
            return _kept(score, plot, path, say)

        whole = {one.name: read(one) for one in scores}
        less = {
            one.name: {name: read(with_less, name) for name, with_less in one.knowing_less.items()}
            for one in scores
            if isinstance(one, KnowsLess) and plot.name == MAIN.name
        }
        found.append(Measured(plot.name, plot.k, plot.members, plot.acts.moments.firing_rate, whole, less))
    return found


def _kept(score: NeuronScore, plot: Plot, path: Path, say: Callable[[str], None]) -> Read:
    if not path.is_file():
        begun = time.perf_counter()
        read = read_score(score, plot.acts)
        columns = {"value": read.value} | ({} if read.mono is None else {"mono": read.mono})
        buffer = io.BytesIO()
        pl.DataFrame(columns).write_parquet(buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
        say(f"{plot.name}: {score.name} of {len(plot.k)} neurons in {time.perf_counter() - begun:.1f} s")
    table = pl.read_parquet(path)
    return Read(table["value"].to_numpy(), table["mono"].to_numpy() if "mono" in table.columns else None)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in name)


def _key(score: NeuronScore, ground: Ground, bank: Admitted) -> str:
    depends = [TRIAL_VERSION, ground.data.data_hash, ground.data.n_ctx, PLANTED_HASH, bank.hash]
    digest = sha256(canonical_json([*depends, score.name, fingerprint(type(score).__module__, deep=True)])).hexdigest()
    return f"{score.name}-{digest[:16]}"
