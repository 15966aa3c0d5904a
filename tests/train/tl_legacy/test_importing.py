"""Checkpoints of TransformerLens' legacy format: opened, equal, and refused where they cannot be polysem's."""

import json
import os
from pathlib import Path

import pytest
import torch

from tests.train.tl_legacy.legacy import BOS, change_weights, random_state, write_legacy
from train.checkpoint import load, step_directory
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.errors import BadInput, EnvironmentProblem
from train.files import verify
from train.model import Transformer

SHAPES = [(act, n_layers) for act in ("gelu", "gelu_new", "solu", "solu_ln", "relu", "none") for n_layers in (1, 2)]


def theirs(ids: torch.Tensor, bos: int = 2) -> torch.Tensor:
    """polysem's ids as the published tokenizer's: BOS and id 0 are exchanged."""
    return torch.where(ids == 0, bos, torch.where(ids == bos, 0, ids))


def tokens(d_vocab: int) -> torch.Tensor:
    return torch.randint(0, d_vocab, (3, 16), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def require_equal_logits(directory: Path, their_logits) -> None:
    checkpoint = load(f"tl:{directory}")
    ids = tokens(checkpoint.config.d_vocab)
    expected = their_logits(directory, theirs(ids))[..., theirs(torch.arange(checkpoint.config.d_vocab))]
    torch.testing.assert_close(checkpoint.model()(ids), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(checkpoint.bridge()(ids), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("act", "n_layers"), SHAPES)
def test_logits_are_those_of_transformer_lens_own_reading(act, n_layers, tmp_path, their_logits):
    require_equal_logits(write_legacy(tmp_path / "published", act, n_layers), their_logits)


def test_a_bare_directory_and_a_prefixed_one_are_the_same_checkpoint(tmp_path):
    directory = write_legacy(tmp_path / "gelu-1l")
    bare, prefixed = load(directory), load(f"tl:{directory}")
    assert bare.hash == prefixed.hash
    assert bare.state["run"] == "gelu-1l"
    verify(bare.directory)


@pytest.mark.parametrize("act", ["gelu", "solu_ln"])
def test_folded_layernorms_and_a_bias_of_the_unembedding_are_read(act, tmp_path, their_logits):
    directory = write_legacy(tmp_path / "folded", act, 2, normalization="LNPre")
    d_vocab = json.loads((directory / "config.json").read_text())["d_vocab"]
    folded = {name: None for name in random_state(d_vocab, 2, 24, act) if ".ln1." in name or ".ln2." in name}
    folded |= {"ln_final.w": None, "ln_final.b": None}
    change_weights(directory, folded | {"unembed.b_U": torch.randn(d_vocab)})
    assert load(directory).config.unembed_bias
    require_equal_logits(directory, their_logits)


def test_a_bias_of_zeros_is_none(tmp_path):
    directory = write_legacy(tmp_path / "zeros")
    d_vocab = json.loads((directory / "config.json").read_text())["d_vocab"]
    change_weights(directory, {"unembed.b_U": torch.zeros(d_vocab)})
    assert not load(directory).config.unembed_bias


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_float_types_are_read_in_fp32(dtype, tmp_path):
    directory = write_legacy(tmp_path / "half")
    state = torch.load(directory / "model_final.pth", weights_only=True)
    change_weights(directory, {name: value.to(dtype) for name, value in state.items() if value.is_floating_point()})
    assert load(directory).model().head.weight.dtype == torch.float32


def test_widths_may_differ_by_layer(tmp_path):
    directory = write_legacy(tmp_path / "mixed", n_layers=2, d_mlp=24)
    wide = random_state(10, 2, 40, "gelu", seed=5)
    change_weights(directory, {name: wide[name] for name in wide if name.startswith("blocks.1.mlp.")})
    assert load(directory).config.widths == (24, 40)


def test_the_same_architecture_untrained_lies_beside_it_as_step_0(tmp_path):
    trained = load(write_legacy(tmp_path / "gelu-1l"))
    untrained = load(step_directory(trained.directory.parent, 0))
    assert (untrained.step, trained.step) == (0, 1)
    expected = Transformer(trained.config, seed=0).state_dict()
    for name, value in untrained.model().state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


def test_a_second_opening_converts_nothing(tmp_path, monkeypatch):
    directory = write_legacy(tmp_path / "once")
    first = load(directory)

    def fails(*arguments):
        raise AssertionError("converted again")

    monkeypatch.setattr("train.tl_legacy.importing._convert", fails)
    assert load(directory).hash == first.hash


def test_data_tokenized_with_its_own_tokenizer_fit_it(tmp_path):
    directory = write_legacy(tmp_path / "published")
    text = tmp_path / "text.jsonl"
    text.write_text("\n".join(json.dumps({"text": f"the {n} then the other {n * n}"}) for n in range(200)))
    for name in (f"tl:{directory}", str(directory)):
        source = SourceConfig(kind="files", weight=1, paths=(str(text),))
        data = DataConfig(name="own", sources=(source,), tokenizer=name, n_ctx=16)
        prepared = prepare(data, tmp_path / f"data-{len(name)}")
        assert prepared.facts["tokenizer_sha256"] == load(directory).state["data"]["tokenizer_sha256"]
        assert prepared.facts["d_vocab"] == load(directory).config.d_vocab
    assert load(directory).tokenizer().token_to_id(BOS) == 0


def test_a_vocabulary_that_is_padded_is_filled_with_ids_that_no_text_becomes(tmp_path, their_logits):
    directory = write_legacy(tmp_path / "padded")
    values = json.loads((directory / "config.json").read_text())
    n_ids = values["d_vocab"]
    (directory / "config.json").write_text(json.dumps(values | {"d_vocab": n_ids + 5}))
    change_weights(directory, {
        "embed.W_E": torch.randn(n_ids + 5, 16), "unembed.W_U": torch.randn(16, n_ids + 5)
    })  # fmt: skip
    require_equal_logits(directory, their_logits)
    tokenizer = load(directory).tokenizer()
    assert tokenizer.get_vocab_size() == n_ids + 5
    assert max(tokenizer.encode("the <|unused-260|>").ids) < n_ids


class Runs:
    """What a pickle must not be able to do."""

    def __reduce__(self):
        return os.mkdir, ("was-here",)


def break_pickle(directory: Path) -> None:
    torch.save({"embed.W_E": Runs()}, directory / "model_final.pth")


def break_config(**values):
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def break_weights(**change):
    def apply(directory: Path) -> None:
        change_weights(directory, {name.replace("__", "."): value for name, value in change.items()})

    return apply


def shrink_vocabulary(directory: Path) -> None:
    break_config(d_vocab=50)(directory)
    change_weights(directory, {"embed.W_E": torch.randn(50, 16), "unembed.W_U": torch.randn(16, 50)})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (break_pickle, r"model_final\.pth: refused: its pickle wants code to run"),
        (lambda directory: (directory / "model_final.pth").write_bytes(b"none"), r"model_final\.pth: not a readable"),
        (lambda directory: torch.save([1, 2], directory / "model_final.pth"), "something else than named tensors"),
        (lambda directory: (directory / "model_final.pth").unlink(), r"model_final\.pth: missing"),
        (lambda directory: (directory / "tokenizer.json").unlink(), r"tokenizer\.json: missing; put the tokenizer"),
        (break_config(d_model=32, n_heads=4), r"model_final\.pth: tensor '.*' is \[.*\], its config says \[.*\]"),
        (break_config(d_mlp=99), r"config\.json: d_mlp = 99, and 'model_final\.pth' has 24 neurons"),
        (shrink_vocabulary, r"tokenizer\.json: 261 ids with its BOS, the model has 50: not its tokenizer"),
        (break_config(n_layers=2), r"model_final\.pth: tensor 'blocks\.1\.mlp\.W_in' is missing"),
        (break_config(n_layers="two"), r"config\.json: key 'n_layers' is 'two'"),
        (break_config(attn_only=True), r"tensor 'blocks\.0\.ln2\.b' is unknown to a model of this config"),
        (break_config(positional_embedding_type="rotary"), r"positional_embedding_type = 'rotary'"),
        (break_config(normalization="RMS"), r"normalization 'RMS'"),
        (break_config(act_fn="silu"), r"act_fn 'silu' is not one of relu"),
        (break_config(ln_eps=1e-3), r"LayerNorms with epsilon 0\.001"),
        (break_weights(ln_final__w=None), r"tensor 'ln_final\.w' is missing"),
        (break_weights(embed__W_X=torch.zeros(2)), r"tensor 'embed\.W_X' is unknown"),
        (break_weights(ln_final__w=torch.ones(16, dtype=torch.int64)), r"'ln_final\.w' is int64, not one of float32"),
        (break_weights(ln_final__w=torch.full((16,), torch.nan)), r"'ln_out\.weight' holds a value that is not finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(spoil, says, tmp_path, monkeypatch, imports):
    monkeypatch.chdir(tmp_path)
    directory = write_legacy(tmp_path / "spoilt")
    spoil(directory)
    with pytest.raises(BadInput, match=says):
        load(f"tl:{directory}")
    assert not (tmp_path / "was-here").exists()
    assert not list(imports.rglob("MANIFEST.json"))


def test_a_name_that_is_none_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(BadInput, match=r"tl:gelu-1: neither a directory nor a published name; did you mean 'gelu-1l'"):
        load("tl:gelu-1")


def test_without_a_hub_a_published_name_says_what_does_as_well(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(EnvironmentProblem, match=r"tl:gelu-1l: the hub cannot be reached .* does as well"):
        load("tl:gelu-1l")
