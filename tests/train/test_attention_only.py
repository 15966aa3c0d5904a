"""Models of attention alone: act = "none"."""

from pathlib import Path

import pytest
import torch

from train.checkpoint import load
from train.config import ModelConfig, ModelSpec, WidenPlan
from train.errors import BadInput
from train.export.hooks import hook_names, values_at
from train.lens import to_bridge
from train.loss import TrainingLoss
from train.memory import to_train
from train.model import Transformer
from train.training_run import run
from train.widening.widen import widen

from .fixtures import small_run

SHAPE = {"n_layers": 2, "d_model": 32, "n_heads": 4, "n_ctx": 16, "d_vocab": 50}
NONE = ModelConfig(act="none", **SHAPE)
TOKENS = torch.randint(0, 50, (3, 16), generator=torch.Generator().manual_seed(0))


def test_it_has_no_mlp_and_counts_its_parameters() -> None:
    model = Transformer(NONE)
    assert NONE.widths == (0, 0)
    assert not any("mlp" in name or "ln2" in name for name in model.state_dict())
    assert sum(each.numel() for each in model.parameters()) == NONE.n_params


def test_its_attention_starts_as_that_of_a_model_with_mlps() -> None:
    own, other = (
        Transformer(NONE, seed=3).state_dict(),
        Transformer(ModelConfig(act="relu", **SHAPE), seed=3).state_dict(),
    )
    assert set(own) < set(other)
    assert all(torch.equal(own[name], other[name]) for name in own)


def test_each_layer_adds_its_attention_alone() -> None:
    model = Transformer(NONE)
    x = model.embed(TOKENS)
    for block in (model.block(0), model.block(1)):
        x = x + block.attn(block.ln1(x))
    torch.testing.assert_close(model(TOKENS), model.head(model.ln_out(x)))


def test_the_bridge_gives_equal_logits() -> None:
    model = Transformer(NONE, seed=1)
    bridge = to_bridge(model)
    torch.testing.assert_close(bridge(TOKENS), model(TOKENS), atol=1e-5, rtol=0)


def test_it_trains() -> None:
    model = Transformer(NONE)
    loss, *_ = TrainingLoss(model)(torch.cat([TOKENS, TOKENS[:, :1]], 1))
    loss.backward()
    assert all(each.grad is not None for each in model.parameters())
    assert to_train(NONE, NONE.n_params, 64, l1=False).activations > 0


def test_its_hooks_are_those_of_attention() -> None:
    names = hook_names(NONE)
    assert not any("mlp" in name for name in names)
    model = Transformer(NONE)
    torch.testing.assert_close(
        values_at(model, TOKENS, "blocks.0.hook_resid_post"), values_at(model, TOKENS, "blocks.1.hook_resid_pre")
    )


@pytest.mark.parametrize("widths", [{"mlp_ratio": 4}, {"widths": (64, 64)}])
def test_widths_are_refused(widths: dict) -> None:
    spec = {key: value for key, value in SHAPE.items() if key != "d_vocab"}
    with pytest.raises(ValueError, match=f"{next(iter(widths))}: act = 'none' is a model without MLPs"):
        ModelSpec(act="none", **spec, **widths)


def test_what_needs_an_mlp_is_refused_in_one_line() -> None:
    model = Transformer(NONE)
    with pytest.raises(BadInput, match="attention-only"):
        widen(model, WidenPlan(layers=(0,), factor=2))
    with pytest.raises(BadInput, match="attention-only"):
        model.mlp_activations(TOKENS, 0)
    with pytest.raises(BadInput, match="attention-only"):
        _ = NONE.activation


def test_a_run_writes_a_checkpoint_that_opens(data: Path, tmp_path: Path) -> None:
    config = small_run(data, model={"act": "none", "d_model": 8, "n_heads": 2, "n_ctx": 16, "n_layers": 2})
    run(config, tmp_path / "run")
    checkpoint = load(tmp_path / "run")
    assert checkpoint.config.act == "none"
    assert "of attention alone" in (tmp_path / "run/README.md").read_text()
