"""The file of coefficients: readable, and refused once it was edited by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyze.headline import coefficients
from analyze.headline.coefficients import Coefficients, Examples, Term, read, write
from train.errors import BadInput

TERM = Term("transfer_left", 1.5, -0.25, (0.0, 1.0, 2.0, 3.0))
SMALL = Coefficients(
    0.5,
    (TERM, Term("unity_left", -1.0, 0.0, (0.0, 0.0, 0.0, 10.0))),
    0.9,
    0.2,
    Examples(0.5, (0.75, -1.25), ((0.0, 0.0), (1.5, -1.5)), 4.0),
    {"table_sha256": "abc", "neurons": 7, "corpora": ["a", "b"]},
)


def test_what_was_written_is_read(tmp_path: Path):
    assert read(write(SMALL, tmp_path / "c.toml")) == SMALL


@pytest.mark.parametrize(("before", "after"), [("weight = 1.5", "weight = 1.6"), ("one_from = 0.9", "one_from = 0.5")])
def test_a_file_edited_by_hand_is_refused_and_named(tmp_path: Path, before: str, after: str):
    path = write(SMALL, tmp_path / "c.toml")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    read.cache_clear()
    with pytest.raises(BadInput, match=r"c\.toml: edited by hand: sha256"):
        read(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "none.toml").write_text("intercept = ")
    for name in ("none.toml", "absent.toml"):
        with pytest.raises(BadInput, match=f"{name}: cannot be read"):
            read(tmp_path / name)
    (tmp_path / "old.toml").write_text("format_version = 0\n")
    with pytest.raises(BadInput, match="format_version is not 2"):
        read(tmp_path / "old.toml")


def test_a_file_that_lacks_a_part_is_refused_though_its_hash_fits(tmp_path: Path):
    body = {"format_version": coefficients.FORMAT_VERSION, "intercept": 0.5}
    path = tmp_path / "c.toml"
    path.write_text(f'sha256 = "{coefficients._hash(body)}"\nformat_version = 2\nintercept = 0.5\n')
    with pytest.raises(BadInput, match=r"c\.toml: not whole \('examples'\)"):
        read(path)


def test_normal_scores_go_by_ranks_and_missing_values_are_in_the_middle():
    scores = TERM.normal_scores(np.array([np.nan, 1.5, 0.0, 3.0, -99.0, 99.0]))
    assert scores[:2].tolist() == [0.0, 0.0]
    assert scores[2] == -scores[3] < 0
    assert scores[4] == -scores[5] < scores[2]


def test_a_value_that_many_knots_share_stands_at_their_middle():
    shared = SMALL.terms[1]
    assert shared.normal_scores(np.array([0.0]))[0] == pytest.approx(
        Term("x", 0.0, 0.0, (0.0, 1.0, 2.0, 3.0)).normal_scores(np.array([1.0]))[0]
    )


def test_p_rises_with_what_speaks_for_one_feature_and_a_missing_figure_has_its_own_weight():
    other = np.array([1.0, 1.0, 1.0])
    p = SMALL.probability({"transfer_left": np.array([0.0, 3.0, np.nan]), "unity_left": other})
    assert p[0] < p[1]
    middle = SMALL.probability({"transfer_left": np.array([1.5]), "unity_left": other[:1]})[0]
    odds = [value / (1 - value) for value in (p[2], middle)]
    assert np.log(odds[0] / odds[1]) == pytest.approx(-0.25)


def test_p_does_not_depend_on_how_many_neurons_are_scored_at_once():
    rng = np.random.default_rng(0)
    figures = {name: rng.standard_normal(301) for name in SMALL.columns}
    whole = SMALL.probability(figures), SMALL.distance(figures)
    parts = [{name: values[part] for name, values in figures.items()} for part in (slice(0, 100), slice(100, None))]
    assert np.array_equal(whole[0], np.concatenate([SMALL.probability(part) for part in parts]))
    assert np.array_equal(whole[1], np.concatenate([SMALL.distance(part) for part in parts]))


def test_resemblance_to_an_example_adds_its_weight_to_the_log_odds():
    figures = {name: np.array([1.5]) for name in SMALL.columns}
    z = SMALL.scores(figures)
    squares = [((z[0] - np.array(point)) ** 2).sum() for point in SMALL.examples.scores]
    linear = SMALL.intercept + sum(term.weight * value for term, value in zip(SMALL.terms, z[0]))
    expected = linear + 0.75 * np.exp(-0.5 * squares[0]) - 1.25 * np.exp(-0.5 * squares[1])
    p = SMALL.probability(figures)[0]
    assert np.log(p / (1 - p)) == pytest.approx(expected)
    assert SMALL.distance(figures)[0] == pytest.approx(min(squares))


def test_a_neuron_far_from_all_planted_ones_is_outside():
    near = replace(SMALL, examples=replace(SMALL.examples, farthest=1.0))
    figures = {"transfer_left": np.array([1.5, 99.0]), "unity_left": np.array([5.0, 99.0])}
    assert near.is_like_planted(figures).tolist() == [True, False]
