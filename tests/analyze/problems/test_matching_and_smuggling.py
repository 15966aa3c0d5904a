"""Programs of 4.39 and 4.40 measure what was planted, and read the checkpoints that stand beside."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.interventions import losses
from analyze.nulls.rotation import haar
from analyze.problems import layernorm_smuggling, twins
from analyze.problems.command import ask
from analyze.problems.neuron_matching import best_match, one_to_one, products
from analyze.problems.store import read_measured
from tests.train.fixtures import small_data, small_run
from train.config import ModelConfig
from train.model import Transformer
from train.training_run import run

ROWS = torch.randint(0, 50, (24, 17), generator=torch.Generator().manual_seed(0))


def model(act: str = "gelu_new", seed: int = 0, width: int = 24) -> Transformer:
    """A small one, without gradients."""
    config = ModelConfig(n_layers=1, d_model=16, n_heads=2, n_ctx=16, d_vocab=50, act=act, widths=(width,))
    return Transformer(config, seed).requires_grad_(False)


def values(of: Transformer) -> np.ndarray:
    """Its neurons on ROWS, [token neuron]."""
    return of.mlp_activations(ROWS[:, :-1], 0, "mid").flatten(0, 1).double().numpy()


def test_streamed_correlations_are_those_of_all_tokens_at_once() -> None:
    first, second = model(seed=1), model("relu", seed=2, width=30)
    expected = np.corrcoef(values(first).T, values(second).T)[:24, 24:]
    np.testing.assert_allclose(products(first, second, ROWS, 0).correlations(), expected, atol=2e-5)


def test_rotated_correlations_are_those_of_rotated_neurons() -> None:
    first, second = model(seed=1), model("relu", seed=2)
    turned = values(second) @ haar(24, 5).numpy()
    expected = np.corrcoef(values(first).T, turned.T)[:24, 24:]
    np.testing.assert_allclose(products(first, second, ROWS, 0).rotated(5), expected, atol=2e-4)


def test_a_model_is_its_own_partner_whatever_the_order_of_neurons_and_rotation_undoes_it() -> None:
    own, other = model(seed=1), model(seed=1)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    other.mlp(0).fc_in.weight.copy_(own.mlp(0).fc_in.weight[order])
    sums = products(own, other, ROWS, 0)
    np.testing.assert_allclose(one_to_one(sums.correlations()), 1, atol=1e-5)
    assert one_to_one(sums.rotated(0)).mean() < 0.7


def test_partners_are_one_to_one_where_best_matches_share_one() -> None:
    correlations = np.array([[0.9, 0.5], [0.8, 0.1]])
    assert sorted(one_to_one(correlations)) == [0.5, 0.8]
    assert list(best_match(correlations)) == [0.9, 0.8]


def test_a_silent_neuron_matches_nobody() -> None:
    own, other = model(seed=1), model("relu", seed=1)
    other.mlp(0).fc_in.weight[4] = 0.0
    other.mlp(0).fc_in.bias[4] = -1.0
    assert not products(own, other, ROWS, 0).correlations()[:, 4].any()


@pytest.mark.slow
def test_neurons_are_matched_in_memory_that_does_not_grow_with_tokens() -> None:
    program = """
import resource, torch
from analyze.problems.neuron_matching import products
from train.config import ModelConfig
from train.model import Transformer
config = ModelConfig(n_layers=1, d_model=16, n_heads=2, n_ctx=128, d_vocab=50, act="relu", widths=(1600,))
models = [Transformer(config, seed).requires_grad_(False) for seed in (0, 1)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = torch.randint(0, 50, (256, 129))
products(*models, rows, 0).correlations()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # All activations at once would take 2 x 256 x 128 x 1600 x 4 = 419 MB beside the three products of 10 MB.
    assert int(made.stdout) < 150_000


def test_a_twin_is_of_the_same_seed_and_shape_and_a_sibling_of_the_same_activation() -> None:
    subject = twins.planted(0)
    found, seeds = twins.kin_of(subject)
    assert [each.name for each in found] == ["twin"]
    assert [each.name for each in seeds] == ["sibling"]
    assert twins.measure(subject).reference < twins.measure(subject).statistic


def test_without_a_twin_beside_it_a_checkpoint_cannot_answer() -> None:
    from dataclasses import replace

    subject = twins.planted(0)
    alone = twins.measure(replace(subject, others=()))
    assert "another activation" in alone.why_not
    assert "another seed" in twins.measure(replace(subject, others=subject.others[:1])).why_not


def test_other_checkpoints_are_read_and_a_new_one_is_measured_again(tmp_path: Path) -> None:
    data = small_data(tmp_path)
    made = [
        run(small_run(data, seed=seed, variant=act, model__act=act), tmp_path / f"{act}-s{seed}")
        and tmp_path / f"{act}-s{seed}"
        for seed, act in ((0, "gelu_new"), (1, "gelu_new"), (0, "relu"))
    ]
    lines: list[str] = []
    found = ask(["4.40"], made[:2], tmp_path / "out", jobs=1, say=lines.append)
    assert found["4.40"].verdict == "not answerable"
    lines.clear()
    found = ask(["4.40"], made, tmp_path / "out", jobs=1, say=lines.append)
    assert not any("found" in line.split(";")[0] for line in lines[:3])
    answers = {answer.variant: answer for answer in found["4.40"].variants}
    assert answers["gelu_new"].n == 1  # the seed that has both a twin and a sibling
    measured = [read_measured(each) for each in (tmp_path / "out/4.40/measurements").iterdir()]
    own = next(each for each in measured if not each.measurement.why_not)
    assert own.measurement.reference == pytest.approx(own.measurement.details["r with seed 1"])
    assert "reference" in (tmp_path / "out/4.40.html").read_text()


def test_low_share_is_the_part_of_low_neurons_and_keeping_all_neurons_changes_nothing() -> None:
    subject = layernorm_smuggling.planted(0)
    assert subject.rows is not None
    layer = layernorm_smuggling.layer_of(subject.model, subject.rows[:8])
    none, every = torch.zeros_like(layer.mid, dtype=torch.bool), torch.ones_like(layer.mid, dtype=torch.bool)
    assert layernorm_smuggling.low_share(layer, none, layer.post) == 0
    assert layernorm_smuggling.low_share(layer, every, layer.post) == pytest.approx(1)
    kept = layernorm_smuggling._keeping(subject.model, subject.rows[:8], layer.post.mean(0), 48)
    torch.testing.assert_close(kept, losses(subject.model, subject.rows[:8]), atol=1e-5, rtol=0)
    few = layernorm_smuggling._keeping(subject.model, subject.rows[:8], layer.post.mean(0), 1)
    assert float((few - kept).abs().max()) > 0.01


def test_mixed_scales_only_exchange_the_scales_of_tokens() -> None:
    subject = layernorm_smuggling.planted(0)
    assert subject.rows is not None
    layer = layernorm_smuggling.layer_of(subject.model, subject.rows[:4])
    mixed = layernorm_smuggling.mixed_scales(subject.model, layer, np.random.default_rng(0))
    ratio = (mixed / layer.post)[layer.post.abs() > 0.1]
    assert float(ratio.std()) > 0.1
    torch.testing.assert_close(mixed.sum(1), torch.zeros(len(mixed)), atol=1e-3, rtol=0)


def test_direct_effects_sum_to_what_the_mlp_adds_to_the_logit() -> None:
    subject = layernorm_smuggling.planted(0)
    assert subject.rows is not None
    rows, own = subject.rows[:2], subject.model
    layer = layernorm_smuggling.layer_of(own, rows)
    by_neurons = (layer.post * layer.towards).sum(1)
    final = own.final_residual(rows[:, :-1])
    unembed = own.head.weight - own.head.weight.mean(0)
    written = own.mlp(0).fc_out(layer.post.view(2, 32, -1)) - own.mlp(0).fc_out.bias
    from analyze.interventions import read_site

    scale = (read_site(own, rows[:, :-1], 1, "resid_final").var(-1, unbiased=False) + own.ln_out.eps).rsqrt()
    part = (written - written.mean(-1, keepdim=True)) * scale[..., None]
    expected = torch.einsum("bpd,bpd->bp", part, unembed[rows[:, 1:]]).flatten()
    assert final.shape[-1] == 64
    torch.testing.assert_close(by_neurons, expected, atol=1e-4, rtol=1e-4)


def test_a_gelu_ln_model_beside_it_counts_as_reference() -> None:
    from dataclasses import replace

    from analyze.problems.subject import Other

    subject = layernorm_smuggling.planted(0)
    twin = layernorm_smuggling.null(0).model
    config = twin.config.model_copy(update={"act": "gelu_ln"})
    beside = Transformer(config, 0).requires_grad_(False)
    other = Other("twin", "gelu_ln", 0, config, True, lambda: beside)
    found = layernorm_smuggling.measure(replace(subject, others=(other,)))
    assert 0 < found.reference < 1
    assert any(name.endswith("(gelu_ln)") for name in found.details)
    assert not found.doubts
    assert layernorm_smuggling.measure(subject).doubts
