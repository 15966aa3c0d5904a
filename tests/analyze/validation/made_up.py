"""Random features planted on made-up text, and scores that know the truth or guess."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy import ndarray

from analyze.activations.store import SCORED, Activations
from analyze.scores.base import About, NeuronScore, Verdict
from analyze.validation.admission import Admitted
from analyze.validation.features import HELD, Feature
from analyze.validation.plant import Corpus
from tests.analyze.scores.scoring import made_up_data
from train.data.tokens import TokenFile

N_FEATURES = 240


def corpus_on(directory: Path) -> Corpus:
    """About 9,000 tokens of made-up sentences; every other document is in the fit half."""
    corpus = Corpus.of(TokenFile.open(made_up_data(directory), split="eval"))
    return Corpus(corpus.data, replace(corpus.tokens, is_fit=corpus.tokens.document % 2 == 0))


def random_features(corpus: Corpus) -> Admitted:
    """Independent random sets of tokens, half of them in each part: 1.2 to 3 % of the tokens."""
    rng = np.random.default_rng(0)
    half = N_FEATURES // 2
    roots = [*(f"root {index}" for index in range(half)), *sorted(HELD)[:half]]
    chosen = [
        Feature(f"feature {index}", root, "word" if index % 2 else "back", ()) for index, root in enumerate(roots)
    ]
    shares = np.exp(rng.uniform(np.log(0.012), np.log(0.03), len(chosen)))
    return Admitted(tuple(chosen), rng.random((len(corpus.tokens), len(chosen))) < shares, ())


class Knows(NeuronScore):
    """Counts the planted features that a neuron answers to: it reads the truth."""

    name = title = rank = "knows"
    number, needs = 90, ("sample",)
    about = About("counts the planted features", "0", "none", "none")
    verdict = Verdict("knows_mono", "knows", 1.0, at_most=False, meaning="")
    admitted: Admitted

    @property
    def knowing_less(self) -> dict[str, NeuronScore]:
        """Without the truth."""
        return {"the truth": KnowsNothing()}

    def __call__(self, acts: Activations) -> ndarray:
        """1 / k; NaN for neurons that are not scored, or on other tokens than the features'."""
        values = acts.block(0, acts.n_neurons).numpy()
        inside = self.admitted.tokens.astype(np.float32)
        if len(values) != len(inside):
            return np.full(acts.n_neurons, np.nan)
        values = values - np.median(values, axis=0)
        values = values / np.abs(values).max(axis=0)
        inside, values = inside - inside.mean(axis=0), values - values.mean(axis=0)
        apart = np.linalg.solve(inside.T @ inside, inside.T @ values)
        k = (apart > 0.35 * apart.max(axis=0)).sum(axis=0)
        return np.where(acts.moments.status == SCORED, 1 / np.maximum(k, 1), np.nan)

    def table(self, acts: Activations) -> pl.DataFrame:
        """knows, knows_mono."""
        score = self(acts)
        mono = [None if np.isnan(value) else value == 1 for value in score.tolist()]
        return pl.DataFrame({"knows": score, "knows_mono": pl.Series(mono, dtype=pl.Boolean)})


class KnowsNothing(Knows):
    """The same without the truth: a random number."""

    def __call__(self, acts: Activations) -> ndarray:
        """By the number of neurons."""
        return np.random.default_rng(acts.n_neurons).random(acts.n_neurons)


class Guesses(NeuronScore):
    """A random number that does not look at the neuron."""

    name = title = rank = "guesses"
    number, needs = 91, ("sample",)
    about = About("", "0", "none", "none")

    def __call__(self, acts: Activations) -> ndarray:
        """By the name of what was planted."""
        return np.random.default_rng(len(acts.meta.variant)).random(acts.n_neurons)

    def table(self, acts: Activations) -> pl.DataFrame:
        """guesses."""
        return pl.DataFrame({"guesses": self(acts)})


class Weighs(NeuronScore):
    """A score of weights, which planted neurons do not have."""

    name = title = rank = "weighs"
    number, needs = 92, ("weights",)
    about = About("", "0", "none", "none")

    def __call__(self, acts: Activations) -> ndarray:
        """Nothing."""
        return np.full(acts.n_neurons, np.nan)

    def table(self, acts: Activations) -> pl.DataFrame:
        """weighs."""
        return pl.DataFrame({"weighs": self(acts)})
