"""`export --format activations`: every token's values once, shuffled, and an autoencoder learns from them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands import Command
from train.checkpoint import load
from train.data.tokens import TokenFile
from train.export import activations
from train.export.hooks import hook_names, values_at

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("run", ["gelu", "wide"])
def test_every_hook_is_what_transformer_lens_reads_there(run, trained):
    checkpoint = load(trained / run)
    tokens = torch.randint(1, 200, (2, 16), generator=torch.Generator().manual_seed(0))
    model = checkpoint.model()
    with torch.no_grad():
        _, cache = checkpoint.bridge().run_with_cache(tokens)
    names = hook_names(checkpoint.config)
    assert len(names) == (8 if run == "wide" else 7)
    for name in names:
        theirs = cache[name.replace("hook_mid", "ln.hook_in")]
        torch.testing.assert_close(values_at(model, tokens, name), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hook", ["blocks.0.mlp.hook_mid", "blocks.0.hook_resid_post"])
def test_the_shards_hold_every_token_once_with_its_values_in_another_order(
    hook, trained, tmp_path, train_command: Command, monkeypatch
):
    from datasets import load_from_disk

    monkeypatch.setattr(activations, "SHARD_BYTES", 20_000)
    out = tmp_path / "out"
    n_tokens = 15 * 50
    words = ("export", trained / "wide", "--format", "activations", "--hook", hook, "--out", out, "--seed", 3)
    said = train_command(*words, "--tokens", n_tokens)
    assert said.code == 0, said
    assert not list(out.glob(".*"))
    assert len(list(out.glob("*.arrow"))) > 1
    table = load_from_disk(str(out)).with_format("numpy")[:]
    assert table[hook].shape[:2] == (n_tokens // 64, 64)
    checkpoint = load(trained / "wide")
    rows = TokenFile.open(trained / "data", n_ctx=16).rows_at(3, 0, 50)[:, :-1]
    expected = values_at(checkpoint.model(), rows, hook).numpy()
    row, position = table["row"].reshape(-1), table["position"].reshape(-1)
    np.testing.assert_array_equal(table["token_ids"].reshape(-1), rows.numpy()[row, position])
    np.testing.assert_allclose(table[hook].reshape(len(row), -1), expected[row, position], rtol=1e-5, atol=1e-6)
    assert len(set(zip(row.tolist(), position.tolist(), strict=True))) == len(row) == n_tokens // 64 * 64
    assert position.min() == 1  # BOS is left out
    assert abs(np.corrcoef(row[:-1], row[1:])[0, 1]) < 0.2
    assert train_command(*words, "--tokens", n_tokens).out.startswith("found")


def test_a_small_autoencoder_learns_from_the_shards(trained, tmp_path, train_command: Command):
    out = tmp_path / "out"
    said = train_command(
        "export", trained / "wide", "--format", "activations", "--hook", "blocks.0.mlp.hook_post", "--out", out,
        "--tokens", 3000,
    )  # fmt: skip
    assert said.code == 0, said
    command = [sys.executable, "examples/train_autoencoder.py", str(out)]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout
    left = [float(line.split("variance ")[1].split(",")[0]) for line in lines.splitlines()]
    assert left[-1] < 0.9 * left[0]


def test_what_cannot_be_exported_is_one_line(trained, tmp_path, train_command: Command):
    words = ("export", trained / "gelu", "--format", "activations", "--out", tmp_path / "out")
    hook = ("--hook", "blocks.0.mlp.hook_post")
    assert train_command(*words).is_refusal(2, "--hook")
    assert train_command(*words, "--hook", "blocks.0.mlp.hook_pots").is_refusal(2, "hook_pots", "did you mean")
    assert train_command(*words, "--hook", "blocks.0.mlp.hook_mid").is_refusal(2, "no such hook")
    assert train_command(*words, *hook, "--tokens", 10**9).is_refusal(2, "--tokens 1000000000", "fit split")
    assert train_command(*words, *hook, "--tokens", 3).is_refusal(2, "--tokens 3")
    assert train_command(*words, *hook, "--data", tmp_path).is_refusal(2, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
