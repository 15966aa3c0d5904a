"""`collect hf:...`: layers, hooks and the untrained null of models that polysem did not train, and what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from analyze.activations.store import open_activations
from analyze.models.collect import collect_model
from analyze.models.forward import Reader
from analyze.models.opened import config_of, model_files, open_model, tokens_of
from analyze.scores.run import score
from tests.analyze.models.small import write_data, write_model
from tests.commands import Command
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.memory import free_memory


@pytest.fixture
def llama(tmp_path: Path) -> tuple[Path, Path]:
    """A model and data in its tokens."""
    model = write_model("llama", tmp_path / "tiny-llama")
    return model, write_data(model, tmp_path / "text")


def names(directories: list[Path]) -> list[str]:
    return ["/".join(directory.parts[-3:]) for directory in directories]


def test_every_layer_is_collected_with_its_untrained_null_beside_it(llama, tmp_path):
    model, data = llama
    made = collect_model(f"hf:{model}", data, tmp_path / "out")
    run = "tiny-llama"
    expected = [f"{run}/step-00000000{step}/L{layer}.mid" for step in (1, 0) for layer in (0, 1)]
    assert names(made) == expected
    trained, untrained = open_activations(made[0]), open_activations(made[2])
    assert trained.meta.act == "silu gated"
    assert (trained.meta.run_hash, trained.meta.root_hash) == (untrained.meta.run_hash, untrained.meta.run_hash)
    assert (trained.meta.n_neurons, untrained.meta.n_neurons) == (24, 24)
    assert not np.array_equal(trained.moments.mean, untrained.moments.mean)
    assert not list((tmp_path / "out").glob(".values-*"))


def test_what_is_collected_is_what_a_plain_pass_over_the_text_gives(llama, tmp_path):
    model, data = llama
    made = collect_model(f"hf:{model}", data, tmp_path / "out", layers=[1], untrained=False)
    acts = open_activations(made[0])
    files, tokens = model_files(f"hf:{model}"), TokenFile.open(data, split="eval")
    opened = open_model(files)
    reader = Reader(opened, opened.adapter.stacks[0], tokens_of(files, config_of(files), tokens))
    rows = tokens.plain_rows(0, tokens.n_rows)[:, : tokens.n_ctx]
    values = torch.cat([reader.neurons(row[None], [1])[1, "mid"] for row in rows])
    at = acts.tokens.stream_position + 1
    expected = values.reshape(-1, 24)[torch.from_numpy(at)]
    torch.testing.assert_close(acts.block(0, 24), expected.bfloat16().float(), atol=1e-3, rtol=1e-2)
    np.testing.assert_allclose(acts.moments.mean, expected.double().mean(0), atol=1e-6)


def test_hooks_of_the_gate_and_a_choice_of_neurons(llama, tmp_path):
    model, data = llama
    hooks = ["mid", "gatepos", "gateneg"]
    made = collect_model(f"hf:{model}", data, tmp_path / "out", layers=[0], hooks=hooks, max_neurons=5, untrained=False)
    mid, positive, negative = (open_activations(each) for each in made)
    assert [acts.n_neurons for acts in (mid, positive, negative)] == [5, 5, 5]
    torch.testing.assert_close(positive.block(0, 5) + negative.block(0, 5), mid.block(0, 5))


def test_a_second_call_finds_what_is_there_and_runs_no_model(llama, tmp_path, monkeypatch):
    model, data = llama
    first, said = collect_model(f"hf:{model}", data, tmp_path / "out"), []

    def fails(*arguments):
        raise AssertionError("ran again")

    monkeypatch.setattr("analyze.models.collect.write_values", fails)
    assert collect_model(f"hf:{model}", data, tmp_path / "out", say=said.append) == first
    assert all(line.endswith("already collected") for line in said)


def test_both_stacks_of_a_t5_are_collected(tmp_path):
    model = write_model("t5", tmp_path / "tiny-t5")
    data = write_data(model, tmp_path / "text")
    made = collect_model(f"hf:{model}", data, tmp_path / "out", untrained=False)
    runs = {name.split("/")[0] for name in names(made)}
    assert runs == {"tiny-t5-encoder", "tiny-t5-decoder"}


def test_scores_stand_beside_nulls_and_what_reads_weights_says_why_not(llama, tmp_path):
    model, data = llama
    made = collect_model(f"hf:{model}", data, tmp_path / "out", layers=[0])
    scored = score(made, ["k_eff"], nulls=["rotated", "w_in_rotated"])
    assert "w_in_rotated" in scored[0].without
    assert "checkpoint" in scored[0].without["w_in_rotated"]
    table = pl.read_parquet((scored[0].directory / "scores.parquet").read_bytes())
    assert set(table["null"]) == {"none", "rotated"}


def test_the_command_takes_a_directory(llama, tmp_path, analyze_command: Command):
    model, data = llama
    words = ("collect", f"hf:{model}", "--data", data, "--out", tmp_path / "out", "--layers", "0")
    said = analyze_command(*words, "--no-untrained")
    assert said.code == 0, said
    assert said.out.strip().endswith("tiny-llama/step-000000001/L0.mid")
    assert analyze_command(*words, "--hooks", "post").is_refusal(2, "no hook 'post'; it has: mid, gatepos, gateneg")
    words = ("collect", f"hf:{model}", "--data", data, "--out", tmp_path / "out", "--layers", "7")
    assert analyze_command(*words).is_refusal(2, "no layer 7; it has 0 to 1")


class Runs:
    """What a pickle must not be able to do."""

    def __reduce__(self):
        return os.mkdir, ("was-here",)


def drop_a_shard(directory: Path) -> None:
    shards = sorted(directory.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()


def as_pickle(content) -> object:
    def spoil(directory: Path) -> None:
        for path in directory.glob("*.safetensors*"):
            path.unlink()
        torch.save(content, directory / "pytorch_model.bin")

    return spoil


def other_shape(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"intermediate_size": 20}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda place: (place / "tokenizer.json").unlink(), r"tokenizer\.json: missing"),
        (lambda place: (place / "config.json").unlink(), r"config\.json: missing"),
        (lambda place: [path.unlink() for path in place.glob("*.safetensors*")], "holds no weights"),
        (lambda place: next(place.glob("*.safetensors")).write_bytes(b"junk"), "weights cannot be read"),
        (drop_a_shard, "weights cannot be read"),
        (as_pickle({"model.norm.weight": Runs()}), "weights cannot be read"),
        (as_pickle({"model.norm.weight": torch.ones(16)}), "its weights lack"),
        (other_shape, "another shape|cannot be read"),
    ],
)
def test_a_model_that_cannot_be_read_is_one_line(spoil, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = write_model("llama", tmp_path / "spoilt", max_shard_size=20_000)
    data = write_data(model, tmp_path / "text")
    spoil(model)
    with pytest.raises(BadInput, match=says) as failure:
        collect_model(f"hf:{model}", data, tmp_path / "out")
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "was-here").exists()
    assert not (tmp_path / "out").exists()


def test_data_in_other_tokens_are_refused_with_the_key_that_helps(llama, tmp_path):
    model, _ = llama
    other = write_model("gpt2", tmp_path / "other")
    text = (other / "tokenizer.json").read_text().replace("<|PAD|>", "<|pad|>")
    (other / "tokenizer.json").write_text(text)
    with pytest.raises(BadInput, match=r'not in the tokens of hf:.*; prepare them with tokenizer = ".*tiny-llama"'):
        collect_model(f"hf:{model}", write_data(other, tmp_path / "others"), tmp_path / "out")


def test_rows_longer_than_the_model_reads_are_refused(llama, tmp_path):
    model, _ = llama
    long = write_data(model, tmp_path / "long", n_ctx=128, n_documents=200)
    with pytest.raises(BadInput, match=r"rows of 128 tokens, hf:.* reads 64"):
        collect_model(f"hf:{model}", long, tmp_path / "out")


def test_a_model_that_does_not_fit_says_how_much_it_takes(llama, tmp_path, monkeypatch):
    model, data = llama
    assert free_memory() > 0
    monkeypatch.setattr("analyze.models.opened.free_memory", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match=r"weights of .* GB in fp32, .* GB of memory are free"):
        collect_model(f"hf:{model}", data, tmp_path / "out")


def test_what_needs_a_checkpoint_of_polysem_says_what_takes_the_model(llama, tmp_path, analyze_command, train_command):
    model, data = llama
    for said in (
        train_command("widen", f"hf:{model}", "--layers", "0", "--factor", "2"),
        train_command("export", f"hf:{model}", "--format", "tl-legacy", "--out", tmp_path / "out"),
    ):
        assert said.is_refusal(2, "has no folder checkpoint", "`collect` scores the neurons")
    said = analyze_command("fission", f"hf:{model}", "--data", data, "--out", tmp_path / "out")
    assert said.is_refusal(2, "no such directory")


def test_probes_and_comparisons_take_the_model(llama, tmp_path, analyze_command):
    model, data = llama
    out = tmp_path / "out"
    collect_model(f"hf:{model}", data, out, layers=[0])
    score(out, ["k_eff"], nulls=["rotated"])
    for words in (("compare", out, "--out", out, "--primaries", "k_eff"), ("report", out)):
        said = analyze_command(*words)
        assert said.code == 0, said
    assert "tiny-llama" in (out / "comparison.md").read_text()
    assert "tiny-llama" in (out / "report.html").read_text()
