"""Sparse probes: how few neurons tell a label, found where the answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from analyze.activations.sample import MemorySample
from analyze.activations.store import Activations, Moments, TokenSample
from analyze.metrics import average_precision
from analyze.probing import columns as columns_module
from analyze.probing.columns import LIMITS, Layer, Limits, thinned
from analyze.probing.intervals import DocumentBootstrap, called
from analyze.probing.label import Probed, probe_label
from analyze.probing.logistic import fit_logistic, half_balanced
from tests.analyze.activations.synthetic import meta_of, write_data

N_DOCUMENTS, LENGTH = 160, 50
T = N_DOCUMENTS * LENGTH


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("probes") / "data", n_documents=4, hostile=False)


def tokens_of(is_fit: np.ndarray | None = None) -> TokenSample:
    document = np.repeat(np.arange(N_DOCUMENTS), LENGTH)
    return TokenSample(
        ids=np.ones(T, np.int64),
        previous=np.ones(T, np.int64),
        document=document,
        position=np.arange(T) % LENGTH + 1,
        stream_position=np.arange(T) + document,
        is_fit=document % 2 == 0 if is_fit is None else is_fit,
    )


def acts_of(values: np.ndarray, data: Path) -> Activations:
    n = values.shape[1]
    zeros, status = np.zeros(n), np.zeros(n, np.int64)
    moments = Moments(
        n_tokens=np.full(n, T),
        **dict.fromkeys(("mean", "sd", "minimum", "maximum", "median", "p01", "p9999", "threshold"), zeros),
        firing_rate=zeros,
        n_documents_fired=status,
        status=status,
        dense=zeros > 0,
        always_on=zeros > 0,
    )
    tokens = tokens_of()
    meta = meta_of(data, tokens, "gelu", 0, 500, n_neurons=n)
    return Activations(meta, tokens, moments, pl.DataFrame(), MemorySample(torch.from_numpy(values).float()))


def label(rng: np.random.Generator, share: float = 0.1) -> np.ndarray:
    return rng.random(T) < share


def probed(
    values: np.ndarray, y: np.ndarray, data: Path, ks: tuple[int, ...] = (1, 2, 4, 8, 16), limits: Limits = LIMITS
) -> Probed:
    """`y` in the order of the corpus."""
    layer = Layer(acts_of(values, data), limits)
    return probe_label(layer, y[layer.tokens], ks, shifts=3)


def background(rng: np.random.Generator, n: int = 24) -> np.ndarray:
    return np.maximum(rng.standard_normal((T, n)), 0)


def test_a_label_that_is_one_neuron_needs_one(data: Path):
    rng = np.random.default_rng(0)
    values, y = background(rng), label(rng)
    values[:, 7] = 2.0 * y + 0.2 * rng.random(T)
    found = probed(values, y, data)
    assert found.sparsity == 1
    assert found.sparse[0].neurons == (7,)
    assert found.sparse[0].auprc == pytest.approx(1)
    assert found.single is not None
    assert found.single.neurons == (7,)
    assert found.sparse[0].called.f1 == pytest.approx(1)


def test_a_label_spread_over_four_neurons_needs_four(data: Path):
    rng = np.random.default_rng(1)
    parts = [label(rng, 0.04) for _ in range(4)]
    values = background(rng)
    for neuron, part in zip((3, 9, 11, 20), parts):
        values[:, neuron] = part + 0.1 * rng.random(T)
    found = probed(values, np.any(parts, axis=0), data)
    assert found.sparsity == 4
    assert set(found.sparse[2].neurons) == {3, 9, 11, 20}
    assert found.single is not None
    assert found.single.auprc < 0.6
    assert [probe.k for probe in found.sparse] == [1, 2, 4, 8, 16]


def test_a_neuron_that_falls_where_the_label_holds_tells_it_as_well(data: Path):
    rng = np.random.default_rng(2)
    values, y = background(rng), label(rng)
    values[:, 5] = -3.0 * y + 0.1 * rng.random(T)
    found = probed(values, y, data)
    assert found.sparsity == 1
    assert found.single is not None
    assert found.single.auprc == pytest.approx(1)


def test_noise_tells_nothing_and_stays_within_what_shifted_labels_show(data: Path):
    rng = np.random.default_rng(3)
    found = probed(background(rng), label(rng), data)
    assert found.dense is not None
    base = found.support.base_rate
    assert abs(found.dense.auprc - base) < 0.03
    for probe in (*found.sparse, found.dense):
        assert probe.auprc_interval.low < base + 0.02
        assert probe.auprc_interval.low <= probe.auprc <= probe.auprc_interval.high
    for shifted in found.shifted:
        assert len(shifted.auprc) == 3
        assert np.allclose(shifted.auprc, base, atol=0.03)


def test_probes_do_not_depend_on_the_order_or_scale_of_neurons(data: Path):
    rng = np.random.default_rng(4)
    parts = [label(rng, 0.06) for _ in range(3)]
    y = np.any(parts, axis=0)
    values = background(rng)
    for neuron, part in enumerate(parts):
        values[:, neuron] += part
    values = torch.from_numpy(values).bfloat16().double().numpy()
    order, scale = rng.permutation(24), 2.0 ** rng.integers(-3, 4, 24)
    plain, moved = probed(values, y, data), probed((values * scale)[:, order], y, data)
    assert plain.sparsity == moved.sparsity
    for a, b in zip((*plain.sparse, plain.dense), (*moved.sparse, moved.dense)):
        assert a is not None
        assert b is not None
        assert [order[neuron] for neuron in b.neurons] == list(a.neurons)
        assert b.auprc == pytest.approx(a.auprc, abs=1e-3)
        assert b.auprc_interval.low == pytest.approx(a.auprc_interval.low, abs=2e-3)
        assert b.called.f1 == pytest.approx(a.called.f1, abs=5e-3)


def test_probes_do_not_depend_on_blocks_of_neurons(data: Path, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(5)
    values, y = background(rng), label(rng)
    values[:, 3] += y
    whole = probed(values, y, data)
    monkeypatch.setattr(columns_module, "blocks", lambda n: [(first, min(first + 5, n)) for first in range(0, n, 5)])
    pieces = probed(values, y, data, limits=Limits(tokens_at_once=700))
    for a, b in zip(whole.sparse, pieces.sparse):
        assert a.neurons == b.neurons
        assert a.auprc == pytest.approx(b.auprc, abs=1e-4)


def test_of_a_wide_layer_each_label_sees_its_best_ranked_neurons(data: Path):
    rng = np.random.default_rng(6)
    values, y = background(rng), label(rng)
    values[:, 17] += 2.0 * y
    layer = Layer(acts_of(values, data), Limits(neurons=6))
    assert not layer.is_whole
    seen = layer.columns_for(y[layer.tokens])
    assert len(seen.neurons) == 6
    correlation = [abs(np.corrcoef(values[tokens_of().is_fit, n], y[tokens_of().is_fit])[0, 1]) for n in range(24)]
    assert seen.neurons.tolist() == sorted(np.argsort(correlation)[-6:].tolist())
    found = probe_label(layer, y[layer.tokens], (1, 4, 64), shifts=2)
    assert [probe.k for probe in found.sparse] == [1, 4]
    assert found.sparse[0].neurons == (17,)
    assert found.dense is not None
    assert found.dense.k == 6


def test_a_label_in_too_few_documents_is_not_probed_and_says_how_many(data: Path):
    rng = np.random.default_rng(7)
    y = np.zeros(T, bool)
    y[: 50 * LENGTH : LENGTH] = True  # the first token of 50 documents, 25 of either half
    found = probed(background(rng), y, data)
    assert (found.support.documents_fit, found.support.documents_eval) == (25, 25)
    assert found.dense is None
    assert found.sparsity is None
    assert found.sparse == ()


def test_the_label_itself_is_judged_on_eval_documents_alone(data: Path):
    rng = np.random.default_rng(8)
    values, y = background(rng), label(rng)
    is_fit = tokens_of().is_fit
    values[:, 2] = np.where(is_fit, 3.0 * y, rng.random(T))
    found = probed(values, y, data)
    assert found.sparse[0].neurons == (2,)
    assert found.sparse[0].auprc < 0.2


def test_neurons_that_are_copies_or_constant_do_no_harm(data: Path):
    rng = np.random.default_rng(9)
    parts = [label(rng, 0.05) for _ in range(2)]
    values = background(rng, 6)
    values[:, 0], values[:, 1] = parts
    values[:, 2], values[:, 3] = parts[0], 0.5
    found = probed(values, np.any(parts, axis=0), data, (1, 2, 4))
    assert found.sparsity == 2
    assert set(found.sparse[1].neurons) in ({0, 1}, {2, 1})
    assert 3 not in found.sparse[2].neurons


def test_the_layer_holds_fit_tokens_first_and_moves_labels_along_the_corpus(data: Path):
    layer = Layer(acts_of(background(np.random.default_rng(10)), data))
    tokens = tokens_of()
    assert tokens.is_fit[layer.tokens[: layer.n_fit]].all()
    assert not tokens.is_fit[layer.tokens[layer.n_fit :]].any()
    y = np.arange(T) < 3
    moved = np.empty(T, bool)
    moved[layer.tokens] = layer.moved(y[layer.tokens], 5)
    assert np.flatnonzero(moved).tolist() == [5, 6, 7]


def test_the_regression_is_that_of_newtons_method():
    rng = np.random.default_rng(11)
    x = rng.standard_normal((3, 400))
    x[2] += 0.9 * x[0]
    y = rng.random(400) < 1 / (1 + np.exp(-(x[0] - 2 * x[1] - 1)))
    weights, _ = half_balanced(y, np.ones(400))
    found = fit_logistic(torch.from_numpy(x), y, weights, 0.01)
    design, beta = np.vstack([x, np.ones(400)]), np.zeros(4)
    ridge = 0.01 * np.diag([1, 1, 1, 0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-beta @ design))
        hessian = (design * (weights * p * (1 - p))) @ design.T + ridge
        beta -= np.linalg.solve(hessian, design @ (weights * (p - y)) + ridge @ beta)
    np.testing.assert_allclose([*found.w, found.b], beta, atol=5e-3)


def test_classes_count_as_the_square_roots_of_their_sizes():
    y = np.arange(100) < 4
    weights, n_effective = half_balanced(y, np.where(y, 1.0, 2.0))
    assert weights.sum() == pytest.approx(1)
    assert weights[y].sum() / weights[~y].sum() == pytest.approx((4 / 192) ** 0.5)
    assert n_effective == pytest.approx(4 * 4 * 192 / 196)


def test_a_threshold_calls_tokens_at_or_above_it():
    score, y = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, True, False, True])
    made = called(score, y, 0.8)
    assert (made.precision, made.recall, made.f1) == pytest.approx((1, 2 / 3, 0.8))
    assert called(score, y, 2.0).precision == 0


def test_resampling_documents_widens_the_interval_where_documents_differ():
    rng = np.random.default_rng(12)
    document = np.repeat(np.arange(60), 50)
    y = rng.random(3000) < 0.2
    alike = y + 0.7 * rng.standard_normal(3000)
    differ = y * (document % 2) + 0.35 * rng.standard_normal(3000)
    bootstrap = DocumentBootstrap(document, y)
    narrow, wide = bootstrap.auprc(alike), bootstrap.auprc(differ)
    assert narrow.low < average_precision(alike, y) < narrow.high
    assert wide.high - wide.low > narrow.high - narrow.low
    f1 = bootstrap.f1(alike, 0.5)
    assert f1.low < called(alike, y, 0.5).f1 < f1.high


def test_the_bootstrap_of_the_area_is_that_of_resampled_tokens():
    rng = np.random.default_rng(13)
    document = np.repeat(np.arange(40), 30)
    y = rng.random(1200) < 0.2
    score = y + rng.standard_normal(1200)
    interval = DocumentBootstrap(document, y, draws=400).auprc(score)
    areas = []
    for _ in range(400):
        chosen = np.concatenate([np.flatnonzero(document == d) for d in rng.integers(0, 40, 40)])
        areas.append(average_precision(score[chosen], y[chosen]))
    assert interval.low == pytest.approx(np.quantile(areas, 0.025), abs=0.02)
    assert interval.high == pytest.approx(np.quantile(areas, 0.975), abs=0.02)


def test_thinning_keeps_the_order_and_is_the_same_every_time():
    kept = thinned(np.arange(1000), 100)
    assert len(kept) == 100
    assert (np.diff(kept) > 0).all()
    assert np.array_equal(kept, thinned(np.arange(1000), 100))
    assert thinned(np.arange(5), 100).tolist() == [0, 1, 2, 3, 4]


def test_sparsity_is_the_first_k_that_reaches_nine_tenths_of_the_dense_probe(data: Path):
    rng = np.random.default_rng(14)
    values, y = background(rng), label(rng)
    values[:, 3] += y
    found = probed(values, y, data)
    assert found.dense is not None
    base = found.support.base_rate
    dense = replace(found.dense, auprc=base + 0.5)
    sparse = tuple(
        replace(probe, auprc=base + above) for probe, above in zip(found.sparse, (0.2, 0.449, 0.451, 0.4, 0.5))
    )
    known = replace(found, dense=dense, sparse=sparse)
    assert known.sparsity == 4
    assert replace(known, sparse=sparse[:2]).sparsity is None
    assert replace(known, dense=replace(dense, auprc=base)).sparsity is None
