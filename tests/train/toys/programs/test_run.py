"""Programs from config to sealed directories: resumed bit for bit, found again, refused where they do not fit."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.toys.programs.small import SETTINGS, small_program
from train.configfile import to_toml
from train.errors import BadInput, Diverged, Stopped
from train.toys.programs import run as running
from train.toys.programs.config import load_program, names_program
from train.toys.programs.run import CONFIG, ProgramRun, is_program_run, run_program
from train.toys.programs.training import State, fit_variant

TWO = {"narrow": {}, "wide": {"hidden": 10}}


class Killed(BaseException):
    """As if the process had been killed: nothing is saved after it."""


def same(a: ProgramRun, b: ProgramRun) -> bool:
    """Whether every parameter and every point of the curves is equal to the bit."""
    return all(
        torch.equal(one.parameters[name], b.variants[key].parameters[name])
        and np.array_equal(one.curve, b.variants[key].curve)
        for key, one in a.variants.items()
        for name in one.parameters
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_program_trains_and_its_loss_falls(tmp_path: Path, name: str) -> None:
    run, found = run_program(small_program(name, steps=60), tmp_path / "out")
    (only,) = run.variants.values()
    assert (found, only.replicas, is_program_run(tmp_path / "out")) == (0, 3, True)
    assert (only.losses < only.curve[0]).all()
    assert len({float(loss) for loss in only.losses}) == 3, "replicas start apart"


def test_a_second_run_finds_the_first(tmp_path: Path) -> None:
    first, _ = run_program(small_program(variants=TWO), tmp_path / "out")
    again, found = run_program(small_program(variants=TWO), tmp_path / "out")
    assert found == 2
    assert same(first, again)
    assert not (tmp_path / "out" / ".unfinished").exists()


@pytest.mark.parametrize("at", [1, 7])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    whole, _ = run_program(small_program(variants=TWO), tmp_path / "whole")
    real, steps = running.fit_variant, []

    def dies(program, settings, fit, *, at_step, **rest):
        def counted(step: int) -> None:
            at_step(step)
            steps.append(step)
            if len(steps) == 12 + at:  # in the second variant
                raise Killed

        return real(program, settings, fit, at_step=counted, **rest)

    monkeypatch.setattr(running, "fit_variant", dies)
    with pytest.raises(Killed):
        run_program(small_program(variants=TWO), tmp_path / "out", save_seconds=0.0)
    monkeypatch.setattr(running, "fit_variant", real)
    assert (tmp_path / "out" / "narrow").is_dir()
    assert not (tmp_path / "out" / "wide").exists()
    resumed, found = run_program(small_program(variants=TWO), tmp_path / "out")
    assert found == 1
    assert same(whole, resumed)


def test_a_resumed_run_does_not_begin_anew() -> None:
    config = small_program()
    settings, kept, asked = config.resolved()["one"], [], iter([False] * 5 + [True])

    def keep(step: int, tensors: dict[str, torch.Tensor]) -> None:
        kept.append(State(step, 0.0, {name: each.clone() for name, each in tensors.items()}))

    with pytest.raises(Stopped, match="after step 5 of 12"):
        fit_variant(config.of, settings, config.fit, stop=lambda: next(asked), save=keep)
    seen: list[int] = []
    fit_variant(config.of, settings, config.fit, resume=kept[0], at_step=seen.append)
    assert seen == list(range(6, 13))


def test_a_damaged_state_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    whole, _ = run_program(small_program(), tmp_path / "whole")
    monkeypatch.setattr(running, "_publish", lambda *words: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        run_program(small_program(), tmp_path / "out", save_seconds=0.0)
    monkeypatch.undo()
    (state,) = (tmp_path / "out" / ".unfinished").glob("state-*")
    (state / "state.safetensors").write_bytes(b"nothing")
    again, _ = run_program(small_program(), tmp_path / "out")
    assert "falling back" in capsys.readouterr().out
    assert same(whole, again)


def test_another_config_is_refused_by_its_key(tmp_path: Path) -> None:
    run_program(small_program(), tmp_path / "out")
    with pytest.raises(BadInput, match=r"fit\.lr = 0\.01, now 0\.02; choose another --out"):
        run_program(small_program(lr=2e-2), tmp_path / "out")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("Dear")
    with pytest.raises(BadInput, match="is taken by something that is not a toy program"):
        run_program(small_program(), tmp_path / "taken")


def test_a_changed_file_and_a_missing_variant_are_named(tmp_path: Path) -> None:
    run_program(small_program(variants=TWO), tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "wide")
    with pytest.raises(BadInput, match="wide: not there"):
        ProgramRun.load(tmp_path / "out")
    weights = tmp_path / "out" / "narrow" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(BadInput, match=r"model\.safetensors"):
        ProgramRun.load(tmp_path / "out")


def test_a_wrong_key_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = to_toml(small_program())
    path.write_text(text)
    assert names_program(path)
    assert load_program(path) == small_program()
    for old, new, message in (
        ('program = "gru"', 'program = "grue"', r"mine\.toml: program: there is no 'grue'; did you mean 'gru'"),
        ("hidden = 8", "hiden = 8", r"mine\.toml: variants\.one: unknown key 'hiden'; did you mean 'hidden'"),
        ("steps = 12", "stepz = 12", r"mine\.toml: unknown key 'fit\.stepz'; did you mean 'steps'"),
        ("[variants]\n\n[variants.one]", "[variants]", r"mine\.toml: variants: there is none"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(BadInput, match=message):
            load_program(path)


def test_a_diverged_replica_is_named(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"out, one: the loss of replica \d is not finite at step"):
        run_program(small_program("compressed", lr=1e30, steps=8), tmp_path / "out")
    assert (tmp_path / "out" / CONFIG).is_file()


def test_seeds_of_weights_and_of_samples_are_told_apart(tmp_path: Path) -> None:
    plain, _ = run_program(small_program(), tmp_path / "plain")
    weights, _ = run_program(small_program(seed=1), tmp_path / "weights")
    samples, _ = run_program(small_program(data_seed=1), tmp_path / "samples")
    start = [run.variants["one"].curve[0] for run in (plain, weights, samples)]
    assert not np.allclose(start[0], start[1])
    assert not torch.equal(plain.variants["one"].parameters["keep"], samples.variants["one"].parameters["keep"])
