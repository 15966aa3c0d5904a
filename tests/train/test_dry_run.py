"""`run --dry-run`: what a run takes, told before it runs, on this machine or on a card that is not here."""

from pathlib import Path

import pytest

from tests.commands import Command
from tests.train.fixtures import small_run
from train.config import ModelConfig
from train.configfile import to_toml
from train.cost import operations_of, training_seconds
from train.dry_run import dry_run
from train.errors import BadInput
from train.gpus import GPUS, OF_PRODUCTS, gpu_named
from train.memory import to_train
from train.model import Transformer

GB = 10**9


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without prepared data."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dry_run_prints_every_part_and_writes_nothing(train_command: Command, data, tmp_path):
    config = tmp_path / "gelu.toml"
    config.write_text(to_toml(small_run(data)))
    said = train_command("run", config, "--out", tmp_path / "run", "--dry-run")
    assert said.code == 0
    wanted = ("parameters", "optimizer", "activations", "logits", "checkpoints", "samples", "time", "fits", "yes")
    assert all(word in said.out for word in wanted)
    assert "tokens/s measured" in said.out
    assert not (tmp_path / "run").exists()


def test_a_preset_of_full_size_is_reckoned_for_a_card_without_its_data(train_command: Command, elsewhere: Path):
    said = train_command("run", "wide-solu-2l", "--dry-run", "--gpu", "H100")
    assert said.code == 0
    assert "vocabulary 48,262" in said.out
    assert "which is not prepared" in said.out
    assert "auto = recompute" in said.out
    assert "on one NVIDIA H100" in said.out
    assert [*elsewhere.iterdir()] == []


def test_without_recomputing_it_fits_no_card_of_80_gb_and_the_line_says_what_to_give(train_command, elsewhere):
    said = train_command("run", "wide-solu-2l", "--dry-run", "--gpu", "a100", "--train.memory", "save")
    assert "NO" in said.out
    assert said.is_refusal(3, "NVIDIA A100", "cannot hold the run", "--train.memory recompute")


def test_a_model_that_fits_nowhere_is_refused_in_one_line(train_command, elsewhere):
    words = ("--model.d_model", "16384", "--model.n_layers", "64", "--model.mlp_ratio", "100")
    said = train_command("run", "gelu-1l", "--dry-run", "--gpu", "h200", *words)
    assert said.is_refusal(3, "cannot hold the run", "a smaller model.mlp_ratio")


def test_on_this_machine_it_is_refused_before_anything_is_measured(train_command, data, tmp_path, monkeypatch):
    monkeypatch.setattr("train.dry_run.free_memory", lambda device=None: 10**6)
    monkeypatch.setattr("train.dry_run.measured_seconds", None)
    config = tmp_path / "gelu.toml"
    config.write_text(to_toml(small_run(data)))
    said = train_command("run", config, "--dry-run")
    assert said.is_refusal(3, "this machine cannot hold the run", "0.0 GB are there")


@pytest.mark.parametrize(("given", "nearest"), [("h10", "h100"), ("rtx-4090", "rtx4090"), ("a1000", "a100")])
def test_a_card_that_is_not_in_the_table_is_named_with_the_nearest(train_command, elsewhere, given, nearest):
    said = train_command("run", "gelu-1l", "--dry-run", "--gpu", given)
    assert said.is_refusal(2, f"--gpu {given}: not in the table", f"did you mean '{nearest}'?")


def test_cards_are_known_in_any_case_and_only_to_dry_runs(train_command, elsewhere):
    assert gpu_named(" NVIDIA H100 ") is GPUS["h100"]
    assert train_command("run", "gelu-1l", "--gpu", "h100").is_refusal(2, "--gpu: only with --dry-run")


def test_a_wrong_way_of_memory_is_named_with_the_nearest(train_command, elsewhere):
    said = train_command("run", "gelu-1l", "--dry-run", "--train.memory", "recompte")
    assert said.is_refusal(2, "train.memory", "'auto', 'save' or 'recompute'", "did you mean 'recompute'?")


def test_data_that_are_nowhere_are_named(elsewhere):
    with pytest.raises(BadInput, match="data: 'nowhere' is neither"):
        dry_run(small_run(Path("nowhere")), Path("out"))


def test_operations_are_two_for_every_weight_of_a_product_and_its_token():
    config = ModelConfig(n_layers=2, d_model=16, n_heads=2, n_ctx=8, d_vocab=50, act="relu", widths=(64, 32))
    model = Transformer(config, seed=None, device="meta")
    products = sum(
        value.numel()
        for name, value in model.named_parameters()
        if value.ndim == 2 and name not in ("tok_embed.weight", "pos.weight")
    )
    operations = operations_of(config)
    assert operations.forward == 2 * products + 2 * 2 * 8 * 16
    assert operations.training(recompute=True) - operations.training(recompute=False) == 2 * 2 * 16 * (64 + 32)


def test_seconds_grow_with_tokens_and_a_card_without_bf16_takes_fp32():
    config = ModelConfig(n_layers=1, d_model=512, n_heads=8, n_ctx=1024, d_vocab=48_262, act="gelu_new")
    one, two = (training_seconds(GPUS["h100"], config, "bf16", False, n, 0) for n in (10**9, 2 * 10**9))
    assert two == pytest.approx(2 * one)
    least = operations_of(config).training(False) * 10**9 / (OF_PRODUCTS * 989e12)
    assert least < one < 4 * least
    v100 = GPUS["v100"]
    assert training_seconds(v100, config, "bf16", False, 10**9, 0) == training_seconds(
        v100, config, "fp32", False, 10**9, 0
    )


def test_two_layers_of_51_200_solu_neurons_fit_80_gb_by_recomputing_and_not_otherwise():
    config = ModelConfig(
        n_layers=2, d_model=512, n_heads=8, n_ctx=1024, d_vocab=48_262, act="solu_ln", widths=(51_200, 51_200)
    )
    save, again = (
        to_train(config, config.n_params, 32_768, l1=False, precision="bf16", recompute=recompute, device="cuda")
        for recompute in (False, True)
    )
    assert save.activations > 40 * GB
    assert again.total < 20 * GB
