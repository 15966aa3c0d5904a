"""The headline's verdicts, from columns of the scores that it is made from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from analyze.activations.store import MOST_NEURONS, sample_of
from analyze.headline.coefficients import Coefficients, Examples, Term
from analyze.labels.families import speech
from analyze.scores import SCORES, default_names, validity
from analyze.scores.made import first_hand, with_second_hand
from analyze.scores.one_feature import OneFeature
from analyze.scores.validity import neurons_called, says_monosemantic
from analyze.text import sentence_model
from tests.analyze.scores.test_validity import GOOD, WHOLE

KNOTS = tuple(float(knot) for knot in range(11))
SMALL = Coefficients(
    0.0,
    (Term("transfer_left", 2.0, -3.0, KNOTS),),
    0.8,
    0.2,
    Examples(0.5, (0.0,), ((0.0,),), 3.0),
    {"table_sha256": "made up"},
)


class Small(OneFeature):
    """The headline with one figure."""

    @property
    def coefficients(self) -> Coefficients:
        return SMALL


def table(values: list[float | None]) -> pl.DataFrame:
    """Its table of neurons with these figures."""
    return Small().from_columns(pl.DataFrame({"transfer_left": pl.Series(values, dtype=pl.Float64)}))


def test_there_are_three_verdicts_and_none_outside_of_the_domain():
    found = table([9.0, 1.0, 5.0, 1000.0, None])
    assert found["one_feature_mono"].to_list() == [True, False, None, None, None]
    assert found["one_feature_seen"].to_list() == [True, True, True, False, None]
    assert np.isnan(found["one_feature"][4])
    assert found["one_feature"][3] > 0.8, "P is given, and no verdict"


def test_in_text_of_an_unknown_sort_it_cannot_tell():
    figures = pl.DataFrame({"transfer_left": [9.0, 9.0, 9.0], "known_text": [0.9, 0.3, None]})
    found = Small().from_columns(figures)
    assert found["one_feature_mono"].to_list() == [True, None, None]
    assert found["one_feature_seen"].to_list() == [True, False, False]
    assert found["one_feature"].is_not_null().all()


def test_it_says_them_in_words():
    verdict = Small().verdict
    assert [verdict.word(each) for each in (True, False, None)] == ["one feature", "several features", "cannot tell"]
    rows = table([9.0, 1000.0, None]).to_dicts()
    said = [
        Small().sentence(row | {"one_feature": None if np.isnan(row["one_feature"]) else row["one_feature"]})
        for row in rows
    ]
    assert said[0].endswith("(one feature).")
    assert "no planted neuron like it" in said[1]
    assert said[2].endswith("no figure.")


@pytest.mark.parametrize("package", [(speech, "lexicon_path"), (sentence_model, "weights_path")])
def test_without_a_package_there_is_no_p_and_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, package: tuple[Any, str]
):
    monkeypatch.setattr(*package, lambda: None)
    assert "pip install" in Small().lacks()
    assert table([9.0])["one_feature_mono"].to_list() == [None]
    assert np.isnan(table([9.0])["one_feature"][0])


def test_it_is_made_from_other_scores_without_activations():
    names = ["one_feature", "k_eff"]
    direct = first_hand(names)
    assert "one_feature" not in direct
    assert set(OneFeature.made_from) == set(direct)
    made = {name: pl.DataFrame({f"{name}_x": [1.0]}) for name in direct}
    with SCORES.including(Small()):
        made["transfer"] = pl.DataFrame({"transfer_left": [9.0]})
        first, second = with_second_hand(names, made)
    assert first["one_feature_mono"].to_list() == [True]
    assert second.columns == ["k_eff_x"]


def test_it_has_to_be_named_until_it_has_passed():
    assert "one_feature" not in default_names() or says_monosemantic("one_feature")


def test_the_word_is_the_headlines_while_it_passes_in_both_designs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    good = (replace(GOOD, name="symmetric", symmetric=True), replace(GOOD, name="density matched", symmetric=True))
    whole = replace(WHOLE, score="one_feature", cases=(*good, replace(GOOD, name="asymmetric", symmetric=False)))
    one_design = replace(whole, cases=(good[0], whole.cases[2]))
    poor = replace(whole, cases=(good[0], replace(good[1], auroc=0.89), whole.cases[2]))
    for published, expected in ((whole, True), (one_design, False), (poor, False)):
        monkeypatch.setattr(validity, "validity_of", lambda name, published=published: published)
        assert says_monosemantic("one_feature") == expected
        assert not says_monosemantic("k_eff")
    assert neurons_called("k_eff", "one word rule") == "neurons of one word rule"


def test_a_wide_layer_is_sampled_the_same_every_time():
    assert sample_of(MOST_NEURONS).all()
    wide = sample_of(5 * MOST_NEURONS)
    assert wide.sum() == MOST_NEURONS
    assert np.array_equal(wide, sample_of(5 * MOST_NEURONS))
    assert 0.1 < wide[: len(wide) // 2].mean() < 0.3
