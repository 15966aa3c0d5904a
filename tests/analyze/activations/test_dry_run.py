"""`collect --dry-run`: what collecting and scoring take, told before either; and a collection that cannot fit."""

from pathlib import Path

import pytest

from analyze.activations.collect import collect_source
from analyze.activations.memory import Size, required, to_score
from analyze.activations.settings import DEFAULT
from tests.analyze.activations.collected import LENGTHS, FakeSource, write_data
from tests.commands import Command
from tests.train.fixtures import small_data, small_run
from train.data.tokens import TokenFile
from train.errors import EnvironmentProblem
from train.training_run import run

GB = 10**9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("place")
    run(small_run(small_data(root), train__tokens=64), root / "gelu-s0")
    return root


def test_a_dry_run_measures_a_few_tokens_and_leaves_nothing(place: Path, analyze_command: Command) -> None:
    words = ("collect", place / "gelu-s0", "--data", place / "data", "--out", place / "results")
    said = analyze_command(*words, "--dry-run")
    assert said.code == 0, said.err
    assert "L0.mid: 16 neurons" in said.out
    assert all(
        word in said.out for word in ("GB to collect", "a process to score", "GB for the sample", "tokens/s forward")
    )
    assert not (place / "results").exists()


def test_a_model_that_is_not_trained_yet_is_reckoned_by_its_preset(
    tmp_path: Path, analyze_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("analyze.activations.dry_run.free_space", lambda path: 10**15)
    monkeypatch.setattr("analyze.activations.dry_run.free_memory", lambda: 10**15)
    words = ("collect", "wide-solu-2l", "--data", "data/paper", "--out", "results", "--sample-tokens", "200000")
    said = analyze_command(*words, "--dry-run", "--gpu", "h100")
    assert said.code == 0, said.err
    assert [line.split(":")[0] for line in said.out.splitlines() if line.startswith("L")] == [
        "L0.mid",
        "L0.post",
        "L1.mid",
        "L1.post",
    ]
    assert "51,200 neurons" in said.out
    assert "48,262 token ids" in said.out
    assert "NVIDIA H100" in said.out


def test_what_does_not_fit_is_one_line_with_what_to_give(
    tmp_path: Path, analyze_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("collect", "wide-solu-2l", "--data", "data/paper", "--out", "results", "--dry-run")
    monkeypatch.setattr("analyze.activations.dry_run.free_memory", lambda: GB)
    monkeypatch.setattr("analyze.activations.dry_run.free_space", lambda path: 10**15)
    assert analyze_command(*words).is_refusal(3, "L0.mid: collecting needs at most", "--max-neurons")
    monkeypatch.setattr("analyze.activations.dry_run.free_memory", lambda: 10**15)
    monkeypatch.setattr("analyze.activations.dry_run.free_space", lambda path: GB)
    assert analyze_command(*words).is_refusal(3, "of disk", "--layers", "--sample-tokens below")


def test_a_card_is_known_to_dry_runs_alone_and_by_its_name(place: Path, analyze_command: Command) -> None:
    words = ("collect", place / "gelu-s0", "--data", place / "data", "--out", place / "results")
    assert analyze_command(*words, "--gpu", "h100").is_refusal(2, "--gpu: only with --dry-run")
    assert analyze_command(*words, "--dry-run", "--gpu", "h10").is_refusal(2, "--gpu h10", "did you mean 'h100'?")
    assert analyze_command(*words, "--dry-run", "--layers", 3).is_refusal(2, "no layer 3")


def test_a_collection_that_memory_cannot_hold_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = TokenFile.open(write_data(tmp_path / "data", LENGTHS), "eval")
    monkeypatch.setattr("analyze.activations.checks.free_memory", lambda: 10**6)
    with pytest.raises(EnvironmentProblem, match=r"collecting needs at most .* give --max-neurons"):
        collect_source(FakeSource(), tokens, tmp_path / "L0.mid", say=lambda line: None)
    assert not (tmp_path / "L0.mid").exists()


def test_a_disk_that_would_not_hold_every_pair_but_those_of_trained_layers_is_taken_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = TokenFile.open(write_data(tmp_path / "data", LENGTHS), "eval")
    said: list[str] = []
    monkeypatch.setattr("analyze.activations.checks.free_space", lambda path: 50_000)
    collect_source(FakeSource(), tokens, tmp_path / "L0.mid", say=said.append)
    assert any("enough where neurons fire on 20% of the token ids" in line for line in said)


def test_a_layer_of_51_200_neurons_and_48_262_token_ids_stays_within_16_gb_of_memory_and_64_gb_of_disk() -> None:
    n_tokens = 1_000_000
    size = Size(51_200, 156_900_000, 1024, 48_262, n_tokens // 1023 + 1, n_tokens, 200_000)
    needed = required(size, DEFAULT, threads=16)
    assert needed.memory < 16 * GB
    assert needed.likely_disk < 64 * GB
    assert needed.disk > 100 * GB  # were every neuron to fire on every token id
    assert to_score(51_200, 200_000) < 4 * GB
    whole = required(Size(51_200, 156_900_000, 1024, 48_262, 197, 200_000, 200_000), DEFAULT, threads=16)
    assert whole.memory < 16 * GB


@pytest.mark.parametrize("option", ["--max-neurons", "--sample-tokens", "--max-tokens"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_number_below_one_is_refused(
    place: Path, analyze_command: Command, option: str, dry: tuple[str, ...]
) -> None:
    words = ("collect", place / "gelu-s0", "--data", place / "data", "--out", place / "none", option, 0, *dry)
    assert analyze_command(*words).is_refusal(2, f"{option[2:].replace('-', '_')}: 0 must be at least 1")
    assert not (place / "none").exists()
