"""How widened layers train: gradients of siblings, tied steps, transplanted moments, and what breaks them."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.fixtures import small_run
from train import load
from train.activations import ACTIVATIONS
from train.checkpoint import step_directory
from train.config import ModelConfig, OptimConfig, WidenPlan
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.lens import to_bridge
from train.loss import NextTokenLoss
from train.model import Transformer
from train.optim import build_optimizer, set_rate
from train.tracking import read_metrics
from train.training_run import run
from train.widening.transplant import NEURON_AXIS, transplanted
from train.widening.widen import widen

ACTS = sorted(ACTIVATIONS)
K, N = 4, 12
PLAN = WidenPlan(layers=(0,), factor=K, noise="none")
OPTIM = OptimConfig(lr=1e-2, weight_decay=0.3, eps=1e-4)
"""Epsilon and decay large enough to be seen in 30 steps."""


def trained_like(act: str, seed: int = 0) -> Transformer:
    config = ModelConfig(n_layers=2, d_model=8, n_heads=2, n_ctx=8, d_vocab=17, act=act, widths=(N, N))
    model = Transformer(config, seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return only_layer_0(model)


def only_layer_0(model: Transformer) -> Transformer:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("layers.0.mlp."))
    return model


def rows(step: int = 0) -> torch.Tensor:
    return torch.randint(0, 17, (4, 9), generator=torch.Generator().manual_seed(step))


def widened(model: Transformer, plan: WidenPlan = PLAN) -> Transformer:
    return only_layer_0(widen(model, plan)[0])


def advance(
    model: Transformer, optimizer: torch.optim.Optimizer, n_steps: int, clip: float | None = None, first: int = 0
) -> None:
    for step in range(first, first + n_steps):
        NextTokenLoss(model)(rows(step)).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()


def adam(model: Transformer, k: int, config: OptimConfig = OPTIM) -> torch.optim.AdamW:
    optimizer = build_optimizer(model, config, {0: k})
    set_rate(optimizer, config.lr)
    return optimizer


@torch.no_grad()
def apart(wide: Transformer, narrow: Transformer) -> float:
    """Relative L2 distance of the logits on rows that were not trained on."""
    old = narrow(rows(1000)[:, :-1])
    return float((wide(rows(1000)[:, :-1]) - old).norm() / old.norm())


@settings(deadline=None, max_examples=30)
@given(
    act=st.sampled_from(ACTS),
    k=st.integers(1, 20),
    split=st.sampled_from(["equal", "dirichlet"]),
    noise=st.sampled_from(["none", "zero_sum"]),
    seed=st.integers(0, 1000),
)
def test_the_gradients_of_siblings_sum_to_their_parents(act, k, split, noise, seed):
    """Of W_in, b_in and the mid LayerNorm they sum to it whatever the shares of W_out, and are a k-th each where copies
    are equal; of W_out each sibling has the parent's gradient (a k-th of it under plain solu)."""
    narrow = trained_like(act, seed)
    plan = WidenPlan(layers=(0,), factor=k, split=split, noise=noise, sigma=0.5, seed=seed)
    wide = widened(narrow, plan)
    for model in (narrow, wide):
        NextTokenLoss(model)(rows(seed)).backward()
    old, new = ({name: value.grad for name, value in model.mlp(0).named_parameters()} for model in (narrow, wide))
    torch.testing.assert_close(new["fc_out.bias"], old["fc_out.bias"])
    for name in new.keys() - {"fc_out.weight", "fc_out.bias"}:
        siblings = new[name].unflatten(0, (k, N))
        torch.testing.assert_close(siblings.sum(0), old[name], rtol=1e-8, atol=1e-12)
        if split == "equal" and noise == "none":
            torch.testing.assert_close(siblings, (old[name] / k).expand_as(siblings), rtol=1e-8, atol=1e-12)
    each = old["fc_out.weight"] / (k if act == "solu" else 1)
    siblings = new["fc_out.weight"].unflatten(1, (k, N))
    torch.testing.assert_close(siblings, each[:, None].expand_as(siblings), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("act", ACTS)
def test_tied_copies_follow_the_narrow_layer_under_adam(act):
    narrow = trained_like(act)
    wide = widened(narrow)
    born = copy.deepcopy(narrow)
    advance(narrow, adam(narrow, 1), 30)
    advance(wide, adam(wide, K), 30)
    assert apart(narrow, born) > 1e-2
    assert apart(wide, narrow) < 1e-9


def without(condition: str, wide: Transformer, act: str) -> torch.optim.AdamW:
    """The tied optimizer with one of its conditions dropped."""
    optimizer = adam(wide, K)
    for group in optimizer.param_groups:
        if condition == "eps":
            group["eps"] = OPTIM.eps
        if any(parameter is wide.mlp(0).fc_out.weight for parameter in group["params"]):
            if condition == "rate":
                group["lr"] = OPTIM.lr / K if act == "solu" else OPTIM.lr
            if condition == "decay":
                group["weight_decay"] = OPTIM.weight_decay * K if act == "solu" else OPTIM.weight_decay
    return optimizer


@pytest.mark.parametrize("act", ["gelu_new", "gelu_ln", "solu", "solu_ln"])
@pytest.mark.parametrize("condition", ["rate", "decay", "eps"])
def test_every_condition_of_the_tied_step_is_needed(act, condition):
    narrow = trained_like(act)
    wide = widened(narrow)
    advance(narrow, adam(narrow, 1), 30)
    advance(wide, without(condition, wide, act), 30)
    assert apart(wide, narrow) > 1e-5


@pytest.mark.parametrize("act", ["gelu_new", "solu_ln"])
def test_clipping_breaks_the_tie_where_it_bites(act):
    """The norm of k copies' gradient is not the narrow one's."""
    narrow = trained_like(act)
    wide = widened(narrow)
    for model, k in ((narrow, 1), (wide, K)):
        advance(model, adam(model, k), 30, clip=0.05)
    assert apart(wide, narrow) > 1e-5
    unbitten = [trained_like(act)]
    unbitten.append(widened(unbitten[0]))
    for model, k in zip(unbitten, (1, K), strict=True):
        advance(model, adam(model, k), 30, clip=1e6)
    assert apart(unbitten[1], unbitten[0]) < 1e-9


@pytest.mark.parametrize("noise", ["zero_sum", "w_in", "antithetic", "w_out"])
def test_noise_separates_siblings_that_would_otherwise_stay_equal(noise):
    for plan, parts in ((PLAN, False), (PLAN.model_copy(update={"noise": noise, "sigma": 0.3}), True)):
        wide = widened(trained_like("gelu_new"), plan)
        advance(wide, adam(wide, K), 30)
        for weight in (wide.mlp(0).fc_in.weight.unflatten(0, (K, N)), wide.mlp(0).fc_out.weight.T.unflatten(0, (K, N))):
            cosine = torch.nn.functional.cosine_similarity(weight[0], weight[1], dim=-1)
            assert (cosine.min() < 0.9999) == parts


def test_unequal_shares_separate_siblings_as_well():
    wide = widened(trained_like("gelu_new"), PLAN.model_copy(update={"split": "dirichlet"}))
    advance(wide, adam(wide, K), 30)
    siblings = wide.mlp(0).fc_in.weight.unflatten(0, (K, N))
    assert torch.nn.functional.cosine_similarity(siblings[0], siblings[1], dim=-1).min() < 0.9999


def moments_of(model: Transformer, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": value.clone()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def give(model: Transformer, optimizer: torch.optim.Optimizer, moments: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if f"{name}/step" in moments:
            optimizer.state[parameter] = {key: moments[f"{name}/{key}"] for key in ("step", "exp_avg", "exp_avg_sq")}


@pytest.mark.parametrize("act", ACTS)
def test_transplanted_moments_go_on_as_the_narrow_layer_would(act):
    narrow = trained_like(act)
    optimizer = adam(narrow, 1)
    advance(narrow, optimizer, 10)
    moments = moments_of(narrow, optimizer)
    found = {}
    for state in ("transplanted", "fresh", "unscaled"):
        wide = widened(narrow)
        own = adam(wide, K)
        scaled = transplanted(moments, PLAN, act, 2)
        if state == "unscaled":
            scaled = {
                key: value * float(K) ** {"exp_avg": 1, "exp_avg_sq": 2}.get(key.split("/")[1], 0)
                if "fc_in" in key
                else value
                for key, value in scaled.items()
            }
        if state != "fresh":
            give(wide, own, scaled)
        found[state] = wide
        advance(wide, own, 10, first=10)
    advance(narrow, optimizer, 10, first=10)
    assert apart(found["transplanted"], narrow) < 1e-9
    assert apart(found["fresh"], narrow) > 1e-4
    assert apart(found["unscaled"], narrow) > 1e-6


def test_moments_of_other_parameters_and_of_b_out_are_passed_on_and_fresh_neurons_have_none():
    moments = {
        f"layers.{layer}.mlp.{name}/{moment}": torch.ones([3] * (2 if name.endswith("weight") else 1))
        for layer, name, moment in itertools.product(
            (0, 1), ("fc_in.weight", "fc_in.bias", "fc_out.weight", "fc_out.bias"), ("exp_avg", "exp_avg_sq")
        )
    } | {"head.weight/exp_avg": torch.ones(2), "layers.1.mlp.fc_in.weight/step": torch.tensor(7.0)}
    plan = WidenPlan(layers=(1,), factor=2, copies="fresh", noise="none")
    found = transplanted(moments, plan, "relu", 2)
    assert found.keys() == moments.keys()
    for key, value in found.items():
        parameter = key.split("/")[0]
        name = parameter.removeprefix("layers.1.mlp.")
        if name not in NEURON_AXIS or key.endswith("/step"):
            assert value is moments[key]
            continue
        old, new = value.split(3, NEURON_AXIS[name])
        assert torch.equal(old, moments[key])
        assert not new.any()


@pytest.mark.parametrize("act", ["relu", "gelu_new", "gelu_ln", "solu_ln", "solu"])
def test_under_sgd_w_in_takes_k_times_the_rate_and_w_out_a_kth(act):
    """With plain solu both take k times the rate: W_out's gradient is a k-th, and W_out is not divided."""
    narrow = trained_like(act)
    wide = widened(narrow)
    for model, k in ((narrow, 1), (wide, K)):
        mlp = model.mlp(0)
        neurons = [value for name, value in mlp.named_parameters() if not name.startswith("fc_out")]
        out_rate = k if act == "solu" else 1 / k
        groups = [
            {"params": neurons, "lr": 0.05 * k},
            {"params": [mlp.fc_out.weight], "lr": 0.05 * out_rate},
            {"params": [mlp.fc_out.bias], "lr": 0.05},
        ]
        advance(model, torch.optim.SGD(groups, lr=0.05, momentum=0.9), 20)
    assert apart(wide, narrow) < 1e-9
    wrong = widened(trained_like(act))
    advance(wrong, torch.optim.SGD(wrong.mlp(0).parameters(), lr=0.05, momentum=0.9), 20)
    assert apart(wrong, narrow) > 1e-3


@pytest.fixture(scope="module")
def parents(data, tmp_path_factory) -> dict[str, Path]:
    """Trained 2-layer runs by activation."""
    out = tmp_path_factory.mktemp("runs")
    return {
        act: run(small_run(data, model__act=act, model__n_layers=2), out / f"{act}-s0").directory
        for act in ("gelu_new", "solu_ln")
    }


@pytest.mark.parametrize("act", ["gelu_new", "solu_ln"])
@pytest.mark.parametrize("scheme", [{}, {"noise": "w_in"}, {"split": "dirichlet", "noise": "none"}])
def test_fine_tuning_one_of_two_layers_leaves_the_rest_bit_identical_and_bridges(data, parents, tmp_path, act, scheme):
    plan = {"layers": [1], "factor": 10, **scheme}
    out = run(small_run(data, start=str(parents[act]), widen=plan, optim__l1=1e-3), tmp_path / "x10-s0").directory
    before, born, after = load(parents[act]), load(step_directory(out, 0)), load(out)
    old, new = before.model().state_dict(), after.model().state_dict()
    for name, value in old.items():
        assert torch.equal(value, new[name]) != name.startswith("layers.1.mlp.")
    assert not torch.equal(born.model().mlp(1).fc_out.bias, after.model().mlp(1).fc_out.bias)
    eps = before.config.mlp_ln_eps[1]
    assert after.config.mlp_ln_eps[1] == pytest.approx(eps / 100 if act == "solu_ln" else eps)
    tokens = TokenFile.open(data, split="eval").plain_rows(0, 4)[:, :-1]
    for checkpoint in (born, after):
        model = checkpoint.model()
        with torch.no_grad():
            difference = model(tokens) - to_bridge(model)(tokens, return_type="logits")
        assert difference.abs().max() < 1e-5


def test_a_bridge_with_the_parents_epsilon_would_be_detected(parents):
    """The parity above can fail: with the narrow epsilon the wide SoLU layer's logits move by far more."""
    narrow = load(parents["solu_ln"]).model()
    wide, _ = widen(narrow, WidenPlan(layers=(1,), factor=10))
    tokens = torch.randint(0, 300, (4, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        bridge = to_bridge(wide)
        bridge.blocks[1].mlp.ln.config.eps = narrow.mlp(1).ln.eps
        assert (wide(tokens) - bridge(tokens, return_type="logits")).abs().max() > 1e-4


def arm(data: Path, parent: Path, **over: object):
    return small_run(data, start=str(parent), trainable="layers.0.mlp.*", optim__clip=1e6, optim__lr=3e-3, **over)


@torch.no_grad()
def logits(directory: Path, data: Path) -> torch.Tensor:
    return load(directory).model()(TokenFile.open(data, split="eval").plain_rows(0, 8)[:, :-1])


@pytest.mark.parametrize("act", ["gelu_new", "solu_ln"])
def test_a_run_with_transplanted_moments_follows_its_narrow_control(data, parents, tmp_path, act):
    transplant = {"optim__state": "transplant"}
    narrow = run(arm(data, parents[act], **transplant), tmp_path / "narrow-s0").directory
    plan = {"layers": [0], "factor": 4, "noise": "none"}
    wide = run(arm(data, parents[act], **transplant, widen=plan), tmp_path / "wide-s0").directory
    fresh = run(arm(data, parents[act]), tmp_path / "fresh-s0").directory
    torch.testing.assert_close(logits(wide, data), logits(narrow, data), rtol=1e-3, atol=1e-3)
    assert (logits(fresh, data) - logits(narrow, data)).abs().max() > 1e-2


def test_a_transplanted_run_goes_on_bit_identically_where_it_was_stopped(data, parents, tmp_path, monkeypatch, capsys):
    import train.loop

    config = arm(data, parents["gelu_new"], optim__state="transplant", widen={"layers": [0], "factor": 2})
    straight = run(config, tmp_path / "straight" / "x2-s0").directory
    assert "moments that are right on average only" in capsys.readouterr().out
    real = train.loop._step

    def crashing(training, *args):
        if training.step == 3:
            raise RuntimeError("power cut")
        return real(training, *args)

    monkeypatch.setattr(train.loop, "_step", crashing)
    with pytest.raises(RuntimeError, match="power cut"):
        run(config, tmp_path / "x2-s0")
    monkeypatch.undo()
    again = run(config, tmp_path / "x2-s0").directory
    for name in ("model.safetensors", "optim.safetensors"):
        assert (step_directory(again, 20) / name).read_bytes() == (step_directory(straight, 20) / name).read_bytes()


def test_a_start_without_moments_has_none_to_transplant(data, parents, tmp_path):
    untrained = step_directory(parents["gelu_new"], 0)
    with pytest.raises(BadInput, match=r"optim\.state: .* holds no moments of layers\.0\.mlp\.fc_in\.weight"):
        run(arm(data, untrained, optim__state="transplant"), tmp_path / "arm-s0")
    with pytest.raises(BadInput, match=r"optim\.state: 'transplant' needs `start`"):
        small_run(data, optim__state="transplant")


def test_the_rate_warms_up_anew_in_an_arm(data, parents, tmp_path):
    out = run(arm(data, parents["gelu_new"], optim__warmup_tokens=128), tmp_path / "arm-s0").directory
    rates = [line["lr"] for line in read_metrics(out / "metrics.jsonl") if line["kind"] == "train"]
    assert rates[:2] == pytest.approx([1.5e-3, 3e-3])


def test_rates_of_a_widening_of_a_widening_count_all_copies(data, parents, tmp_path, monkeypatch):
    import train.training_run

    seen: list[dict[int, int]] = []
    real = train.training_run.build_optimizer

    def watching(model, config, widened):
        seen.append(widened)
        return real(model, config, widened)

    monkeypatch.setattr(train.training_run, "build_optimizer", watching)
    once = run(small_run(data, start=str(parents["gelu_new"]), widen={"layers": [0], "factor": 2}), tmp_path / "a-s0")
    twice = small_run(data, start=str(once.directory), widen={"layers": "all", "factor": 3})
    again = run(twice, tmp_path / "b-s0")
    fresh = {"layers": [0], "factor": 5, "copies": "fresh", "noise": "none"}
    last = run(small_run(data, start=str(again.directory), widen=fresh), tmp_path / "c-s0").checkpoint.lineage
    assert last is not None
    assert last.parent_of(0).tolist() == [*range(96), *[-1] * 384]
    assert last.root_of(0).tolist() == [*list(range(16)) * 6, *[-1] * 384]
    assert last.root_of(1).tolist() == list(range(16)) * 3
    assert [dict(each) for each in seen] == [{0: 2}, {0: 6, 1: 3}, {0: 6, 1: 3}]
