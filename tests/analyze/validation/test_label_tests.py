"""Missing and extra labels: figures known to pass do, and those known to fail do."""

import numpy as np
import pytest

from analyze.scores.validity import LABEL_RATE
from analyze.validation.label_tests import REFERENCES, label_tests, worse_sets
from tests.analyze.validation.made_up import corpus_on, random_features


def test_the_worse_sets_lack_half_of_the_tokens_or_have_as_many_others_on_top():
    true = np.random.default_rng(0).random(5000) < 0.02
    missing, extra = worse_sets(true, 3)
    assert missing.sum() == true.sum() - true.sum() // 2
    assert not (missing & ~true).any()
    assert extra.sum() == 2 * true.sum()
    assert (extra & true).sum() == true.sum()
    np.testing.assert_array_equal(worse_sets(true, 3)[1], extra)


def test_figures_known_to_pass_pass_and_recall_and_auc_fail_one_test_each(tmp_path):
    admitted = random_features(corpus_on(tmp_path)).of("held")
    found = label_tests(admitted, {name: figure for name, (figure, _) in REFERENCES.items()})
    for name, (_, passes) in REFERENCES.items():
        assert found[name].passed == passes, (name, found[name])
    assert found["recall"].extra < 0.1 < LABEL_RATE <= found["recall"].missing
    assert found["AUC"].missing < 0.1 < LABEL_RATE <= found["AUC"].extra


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_figure_that_does_not_look_passes_neither(tmp_path, constant: float):
    admitted = random_features(corpus_on(tmp_path)).of("held")
    found = label_tests(admitted, {"constant": lambda y, covered: constant})["constant"]
    assert (found.missing, found.extra) == (0.0, 0.0)
