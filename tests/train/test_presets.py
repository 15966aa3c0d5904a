"""The models of full size and their twins for a CPU: shapes without memory, and a step at a tenth of the width."""

import pytest
import torch

from train.config import ModelConfig, RunConfig
from train.configfile import load_config
from train.data.config import DataConfig
from train.dry_run import VOCABULARIES
from train.loss import TrainingLoss
from train.model import Transformer
from train.optim import build_optimizer
from train.shipped import CONFIGS, here_or_shipped

ACTS = {"gelu": "gelu_new", "solu": "solu_ln", "relu": "relu"}
PRESETS = {
    f"{wide}{act}-{n_layers}l{twin}": (ACTS[act], n_layers, 100 if wide else 4, bool(twin))
    for act in ACTS
    for n_layers in (1, 2)
    for wide in ("", "wide-")
    for twin in ("", "-cpu")
}
REFERENCE = 48_262
"""Words of the published models."""


def config_of(name: str) -> tuple[RunConfig, DataConfig]:
    """A preset, and the config of the data that it names."""
    config = load_config(RunConfig, CONFIGS / "run" / f"{name}.toml")
    return config, load_config(DataConfig, here_or_shipped(CONFIGS.parent / config.data))


def shape_of(config: RunConfig, data: DataConfig) -> ModelConfig:
    assert config.model is not None
    return config.model.resolve(data.d_vocab if data.tokenizer is None else VOCABULARIES[data.tokenizer])


def test_every_size_stands_among_the_shipped_configs():
    assert len(PRESETS) == 24
    assert {f"{name}.toml" for name in PRESETS} <= {path.name for path in (CONFIGS / "run").glob("*.toml")}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_its_shape_and_is_built_without_memory(name):
    act, n_layers, ratio, is_twin = PRESETS[name]
    config, data = config_of(name)
    shape = shape_of(config, data)
    d_model, n_ctx, d_vocab = (64, 256, 4096) if is_twin else (512, 1024, REFERENCE)
    assert (shape.act, shape.n_layers, shape.d_model) == (act, n_layers, d_model)
    assert (shape.n_ctx, shape.d_vocab) == (n_ctx, d_vocab)
    assert shape.widths == (ratio * d_model,) * n_layers
    assert data.n_ctx == n_ctx
    model = Transformer(shape, seed=None, device="meta")
    assert all(parameter.is_meta for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.n_params


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_takes_a_step_at_a_tenth_of_its_width(name):
    config, data = config_of(name)
    whole = shape_of(config, data)
    heads = whole.n_heads
    shape = whole.model_copy(
        update={
            "d_model": max(1, round(whole.d_model / 10 / heads)) * heads,
            "widths": tuple(round(width / 10) for width in whole.widths),
            "n_ctx": 64,
        }
    )
    model = Transformer(shape, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(model, config.optim, {})
    tokens = torch.randint(0, shape.d_vocab, (2, 65), generator=torch.Generator().manual_seed(0))
    loss = TrainingLoss(model, config.optim.l1)(tokens)[0]
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == list(before)
