"""What reports say of a score: its measured validity, and why it may or may not lead."""

import json
import sys
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import pytest

from analyze.scores import SCORES, validity
from analyze.scores.fingerprint import code_of
from analyze.scores.validity import (
    Case,
    Change,
    Labels,
    Toys,
    Validity,
    as_json,
    from_json,
    publish,
    published,
    shown,
    validity_of,
)
from analyze.validation.design import PLANTED_HASH

GOOD = Case("symmetric", True, 120, 180, 0.93, 0.9, 0.96, 0.95, -0.7, 0.1, 0.05, 0.8, 0.1, 0.82)
ASYMMETRIC = replace(GOOD, name="asymmetric", symmetric=False, auroc=0.85)
WHOLE = Validity(
    score="one",
    part="held",
    why_not="",
    data_hash="d",
    planted_hash="p",
    admitted_hash="a",
    n_features=200,
    code="c",
    cases=(GOOD, ASYMMETRIC),
    changes=(Change("offset", 0.0001, 0),),
    labels=Labels(120, 1.0, 0.99),
    toys=Toys(400, 5, 0.7, 0.6, 0.8),
)


def test_a_score_that_passes_everything_may_lead_and_says_its_auroc():
    assert WHOLE.headline
    assert WHOLE.line() == "AUROC .93 [.90, .96] on 300 planted neurons"


@pytest.mark.parametrize(
    ("changed", "failure"),
    [
        ({"cases": (replace(GOOD, auroc=0.89), ASYMMETRIC)}, "symmetric .89 < .90"),
        ({"cases": (replace(GOOD, auroc=nan, by_rate=nan), ASYMMETRIC)}, "symmetric - < .90"),
        ({"cases": (replace(GOOD, by_rate=0.95), ASYMMETRIC)}, "no better than the firing rate (.95)"),
        ({"cases": (GOOD, replace(ASYMMETRIC, auroc=0.53))}, "asymmetric .53 < .80"),
        ({"cases": (ASYMMETRIC,)}, "no symmetric case was measured"),
        ({"changes": (Change("offset", 0.02, 0),)}, "moved by offset"),
        ({"changes": (Change("scale", 0.0, 1),)}, "moved by scale"),
        ({"labels": Labels(120, 0.5, 1.0)}, "does not fall with missing labels"),
        ({"labels": Labels(120, 1.0, 0.5)}, "does not fall with extra labels"),
        ({"part": "tuning"}, "measured on the features it may have been tuned on"),
        ({"why_not": "it needs weights", "cases": ()}, "not measurable on planted neurons (it needs weights)"),
    ],
)
def test_failed_tests_are_named_and_keep_a_score_from_leading(changed: dict, failure: str):
    found = replace(WHOLE, **changed)
    assert not found.headline
    assert found.failures == (failure,)
    assert failure in found.line()


def test_a_measurement_without_toys_keeps_those_of_the_same_code(tmp_path: Path):
    path = tmp_path / "validity.json"
    publish([WHOLE], path)
    publish([replace(WHOLE, toys=None, n_features=7)], path)
    assert published(path)["one"].toys == WHOLE.toys
    assert published(path)["one"].n_features == 7
    publish([replace(WHOLE, toys=None, code="another")], path)
    assert published(path)["one"].toys is None


def test_published_validity_is_read_back_and_other_scores_stay(tmp_path: Path):
    path = tmp_path / "validity.json"
    assert published(path) == {}
    publish([WHOLE, replace(WHOLE, score="two", toys=None, labels=None)], path)
    publish([replace(WHOLE, n_features=7)], path)
    found = published(path)
    assert list(found) == ["one", "two"]
    assert found["one"] == replace(WHOLE, n_features=7)
    assert found["two"].toys is None


def test_a_missing_figure_is_null_in_the_file_and_nan_in_memory():
    given = as_json(replace(WHOLE, cases=(replace(GOOD, auroc=nan, mono_one=None),)))
    json.dumps(given, allow_nan=False)
    again = from_json(given).cases[0]
    assert isnan(again.auroc)
    assert again.mono_one is None


def test_a_key_of_an_older_file_that_is_no_longer_known_is_passed_over():
    assert from_json(as_json(WHOLE) | {"scoring_version": 4}) == WHOLE


def test_a_score_that_was_never_measured_has_no_validity(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(validity, "published", lambda: {"one": WHOLE})
    assert validity.validity_of("one") == WHOLE
    assert validity.validity_of("other") is None


def test_a_file_of_another_format_is_not_read(tmp_path: Path):
    path = tmp_path / "validity.json"
    path.write_text('{"format_version": 0, "scores": []}')
    assert published(path) == {}


def test_shares_are_shown_with_two_digits_and_no_leading_zero():
    assert [shown(one) for one in (0.914, 1.0, -0.3, 0.0, None, nan)] == [".91", "1.00", "-.30", ".00", "-", "-"]


def test_published_validity_was_measured_with_this_code_on_this_planted_set():
    """Where this fails a score, the planted set or the grammar has changed: `polysem truth ... --publish`."""
    for name, score in SCORES.items():
        found = validity_of(name)
        if found is None:
            assert score.optional, f"{name} has not been measured: only a score that has to be named may stand without"
            continue
        if sys.version_info[:2] == (3, 11):  # as published: a syntax tree prints differently from version to version
            assert found.code == code_of(score)
        assert found.planted_hash == PLANTED_HASH
        assert found.part == "held"
