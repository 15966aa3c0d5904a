"""What must not move P(one feature): an offset of the activations, and their scale."""

from pathlib import Path

import numpy as np
import pytest

from analyze.headline.coefficients import read
from analyze.validation.design import MAIN, Neuron, planted_activations
from analyze.validation.headline import FIGURES, figures_of
from analyze.validation.plant import Corpus
from train.data.tokens import TokenFile

MOVED = ((1.0, 0.0), (1.0, 4.0), (1.0, -0.25), (64.0, 0.0))
"""Factors and offsets."""


def test_p_does_not_move_with_an_offset_or_a_scale(real_text: Path):
    corpus = Corpus.of(TokenFile.open(real_text, split="eval"))
    ids = np.asarray(corpus.tokens.ids)
    often = np.argsort(-np.bincount(ids))[:6]
    neurons = [Neuron((2 * index, 2 * index + 1), (1.0, 1.0)) for index in range(3)]
    # Multiples of 1 / 1024: sums with the offset are exact, so that nothing but the offset differs.
    values = np.round(planted_activations(ids[:, None] == often, neurons, MAIN.noise, "offset") * 1024) / 1024
    every = np.hstack([values * factor + offset for factor, offset in MOVED]).astype(np.float32)
    table = figures_of(corpus.activations(every, "p"))
    p = read().probability({name: table[name].fill_null(np.nan).to_numpy() for name in FIGURES})
    assert len(set(p[:3].tolist())) > 1
    for first in range(3, 3 * len(MOVED), 3):
        assert p[first : first + 3] == pytest.approx(p[:3], abs=1e-3)
