"""MLPs that recompute their neurons a few tokens at a time: the same function, the same gradients, less memory."""

import pytest
import torch

import train.recompute
from tests.train.fixtures import small_run
from train.activations import ACTIVATIONS
from train.checkpoint import load
from train.config import ModelConfig
from train.configfile import to_toml
from train.loss import TrainingLoss
from train.memory import PROGRAM_BYTES, settled_memory
from train.model import Transformer
from train.provenance import config_hash
from train.recompute import tokens_at_once
from train.training_run import run

ROWS = torch.randint(0, 40, (4, 33), generator=torch.Generator().manual_seed(0))
N_TOKENS = 4 * 32


def small(act: str) -> Transformer:
    config = ModelConfig(n_layers=2, d_model=16, n_heads=2, n_ctx=32, d_vocab=40, act=act, widths=(64, 160))
    return Transformer(config, seed=1)


def gradients(model: Transformer, recompute: bool, l1: float = 0.0, autocast: bool = False) -> dict[str, torch.Tensor]:
    """Losses and gradients of a pass, by name."""
    model.set_recompute(recompute)
    model.zero_grad(set_to_none=True)
    module = TrainingLoss(model, l1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = module(ROWS)
    losses[0].backward()
    named = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {"loss": losses[1], "l1": losses[2], **named}


def furthest(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Largest difference of any gradient, relative to the largest value of that gradient."""
    assert mine.keys() == theirs.keys()
    return max(
        float((mine[name] - theirs[name]).abs().max() / theirs[name].abs().max().clamp_min(1e-30)) for name in mine
    )


@pytest.fixture
def pieces_of(monkeypatch: pytest.MonkeyPatch):
    """Sets how many tokens are taken together: no fewer than this, whatever the width."""

    def set_fewest(n_tokens: int) -> None:
        monkeypatch.setattr(train.recompute, "FEWEST_TOKENS", n_tokens)
        monkeypatch.setattr(train.recompute, "ELEMENTS", 0)

    return set_fewest


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("l1", [0.0, 0.01])
def test_with_all_tokens_together_the_gradients_have_the_same_bits(act, l1, pieces_of):
    pieces_of(N_TOKENS)
    model = small(act)
    kept, again = gradients(model, recompute=False, l1=l1), gradients(model, recompute=True, l1=l1)
    different = [name for name in kept if not torch.equal(kept[name], again[name])]
    # The norm alone is summed in another order: over all neurons of all tokens, not the mean over tokens of sums.
    assert different in ([], ["l1"])
    assert furthest(again, kept) < 1e-6


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 3e-6), (torch.float64, 1e-14)])
def test_in_pieces_the_gradients_differ_by_rounding_alone(act, dtype, most, pieces_of):
    pieces_of(24)  # 128 tokens: five pieces and a part of one
    model = small(act).to(dtype)
    kept, again = (gradients(model, recompute=each, l1=0.01) for each in (False, True))
    assert furthest(again, kept) < most


def test_in_bf16_the_gradients_are_no_further_from_the_truth_than_those_of_kept_values(pieces_of):
    pieces_of(24)
    model = small("solu_ln")
    exact = gradients(model, recompute=False)
    kept, again = (gradients(model, recompute=each, autocast=True) for each in (False, True))
    assert all(value.dtype == torch.float32 for value in again.values())
    assert furthest(again, exact) < 1.2 * furthest(kept, exact)


def test_frozen_parameters_get_no_gradient_and_the_others_the_same(pieces_of):
    pieces_of(24)
    model = small("gelu_new")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("layers.0.mlp.fc_out"))
    kept, again = gradients(model, recompute=False), gradients(model, recompute=True)
    assert set(kept) == {"loss", "l1", "layers.0.mlp.fc_out.weight", "layers.0.mlp.fc_out.bias"}
    assert furthest(again, kept) < 3e-6


def test_fewer_values_are_kept_for_the_backward_pass(pieces_of):
    pieces_of(16)
    config = ModelConfig(n_layers=2, d_model=8, n_heads=2, n_ctx=32, d_vocab=40, act="solu_ln", widths=(2000, 2000))
    held = {}
    for recompute in (False, True):
        model = Transformer(config, seed=0)
        model.set_recompute(recompute)
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            TrainingLoss(model)(ROWS)
        held[recompute] = sum(kept.values()) - 4 * model.config.n_params
    one_value = 4 * N_TOKENS * 4000
    assert held[False] > 3 * one_value
    assert held[True] < 0.5 * one_value


def test_pieces_have_a_number_of_values_that_the_width_does_not_change():
    assert tokens_at_once(51_200, "cpu") == 163
    assert tokens_at_once(51_200, "cuda") == 2621
    assert tokens_at_once(2**24, "cpu") == 64


def test_evaluation_takes_pieces_too(pieces_of):
    pieces_of(24)
    model = small("solu").eval()
    with torch.no_grad():
        kept = model(ROWS[:, :-1])
        model.set_recompute(True)
        again = model(ROWS[:, :-1])
    torch.testing.assert_close(again, kept, rtol=1e-5, atol=1e-6)


def test_a_run_that_recomputes_ends_near_one_that_keeps_and_says_so(data, tmp_path):
    kept, again = (
        load(run(small_run(data, train__memory=memory), tmp_path / memory).directory)
        for memory in ("save", "recompute")
    )
    assert again.state["environment"]["memory"] == "recompute"
    assert "memory" not in kept.state["environment"]
    assert 'memory = "recompute"' in (tmp_path / "recompute" / "run.toml").read_text()
    ours, theirs = again.model().state_dict(), kept.model().state_dict()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-4


def test_a_run_that_keeps_its_neurons_hashes_as_it_did_before_there_was_the_choice(data):
    config = small_run(data)
    assert config.train.memory == "auto"
    assert "memory" not in config.model_dump(mode="json")["train"]
    assert "memory" not in to_toml(config)
    assert config_hash(config) != config_hash(small_run(data, train__memory="recompute"))


def settled(config, tmp_path, saving, room):
    return settled_memory(config, saving, room, tmp_path).train.memory


def test_auto_recomputes_where_keeping_would_not_fit_the_machine(data, tmp_path):
    config, room = small_run(data), PROGRAM_BYTES + 10**9
    assert settled(config, tmp_path, 10**9, room) == "auto"
    assert settled(config, tmp_path, 10**9, room - 1) == "recompute"
    assert settled(small_run(data, train__memory="save"), tmp_path, 10**12, 1) == "save"


def test_a_run_that_has_begun_keeps_its_way_whatever_the_machine(data, tmp_path):
    for recorded, expected in (("recompute", "recompute"), ("auto", "auto")):
        (tmp_path / "run.toml").write_text(to_toml(small_run(data, train__memory=recorded)))
        assert settled(small_run(data), tmp_path, 10**12 if recorded == "auto" else 1, 2 * 10**9) == expected


def test_a_run_may_go_on_in_the_other_way_and_is_then_not_exact(data, tmp_path, monkeypatch):
    stopping = pytest.MonkeyPatch()
    stopping.setattr("train.loop.is_permanent", lambda step: step > 10 and stop())
    with pytest.raises(RuntimeError, match="stopped here"):
        run(small_run(data), tmp_path / "run")
    stopping.undo()
    outcome = run(small_run(data, train__memory="recompute"), tmp_path / "run")
    assert outcome.checkpoint.step == 20
    assert outcome.checkpoint.inexact == ["memory: save up to step 10, then recompute"]


def stop():
    raise RuntimeError("stopped here")
