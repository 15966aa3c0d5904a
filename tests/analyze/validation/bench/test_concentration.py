"""FMS-like concentration: one concept of the bank above three of them, and nothing for noise."""

from pathlib import Path

import numpy as np
import pytest

from analyze.labels.bank import bank_on
from analyze.validation.bench.rivals.concentration import concentration
from tests.analyze.validation.made_up import corpus_on

pytestmark = pytest.mark.slow


def test_a_neuron_of_one_concept_is_more_concentrated_than_one_of_three_and_a_constant_has_no_value(tmp_path: Path):
    corpus = corpus_on(tmp_path)
    bank = bank_on(corpus.data)
    labels = bank.dense(corpus.tokens.stream_position)
    share = labels.mean(axis=0)
    usable = np.flatnonzero((share > 0.01) & (share < 0.1))
    chosen: list[int] = []
    for index in usable.tolist():
        if all((labels[:, index] & labels[:, other]).sum() < 0.05 * labels[:, index].sum() for other in chosen):
            chosen.append(index)
    first, second, third = chosen[:3]
    one = labels[:, first].astype(np.float32)
    three = labels[:, [first, second, third]].any(axis=1).astype(np.float32)
    acts = corpus.activations(np.stack([one, three, np.zeros_like(one)], axis=1), "concepts")
    of_one, of_three, of_nothing = concentration(acts)
    assert of_one > 0.6
    assert of_three < of_one - 0.2
    assert np.isnan(of_nothing)
