"""Every adapter: the values it gives are what the library's own forward pass computes with."""

import json
from pathlib import Path

import pytest
import torch

from analyze.models.base import ADAPTERS, module_at
from analyze.models.forward import Reader
from analyze.models.opened import OpenedModel, Tokens, model_files, open_model
from tests.analyze.models.small import SHAPES, write_model
from train.errors import BadInput

PLAIN = Tokens("", 0, None)
"""polysem's ids are the model's."""


def opened_and_ids(kind: str, place: Path) -> tuple[OpenedModel, torch.Tensor]:
    opened = open_model(model_files(f"hf:{write_model(kind, place)}"))
    return opened, torch.randint(3, 200, (3, 12), generator=torch.Generator().manual_seed(0))


def own_head(directory: Path, config) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    kinds = {"t5": AutoModelForSeq2SeqLM, **dict.fromkeys(("bert", "roberta", "distilbert"), AutoModelForMaskedLM)}
    return kinds.get(config.model_type, AutoModelForCausalLM).from_pretrained(directory).eval()


@pytest.mark.parametrize("kind", SHAPES)
@torch.no_grad()
def test_logits_are_the_librarys_when_its_neurons_are_replaced_by_ours(kind, tmp_path):
    """Ours go in at W_out of every layer: wherever they came from another place or row, the logits would differ."""
    opened, ids = opened_and_ids(kind, tmp_path / kind)
    model = own_head(tmp_path / kind, opened.config)
    for stack in opened.adapter.stacks:
        reader = Reader(opened, stack, PLAIN)
        expected = model(**reader.inputs(ids)).logits
        values = reader.neurons(ids, range(2))
        assert {tuple(each.shape) for each in values.values()} == {(3, 12, 24)}
        hooks = []
        for layer, block in enumerate(module_at(model.base_model, stack.layers, kind)):  # pyright: ignore
            ours = values[layer, "mid"]

            def replace(module, inputs, ours=ours):
                return (ours.reshape(inputs[0].shape),)

            hooks.append(module_at(block, stack.w_out, kind).register_forward_pre_hook(replace))
        logits = model(**reader.inputs(ids)).logits
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        values[0, "mid"] += 1  # in place: the values that stand there do matter
        assert (model(**reader.inputs(ids)).logits - expected).abs().max() > 1e-3
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("kind", [kind for kind in SHAPES if kind in ("llama", "phi3", "t5_gated", "gemma2")])
def test_the_sign_of_the_gate_parts_a_gated_neuron(kind, tmp_path):
    opened, ids = opened_and_ids(kind, tmp_path / kind)
    reader = Reader(opened, opened.adapter.stacks[0], PLAIN)
    found = reader.neurons(ids, [0, 1], ("mid", "gatepos", "gateneg"))
    for layer in (0, 1):
        mid, positive, negative = (found[layer, hook] for hook in ("mid", "gatepos", "gateneg"))
        torch.testing.assert_close(positive + negative, mid)
        assert not ((positive != 0) & (negative != 0)).any()
        assert (positive != 0).any()
        assert (negative != 0).any()
        # At a positive gate silu and gelu are positive, so the up-projection alone decides the sign of the value.
        assert (positive < 0).any()


@torch.no_grad()
def test_a_gated_value_is_the_activation_of_the_gate_times_the_up_projection(tmp_path):
    opened, ids = opened_and_ids("llama", tmp_path / "llama")
    reader = Reader(opened, opened.adapter.stacks[0], PLAIN)
    mlp, read = opened.layers(opened.adapter.stacks[0])[1].mlp, {}
    mlp.register_forward_pre_hook(lambda module, inputs: read.update(x=inputs[0]))  # pyright: ignore
    values = reader.neurons(ids, [1], ("mid", "gatepos"))
    gate = mlp.gate_proj(read["x"])  # pyright: ignore
    expected = torch.nn.functional.silu(gate) * mlp.up_proj(read["x"])  # pyright: ignore
    torch.testing.assert_close(values[1, "mid"], expected)
    torch.testing.assert_close(values[1, "gatepos"], torch.where(gate > 0, expected, 0))


def test_every_adapter_is_shown_here():
    kinds = set(SHAPES)
    for adapter in ADAPTERS.values():
        assert adapter.name in kinds or set(adapter.model_types) & kinds, adapter.name


def test_a_masked_model_reads_separators_behind_documents_and_rows():
    ids = torch.tensor([[0, 7, 2, 0, 9]])
    assert Tokens("", 2, 3).to_model(ids, masked=True).tolist() == [[2, 7, 0, 3, 9, 3]]
    assert Tokens("", 2, 3).to_model(ids, masked=False).tolist() == [[2, 7, 0, 2, 9]]


def test_a_model_that_no_adapter_knows_is_named_with_what_is_known(tmp_path):
    directory = write_model("gpt2", tmp_path / "odd")
    config = json.loads((directory / "config.json").read_text()) | {"model_type": "mamba"}
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"no adapter knows the MLPs of model_type 'mamba'; known: bert, .*llama"):
        open_model(model_files(f"hf:{directory}"))


def test_an_untrained_model_is_the_same_architecture_at_random_and_the_same_each_time(tmp_path):
    files = model_files(f"hf:{write_model('llama', tmp_path / 'llama')}")
    trained, one, other = open_model(files), open_model(files, untrained=True), open_model(files, untrained=True)
    shapes = {name: value.shape for name, value in trained.model.state_dict().items()}
    assert {name: value.shape for name, value in one.model.state_dict().items()} == shapes
    name = "layers.0.mlp.up_proj.weight"
    assert torch.equal(one.model.state_dict()[name], other.model.state_dict()[name])
    assert not torch.equal(one.model.state_dict()[name], trained.model.state_dict()[name])
