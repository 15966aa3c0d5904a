"""`export --format hf`: transformers opens what was written, with equal logits, with polysem out of the way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.commands import Command
from train.activations import ACTIVATIONS
from train.checkpoint import load, save_checkpoint
from train.config import ModelConfig
from train.export import modeling_polysem
from train.export.hf import is_gpt2, write_hf
from train.model import Transformer

SHAPES = [(act, widths) for act in ACTIVATIONS for widths in ((48,), (32, 32), (16, 80))] + [("none", (0, 0))]


def opened(directory: Path) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True).eval()


def checkpoint_of(model: Transformer, like: Path, place: Path):
    """A checkpoint of any model, with the state and tokenizer of another."""
    other = load(like)
    state = {**other.state, "n_params": model.config.n_params}
    return load(save_checkpoint(place, model, {}, state, (other.directory / "tokenizer.json").read_bytes(), None))


@pytest.mark.parametrize(("act", "widths"), SHAPES)
def test_the_logits_are_equal_for_every_activation_depth_and_mixed_widths(act, widths, trained, tmp_path):
    d_vocab = load(trained / "gelu").config.d_vocab
    config = ModelConfig(n_layers=len(widths), d_model=16, n_heads=4, n_ctx=24, d_vocab=d_vocab, act=act, widths=widths)
    model = Transformer(config, seed=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and LayerNorms are not at 0 and 1
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    write_hf(checkpoint_of(model, trained / "gelu", tmp_path / "run"), tmp_path)
    assert (tmp_path / "modeling_polysem.py").exists() == (not is_gpt2(config))
    theirs = opened(tmp_path)
    tokens = torch.randint(0, d_vocab, (3, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, model(tokens), rtol=1e-5, atol=2e-5)


def test_the_code_that_goes_along_knows_every_activation():
    assert modeling_polysem.ACTIVATIONS.keys() == ACTIVATIONS.keys()
    assert {name for name in ACTIVATIONS if name.endswith("_ln")} == {a.name for a in ACTIVATIONS.values() if a.mid_ln}


@pytest.mark.parametrize("run", ["gelu", "wide"])
def test_another_process_without_polysem_opens_model_and_tokenizer(run, trained, tmp_path, train_command: Command):
    out = tmp_path / "out"
    assert train_command("export", trained / run, "--format", "hf", "--out", out).code == 0
    checkpoint = load(trained / run)
    text = "the cat <|bos|> sat"
    tokens = [0, *checkpoint.tokenizer().encode(text).ids]
    with torch.no_grad():
        ours = checkpoint.model()(torch.tensor([tokens[:16]]))
    code = f"""
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("out", trust_remote_code={run == "wide"}).eval()
tokenizer = AutoTokenizer.from_pretrained("out", trust_remote_code={run == "wide"})
ids = tokenizer({text!r})["input_ids"]
made = model.generate(torch.tensor([ids[:4]]), max_new_tokens=3, do_sample=False)[0].tolist()
with torch.no_grad():
    logits = model(torch.tensor([ids[:16]])).logits
assert "train" not in sys.modules
print(json.dumps([type(model).__name__, ids, logits.tolist(), made]))
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-c", code]
    said = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert said.returncode == 0, said.stderr
    name, ids, logits, made = json.loads(said.stdout.splitlines()[-1])
    assert name == ("PolysemForCausalLM" if run == "wide" else "GPT2LMHeadModel")
    assert ids == tokens
    torch.testing.assert_close(torch.tensor(logits), ours, rtol=1e-5, atol=2e-5)
    greedy = tokens[:4]
    for _ in range(3):
        with torch.no_grad():
            greedy.append(int(checkpoint.model()(torch.tensor([greedy]))[0, -1].argmax()))
    assert made == greedy


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_logits(side):
    config = modeling_polysem.PolysemConfig(
        n_layers=2,
        d_model=16,
        n_heads=4,
        n_ctx=12,
        vocab_size=50,
        act="solu_ln",
        widths=(32, 48),
        mlp_ln_eps=(1e-5, 1e-6),
    )
    torch.manual_seed(0)
    model = modeling_polysem.PolysemForCausalLM(config).eval()
    tokens = torch.randint(1, 50, (1, 7))
    pad, there = torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 7, dtype=torch.long)
    order = (lambda a, b: torch.cat((a, b), 1)) if side == "left" else (lambda a, b: torch.cat((b, a), 1))
    with torch.no_grad():
        alone = model(tokens).logits
        padded = model(order(pad, tokens), attention_mask=order(pad, there)).logits
    torch.testing.assert_close(padded[:, 3:] if side == "left" else padded[:, :7], alone)


def test_a_second_export_finds_the_first_and_a_taken_place_is_refused(trained, tmp_path, train_command: Command):
    out = tmp_path / "out"
    words = ("export", trained / "gelu", "--format", "hf", "--out", out)
    assert train_command(*words).out.startswith("wrote")
    assert train_command(*words).out.startswith("found")
    other = train_command("export", trained / "wide", "--format", "hf", "--out", out)
    assert other.is_refusal(2, str(out), "already there", "--out")
    (out / "config.json").write_text("{}")
    assert train_command(*words).is_refusal(2, str(out / "config.json"))


def test_options_of_another_format_and_what_is_not_there_are_one_line(trained, tmp_path, train_command: Command):
    words = ("export", trained / "gelu", "--format", "hf", "--out", tmp_path / "out")
    assert train_command(*words, "--hook", "blocks.0.mlp.hook_post").is_refusal(2, "--hook", "hf")
    assert train_command(*words, "--push", "user/name").is_refusal(2, "--push", "hf")
    assert train_command("export", tmp_path / "none", *words[2:]).is_refusal(2, str(tmp_path / "none"))
    assert not (tmp_path / "out").exists()
