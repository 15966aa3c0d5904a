"""The figures of a toy: which ones apply, that they say what they show, and that they stay small."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analyze.figures import Figure
from analyze.toys import charts
from analyze.toys.figures import (
    curve_figure,
    dimensionality_figure,
    figures_of,
    learning_figure,
    measure_figure,
    phase_figure,
    replica_figure,
)
from analyze.toys.phase import STRATEGIES
from analyze.toys.reading import Reading
from analyze.toys.view import View, leading, spread
from analyze.toys.weight_figures import arrow_figure, gram_figure, kind_figure, neuron_figure
from analyze.toys.weights import Geometry, _pile, arrows, gram, neuron_order
from tests.analyze.toys.trained import ABSOLUTE, CLASSES, NEURON, PENTAGON, PHASES, trained
from train.toys.runs import ToyRun

CASES = {
    "pentagon": (PENTAGON, "measures replicas arrows weights dimensionality learning curves active"),
    "neuron": (NEURON, "replicas arrows weights neurons polysemanticity curves active"),
    "absolute": (ABSOLUTE, "replicas neurons polysemanticity curves active"),
    "phases": (PHASES, "phases replicas weights curves active"),
    "classes": (CLASSES, "replicas neurons polysemanticity curves"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, ToyRun]:
    root = tmp_path_factory.mktemp("toys")
    return {name: trained(root / name, values) for name, (values, _) in CASES.items()}


def said(svg: str) -> str:
    """All text of a drawing."""
    return " ".join(ElementTree.fromstring(svg).itertext())


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


@pytest.mark.parametrize("name", CASES)
def test_a_toy_gets_the_figures_that_apply_to_it(runs, name):
    figures = figures_of(Reading(runs[name]))
    assert [figure.name for figure in figures] == CASES[name][1].split()
    for figure in figures:
        said(figure.svg)  # well-formed
        assert not re.search(r'(?:href|src)="(?!data:|#)', figure.svg), figure.name
        assert figure.caption.endswith((".", ".)"))
        assert figure.alt


def test_the_same_run_gives_the_same_bytes(runs):
    first, second = (replica_figure(View(Reading(runs["absolute"]))) for _ in range(2))
    assert first.svg == second.svg


def test_figures_of_instances_name_what_is_swept(runs):
    view = View(Reading(runs["pentagon"]))
    for make in (arrow_figure, gram_figure, learning_figure, curve_figure):
        words = said(drawn(make(view)).svg)
        assert all(f"p = {p}" in words for p in ("0.5", "0.1", "0.05")), make
    assert "features_represented" in said(drawn(measure_figure(view)).svg)
    assert "3/8" in said(drawn(dimensionality_figure(view)).svg)


def test_the_leading_replica_is_the_one_of_lowest_loss(runs):
    run = runs["pentagon"]
    led = leading(run)
    assert (led.n_inst, led.n_rep) == (run.n_inst, 1)
    for i in range(run.n_inst):
        best = int(run.losses[i].argmin())
        assert led.losses[i, 0] == run.losses[i, best]
        assert torch.equal(led.model.parameters["W"][i, 0], run.model.parameters["W"][i, best])
        assert np.array_equal(led.curves.losses[:, i, 0], run.curves.losses[:, i, best])
        assert np.array_equal(led.per_output[i, 0], run.per_output[i, best])


def test_of_many_instances_a_few_are_drawn_evenly_and_the_caption_says_so(tmp_path):
    many = {"probability": [0.5 / (i + 1) for i in range(20)]}
    run = trained(tmp_path / "many", PENTAGON | {"sweep": many, "expect": [], "fit": {"replicas": 1}})
    view = View(Reading(run))
    for make in (gram_figure, arrow_figure):
        figure = drawn(make(view))
        assert "12 of 20 instances" in figure.caption
        assert said(figure.svg).count("p = ") == 12
        assert "p = 0.025" in said(figure.svg), "the last instance is among them"


@given(st.integers(1, 500), st.integers(1, 30))
def test_chosen_ones_are_in_order_without_repeats_from_first_to_last(n, most):
    chosen = spread(n, most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(n, most)
    assert chosen[0] == 0
    assert chosen[-1] == n - 1 or most == 1


@given(arrays(np.float64, 7, elements=st.floats(-3, 3)))
def test_a_neurons_pieces_are_as_tall_as_its_weights(weights):
    pieces = _pile(weights, 0.0)
    assert sum(height for *_, height in pieces) == pytest.approx(weights.sum(), abs=1e-9)
    for feature, bottom, height in pieces:
        assert feature is not None
        assert height == weights[feature]
        assert bottom * height >= 0, "on its own side of zero"
    above = [(bottom, height) for _, bottom, height in pieces if height > 0]
    assert all(a[0] + a[1] == pytest.approx(b[0]) and a[1] >= b[1] for a, b in pairwise(above))


def test_small_weights_are_one_piece_without_a_feature():
    pieces = _pile(np.array([1.0, 0.04, 0.03, -0.5, -0.01]), 0.05)
    assert [(feature, round(height, 6)) for feature, _, height in pieces] == [(0, 1.0), (None, 0.07), (3, -0.5)]


def test_neurons_that_share_a_feature_stand_side_by_side():
    weights = np.array([[0.0, -1.0], [1.0, 0.0], [0.1, 1.0], [-1.0, 0.2]])
    assert neuron_order(weights).tolist() == [1, 3, 2, 0]


def test_neurons_are_coloured_by_what_they_answer_to(tmp_path):
    run = trained(tmp_path / "mono", ABSOLUTE | {"sweep": {}, "fit": {"steps": 1}})
    parameters = {name: torch.zeros_like(value) for name, value in run.model.parameters.items()}
    parameters["W1"][:, :, 0, 0] = 1.0
    parameters["W1"][:, :, 1, :2] = 1.0
    parameters["W2"][:, :, 0, :2] = 1.0
    view = View(Reading(replace(run, model=replace(run.model, parameters=parameters))))
    figure = drawn(kind_figure(view))
    words = said(figure.svg)
    assert all(word in words for word in ("monosemantic", "polysemantic", "dead"))
    assert drawn(neuron_figure(view)).svg != figure.svg


def test_a_pentagon_is_drawn_with_its_features_apart():
    angles = 2 * np.pi * np.arange(5) / 5
    W = np.stack([np.cos(angles), np.sin(angles)])
    one = Geometry("p = 0.05", W, np.full(5, -0.2), np.full(5, 1.5))
    assert all(str(i) in said(arrows([one])) for i in range(5))
    assert "superposition" in said(gram([one]))


def test_three_dimensions_keep_lengths_at_most_and_opposites_opposite():
    W = np.array([[1.0, -1.0, 0, 0], [0, 0, 1.0, -1.0], [0, 0, 0, 0]])
    svg = arrows([Geometry("", W, None, np.zeros(4))])
    assert said(svg)
    from analyze.toys.weights import _seen

    flat = _seen(W)
    assert flat.shape == (2, 4)
    assert np.allclose(flat[:, 0], -flat[:, 1])
    assert np.all(np.linalg.norm(flat, axis=0) <= 1 + 1e-9)


def test_a_heat_map_of_many_features_stays_small():
    generator = np.random.default_rng(0)
    wide = [Geometry(f"p = {i}", generator.normal(size=(30, 300)), np.zeros(300), np.ones(300)) for i in range(4)]
    assert len(gram(wide)) < 1_500_000


def test_the_phase_diagram_counts_the_cells_that_are_as_in_theory(runs):
    run = runs["phases"]
    W = torch.zeros_like(run.model.parameters["W"])
    for i, row in enumerate(run.instances.iter_rows(named=True)):
        # Dense: the more important feature has the dimension. Sparse: both, as opposites.
        held = (1.0, -1.0) if row["probability"] < 0.1 else (1.0, 0.0) if row["importance_last"] <= 1 else (0.0, 1.0)
        W[i, :, 0] = torch.tensor(held)
    right = replace(run, model=replace(run.model, parameters=run.model.parameters | {"W": W}))
    figure = drawn(phase_figure(View(Reading(right))))
    assert "100 % of cells as in theory" in said(figure.svg)
    assert all(name in said(figure.svg) for name in STRATEGIES[:3])
    W[0] = 1.0 - W[0]
    figure = drawn(phase_figure(View(Reading(right))))
    assert "83 % of cells as in theory" in said(figure.svg)


def test_losses_of_zero_and_single_replicas_can_be_drawn():
    zeros = np.zeros((1, 1))
    assert "the one replica" in said(charts.replicas([""], zeros, np.zeros(1), np.zeros(1), "x"))


def test_what_is_swept_is_named_in_words(tmp_path: Path):
    run = trained(tmp_path / "odd", NEURON | {"sweep": {"init_scale": [0.5, 1.0]}})
    words = said(replica_figure(View(Reading(run))).svg)
    assert "scale of the initial weights" in words
