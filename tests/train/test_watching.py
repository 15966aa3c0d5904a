"""What a run shows of itself: the figures are right, and they move no weight."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.commands import Command
from tests.train.data.test_prepare import jsonl, stories
from tests.train.fixtures import small_run
from tests.train.test_training_run import command, write_config
from train import loop
from train.checkpoint import load, step_directory
from train.data.config import DataConfig
from train.data.prepare import prepare
from train.data.tokens import TokenFile
from train.loss import NextTokenLoss
from train.model import Transformer
from train.tracking import read_metrics
from train.training_run import run
from train.watching import NeuronRanges, StepNorms, is_dead, memory, part_of


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data of two sources, one of them code."""
    place = tmp_path_factory.mktemp("mixed")
    prose = jsonl(place / "a.jsonl", stories(300)).model_copy(update={"content": "prose"})
    code = jsonl(place / "b.jsonl", [f"def f{i}(x):\n    return x + {i}\n" * 3 for i in range(300)])
    sources = (prose, code.model_copy(update={"content": "code"}))
    config = DataConfig(name="t", sources=sources, d_vocab=300, n_ctx=16, eval_share=0.3)
    return prepare(config, place / "data").directory


@pytest.fixture(scope="module")
def watched(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on them."""
    return run(small_run(mixed), tmp_path_factory.mktemp("watched") / "gelu-s0").directory


def lines(directory: Path, kind: str) -> list[dict[str, Any]]:
    return read_metrics(directory / "metrics.jsonl", kind)


def test_losses_by_source_and_content_are_those_of_their_tokens_and_add_up_to_the_whole(
    watched: Path, mixed: Path
) -> None:
    held_out = TokenFile.open(mixed, "eval", n_ctx=16)
    rows = held_out.plain_rows(0, held_out.n_rows)
    model = load(step_directory(watched, 20)).model()
    with torch.no_grad():
        log_probs = model(rows[:, :-1]).log_softmax(-1)
    losses = -log_probs.gather(-1, rows[:, 1:, None])[..., 0].flatten().numpy()
    documents = pl.read_parquet(mixed / "documents.parquet").filter(split="eval")
    of_stream = np.repeat(documents["source"].to_numpy(), documents["length"].to_numpy() + 1)[: len(losses)]
    line = lines(watched, "eval")[-1]
    for key, names in (("by_source", ("files-1", "files-2")), ("by_content", ("prose", "code"))):
        assert set(line[key]) == set(names)
        for name, source in zip(names, ("files-1", "files-2")):
            mine = losses[of_stream == source]
            assert line[key][name]["n_tokens"] == len(mine) > 100
            assert line[key][name]["loss"] == pytest.approx(mine.mean(), rel=1e-5)
        whole = sum(each["loss"] * each["n_tokens"] for each in line[key].values()) / line["n_tokens"]
        assert whole == pytest.approx(line["loss"], rel=1e-6)
    assert line["by_source"]["files-1"]["loss"] != pytest.approx(line["by_source"]["files-2"]["loss"], rel=0.01)


def test_one_source_has_no_losses_of_its_own(finished: Path) -> None:
    assert all("by_source" not in line and "by_content" not in line for line in lines(finished, "eval"))


def test_norms_are_those_of_gradients_and_of_what_steps_add_to_the_weights(watched: Path, mixed: Path) -> None:
    by_step = {line["step"]: line for line in lines(watched, "train")}
    before, after = (dict(load(step_directory(watched, step)).model().named_parameters()) for step in (1, 2))
    line, squares = by_step[2], dict.fromkeys(by_step[2]["norms"], 0.0)
    for name, parameter in after.items():
        squares[part_of(name)] += float((parameter.detach() - before[name].detach()).double().square().sum())
    for part, square in squares.items():
        assert line["norms"][part]["update"] == pytest.approx(square**0.5, rel=1e-4)
    weights = [float(after[name].detach().double().square().sum()) for name in after if part_of(name) == "layers.0.mlp"]
    assert line["norms"]["layers.0.mlp"]["weight"] == pytest.approx(sum(weights) ** 0.5, rel=1e-5)
    for each in by_step.values():
        gradients = sum(part["gradient"] ** 2 for part in each["norms"].values()) ** 0.5
        assert gradients == pytest.approx(each["grad_norm"], rel=1e-4)
        assert each["update_norm"] == pytest.approx(sum(p["update"] ** 2 for p in each["norms"].values()) ** 0.5)
        assert each["memory_bytes"] <= each["peak_memory_bytes"] * 1.01
    assert set(line["norms"]) == {"embedding", "layers.0.attn", "layers.0.mlp", "unembedding"}


@pytest.mark.parametrize("clip", [0.01, 100.0])
def test_norms_of_gradients_are_those_before_clipping_and_frozen_parts_have_none(clip: float) -> None:
    torch.manual_seed(0)
    mlp, head = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2).requires_grad_(False)
    block = torch.nn.ModuleDict({"mlp": mlp})
    model = torch.nn.ModuleDict({"layers": torch.nn.ModuleDict({"0": block}), "head": head})
    optimizer = torch.optim.AdamW(mlp.parameters(), lr=0.1, weight_decay=0.3)
    norms = StepNorms(model, optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        mlp(torch.randn(4, 3)).square().sum().backward()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip))
        norms.before(norm, clip)
        optimizer.step()
        norms.after()
        added = torch.cat([(now - then).flatten() for now, then in zip(model.parameters(), before)])
        assert norms.by_part.keys() == {"layers.0.mlp"}
        assert norms.by_part["layers.0.mlp"]["gradient"] == pytest.approx(norm, rel=1e-4)
        assert norms.line()["update_norm"] == pytest.approx(float(added.detach().norm()), rel=1e-4)


def test_dead_neurons_are_counted_and_nothing_of_the_watch_stays(mixed: Path) -> None:
    config = small_run(mixed, model__act="relu").model
    assert config is not None
    model = Transformer(config.resolve(300), seed=0)
    with torch.no_grad():
        model.mlp(0).fc_in.weight[:5] = 0
        model.mlp(0).fc_in.bias[:3] = -1.0  # never on
        model.mlp(0).fc_in.bias[3:5] = 2.0  # always the same
    rows = TokenFile.open(mixed, "eval", n_ctx=16).plain_rows(0, 32)
    plain, ranges, activation = NextTokenLoss(model)(rows), NeuronRanges(model), model.mlp(0).activation
    with ranges.watched(), torch.no_grad():
        for part in rows.split(8):
            NextTokenLoss(model)(part)
    assert model.mlp(0).activation is activation
    assert torch.equal(NextTokenLoss(model)(rows), plain)
    alone = Alone()
    (dead,) = ranges.dead(alone).values()  # pyright: ignore[reportArgumentType]
    assert dead == {"neurons": 5, "share": 5 / 16}
    (none,) = NeuronRanges(model).dead(alone).values()  # pyright: ignore[reportArgumentType]
    assert none["neurons"] == 16, "a process that saw no token has no range to add"


class Alone:
    """An accelerator of one process."""

    device = torch.device("cpu")

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        """The same."""
        return value


def test_dead_is_what_the_analysis_calls_dead() -> None:
    from analyze.activations import moments
    from train import watching

    assert watching.DEAD_SHARE == moments.DEAD_SHARE
    assert is_dead(np.array([0.0, 1e-9, 1e-5, 1.0, 2.0])).tolist() == [True, True, False, False, False]
    assert is_dead(np.zeros(3)).all()


def test_watching_moves_no_bit_of_weights_and_evaluations(
    watched: Path, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in which nobody looks at anything."""

    def bare(model: Any, held_out: Any, n_rows: int, accelerator: Any) -> tuple[float, dict[str, Any]]:
        module, sums = NextTokenLoss(model), torch.zeros(2, dtype=torch.float64)
        for first in range(0, n_rows, loop.eval_rows(model.config)):
            rows = held_out.plain_rows(first, min(loop.eval_rows(model.config), n_rows - first))
            with torch.no_grad():
                sums += torch.stack([module(rows).double() * len(rows), torch.tensor(len(rows)).to(sums)])
        return float(sums[0] / sums[1]), {}

    monkeypatch.setattr(loop, "held_out_losses", bare)
    for name in ("before", "after"):
        monkeypatch.setattr(StepNorms, name, lambda *_: None)
    monkeypatch.setattr(NeuronRanges, "_noting", lambda self, layer, function: function)
    blind = run(small_run(mixed), tmp_path / "gelu-s0")
    assert blind.checkpoint.hash == load(watched).hash
    assert blind.checkpoint.state["evaluation"] == load(watched).state["evaluation"]


def test_memory_is_that_of_this_process() -> None:
    before = memory()
    held = np.ones(50_000_000)
    after = memory()
    assert after["memory_bytes"] - before["memory_bytes"] > 0.9 * held.nbytes
    assert after["peak_memory_bytes"] >= after["memory_bytes"] * 0.99


def test_status_says_losses_by_source_and_dead_neurons(watched: Path, tmp_path: Path, train_command: Command) -> None:
    run_ = copytree(watched, tmp_path / "runs" / "gelu-s0")
    log = run_ / "metrics.jsonl"
    last = lines(run_, "eval")[-1]
    said = [f"{name} {each['loss']:.4f}" for name, each in sorted(last["by_source"].items())]
    assert train_command("status", tmp_path / "runs").out.splitlines()[-1].endswith(f"at rest; {', '.join(said)}")
    dead = {"dead": {"layers.0": {"neurons": 8, "share": 0.5}}}
    log.write_text(json.dumps(last | dead) + "\n")
    assert train_command("status", tmp_path / "runs").out.rstrip().endswith(", layers.0: 8 dead (50.0%)")
    for odd in ('{"kind": "eval", "step": 1, "tokens": 1, "loss": 1, "by_source": [], "dead": {"a": 3}}', "{}\nno\n{}"):
        log.write_text(odd)
        assert train_command("status", tmp_path / "runs").out.rstrip().endswith("at rest")
    log.unlink()
    assert train_command("status", tmp_path / "runs").out.rstrip().endswith("at rest")


@pytest.mark.slow
def test_two_processes_watch_the_same(watched: Path, mixed: Path, tmp_path: Path) -> None:
    config, out = write_config(mixed, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    words, environment = command(config, out, launcher=launcher), {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    for two, one in zip(lines(out, "eval"), lines(watched, "eval"), strict=True):
        assert two["dead"] == one["dead"]
        for key in ("by_source", "by_content"):
            assert two[key].keys() == one[key].keys()
            for name, each in one[key].items():
                assert two[key][name]["n_tokens"] == each["n_tokens"]
                assert two[key][name]["loss"] == pytest.approx(each["loss"], rel=1e-4)
    for two, one in zip(lines(out, "train"), lines(watched, "train"), strict=True):
        assert two["update_norm"] == pytest.approx(one["update_norm"], rel=1e-2)
