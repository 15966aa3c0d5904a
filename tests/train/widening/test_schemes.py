"""The laws of copying one MLP's neurons, without a transformer around it."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.activations import ACTIVATIONS
from train.errors import BadInput
from train.widening.schemes import FRESH, MLPWeights, add_noise, copy_neurons, fresh_neurons, generator_of, parents_of

ACTS = sorted(ACTIVATIONS)
ALONE = ["relu", "gelu", "gelu_new"]
NAMES = [field.name for field in fields(MLPWeights)]


def drawn(act: str, sizes: tuple[int, int, int], seed: int, instances: tuple[int, ...] = ()) -> MLPWeights:
    """An MLP of (n_in, n_hidden, n_out), with every tensor that its activation can have, in fp64."""
    n_in, n, n_out = sizes
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*instances, *shape, generator=generator, dtype=torch.float64)

    ln = ACTIVATIONS[act].mid_ln
    return MLPWeights(
        w_in=normal(n, n_in) / math.sqrt(n_in),
        w_out=normal(n_out, n),
        b_in=0.3 * normal(n),
        ln_weight=1 + 0.3 * normal(n) if ln else None,
        ln_bias=0.3 * normal(n) if ln else None,
        ln_eps=1e-4 if ln else None,
    )


def in_dtype(mlp: MLPWeights, dtype: torch.dtype) -> MLPWeights:
    tensors = {name: getattr(mlp, name) for name in NAMES if isinstance(getattr(mlp, name), torch.Tensor)}
    return replace(mlp, **{name: value.to(dtype) for name, value in tensors.items()})


def inputs(n_in: int, dtype: torch.dtype = torch.float64, instances: tuple[int, ...] = ()) -> torch.Tensor:
    return torch.randn(*instances, 20, n_in, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)


def relative_l2(new: torch.Tensor, old: torch.Tensor) -> float:
    return float((new - old).norm() / old.norm())


SIZES = st.tuples(st.integers(2, 12), st.integers(8, 30), st.integers(3, 12))


@settings(deadline=None, max_examples=100)
@given(
    act=st.sampled_from(ACTS),
    sizes=SIZES,
    k=st.integers(1, 100),
    split=st.sampled_from(["equal", "dirichlet"]),
    concentration=st.floats(1e-3, 1e3),
    noise=st.sampled_from(["none", "zero_sum"]),
    sigma=st.floats(0, 3),
    seed=st.integers(0, 10**6),
    instances=st.sampled_from([(), (3,), (2, 2)]),
)
def test_every_exact_scheme_keeps_the_function_in_both_precisions(
    act, sizes, k, split, concentration, noise, sigma, seed, instances
):
    mlp = drawn(act, sizes, seed, instances)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        narrow, generator = in_dtype(mlp, dtype), torch.Generator().manual_seed(seed)
        wide = copy_neurons(narrow, act, k, split, concentration, generator)
        wide = add_noise(wide, k, noise, sigma, generator)
        x = inputs(sizes[0], dtype, instances)
        assert relative_l2(wide(x, act), narrow(x, act)) < tolerance
        assert wide.w_in.dtype == dtype
        assert wide.n_hidden == k * sizes[1]


@settings(deadline=None, max_examples=60)
@given(act=st.sampled_from(ACTS), sizes=SIZES, a=st.integers(1, 10), b=st.integers(1, 10), seed=st.integers(0, 10**6))
def test_widening_by_a_then_b_is_widening_by_a_times_b_up_to_order(act, sizes, a, b, seed):
    """Here even the order is the same: copy c2 of copy c1 of neuron n stands at (c2 a + c1) n_hidden + n."""
    mlp = drawn(act, sizes, seed)
    twice, once = copy_neurons(copy_neurons(mlp, act, a), act, b), copy_neurons(mlp, act, a * b)
    for name in NAMES:
        torch.testing.assert_close(getattr(twice, name), getattr(once, name), rtol=1e-13, atol=0)
    n = sizes[1]
    assert np.array_equal(parents_of(n, a)[parents_of(a * n, b)], parents_of(n, a * b))


@settings(deadline=None, max_examples=60)
@given(act=st.sampled_from(ALONE), sizes=SIZES, k=st.integers(1, 50), seed=st.integers(0, 10**6))
def test_fresh_neurons_write_nothing_and_leave_the_old_ones_alone(act, sizes, k, seed):
    mlp = drawn(act, sizes, seed)
    wide = fresh_neurons(mlp, act, k, torch.Generator().manual_seed(seed))
    x, n = inputs(sizes[0]), sizes[1]
    assert relative_l2(wide(x, act), mlp(x, act)) < 1e-12
    assert torch.equal(wide.w_in[:n], mlp.w_in)
    assert torch.equal(wide.w_out[:, :n], mlp.w_out)
    assert not wide.w_out[:, n:].any()
    assert not wide.b_in[n:].any()
    parents = parents_of(n, k, "fresh")
    assert np.array_equal(parents[:n], np.arange(n))
    assert (parents[n:] == FRESH).all()


def test_fresh_neurons_have_the_fan_in_deviation_or_the_one_asked_for():
    mlp = drawn("relu", (16, 500, 3), 0)
    assert fresh_neurons(mlp, "relu", 3, generator_of("a")).w_in[500:].std() == pytest.approx(0.25, rel=0.05)
    assert fresh_neurons(mlp, "relu", 3, generator_of("a"), 2.0).w_in[500:].std() == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("act", "reason"), [("solu", "softmax"), ("solu_ln", "softmax"), ("gelu_ln", "mean and variance")]
)
def test_fresh_neurons_are_refused_where_they_would_move_the_others(act, reason):
    with pytest.raises(BadInput, match=rf"widen\.copies: .*{reason}"):
        fresh_neurons(drawn(act, (3, 4, 2), 0), act, 2, generator_of("a"))


@pytest.mark.parametrize("act", ["solu", "solu_ln", "gelu_ln"])
def test_the_refusal_is_needed(act):
    """What fresh neurons would do: under those activations the function moves by far more than rounding."""
    mlp = drawn(act, (8, 32, 4), 0)
    wide = fresh_neurons(replace(mlp, ln_weight=None, ln_bias=None, ln_eps=None), "relu", 4, generator_of("a"))
    wide = replace(wide, ln_eps=mlp.ln_eps)
    bare = replace(mlp, ln_weight=None, ln_bias=None)
    x = inputs(8)
    assert relative_l2(wide(x, act), bare(x, act)) > 0.1


@pytest.mark.parametrize("act", ["gelu_ln", "solu", "solu_ln"])
def test_copying_only_some_neurons_is_not_exact_where_neurons_do_not_act_alone(act):
    """So no scheme here makes unequal numbers of copies; with shares of W_out it can be had for relu and the gelus."""
    mlp = drawn(act, (8, 32, 4), 0)
    wide = copy_neurons(mlp, act, 2, "equal")
    kept = torch.cat((torch.arange(32), 32 + torch.arange(8)))  # a second copy of the first eight alone
    w_out = mlp.w_out[:, kept % 32].clone()
    w_out[:, :8] /= 2
    w_out[:, 32:] /= 2
    some = MLPWeights(
        w_in=wide.w_in[kept],
        w_out=w_out,
        b_in=wide.b_in[kept],
        ln_weight=None if wide.ln_weight is None else wide.ln_weight[kept],
        ln_bias=None if wide.ln_bias is None else wide.ln_bias[kept],
        ln_eps=mlp.ln_eps,
    )
    x = inputs(8)
    assert relative_l2(some(x, act), mlp(x, act)) > 0.02


@pytest.mark.parametrize("k", [2, 3, 8])
def test_dirichlet_shares_sum_to_one_and_spread_with_small_concentration(k):
    mlp = drawn("relu", (4, 200, 3), 0)
    spread = []
    for concentration in (0.1, 1.0, 100.0):
        wide = copy_neurons(mlp, "relu", k, "dirichlet", concentration, generator_of("a"))
        shares = (wide.w_out.unflatten(1, (k, 200)) / mlp.w_out[:, None])[0]
        torch.testing.assert_close(shares.sum(0), torch.ones(200, dtype=torch.float64))
        assert shares.min() >= 0
        spread.append(float(shares.std(0).mean()))
        # Variance of one share of Dirichlet(c, ..., c): (1 / k)(1 - 1 / k) / (k c + 1).
        expected = (1 / k) * (1 - 1 / k) / (k * concentration + 1)
        assert shares.var(dim=None, correction=0).item() == pytest.approx(expected, rel=0.25)
    assert spread == sorted(spread, reverse=True)


@settings(deadline=None, max_examples=60)
@given(
    sizes=SIZES,
    k=st.integers(2, 20),
    noise=st.sampled_from(["zero_sum", "w_in", "antithetic", "w_out"]),
    split=st.sampled_from(["equal", "dirichlet"]),
    seed=st.integers(0, 10**6),
    instances=st.sampled_from([(), (2,)]),
)
def test_noise_changes_the_stated_weights_and_nothing_else(sizes, k, noise, split, seed, instances):
    generator = torch.Generator().manual_seed(seed)
    plain = copy_neurons(drawn("gelu", sizes, seed, instances), "gelu", k, split, 1.0, generator)
    noisy = add_noise(plain, k, noise, 0.5, generator)
    moved = "w_in" if noise in ("w_in", "antithetic") else "w_out"
    for name in NAMES:
        same, new = getattr(plain, name), getattr(noisy, name)
        assert (new is same) if name != moved else not torch.equal(new, same)
    difference = getattr(noisy, moved) - getattr(plain, moved)
    n = sizes[1]
    if noise == "zero_sum":
        assert difference.unflatten(-1, (k, n)).sum(-2).abs().max() < 1e-12
    if noise == "antithetic":
        siblings = difference.unflatten(-2, (k, n)).movedim(-3, 0)
        torch.testing.assert_close(siblings[0 : 2 * (k // 2) : 2], -siblings[1 : 2 * (k // 2) : 2], rtol=0, atol=1e-14)
        assert (k % 2 == 0) or not siblings[-1].any()
        assert siblings[0].any()


@pytest.mark.parametrize("noise", ["zero_sum", "w_in", "antithetic", "w_out"])
def test_sigma_is_relative_to_the_root_mean_square_of_the_neurons_own_weights(noise):
    plain = copy_neurons(drawn("relu", (300, 6, 300), 0), "relu", 4)
    plain = replace(plain, w_in=plain.w_in * torch.linspace(0.1, 9, 24)[:, None].double())
    noisy = add_noise(plain, 4, noise, 0.3, generator_of("a"))
    on_w_in = noise in ("w_in", "antithetic")
    dim, name = (1, "w_in") if on_w_in else (0, "w_out")
    old, new = getattr(plain, name), getattr(noisy, name)
    ratio = ((new - old).square().mean(dim) / old.square().mean(dim)).sqrt()
    torch.testing.assert_close(ratio, torch.full((24,), 0.3, dtype=torch.float64), rtol=0.2, atol=0)
    assert ratio.square().mean().sqrt().item() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(("noise", "least"), [("w_in", 1e-3), ("w_out", 1e-3), ("antithetic", 1e-4)])
def test_schemes_that_promise_nothing_move_the_function_and_pairs_move_it_less(noise, least):
    mlp = drawn("gelu_new", (16, 64, 8), 0)
    x, wide = inputs(16), copy_neurons(mlp, "gelu_new", 4)
    errors = {
        each: relative_l2(add_noise(wide, 4, each, 0.1, generator_of("a"))(x, "gelu_new"), mlp(x, "gelu_new"))
        for each in (noise, "w_in")
    }
    assert errors[noise] > least
    assert noise != "antithetic" or errors["antithetic"] < errors["w_in"] / 5


def test_one_copy_and_no_sigma_take_no_noise():
    mlp = drawn("relu", (3, 4, 2), 0)
    for k, sigma in ((1, 1.0), (2, 0.0)):
        assert add_noise(copy_neurons(mlp, "relu", 2), k, "w_in", sigma, generator_of("a")).w_in.shape == (8, 3)
    assert torch.equal(add_noise(mlp, 1, "zero_sum", 1.0, generator_of("a")).w_out, mlp.w_out)


def test_a_toy_without_biases_is_widened_by_the_same_rules():
    toy = replace(drawn("relu", (20, 10, 20), 0), b_in=None)
    wide = copy_neurons(toy, "relu", 4)
    assert wide.b_in is None
    x = inputs(20)
    torch.testing.assert_close(wide(x, "relu"), toy(x, "relu"))
    assert fresh_neurons(toy, "relu", 2, generator_of("a")).b_in is None


def test_the_seed_decides_the_draws():
    mlp = drawn("relu", (3, 40, 2), 0)
    first, again, other = (copy_neurons(mlp, "relu", 3, "dirichlet", 1.0, generator_of(name)) for name in "aab")
    assert torch.equal(first.w_out, again.w_out)
    assert not torch.equal(first.w_out, other.w_out)


def test_a_dirichlet_split_needs_a_generator():
    mlp = drawn("relu", (3, 4, 2), 0)
    with pytest.raises(BadInput, match="needs a generator"):
        copy_neurons(mlp, "relu", 2, "dirichlet")
