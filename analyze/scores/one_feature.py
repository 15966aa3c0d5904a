"""One feature: P(a neuron has one feature), the headline. A calibrated combination of what other scores see.

P is a logistic regression on normal scores of the figures that analyze/headline/coefficients.toml names. It was fitted
on planted neurons of one and of several features (`polysem fit-headline`), both kinds weighing alike, and reads neither
the firing rate nor a moment of the activations. Which figures went in was decided by families, kinds and corpora that
were left out of the fit.

Three verdicts: one feature (P at least `one_from`), several (at most `several_to`), and between them nobody can tell.
No verdict either where no planted neuron like it was ever seen (`one_feature_seen` false), or where all figures of
contexts are missing: few strong firings, a wide layer's neurons outside of the sample.

Known failures: docs/headline.md has the figures.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from analyze.activations.store import Activations
from analyze.contexts.spaces import lacks
from analyze.headline.coefficients import FILE, Coefficients, read
from analyze.scores import SCORES
from analyze.scores.base import About, NeuronScore, Verdict
from analyze.scores.made import table_of
from train.hashes import sha256_file

SAID = {True: "one feature", False: "several features", None: "cannot tell"}
REQUIRED = "transfer_left"
"""A neuron without this figure has none of contexts, and gets no P."""
KNOWN_TEXT = "known_text"
LEAST_KNOWN = 0.5
"""A neuron with less of its strong firings in English or in code is like no planted one, whatever its figures."""


class OneFeature(NeuronScore):
    """P(one feature), 0 to 1."""

    name = "one_feature"
    title = "P(one feature)"
    number = -1
    rank = "one_feature"
    about = About(
        definition="P(one feature): logistic regression on figures of the scores below, fitted on planted neurons",
        cost="0 (beside the others)",
        null="planted neurons of several features: at most 5 in 100 of new families or corpora are called one feature",
        fails="two features that share their contexts; one feature of unlike contexts; see docs/headline.md",
    )
    needs = ("sample", "text")
    optional = True
    made_from = (
        "k_eff",
        "rule_share",
        "fidelity",
        "ms",
        "token_structure",
        "likeness",
        "transfer",
        "coherence",
        "own_part",
        "part_likeness",
    )

    @cached_property
    def coefficients(self) -> Coefficients:
        """Those in the file that comes with the program."""
        return read()

    @property
    def fitted(self) -> str:
        """A hash of the coefficients: what is published of this score is of these."""
        return sha256_file(FILE)

    @property
    def verdict(self) -> Verdict:  # pyright: ignore[reportIncompatibleVariableOverride]
        """One feature, several, or none: it cannot tell."""
        fitted = self.coefficients
        return Verdict(
            column="one_feature_mono",
            value="one_feature",
            threshold=fitted.one_from,
            at_most=False,
            meaning=f"P(one feature): the probability that a neuron has one feature, not several; one feature from "
            f"{fitted.one_from:.2f}, several down to {fitted.several_to:.2f}. Between them, and where no planted "
            "neuron like it was seen, it cannot tell: such neurons are not judged.",
            called=SAID[True],
            otherwise=SAID[False],
            neither=SAID[None],
            seen="one_feature_seen",
            sampled=True,
        )

    def lacks(self) -> str:
        """The package of the word classes, or that of the sentence model."""
        return lacks()

    def table(self, acts: Activations) -> pl.DataFrame:
        """one_feature, one_feature_mono, one_feature_seen."""
        tables = [table_of(acts, SCORES[name]) for name in self.made_from]
        return self.from_columns(pl.concat(tables, how="horizontal"))

    def from_columns(self, columns: pl.DataFrame) -> pl.DataFrame:
        """The same from the columns of the scores that it is made from."""
        fitted = self.coefficients
        figures = {
            name: columns[name].cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
            for name in {*fitted.columns, REQUIRED}
        }
        known = ~np.isnan(figures[REQUIRED])
        if self.lacks():
            known[:] = False
        p = np.where(known, fitted.probability(figures), np.nan)
        seen = fitted.is_like_planted(figures)
        if KNOWN_TEXT in columns.columns:
            seen &= columns[KNOWN_TEXT].fill_null(0).fill_nan(0).to_numpy() >= LEAST_KNOWN
        one, several = known & seen & (p >= fitted.one_from), known & seen & (p <= fitted.several_to)
        return pl.DataFrame(
            {
                "one_feature": pl.Series(p, dtype=pl.Float64),
                "one_feature_mono": pl.Series(
                    [bool(mono) if mono or not_mono else None for mono, not_mono in zip(one, several)], dtype=pl.Boolean
                ),
                "one_feature_seen": pl.Series(
                    [bool(like) if has else None for like, has in zip(seen, known)], dtype=pl.Boolean
                ),
            }
        )

    def sentence(self, row: Mapping[str, Any]) -> str:
        """P, the verdict, and whether planted neurons like it were ever seen."""
        p = row.get("one_feature")
        if p is None:
            return f"{self.title}: no figure."
        unseen = "" if row.get("one_feature_seen") else "; no planted neuron like it was ever seen"
        return f"{self.title}: {p:.2f} ({SAID[row.get('one_feature_mono')]}{unseen})."


SCORE = OneFeature()
