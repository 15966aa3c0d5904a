"""The contract with TransformerLens: the library moves fast, these tests hold it to what export needs."""

import pytest
import torch

from train.config import ModelConfig, WidenPlan
from train.lens import to_bridge
from train.model import Transformer
from train.widening.widen import widen

ACTS = ["relu", "gelu", "gelu_new", "gelu_ln", "solu", "solu_ln"]


def small(act: str, n_layers: int, widths: tuple[int, ...]) -> Transformer:
    config = ModelConfig(n_layers=n_layers, d_model=32, n_heads=4, n_ctx=24, d_vocab=97, act=act, widths=widths)
    return Transformer(config, seed=3).eval()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("widths", [(128,), (128, 128), (64, 3200)])
def test_a_bridge_has_the_models_logits_for_every_activation_depth_and_mixed_widths(act, widths):
    model = small(act, len(widths), widths)
    tokens = torch.randint(0, 97, (3, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = model(tokens), to_bridge(model)(tokens, return_type="logits")
    assert (ours - theirs).abs().max() < 1e-5


def test_a_bridge_keeps_the_epsilon_of_a_widened_solu_layer():
    model = small("solu_ln", 2, (128, 128))
    wide, _ = widen(model, WidenPlan(layers=(1,), factor=10, noise="zero_sum", sigma=0.1, seed=0))
    tokens = torch.randint(0, 97, (3, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = wide(tokens), to_bridge(wide)(tokens, return_type="logits")
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("act", ["relu", "gelu_ln", "solu_ln"])
def test_the_bridges_hooks_are_the_models_hooks(act):
    model = small(act, 2, (96, 128))
    tokens = torch.randint(0, 97, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, cache = to_bridge(model).run_with_cache(tokens)
        for layer in range(2):
            for hook, name in (("pre", "hook_pre"), ("post", "hook_post")):
                theirs = cache[f"blocks.{layer}.mlp.{name}"]
                torch.testing.assert_close(model.mlp_activations(tokens, layer, hook), theirs, rtol=1e-5, atol=1e-5)
            if act.endswith("_ln"):
                theirs = cache[f"blocks.{layer}.mlp.ln.hook_in"]
                torch.testing.assert_close(model.mlp_activations(tokens, layer, "mid"), theirs, rtol=1e-5, atol=1e-5)


def test_a_checkpoints_bridge_reads_text_with_its_own_tokenizer(tmp_path):
    from tests.train.fixtures import small_data, small_run
    from train.training_run import run

    checkpoint = run(small_run(small_data(tmp_path)), tmp_path / "gelu-s0").checkpoint
    bridge = checkpoint.bridge()
    tokens = bridge.to_tokens("the cat sat")
    expected = [0, *checkpoint.tokenizer().encode("the cat sat").ids]
    assert tokens[0].tolist() == expected
    assert "".join(bridge.to_str_tokens("the cat sat", prepend_bos=False)) == "the cat sat"
    with torch.no_grad():
        assert (checkpoint.model()(tokens) - bridge(tokens)).abs().max() < 1e-5
        _, cache = bridge.run_with_cache(tokens)
    assert cache["blocks.0.mlp.hook_post"].shape == (1, len(expected), 16)
