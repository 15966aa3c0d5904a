"""Labelled features: what counts as one label and what as several, and where labels do not reach."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.activations.store import Activations, TokenSample
from analyze.labels.bank import Label, LabelBank
from analyze.metrics import effective_number
from analyze.scores import labelled as module
from analyze.scores.base import NeuronScore, ReadsToys
from analyze.scores.forward_selection import forward_selection
from analyze.scores.k_eff import fit_all as label_free
from analyze.scores.labelled import Fits, Labelled, SampledLabels, fit_block, fit_labels, half_of, likeness
from tests.analyze.scores.scoring import activations_of, covered

PHRASES = (
    "` river` as the current token",
    "after ` king`",
    "digits",
    "`return` in any case or spacing as the current token",
)


def sampled_labels(sets: np.ndarray, is_fit: np.ndarray) -> SampledLabels:
    return SampledLabels.of([f"label {i}" for i in range(sets.shape[1])], sp.csc_array(sets.astype(float)), is_fit)


def random_sets(rng: np.random.Generator, t: int, shares: list[float]) -> np.ndarray:
    return rng.random((t, len(shares))) < np.array(shares)


def fits(y: np.ndarray, labels: SampledLabels, is_fit: np.ndarray) -> Fits:
    return fit_labels(y[is_fit], y[~is_fit], labels)


HALF = np.arange(4000) % 2 == 0


def test_one_label_is_one_and_k_unlike_labels_of_equal_strength_are_k():
    rng = np.random.default_rng(0)
    sets = random_sets(rng, 4000, [0.05] * 8)
    for k in (1, 2, 4, 8):
        y = sets[:, :k].sum(axis=1, keepdims=True).astype(float)
        found = fits(y, sampled_labels(sets, HALF), HALF)
        assert sorted(found.order[0][found.order[0] >= 0].tolist()[:k]) == list(range(k))
        assert found.reach[0] == pytest.approx(1, abs=0.01)
        assert found.effective[0] == pytest.approx(k, rel=0.05)


def test_the_gain_of_one_label_is_that_of_the_formula():
    rng = np.random.default_rng(1)
    x = random_sets(rng, 4000, [0.1])
    y = x[:, 0] * rng.random(4000) + 0.3 * rng.random(4000)
    found = fits(y[:, None], sampled_labels(x, HALF), HALF)
    xf, yf, xe, ye = x[HALF, 0], y[HALF], x[~HALF, 0], y[~HALF]
    centred = xf - xf.mean()
    w = (centred @ yf) / (centred @ centred + 1)
    errors = (ye - yf.mean() - w * (xe - xf.mean())) ** 2
    assert found.gains[0, 0] == pytest.approx(1 - errors.sum() / ((ye - yf.mean()) ** 2).sum())


def test_gains_add_up_to_what_least_squares_on_the_labels_explains_of_eval_tokens():
    rng = np.random.default_rng(2)
    sets = random_sets(rng, 4000, [0.3, 0.1, 0.05])
    y = sets @ np.array([1.0, 2.0, 3.0]) + rng.random(4000)
    found = fits(y[:, None], sampled_labels(sets, HALF), HALF)
    x = sets - sets[HALF].mean(axis=0)
    w = np.linalg.solve(x[HALF].T @ x[HALF] + np.eye(3), x[HALF].T @ (y[HALF] - y[HALF].mean()))
    residual = y[~HALF] - y[HALF].mean()
    explained = 1 - ((residual - x[~HALF] @ w) ** 2).sum() / (residual**2).sum()
    assert np.nansum(found.gains[0]) == pytest.approx(explained)


def test_the_first_label_is_the_one_with_the_largest_gain_on_fit_tokens_not_on_eval_tokens():
    rng = np.random.default_rng(3)
    sets = random_sets(rng, 4000, [0.1, 0.1])
    y = np.where(HALF, sets[:, 0], sets[:, 1]).astype(float)
    found = fits(y[:, None], sampled_labels(sets, HALF), HALF)
    assert found.order[0, 0] == 0
    assert found.gains[0, 0] < 0


def test_a_label_inside_another_is_the_same_thing_and_an_independent_one_is_not():
    rng = np.random.default_rng(4)
    number = rng.random(20_000) < 0.1
    sets = np.stack([number, number & (rng.random(20_000) < 0.5), rng.random(20_000) < 0.5], axis=1).astype(float)
    z = likeness(sets.T @ sets, 20_000)
    assert z[0, 1] == pytest.approx(1)
    assert z[0, 2] < 0.05
    assert np.diag(z).tolist() == [1, 1, 1]
    assert effective_number(np.array([0.3, 0.3]), z[:2, :2]) == pytest.approx(1)


def test_loevingers_h_is_that_of_the_formula():
    together = np.array([[20.0, 8.0], [8.0, 40.0]])
    assert likeness(together, 100)[0, 1] == pytest.approx((8 - 8) / (20 - 8))
    together[0, 1] = together[1, 0] = 14
    assert likeness(together, 100)[0, 1] == pytest.approx((14 - 8) / (20 - 8))


def test_a_neuron_silent_where_a_label_holds_is_not_explained_by_it():
    rng = np.random.default_rng(5)
    sets = random_sets(rng, 4000, [0.3])
    found = fits(1.0 - sets.astype(float), sampled_labels(sets, HALF), HALF)
    assert found.order[0].tolist() == [-1] * 8
    assert found.reach[0] == 0
    assert np.isnan(found.effective[0])


def test_labels_too_rare_or_repeated_are_left_out():
    rng = np.random.default_rng(6)
    x = random_sets(rng, 4000, [0.1])
    few = np.zeros((4000, 1), bool)
    few[:18] = True
    assert sampled_labels(np.concatenate([x, x, few, ~few, np.zeros_like(x)], axis=1), HALF).names == ("label 0",)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.125, 3.0, 64.0]), offset=st.sampled_from([-2.0, 0.0, 5.0]))
def test_scale_offset_duplicates_and_blocks_leave_a_neuron_unmoved(seed: int, scale: float, offset: float):
    rng = np.random.default_rng(seed)
    is_fit = rng.random(600) < 0.5
    sets = random_sets(rng, 600, [0.2, 0.1, 0.3, 0.1])
    y = np.round((sets @ rng.random((4, 3)) + 0.2 * rng.random((600, 3))) * 1024) / 1024
    labels = sampled_labels(sets, is_fit)

    def of(values: np.ndarray) -> Fits:
        held = torch.from_numpy(values).float()
        return fit_block(held, np.median(values, axis=0), labels, is_fit)

    plain = of(y)
    moved = of(y * scale + offset)
    assert np.array_equal(plain.order, moved.order)
    np.testing.assert_allclose(moved.gains, plain.gains, atol=1e-5)
    np.testing.assert_allclose(moved.effective, plain.effective, rtol=1e-4)
    for one in range(3):
        alone = of(y[:, [one]])
        assert np.array_equal(alone.gains[0], plain.gains[one], equal_nan=True)
        assert np.array_equal(alone.effective[0], plain.effective[one], equal_nan=True)
    twice = of(np.repeat(y, 2, axis=1))
    assert np.array_equal(twice.effective[::2], plain.effective, equal_nan=True)


def test_forward_selection_takes_what_lowers_the_squared_error_most():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))
    x -= x.mean(axis=0)
    y = rng.standard_normal((300, 2))
    y -= y.mean(axis=0)
    chosen = forward_selection(x.T @ x, y.T @ x, 3)
    for target in range(2):
        taken: list[int] = []
        before = float(y[:, target] @ y[:, target])
        for step in range(3):
            errors = {}
            for column in set(range(6)) - set(taken):
                some = x[:, [*taken, column]]
                errors[column] = float(((y[:, target] - some @ np.linalg.lstsq(some, y[:, target])[0]) ** 2).sum())
            best = min(errors, key=lambda column: errors[column])
            assert chosen.order[target, step] == best
            assert chosen.gains[target, step] == pytest.approx(before - errors[best])
            before = errors[best]
            taken.append(best)


def test_forward_selection_never_takes_a_copy_of_what_it_has():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((200, 2))
    x = np.concatenate([x, x[:, :1]], axis=1)
    y = x[:, 0] + 0.5 * x[:, 1]
    order = forward_selection(x.T @ x, (x.T @ y)[None], 3).order[0]
    assert order.tolist() == [0, 1, -1]


@pytest.fixture(scope="module")
def made_up(made_up: tuple) -> tuple[TokenSample, Path, dict[str, np.ndarray]]:
    grammar, tokens, data = made_up
    return tokens, data, {phrase: covered(grammar, tokens, phrase) for phrase in PHRASES}


def bank_with(sets: dict[str, np.ndarray], tokens: TokenSample) -> LabelBank:
    labels = tuple(Label(name, f"family {i % 2}", "exact", True) for i, name in enumerate(sets))
    positions = tuple(np.asarray(tokens.stream_position)[inside] for inside in sets.values())
    return LabelBank(labels, positions, int(tokens.stream_position.max()) + 1)


@pytest.fixture
def acts(made_up: tuple, monkeypatch: pytest.MonkeyPatch) -> Activations:
    """Three neurons of one, two and three phrases, one of a phrase that no label states, and a dead one."""
    tokens, data, sets = made_up
    bank = bank_with({name: sets[name] for name in PHRASES[:3]}, tokens)
    monkeypatch.setattr(module, "bank_of", lambda _: bank)
    own = [sets[name] for name in PHRASES]
    columns = [own[0], own[0] + 1.0 * own[1], own[0] + 1.0 * own[1] + own[2], own[3], np.zeros(len(tokens))]
    rng = np.random.default_rng(9)
    noise = 0.02 * rng.random((len(tokens), 5)) * [1, 1, 1, 1, 0]
    return activations_of(np.stack(columns, axis=1) + noise, data, tokens)


def test_the_table_counts_labels_and_does_not_judge_what_they_do_not_reach(acts: Activations):
    table = Labelled().table(acts)
    score = table["labelled"].to_numpy()
    assert score[0] == pytest.approx(1, abs=0.01)
    assert 0.5 < score[1] < 0.65
    assert 0.33 < score[2] < 0.5
    assert np.isnan(score[3:]).all()
    assert table["labelled_mono"].to_list() == [True, False, False, None, None]
    assert table["labelled_1"].to_list()[0] == PHRASES[0]
    gains = table.select(f"labelled_gain_{i}" for i in range(1, 5)).to_numpy()[2]
    assert (np.diff(gains[:3]) <= 0).all()
    assert {table[f"labelled_{i}"][2] for i in (1, 2, 3)} == set(PHRASES[:3])
    assert label_free(acts)[3].list.reach > 0.5
    assert table["labelled_reach"][3] < 0.1
    np.testing.assert_array_equal(Labelled()(acts), score)


def test_a_bank_without_a_family_no_longer_judges_its_neurons(acts: Activations):
    assert np.isnan(Labelled(families=["family 1"])(acts)[0])
    assert Labelled(families=["family 0"])(acts)[0] == pytest.approx(1, abs=0.01)


def test_half_of_the_families_can_be_taken_away(acts: Activations):
    whole = Labelled().sampled_labels(acts).names
    assert list(Labelled().knowing_less) == ["half of the families missing", "the other half missing"]
    first, second = (Labelled(half=half).sampled_labels(acts).names for half in (0, 1))
    assert sorted((*first, *second)) == sorted(whole)
    assert first
    assert second


def test_the_label_free_fit_is_made_once_for_the_same_activations(acts: Activations):
    first = label_free(acts)
    assert label_free(acts) is first
    others = activations_of(np.zeros((len(acts.tokens), 1)), Path(acts.meta.data_dir), acts.tokens)
    assert len(label_free(others)) == 1


def test_families_are_halved_by_their_names_alone():
    families = ["a", "b", "c", "d", "e"]
    first, second = half_of(families), half_of(families, other=True)
    assert first | second == set(families)
    assert not first & second
    assert len(first) == 3
    assert half_of(families[::-1]) == first


def test_the_metric_of_a_set_is_its_held_out_gain():
    rng = np.random.default_rng(10)
    inside = rng.random(6000) < 0.1
    other = rng.random(6000) < 0.1
    metric = Labelled().metric
    assert metric(inside.astype(float), inside) == pytest.approx(1, abs=1e-4)
    assert metric(3.0 * inside + 7, inside) == pytest.approx(1, abs=1e-4)
    assert abs(metric(inside.astype(float), other)) < 0.01
    noisy = inside + rng.standard_normal(6000) * 0.3
    assert metric(noisy, inside) == pytest.approx(np.corrcoef(noisy, inside)[0, 1] ** 2, abs=0.02)
    assert np.isnan(metric(np.ones(6000), inside))
    assert np.isnan(metric(noisy, np.zeros(6000, bool)))


def test_the_metric_falls_when_labels_are_missing_or_too_many():
    rng = np.random.default_rng(11)
    inside = rng.random(6000) < 0.1
    y = inside.astype(float)
    metric = Labelled().metric
    assert metric(y, inside & (rng.random(6000) < 0.5)) < 0.6
    assert metric(y, inside | (rng.random(6000) < 0.1)) < 0.6


def test_a_toy_is_read_by_its_own_features():
    rng = np.random.default_rng(12)
    features = rng.random((3000, 4)) < 0.1
    y = features @ np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    score = Labelled().toy(y, features)
    assert score[0] == pytest.approx(1)
    assert score[1] == pytest.approx(0.5, abs=0.02)
    assert np.isnan(score[2])
    assert isinstance(Labelled(), ReadsToys)
    assert isinstance(Labelled(), NeuronScore)
