"""Imported models as the start of widenings and runs, and written again in their own format."""

import json
from pathlib import Path

import pytest
import torch

from tests.commands import Command
from tests.train.fixtures import small_data, small_run, write_text
from tests.train.tl_legacy.legacy import write_legacy
from train.checkpoint import load, save_checkpoint
from train.config import ModelConfig
from train.data.config import DataConfig, SourceConfig
from train.data.prepare import prepare
from train.errors import BadInput
from train.export.command import export_tl_legacy
from train.model import Transformer
from train.training_run import run

ACTS = ["gelu", "solu_ln", "relu"]


def own_data(directory: Path, place: Path) -> Path:
    """Text in the tokens of an imported model."""
    (place / "texts").mkdir(parents=True)
    for index in range(40):
        write_text(place / f"texts/{index:02}.txt", 2 + index % 3)
        own = (place / f"texts/{index:02}.txt").read_text()
        (place / f"texts/{index:02}.txt").write_text(f"Number {index}. {own}")
    source = SourceConfig(kind="files", weight=1, paths=(str(place / "texts/*.txt"),))
    config = DataConfig(name="own", sources=(source,), tokenizer=f"tl:{directory}", n_ctx=16, eval_share=0.3)
    return prepare(config, place / "data").directory


@pytest.mark.parametrize("act", ACTS)
def test_a_widened_import_computes_what_its_parent_does_and_names_it(
    act, tmp_path, train_command: Command, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    directory = write_legacy(tmp_path / "published", act)
    said = train_command("widen", f"tl:{directory}", "--layers", "0", "--factor", "10")
    assert said.code == 0, said
    assert "exact: relative L2" in said.out
    parent, wide = load(directory), load("checkpoints/published-x10")
    assert wide.config.widths == (240,)
    assert wide.state["start"]["hash"] == parent.hash
    assert wide.lineage is not None
    assert wide.lineage.parent_hash == parent.hash
    assert wide.lineage.receipt.logits_relative_l2["fp32"] <= 1e-5
    tokens = torch.randint(0, parent.config.d_vocab, (2, 16))
    torch.testing.assert_close(wide.model()(tokens), parent.model()(tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize("start", ["tl:", ""])
def test_a_run_starts_from_an_import_and_trains_the_widened_mlp_alone(start, tmp_path):
    directory = write_legacy(tmp_path / "published", "solu_ln")
    data = own_data(directory, tmp_path)
    widen = {"layers": (0,), "factor": 3, "noise": "zero_sum", "sigma": 0.1}
    config = small_run(data, start=f"{start}{directory}", widen=widen)
    outcome = run(config, tmp_path / "wide")
    parent, child = load(directory), outcome.checkpoint
    assert child.lineage is not None
    assert child.lineage.receipt.exact_promised
    assert child.lineage.receipt.rows.endswith("evaluation rows")
    assert child.state["start"]["hash"] == parent.hash
    assert child.state["tokens_before"] == 0
    before, after = parent.model().state_dict(), child.model().state_dict()
    moved = {name for name in after if ".mlp." in name or not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("layers.0.mlp.") for name in moved)
    assert run(config, tmp_path / "wide").found
    assert (tmp_path / "wide/README.md").exists()


def test_a_bias_of_the_unembedding_is_trained_on_with_the_rest(tmp_path):
    directory = write_legacy(tmp_path / "published", "relu")
    state = torch.load(directory / "model_final.pth", weights_only=True)
    d_vocab = json.loads((directory / "config.json").read_text())["d_vocab"]
    torch.save(state | {"unembed.b_U": torch.randn(d_vocab)}, directory / "model_final.pth")
    outcome = run(small_run(own_data(directory, tmp_path), start=str(directory)), tmp_path / "on")
    before, after = load(directory).model(), outcome.checkpoint.model()
    assert before.head.bias is not None
    assert not torch.equal(before.head.bias, after.head.bias)
    tokens = torch.randint(0, d_vocab, (2, 16))
    torch.testing.assert_close(outcome.checkpoint.bridge()(tokens), after(tokens), atol=1e-5, rtol=0)


def test_the_loss_counts_the_bias_of_the_unembedding():
    from train.loss import NextTokenLoss

    model = Transformer(
        ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=16, d_vocab=30, act="relu", unembed_bias=True)
    )
    assert model.head.bias is not None
    torch.nn.init.normal_(model.head.bias)
    rows = torch.randint(0, 30, (3, 17))
    loss = NextTokenLoss(model)(rows)
    expected = torch.nn.functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    own = torch.autograd.grad(loss, parameters)
    for mine, theirs in zip(own, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_a_config_without_that_bias_is_written_as_before():
    config = ModelConfig(n_layers=1, d_model=8, n_heads=2, n_ctx=16, d_vocab=30, act="relu")
    assert "unembed_bias" not in config.model_dump_json()
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_data_of_another_tokenizer_are_refused_with_the_key_that_helps(tmp_path):
    directory, data = write_legacy(tmp_path / "published"), small_data(tmp_path)
    with pytest.raises(BadInput, match=rf'data: the tokenizer of .*; prepare them with tokenizer = "tl:{directory}"'):
        run(small_run(data, start=f"tl:{directory}"), tmp_path / "on")


def test_a_scheme_that_is_not_exact_is_refused_where_exactness_is_asked(tmp_path, train_command: Command):
    directory = write_legacy(tmp_path / "published", "solu_ln")
    said = train_command(
        "widen", f"tl:{directory}", "--layers", "0", "--factor", "2", "--noise", "w_in", "--exact", "true"
    )
    assert said.is_refusal(2, "exact: noise on W_in changes")
    said = train_command(
        "widen", f"tl:{directory}", "--layers", "0", "--factor", "2", "--copies", "fresh", "--noise", "none"
    )
    assert said.is_refusal(2, "fresh")


def exported(model: Transformer, like: Path, place: Path) -> Path:
    other = load(like)
    state = {**other.state, "n_params": model.config.n_params, "variant": "made", "run": "made"}
    save_checkpoint(place / "run", model, {}, state, (other.directory / "tokenizer.json").read_bytes(), None)
    return place / "run"


@pytest.mark.parametrize(("act", "n_layers"), [(act, n) for act in [*ACTS, "none"] for n in (1, 2)])
def test_what_is_written_opens_here_and_in_transformer_lens(
    act, n_layers, tmp_path, their_logits, train_command: Command
):
    published = write_legacy(tmp_path / "published")
    d_vocab = load(published).config.d_vocab
    config = ModelConfig(n_layers=n_layers, d_model=16, n_heads=4, n_ctx=12, d_vocab=d_vocab, act=act)
    model = Transformer(config, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and LayerNorms are not at 0 and 1
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    source, out = exported(model, published, tmp_path), tmp_path / "legacy"
    assert train_command("export", source, "--format", "tl-legacy", "--out", out).out.startswith("wrote")
    assert train_command("export", source, "--format", "tl-legacy", "--out", out).out.startswith("found")
    tokens = torch.randint(0, d_vocab, (2, 12))
    again = load(f"tl:{out}")
    with torch.no_grad():
        torch.testing.assert_close(again.model()(tokens), model(tokens), atol=1e-6, rtol=0)
        torch.testing.assert_close(their_logits(out, tokens), model(tokens), atol=1e-5, rtol=0)
    assert again.state["data"]["tokenizer_sha256"] == load(source).state["data"]["tokenizer_sha256"]
    assert torch.load(out / "model_final.pth", weights_only=True).keys() >= {"embed.W_E", "unembed.W_U"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"act": "gelu_ln"}, "has no activation gelu_ln"),
        ({"widths": (16, 32)}, r"has one d_mlp, this model's layers are \[16, 32\] wide"),
        ({"act": "solu_ln", "mlp_ln_eps": (1e-7, 1e-7)}, "has one epsilon"),
    ],
)
def test_what_the_format_cannot_say_is_refused(change, says, tmp_path):
    published = write_legacy(tmp_path / "published")
    shape = {"n_layers": 2, "d_model": 16, "n_heads": 4, "n_ctx": 12, "d_vocab": load(published).config.d_vocab}
    model = Transformer(ModelConfig(**{**shape, "act": "relu", **change}))
    with pytest.raises(BadInput, match=says):
        export_tl_legacy(exported(model, published, tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()
