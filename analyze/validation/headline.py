"""`polysem fit-headline`: fit P(one feature) to planted neurons of the tuning half, and write what comes of it.

Held features are never read here: `bench-scores` and `truth` measure on them, with the coefficients as they stand.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from analyze.headline.coefficients import FILE, write
from analyze.headline.fit import LEFT_OUT_BY, Planted, fit, left_out
from analyze.scores import SCORES
from analyze.scores.fingerprint import fingerprint
from analyze.scores.made import table_of
from analyze.scores.one_feature import OneFeature
from analyze.validation.layers.base import TruthSet
from train.hashes import sha256_file
from train.parquet import read_parquet

SPACES = ("left", "around")
FIGURES: tuple[str, ...] = (
    "k_eff",
    "reach",
    "rule_share",
    "fidelity",
    "fidelity_f1",
    "ms",
    *(f"ms_{view}" for view in ("current", "previous", "window", "document", "form")),
    "token_structure",
    "token_entropy_unity",
    "token_eta2",
    "bigram_eta2",
    *(f"likeness{suffix}_{space}" for suffix in ("", "_strict") for space in SPACES),
    *(f"transfer{suffix}_{space}" for suffix in ("", "_least", "_four") for space in SPACES),
    *(f"unity{suffix}_{space}" for suffix in ("", "_spread") for space in SPACES),
    *(f"coherence{suffix}_{space}" for suffix in ("", "_by_length") for space in SPACES),
    *(f"spectrum{suffix}_{space}" for suffix in ("", "_largest", "_total") for space in SPACES),
    *(f"mixture{suffix}_{space}" for suffix in ("", "_linear") for space in SPACES),
    *(f"own_part_{space}" for space in SPACES),
)
"""Columns that the headline reads. Firing rate and moments are not among them, nor counts of firings or documents."""
TABLE = Path(__file__).parents[1] / "headline" / "fitted_on.parquet"
"""The table that the coefficients in the repository were fitted on."""
DIGITS = 5
"""Significant digits of the figures in the table."""


def figures_of_set(planted: TruthSet) -> pl.DataFrame:
    """The truth about the neurons of one set and their figures: a row a neuron."""
    tables = [table_of(planted.acts, name) for name in OneFeature.made_from]
    figures = pl.concat(tables, how="horizontal").select(pl.col(FIGURES).cast(pl.Float64).round_sig_figs(DIGITS))
    truth = planted.table().select("set", "layer", "corpus", "design", "k", "families", "kinds", "firing_rate")
    return pl.concat([truth, figures], how="horizontal")


def figures_hash() -> str:
    """A hash of the code that makes the figures."""
    modules = [type(SCORES[name]).__module__ for name in OneFeature.made_from]
    codes = [fingerprint(module, deep=True, registries=False) for module in modules]
    return sha256("".join(codes).encode()).hexdigest()


def facts_of(table: pl.DataFrame, path: Path) -> dict[str, Any]:
    """What the coefficients' file says of the table they were fitted on."""
    one = table["k"].to_numpy() == 1
    return {
        "table_sha256": sha256_file(path),
        "neurons_of_one_feature": int(one.sum()),
        "neurons_of_several": int((~one).sum()),
        "corpora": sorted(table["corpus"].unique().to_list()),
        "layers": sorted(map(int, table["layer"].unique().to_list())),
        "families": len({each for row in table["families"].to_list() for each in row}),
    }


def fit_table(path: Path = TABLE, out: Path = FILE) -> Path:
    """Fit the coefficients to a table of planted neurons, and write them."""
    table = read_parquet(path)
    planted = Planted.of(table, FIGURES)
    judged = {by: left_out(planted, by) for by in LEFT_OUT_BY}
    return write(fit(planted, facts_of(table, path), list(judged.values())), out)
