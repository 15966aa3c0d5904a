"""A T5 read layer by layer from its weight files: equal to transformers' own forward pass, resumed, and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from analyze.activations.store import open_activations
from analyze.models.collect import collect_model
from analyze.models.forward import start_token
from analyze.models.opened import config_of, model_files, tokens_of
from analyze.models.stream import Rows, StreamedStack
from analyze.models.t5_layers import LayerReader, Shape, distance_buckets, untrained_weights
from analyze.models.weight_files import WeightFiles
from tests.analyze.models.small import write_data, write_model
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem

KINDS = ["t5", "t5_gated"]


def as_bin(directory: Path, shards: int = 1) -> None:
    """Exchange the weights for pytorch_model.bin, whole or in shards."""
    from safetensors.torch import load_file

    state = {}
    for path in sorted(directory.glob("*.safetensors")):
        state |= load_file(path)
        path.unlink()
    for path in directory.glob("*.index.json"):
        path.unlink()
    if shards == 1:
        torch.save(state, directory / "pytorch_model.bin")
        return
    names, listed = sorted(state), {}
    for number in range(shards):
        file = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
        part = names[number::shards]
        torch.save({name: state[name] for name in part}, directory / file)
        listed |= dict.fromkeys(part, file)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": listed}))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_both_stacks_are_those_of_transformers(kind, tmp_path):
    from transformers import AutoModel

    model = write_model(kind, tmp_path / "tiny")
    data = TokenFile.open(write_data(model, tmp_path / "text"), split="eval")
    files = model_files(f"hf:{model}")
    config = config_of(files)
    rows = Rows(data, tokens_of(files, config, data), data.n_rows, start_token(config))
    shape, weights = Shape.of(config), WeightFiles(model)
    encoder = StreamedStack(weights, shape, "encoder", rows, tmp_path / "encoder")
    encoder.embed()
    for layer in range(2):
        encoder.through(layer)
    encoded = encoder.output()
    decoder = StreamedStack(weights, shape, "decoder", rows, tmp_path / "decoder", encoded)
    decoder.embed()
    for layer in range(2):
        decoder.through(layer)
    theirs = AutoModel.from_pretrained(model).eval()
    plain = data.plain_rows(0, data.n_rows)[:, : data.n_ctx]
    out = theirs(input_ids=rows.ids(plain, "encoder"), decoder_input_ids=rows.ids(plain, "decoder"))
    torch.testing.assert_close(torch.from_numpy(encoded.copy()), out.encoder_last_hidden_state, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.from_numpy(decoder.output().copy()), out.last_hidden_state, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_neurons_are_those_of_the_whole_model(kind, tmp_path):
    model = write_model(kind, tmp_path / "tiny")
    data = write_data(model, tmp_path / "text")
    hooks = ["mid", "gateneg"] if kind == "t5_gated" else ["mid"]
    whole = collect_model(f"hf:{model}", data, tmp_path / "whole", hooks=hooks, untrained=False)
    streamed = collect_model(f"hf:{model}", data, tmp_path / "streamed", hooks=hooks, untrained=False, stream=True)
    assert [each.parts[-3:] for each in streamed] == [each.parts[-3:] for each in whole]
    for one, other in zip(whole, streamed, strict=True):
        a, b = open_activations(one), open_activations(other)
        assert a.meta.checkpoint_hash == b.meta.checkpoint_hash
        np.testing.assert_allclose(a.moments.mean, b.moments.mean, atol=1e-6)
        np.testing.assert_allclose(a.moments.maximum, b.moments.maximum, atol=1e-5)
    assert not list((tmp_path / "streamed").glob(".stream-*"))


@pytest.mark.parametrize("form", ["shards", "bin", "bin shards"])
def test_shards_and_bin_files_give_the_same_neurons(form, tmp_path):
    model = write_model("t5", tmp_path / "tiny", max_shard_size=20_000 if form == "shards" else "1GB")
    data = write_data(model, tmp_path / "text")
    expected = collect_model(f"hf:{model}", data, tmp_path / "whole", untrained=False)
    if form.startswith("bin"):
        as_bin(model, 3 if form == "bin shards" else 1)
    else:
        assert len(list(model.glob("model-*.safetensors"))) > 1
    streamed = collect_model(f"hf:{model}", data, tmp_path / "streamed", untrained=False, stream=True)
    for one, other in zip(expected, streamed, strict=True):
        mean = open_activations(one).moments.mean
        np.testing.assert_allclose(open_activations(other).moments.mean, mean, atol=1e-6)


def test_a_pass_that_was_stopped_goes_on_behind_the_last_layer(tmp_path, monkeypatch):
    model = write_model("t5", tmp_path / "tiny")
    data = write_data(model, tmp_path / "text")
    expected = collect_model(f"hf:{model}", data, tmp_path / "whole", untrained=False, stream=True)
    through, passed = StreamedStack.through, []

    def stops(self, layer):
        if (self.stack, layer) == ("decoder", 1) and len(passed) == 3:
            raise KeyboardInterrupt
        passed.append((self.stack, layer))
        through(self, layer)

    monkeypatch.setattr(StreamedStack, "through", stops)
    with pytest.raises(KeyboardInterrupt):
        collect_model(f"hf:{model}", data, tmp_path / "again", untrained=False, stream=True)
    passed.append(None)
    made = collect_model(f"hf:{model}", data, tmp_path / "again", untrained=False, stream=True)
    assert passed == [("encoder", 0), ("encoder", 1), ("decoder", 0), None, ("decoder", 1)]
    for one, other in zip(expected, made, strict=True):
        assert np.array_equal(open_activations(one).moments.mean, open_activations(other).moments.mean)


@pytest.mark.parametrize("both_sides", [True, False])
def test_distances_fall_into_the_buckets_of_the_library(both_sides):
    from transformers.models.t5.modeling_t5 import T5Attention

    positions = torch.arange(300)
    theirs = T5Attention._relative_position_bucket(positions[None] - positions[:, None], both_sides, 32, 128)
    assert torch.equal(distance_buckets(300, 300, both_sides, 32, 128), theirs)


def test_random_weights_have_the_deviations_of_transformers_initialisation(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(d_model=64, d_kv=32, d_ff=256, num_layers=2, num_heads=4, vocab_size=500)
    torch.manual_seed(0)
    theirs = T5ForConditionalGeneration(config).state_dict()
    weights = untrained_weights(Shape.of(config))
    own = {name for name in theirs if "embed_tokens" not in name and name != "lm_head.weight"}
    assert weights.names() == own
    for name in own:
        value = weights.tensor(name, tuple(theirs[name].shape))
        expected = float(theirs[name].std())
        assert float(value.std()) == pytest.approx(expected, rel=0.15), name
        assert float(value.mean()) == pytest.approx(float(theirs[name].mean()), abs=0.1 * max(expected, 0.1) + 0.05)


def test_a_layer_reads_no_more_than_its_own_weights(tmp_path):
    model = write_model("t5", tmp_path / "tiny")
    weights, read = WeightFiles(model), []
    plain = weights.tensor
    weights.tensor = lambda name, shape: (read.append(name), plain(name, shape))[1]  # pyright: ignore
    reader = LayerReader(weights, Shape.of(config_of(model_files(f"hf:{model}"))), "decoder")
    reader.self_attention(1), reader.cross_attention(1), reader.neurons(1), reader.w_out(1)
    assert len(read) == 13
    assert all(name.startswith("decoder.block.1.") for name in read)


def spoiled_type(directory: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    state = load_file(path)
    state["encoder.block.0.layer.1.DenseReluDense.wi.weight"] = torch.ones(24, 16, dtype=torch.int8)
    save_file(state, path, {"format": "pt"})


def drop_a_shard(directory: Path) -> None:
    as_bin(directory, 3)
    next(directory.glob("*00002*")).unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoiled_type, r"model\.safetensors: tensor 'encoder.*wi\.weight' is int8, no float type"),
        (drop_a_shard, r"00002-of-00003\.bin: missing; .*names it"),
        (lambda place: (place / "model.safetensors").write_bytes(b"junk"), "not a readable safetensors file"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_read_are_one_line(spoil, says, tmp_path):
    model = write_model("t5", tmp_path / "tiny")
    data = write_data(model, tmp_path / "text")
    spoil(model)
    with pytest.raises(BadInput, match=says):
        collect_model(f"hf:{model}", data, tmp_path / "out", untrained=False, stream=True)


def test_other_models_and_too_little_memory_are_refused(tmp_path, monkeypatch):
    model = write_model("llama", tmp_path / "llama")
    data = write_data(model, tmp_path / "text")
    with pytest.raises(BadInput, match="--stream reads T5 alone; its model_type is 'llama'"):
        collect_model(f"hf:{model}", data, tmp_path / "out", stream=True)
    monkeypatch.setattr("analyze.models.streaming.free_memory", lambda: 1000)
    model = write_model("t5", tmp_path / "tiny")
    with pytest.raises(EnvironmentProblem, match=r"a layer takes 1\.0 GB of memory, 0\.0 GB are free"):
        collect_model(f"hf:{model}", write_data(model, tmp_path / "t5"), tmp_path / "out", stream=True)
