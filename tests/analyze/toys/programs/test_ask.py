"""From finished programs to findings where problems are listed."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from analyze.problems.catalogue import entries
from analyze.toys.programs import onion
from analyze.toys.programs.ask import QUESTIONS, answer_programs
from analyze.toys.programs.base import settled
from tests.commands import Command
from tests.train.toys.programs.small import small_program
from train.configfile import to_toml
from train.toys.programs.config import ProgramConfig
from train.toys.programs.run import ProgramRun, VariantRun, run_program

SMALL: dict[str, ProgramConfig] = {
    "attention": small_program(
        "attention",
        {"shared-2": {"sources": "shared"}, "shared-1": {"sources": "shared", "heads": 1}, "own-2": {"sources": "own"}},
    ),
    "gru": small_program("gru", {"narrow": {}, "wide": {"hidden": 10}}),
    "bumps": small_program(
        "bumps",
        {
            f"{kind}-{size}": {"angles": kind, "latents": size, "points": 4}
            for kind in ("circle", "points")
            for size in (4, 8)
        },
    ),
    "parity": small_program("parity", {"xor": {"task": "xor"}, "sum": {"task": "sum"}}, steps=400, replicas=8),
    "bases": small_program("bases", steps=400, lr=3e-2, replicas=200),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ProgramRun]:
    place = tmp_path_factory.mktemp("programs")
    return {name: run_program(config, place / f"my-{name}")[0] for name, config in SMALL.items()}


@pytest.mark.parametrize("name", SMALL)
def test_every_program_answers_its_problem(
    runs: dict[str, ProgramRun], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onion, "intervene", partial(onion.intervene, effort=onion.Effort(steps=2, batch=8)))
    said: list[str] = []
    found = answer_programs([runs[name].directory], tmp_path, said.append)
    asked = QUESTIONS[name]
    assert found.keys() == {f"my-{name}"}
    assert said[0].startswith(f"{asked.problem} my-{name}: ")
    listed, facts = entries()[asked.problem].finding(tmp_path)
    assert listed.verdict == found[f"my-{name}"].verdict
    assert facts["toys"] == {f"my-{name}": listed.verdict}
    page = (tmp_path / f"{asked.problem}.html").read_text()
    assert "data:image/svg+xml" in page
    assert asked.rule.says.split(",")[0] in page.replace("&#39;", "'")
    assert all(doubt[:40].replace("'", "&#39;") in page for doubt in asked.doubts)


def test_small_networks_already_show_joint_units_and_several_bases(runs: dict[str, ProgramRun], tmp_path: Path) -> None:
    found = answer_programs([runs["parity"].directory, runs["bases"].directory], tmp_path, lambda line: None)
    assert found["my-bases"].verdict == "yes"
    (of_xor,) = found["my-parity"].variants
    assert of_xor.n >= 4, "those that did not learn the task do not answer"
    assert of_xor.effect.low > 0


def test_a_program_without_a_problem_is_passed_over(tmp_path: Path) -> None:
    run, _ = run_program(small_program("collisions"), tmp_path / "out")
    assert answer_programs([run.directory], tmp_path / "problems") == {}
    assert not (tmp_path / "problems").exists()


def test_pages_of_toys_take_programs_too(tmp_path: Path, analyze_command: Command, train_command: Command) -> None:
    toml = tmp_path / "mine.toml"
    toml.write_text(to_toml(SMALL["parity"]))
    words = ("--out", tmp_path / "out", "--fit.steps", "5")
    assert train_command("toy", toml, *words).out.splitlines()[-1].startswith(f"wrote {tmp_path / 'out'}: 2 variants")
    said = analyze_command("toy-pages", tmp_path / "out", "--problems", tmp_path / "problems")
    assert said.code == 0
    assert said.out.startswith("4.19 out: No replica could answer: out, xor: ")
    assert (tmp_path / "problems" / "4.19.html").is_file()
    assert analyze_command("toy-pages", tmp_path, "--problems", tmp_path / "problems").code == 2


def test_a_replica_whose_loss_still_falls_has_not_settled() -> None:
    steps = np.arange(0, 41) * 10
    falling, flat, nothing = np.exp(-steps / 100), np.full(41, 0.5), 1e-6 * np.exp(-steps / 100)
    flat[0] = nothing[0] = 1.0
    curve = np.stack([falling, flat, nothing], 1)
    run = VariantRun("one", None, {}, curve[-1], steps, curve, "", 0.0)
    assert settled(run).tolist() == [False, True, True]
    few = dataclasses.replace(run, curve_steps=steps[[0, -1]], curve=curve[[0, -1]])
    assert settled(few).tolist() == [True, True, True]
