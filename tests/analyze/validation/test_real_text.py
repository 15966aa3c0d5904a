"""On real text: how many features are admitted, and that what is one thing to every score is called one."""

from pathlib import Path

import numpy as np
import pytest

from analyze.scores import SCORES
from analyze.validation.admitting import admit_on
from analyze.validation.design import CASES, draw_neurons
from analyze.validation.plant import Corpus, control_sets
from train.data.tokens import TokenFile

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(real_text: Path) -> Corpus:
    return Corpus.of(TokenFile.open(real_text, split="eval"))


def test_real_text_admits_more_than_a_hundred_and_fifty_features_and_neurons_of_every_case(corpus: Corpus):
    everything = admit_on(corpus)
    print("\n".join(everything.lines()))
    assert len(everything.features) >= 150
    held = everything.of("held")
    assert len(held.features) >= 75
    for case in CASES:
        if not case.density and not case.kinds:  # those want more text than this
            assert len(draw_neurons(case, held)) == len(case.k)
    planted_sets = {one.name: one for one in control_sets(corpus, held)}
    k_eff = SCORES["k_eff"]
    table = {
        name: k_eff.table(one.acts)["k_eff_mono"].fill_null(False).to_numpy() for name, one in planted_sets.items()
    }
    assert np.mean(table["single tokens"]) > 0.9
    assert np.mean(table["broad"]) > 0.8
    assert np.mean(table["random tokens"]) < 0.1
    assert np.mean(table["random words"]) < 0.3
