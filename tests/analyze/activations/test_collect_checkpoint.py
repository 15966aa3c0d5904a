"""A checkpoint is collected at every layer and hook, by any number of processes, to the same bits."""

import json
from pathlib import Path

import pytest
import torch

from analyze.activations.collect import collect
from analyze.activations.source import CheckpointSource, SharedInputs
from analyze.activations.store import open_activations
from tests.analyze.activations.collected import D_VOCAB, LENGTHS, N_CTX, quiet, write_data
from train.checkpoint import load, save_checkpoint
from train.config import ModelConfig
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.files import manifest_hash
from train.hashes import sha256
from train.model import Transformer


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    data = write_data(tmp_path / "data", LENGTHS)
    config = ModelConfig(n_layers=2, d_model=8, n_heads=2, n_ctx=N_CTX, d_vocab=D_VOCAB, act="solu_ln", widths=(12, 20))
    state = {
        "run": "solu-s3",
        "variant": "solu",
        "root_variant": "solu",
        "seed": 3,
        "step": 7,
        "tokens": 70,
        "tokens_before": 0,
        "n_params": config.n_params,
        "factor": 1,
        "start": None,
        "evaluation": {"loss": 3.0, "unigram": 3.5, "bigram": 3.25, "step": 7},
        "data": {"hash": manifest_hash(data), "directory": str(data), "tokenizer_sha256": sha256(b"{}")},
    }
    run = tmp_path / "runs" / "solu-s3"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 7}) + "\n")
    return save_checkpoint(run, Transformer(config), {}, state, b"{}", None)


def test_a_checkpoint_is_collected_at_every_layer_and_hook(checkpoint: Path, tmp_path: Path) -> None:
    made = collect(checkpoint, tmp_path / "data", tmp_path / "results", say=quiet)
    step = tmp_path / "results" / "solu-s3" / "step-000000007"
    assert made == [step / name for name in ("L0.mid", "L0.post", "L1.mid", "L1.post")]
    assert (step.parent / "metrics.jsonl").exists()
    acts = open_activations(made[2])
    assert (acts.meta.layer, acts.meta.hook, acts.n_neurons) == (1, "mid", 20)
    assert (acts.meta.run, acts.meta.seed, acts.meta.eval_loss) == ("solu-s3", 3, 3.0)
    assert load(acts.meta.checkpoint_dir).hash == acts.meta.checkpoint_hash
    tokens = TokenFile.open(tmp_path / "data", "eval")
    with torch.no_grad():
        values = load(checkpoint).model().mlp_activations(tokens.plain_rows(0, 1)[:, :N_CTX], 1, "mid")[0]
    there = acts.tokens.position[acts.tokens.stream_position < N_CTX - 1]
    assert torch.allclose(acts.block(0, 20)[: len(there)], values[torch.from_numpy(there)], rtol=1e-2, atol=1e-6)


def test_a_layer_or_hook_that_is_not_there_lists_those_that_are(checkpoint: Path) -> None:
    opened = load(checkpoint)
    with pytest.raises(BadInput, match="no layer 2; it has: 0, 1"):
        CheckpointSource(opened, 2)
    with pytest.raises(BadInput, match="no hook 'middle'; it has: mid, post"):
        CheckpointSource(opened, 0, "middle")


@pytest.mark.parametrize("jobs", [2, 5])
def test_layers_collected_by_several_processes_are_bit_for_bit_those_of_one(
    jobs: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyze.activations.collect.LEAST_CELLS", 1)
    one = collect(checkpoint, tmp_path / "data", tmp_path / "one", say=quiet, jobs=1)
    lines: list[str] = []
    several = collect(checkpoint, tmp_path / "data", tmp_path / "several", say=lines.append, jobs=jobs)
    assert [path.name for path in several] == ["L0.mid", "L0.post", "L1.mid", "L1.post"]
    assert [manifest_hash(path) for path in several] == [manifest_hash(path) for path in one]
    assert len([line for line in lines if "held whole" in line]) == 4


def test_hooks_of_a_layer_share_the_pass_before_it_and_nothing_changes(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    plain = Transformer.mlp_input
    monkeypatch.setattr(Transformer, "mlp_input", lambda self, *args: calls.append(1) or plain(self, *args))
    alone = [
        collect(checkpoint, tmp_path / "data", tmp_path / hook, layers=[1], hooks=[hook], say=quiet)[0]
        for hook in ("mid", "post")
    ]
    assert len(calls) % 2 == 0
    n_each = len(calls) // 2
    calls.clear()
    together = collect(checkpoint, tmp_path / "data", tmp_path / "both", layers=[1], say=quiet)
    assert len(calls) == n_each
    assert [manifest_hash(path) for path in together] == [manifest_hash(path) for path in alone]


def test_inputs_that_do_not_fit_are_computed_again() -> None:
    shared, rows = SharedInputs(at_most=100), [torch.full((2, 4), token) for token in (1, 2)]
    calls: list[int] = []

    def compute(token: int) -> torch.Tensor:
        calls.append(token)
        return torch.full((20,), float(token))  # 80 bytes

    for _ in range(2):
        for token in (1, 2):
            assert shared.of(rows[token - 1], lambda token=token: compute(token)).tolist() == [float(token)] * 20
    assert calls == [1, 2, 2]
