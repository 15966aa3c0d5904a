"""A table of scores is the same for any number of processes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from jaxtyping import Float

from analyze.activations.collect import collect_source
from analyze.activations.directory import beside
from analyze.activations.memory import SCORING_PROGRAM_BYTES
from analyze.activations.store import open_activations
from analyze.activations.threads import one_torch_thread
from analyze.scores import parts
from analyze.scores.parts import Layer, affordable, groups_of, of_neurons, score_in_workers, spans
from analyze.scores.run import score_directory
from analyze.scores.store import read_scores
from analyze.scores.table import score_with_null
from tests.analyze.activations.collected import FakeSource
from tests.analyze.data import seal_data
from tests.commands import Command
from train.data.tokens import TokenFile
from train.hashes import sha256
from train.workers import Workers, one_thread, workers

NAMES = ["labelled", "one_feature", "k_eff", "rule_share", "fidelity", "ms", "token_structure", "transfer", "likeness"]
NULLS = ["w_in_rotated", "rotated"]
"""The first cannot be made: these neurons are of no checkpoint."""


@pytest.fixture(scope="module")
def layer(made_up: tuple, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """270 collected neurons, so more than a block, that answer to a few tokens and to the ones before them."""
    root = tmp_path_factory.mktemp("parts")
    tokens = in_two_halves(made_up[2], root / "data")
    source = FakeSource(n_neurons=270, n_ctx=tokens.n_ctx)
    source.tables = source_tables(tokens.d_vocab, 270)
    tokenizer = (made_up[2] / "tokenizer.json").read_bytes()
    source.facts = replace(source.facts, tokenizer_sha256=sha256(tokenizer))
    out = root / "a" / "step-000000000" / "L0.mid"
    collect_source(source, tokens, out, say=lambda _: None)
    return out


def in_two_halves(data: Path, out: Path) -> TokenFile:
    """The made-up text again, with a hash of its own for each document: these decide which half it belongs to."""
    before = TokenFile.open(data, split="eval")
    stream = before.stream(0, before.n_tokens).tolist()
    hashes = [sha256(str(index).encode()) for index in range(before.documents().height)]
    documents = before.documents().with_columns(pl.Series("sha256", hashes), pl.lit("eval").alias("split"))
    tokenizer = (data / "tokenizer.json").read_text()
    seal_data(out, {"fit": stream, "eval": stream}, documents, before.d_vocab, before.n_ctx, tokenizer)
    return TokenFile.open(out, split="eval")


def source_tables(d_vocab: int, n: int) -> Float[torch.Tensor, "2 v n"]:
    """What each token adds to each neuron: nothing for 39 of 40."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, d_vocab, n, generator=generator)
    return values * (torch.rand(2, d_vocab, n, generator=generator) < 1 / 40)


@pytest.mark.slow
def test_the_table_is_the_same_to_the_bit_for_any_number_of_processes(layer: Path):
    acts = open_activations(layer)
    with one_thread(), one_torch_thread():
        expected = score_with_null(acts, NAMES, 0, NULLS)
    assert set(expected["null"]) == {"none", "rotated"}
    assert expected["k_eff"].null_count() < expected.height / 2
    for jobs in (1, 3):
        with workers(jobs) as pool:
            found = score_in_workers(Layer(layer), acts, NAMES, 0, NULLS, pool)
        assert found.equals(expected), jobs


def test_the_command_scores_in_processes_where_a_layer_is_worth_it(
    layer: Path, analyze_command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parts, "LEAST_CELLS", 0)
    words = ("score", layer, "--scores", "k_eff", "--nulls", "rotated")
    said = analyze_command(*words, "--jobs", "2")
    assert said.code == 0, said
    found, facts = read_scores(beside(layer, "scores"))
    with one_thread(), one_torch_thread():
        assert found.equals(score_with_null(open_activations(layer), ["k_eff"], 0, ["rotated"]))
    assert facts["settings"]["scores"] == ["k_eff"]
    assert score_directory(layer, ["k_eff"], nulls=["rotated"], jobs=1).found


def test_no_jobs_is_bad_input(layer: Path, analyze_command: Command):
    assert analyze_command("score", layer, "--jobs", "0").is_refusal(2, "--jobs 0", "at least 1")


def test_memory_for_one_process_starts_none_and_says_so(layer: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "LEAST_CELLS", 0)
    monkeypatch.setattr(parts, "free_memory", lambda: SCORING_PROGRAM_BYTES)
    lines: list[str] = []
    assert not affordable(open_activations(layer), Workers(2), lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("memory for 1 of 2 processes")


def test_what_shares_a_fit_is_one_part_and_blocks_are_cut_only_where_each_neuron_is_alone():
    assert groups_of(["labelled", "ms", "k_eff"]) == [["k_eff", "labelled"], ["ms"]]
    assert groups_of(["labelled"]) == [["labelled"]]
    assert spans(256, ["k_eff"], 2) == [(0, 64), (64, 128), (128, 192), (192, 256)]
    assert spans(600, ["ms"], 2) == [(0, 256), (256, 512), (512, 600)]
    assert spans(600, ["output"], 2) == [(0, 600)]


def test_part_of_a_layer_has_its_values_moments_and_examples(layer: Path):
    acts = open_activations(layer)
    part = of_neurons(acts, 200, 260)
    assert torch.equal(part.block(3, 7), acts.block(203, 207))
    assert torch.equal(part.sample.read_tokens(5, 9), acts.sample.read_tokens(5, 9)[:, 200:260])
    np.testing.assert_array_equal(part.moments.median, acts.moments.median[200:260])
    neurons = acts.examples["neuron"].to_numpy()
    assert part.examples.height == ((neurons >= 200) & (neurons < 260)).sum()
    assert part.examples["neuron"].to_numpy().max() < 60
