"""FiringLevels of firing and who fires with whom: the numbers of the whole, from any pieces."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyze.activations.collect import collect_source
from analyze.activations.token_sample import document_halves
from analyze.fission.coactivation import (
    CoactivationMeter,
    FiringLevelMeter,
    FiringLevels,
    TokenPass,
    as_sampled,
    matched_by_rate,
    stream_values,
)
from tests.analyze.activations.collected import FakeSource, write_data
from train.data.tokens import TokenFile
from train.errors import BadInput


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    data = write_data(tmp_path_factory.mktemp("coactivation") / "data", [5 + (37 * i) % 331 for i in range(60)])
    return TokenFile.open(data, "eval")


def levels_of(values: torch.Tensor, is_fit: torch.Tensor, pieces: int = 1) -> FiringLevels:
    meter = FiringLevelMeter(values.shape[1], int(is_fit.sum()))
    for part, fit in zip(values.chunk(pieces), is_fit.chunk(pieces)):
        meter.update(part, fit)
    return meter.levels()


def test_firing_is_defined_as_in_collect(tokens: TokenFile, tmp_path: Path) -> None:
    source = FakeSource(n_neurons=9)
    acts = collect_source(source, tokens, tmp_path / "L0.mid", say=lambda _: None)
    passed = TokenPass.over(tokens)
    assert passed.n_tokens == len(acts.tokens)
    meter = FiringLevelMeter(9, passed.n_fit)
    for (values,), kept in stream_values([source], passed, "levels"):
        meter.update(as_sampled(values), torch.from_numpy(kept.is_fit))
    levels = meter.levels()
    fires = acts.block(0, 9) > levels.threshold
    assert np.allclose(fires.double().mean(0).numpy(), acts.moments.firing_rate, atol=0, rtol=1e-12)
    assert np.allclose(levels.mean.numpy(), acts.block(0, 9).mean(0).numpy(), atol=1e-6)
    assert levels.dead.tolist() == (acts.moments.status == 1).tolist()


def test_a_neuron_that_never_varies_is_dead() -> None:
    values = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).bfloat16().float()
    values[:, 1] = -0.25
    assert levels_of(values, torch.ones(500, dtype=torch.bool)).dead.tolist() == [False, True, False]


def test_values_that_are_not_finite_are_refused() -> None:
    values = torch.zeros(10, 2)
    values[3, 1] = torch.nan
    with pytest.raises(BadInput, match=r"1 neurons \(first: 1\) give values that are not finite"):
        levels_of(values, torch.ones(10, dtype=torch.bool))


@given(pieces=st.integers(1, 40), seed=st.integers(0, 100), scale=st.sampled_from([1e-3, 1.0, 40.0]))
@settings(max_examples=25, deadline=None)
def test_pieces_of_the_text_do_not_change_levels_or_counts(pieces: int, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    parent = (scale * torch.randn(700, 4, generator=generator)).bfloat16().float()
    child = (scale * torch.randn(700, 8, generator=generator)).bfloat16().float()
    is_fit = torch.rand(700, generator=generator) < 0.5
    families = np.arange(8).reshape(2, 4).T.copy()
    found = []
    for n in (1, pieces):
        levels = [levels_of(values, is_fit, n) for values in (child, parent)]
        meter = CoactivationMeter(families, *levels)
        for a, b in zip(child.chunk(n), parent.chunk(n)):
            meter.update(a, b)
        found.append((*levels, meter.coactivation()))
    for one, other in zip(found[0][:2], found[1][:2]):
        assert torch.equal(one.threshold, other.threshold)
    for name in ("both", "fires", "parent_fires"):
        assert np.array_equal(getattr(found[0][2], name), getattr(found[1][2], name))
    assert np.allclose(found[0][2].siblings, found[1][2].siblings, atol=1e-5)
    assert np.allclose(found[0][2].correlation, found[1][2].correlation, atol=1e-5)


def test_coactivation_counts_what_numpy_counts() -> None:
    generator = torch.Generator().manual_seed(1)
    parent = torch.randn(4000, 5, generator=generator)
    child = parent.repeat(1, 3) + torch.randn(4000, 15, generator=generator)
    child[:, 7] = 0
    parent, child = parent.bfloat16().float(), child.bfloat16().float()
    families = np.arange(15).reshape(3, 5).T.copy()
    is_fit = torch.arange(4000) % 2 == 0
    levels = levels_of(child, is_fit), levels_of(parent, is_fit)
    meter = CoactivationMeter(families, *levels)
    meter.update(child, parent)
    found = meter.coactivation()
    on, parent_on = (child > levels[0].threshold).numpy(), (parent > levels[1].threshold).numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.corrcoef(child.double().numpy().T, parent.double().numpy().T)
    for p, family in enumerate(families):
        assert np.array_equal(found.fires[p], on[:, family].sum(0))
        for c, neuron in enumerate(family):
            assert found.both[p, c] == (on[:, neuron] & parent_on[:, p]).sum()
            weight = child.numpy()[:, neuron].clip(min=0) * on[:, neuron]
            assert np.isclose(found.weight[p, c], weight.sum(), rtol=1e-5)
            others = sorted(weight @ parent_on[:, other] for other in range(5) if other != p)
            assert np.isclose(found.weight_with[p, c, 0], weight @ parent_on[:, p], rtol=1e-5)
            assert np.allclose(sorted(found.weight_with[p, c, 1:]), others, rtol=1e-5)
            assert np.allclose(found.correlation[p, c, 0], correlations[neuron, 15 + p], atol=1e-5, equal_nan=True)
            assert np.allclose(found.siblings[p, c], correlations[neuron, family], atol=1e-5, equal_nan=True)


def test_matched_neurons_fire_about_as_often_and_are_others() -> None:
    rate = np.array([0.5, 0.1, 0.11, 0.0, 0.45, 0.001])
    found = matched_by_rate(rate, 2)
    assert found.tolist() == [[4, 2], [2, 4], [1, 4], [5, 1], [0, 2], [1, 2]]
    assert matched_by_rate(np.array([0.2]), 5).shape == (1, 0)


def test_fewer_tokens_are_spread_over_the_whole_text(tokens: TokenFile) -> None:
    every, some = TokenPass.over(tokens), TokenPass.over(tokens, 5000)
    assert 2000 < some.n_tokens < 6000 < every.n_tokens
    assert some.firsts[0] == 0
    assert some.firsts[-1] > 0.4 * tokens.n_rows
    assert set(some.firsts) < set(every.firsts)


def test_a_text_of_one_document_is_refused(tmp_path: Path) -> None:
    halves = {seed: document_halves([hashlib.sha256(f"{seed}/0".encode()).hexdigest()])[0] for seed in range(20)}
    seed = next(seed for seed, is_fit in halves.items() if not is_fit)
    with pytest.raises(BadInput, match="too few documents"):
        TokenPass.over(TokenFile.open(write_data(tmp_path / "one", [40], seed=seed), "eval"))
