"""Samples of sparse features: how often, which together, what they are worth, and which draws are shared."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from train.toys.config import ToyConfig
from train.toys.distributions import Sampler, _values

N = 10_000


def toy(features: dict[str, Any], sweep: dict[str, Any] | None = None) -> ToyConfig:
    return ToyConfig.model_validate(
        {
            "about": {"title": "t", "question": "q", "expectation": "e", "run_time": "1 s"},
            "features": features,
            "network": {"kind": "bottleneck", "hidden": 2},
            "fit": {"steps": 1},
            "sweep": sweep or {},
        }
    )


def draw(features: dict[str, Any], n: int = N, sweep: dict[str, Any] | None = None, **given: Any) -> Tensor:
    sampler = Sampler.of(toy(features, sweep).instances())
    return sampler.sample(n, given.pop("seed", 0), given.pop("stream", 0), **given)


def near(share: Tensor | float, p: float, n: int) -> bool:
    """Within five standard errors."""
    return abs(float(share) - p) <= 5 * (p * (1 - p) / n) ** 0.5 + 1e-7


@given(st.floats(0, 1), st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.5, 1.0), (-3.0, -2.0)]), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_feature_is_active_as_often_as_asked_and_uniform_where_it_is(
    p: float, bounds: tuple[float, float], seed: int
):
    low, high = bounds
    x = draw({"n": 4, "probability": p, "values": {"low": low, "high": high}}, seed=seed).flatten()
    active = x[x != 0].double()
    assert near(len(active) / len(x), p, len(x))
    assert ((active >= low) & (active <= high)).all()
    if len(active) > 1000:
        where = (active - low) / (high - low)
        for moment in (1, 2, 3):
            error = 5 * (1 / (2 * moment + 1) / len(active)) ** 0.5
            assert float((where**moment).mean()) == pytest.approx(1 / (moment + 1), abs=error)


@given(st.floats(0, 1), st.lists(st.integers(1, 9).map(float), min_size=1, max_size=4, unique=True))
@settings(max_examples=15, deadline=None)
def test_choices_are_equally_likely_and_exact(p: float, choices: list[float]):
    x = draw({"n": 4, "probability": p, "values": {"kind": "choice", "choices": choices}}).flatten()
    assert set(x.unique().tolist()) <= {0.0, *choices}
    for choice in choices:
        assert near((x == choice).float().mean(), p / len(choices), len(x))


def test_a_probability_of_one_is_always_and_of_zero_never():
    always = draw({"n": 3, "values": {"low": 0.5, "high": 1.0}}, n=300_000)
    assert (always >= 0.5).all()
    assert not draw({"n": 3, "probability": 0.0, "values": {"low": -1.0, "high": 1.0}}).any()
    assert not draw({"n": 3, "probability": 0.0, "values": {"kind": "choice", "choices": [1.0]}}).any()


def test_each_feature_and_each_class_has_its_own_probability():
    given_each = draw({"n": 3, "probability": [0.5, 0.0, 0.1], "probability_last": 0.9})
    for i, p in enumerate((0.5, 0.0, 0.9)):
        assert near((given_each[..., i] != 0).float().mean(), p, N)
    classes = [{"count": 2, "probability": 0.3}, {"count": 1, "probability": 0.01}]
    by_class = draw({"n": 3, "classes": classes})
    for i, p in enumerate((0.3, 0.3, 0.01)):
        assert near((by_class[..., i] != 0).float().mean(), p, N)


def test_features_are_independent_of_each_other():
    x = draw({"n": 6, "probability": 0.3, "values": {"low": -1.0, "high": 1.0}}, n=100_000)[0, 0]
    on = (x != 0).double()
    assert (torch.corrcoef(on.T) - torch.eye(6)).abs().max() < 0.02
    assert (torch.corrcoef(x.T.double()) - torch.eye(6)).abs().max() < 0.02


@given(st.floats(0, 1), st.sampled_from(["uniform", "choice"]), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_correlated_features_are_active_together_with_values_of_their_own(p: float, kind: str, seed: int):
    values = {"kind": "choice", "choices": [1.0, 2.0]} if kind == "choice" else {"low": 0.5, "high": 1.5}
    x = draw({"n": 6, "probability": p, "pairs": "correlated", "values": values}, seed=seed)[0, 0]
    even, odd = x[:, ::2], x[:, 1::2]
    assert torch.equal(even != 0, odd != 0)
    assert near((even != 0).double().mean(), p, 3 * N)
    assert near(((even[:, 0] != 0) & (even[:, 1] != 0)).double().mean(), p * p, N)
    both = torch.stack([even[even != 0], odd[odd != 0]]).double()
    if both.shape[1] > 1000:
        assert torch.corrcoef(both)[0, 1].abs() < 5 / both.shape[1] ** 0.5


@pytest.mark.parametrize("values", [{"low": 0.5, "high": 1.5}, {"kind": "choice", "choices": [1.0, 2.0]}])
def test_rounding_never_parts_a_pair(values: dict[str, Any]):
    # Features at the very end of their interval turn up once in 2^24 draws.
    sampler = Sampler.of([toy({"n": 2, "probability": 0.9587006, "pairs": "correlated", "values": values})])
    last = torch.tensor([1 - 2.0**-24, 0.5, 0.0, 0.9587006, 0.9587005]).expand(2, 5).clone()
    even, odd = _values(sampler._paired(last[None, None]), sampler.probability, sampler.values, marked=True)[0, 0]
    assert torch.equal(even != 0, odd != 0)
    pairs = torch.cartesian_prod(last[0], last[0]).T.clone()[None, None]
    even, odd = _values(sampler._paired(pairs), sampler.probability, sampler.values, marked=True)[0, 0]
    assert torch.equal(even != 0, odd != 0)


@given(st.floats(0, 0.5))
@settings(max_examples=20, deadline=None)
def test_anticorrelated_features_are_never_active_together(p: float):
    x = draw({"n": 6, "probability": p, "pairs": "anticorrelated", "values": {"low": 0.5, "high": 1.0}})[0, 0]
    even, odd = x[:, ::2], x[:, 1::2]
    assert not ((even != 0) & (odd != 0)).any()
    for side in (even, odd):
        assert near((side != 0).double().mean(), p, 3 * N)
        if (side != 0).sum() > 1000:
            assert float(side[side != 0].mean()) == pytest.approx(0.75, abs=0.03)


@given(st.integers(1, 7), st.data())
@settings(max_examples=20, deadline=None)
def test_exactly_so_many_features_are_active_each_as_often_as_the_others(n: int, data: st.DataObject):
    k = data.draw(st.integers(0, n))
    x = draw({"n": n, "active": k, "values": {"low": 0.5, "high": 1.0}})[0, 0]
    assert ((x != 0).sum(1) == k).all()
    for i in range(n):
        assert near((x[:, i] != 0).double().mean(), k / n, N)
    if k:
        assert float(x[x != 0].mean()) == pytest.approx(0.75, abs=0.01)


def test_samples_are_a_function_of_seed_and_stream_alone():
    sampler = Sampler.of(toy({"n": 5, "probability": 0.5}).instances())
    first = sampler.sample(64, seed=3, stream="eval")
    sampler.sample(64, seed=4, stream=7)
    assert torch.equal(sampler.sample(64, seed=3, stream="eval"), first)
    assert torch.equal(Sampler.of(toy({"n": 5, "probability": 0.5}).instances()).sample(64, 3, "eval"), first)
    for seed, stream in ((4, "eval"), (3, "evaluate"), (3, 0), (3, "0")):
        assert not torch.equal(sampler.sample(64, seed, stream), first)


def test_samples_lie_in_memory_feature_by_feature():
    for features in ({"probability": 0.5}, {"active": 2}, {"probability": 0.5, "pairs": "correlated"}):
        assert draw({"n": 6} | features, n=9, own=2).mT.is_contiguous()


@pytest.mark.parametrize("own", [None, 1, 3])
@pytest.mark.parametrize(("n", "n_features"), [(1, 1), (3, 1), (5, 3), (0, 2)])
def test_any_number_of_samples_can_be_asked_for(own: int | None, n: int, n_features: int):
    x = draw({"n": n_features, "values": {"low": 0.5, "high": 1.0}}, n=n, own=own)
    assert x.shape == (1, own or 1, n, n_features)
    assert (x >= 0.5).all()


def test_instances_see_the_same_draws():
    x = draw({"n": 5}, sweep={"probability": [0.1, 0.4, 1.0]})[:, 0]
    for rare, often in ((0, 1), (1, 2)):
        assert (x[often][x[rare] != 0] != 0).all()
    # A feature's value falls as its draw rises through the interval of its probability.
    value_at_p = 1 - (1 - x[2]) / torch.tensor(0.4)
    assert torch.allclose(x[1][x[1] != 0], value_at_p[x[1] != 0], atol=1e-6)
    counted = draw({"n": 5}, sweep={"active": [1, 3]})[:, 0]
    assert torch.equal(counted[1][counted[0] != 0], counted[0][counted[0] != 0])


def test_an_instance_is_sampled_alike_alone_and_among_others():
    together = toy({"n": 5}, {"probability": [0.1, 0.4]}).instances()
    alone = Sampler.of(together[1:]).sample(50, 0, 0)
    assert torch.equal(Sampler.of(together).sample(50, 0, 0)[1:], alone)


@pytest.mark.parametrize(
    "features",
    [{"probability": 0.5}, {"active": 2}, {"pairs": "correlated"}, {"values": {"kind": "choice", "choices": [1.0]}}],
    ids=["independent", "active", "correlated", "choice"],
)
def test_draws_serve_some_instances_or_replicas_at_a_time_and_stay_as_they_are(features: dict[str, Any]):
    sweep = {"active": [2, 1]} if "active" in features else {"probability": [0.2, 0.5]}
    instances = toy({"n": 4} | features, sweep).instances()
    together = Sampler.of(instances)
    draws = together.draws(30, seed=1, stream=2, own=3)
    before = draws.clone()
    for i, instance in enumerate(instances):
        some = Sampler.of([instance]).values_of(draws[:, 1:])
        assert torch.equal(some[0], together.sample(30, 1, 2, own=3)[i, 1:])
    assert torch.equal(draws, before)


def test_own_draws_are_independent_and_do_not_depend_on_how_many_replicas_draw():
    x = draw({"n": 5, "values": {"low": -1.0, "high": 1.0}}, own=8)
    assert x.shape == (1, 8, N, 5)
    assert (torch.corrcoef(x[0].flatten(1).double()) - torch.eye(8)).abs().max() < 0.02
    few = draw({"n": 5, "values": {"low": -1.0, "high": 1.0}}, own=3, first=5)
    assert torch.equal(few, x[:, 5:])
    assert torch.equal(draw({"n": 5, "values": {"low": -1.0, "high": 1.0}}), x[:, :1])


def test_what_is_shared_is_held_once_for_all_replicas():
    x = draw({"n": 3, "probability": 0.5}, n=11, sweep={"probability": [0.1, 0.2, 0.3, 0.4]})
    assert x.shape == (4, 1, 11, 3)
    assert x.dtype == torch.float32


def test_instances_that_differ_in_kind_have_no_common_sampler():
    with pytest.raises(ValueError, match="share n, values and pairs"):
        Sampler.of([toy({"n": 3}), toy({"n": 4})])
    with pytest.raises(ValueError, match="all or none give `active`"):
        Sampler.of([toy({"n": 3}), toy({"n": 3, "active": 1})])
