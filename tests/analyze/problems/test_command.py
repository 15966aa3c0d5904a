"""`polysem problem` and `polysem problems` on small checkpoints."""

import json
import shutil
from pathlib import Path

import pytest

from analyze.problems import PROBLEMS
from analyze.problems.catalogue import entries
from analyze.problems.command import ask
from analyze.problems.trial import try_one, try_rules
from tests.commands import Command
from train.errors import BadInput


def test_all_45_are_listed_and_every_program_is_among_them(analyze_command: Command, tmp_path: Path) -> None:
    assert list(entries()) == [f"4.{number}" for number in range(1, 46)]
    assert set(PROBLEMS) <= set(entries())
    assert all(entries()[name].by == "program" for name in PROBLEMS)
    listed = analyze_command("problems", "--out", tmp_path / "none")
    assert listed.code == 0
    assert listed.out.count("[not asked yet; published: ") == 45


def test_a_problem_writes_finding_page_figures_and_index(
    runs: list[Path], analyze_command: Command, tmp_path: Path
) -> None:
    asked = analyze_command("problem", "4.24", *runs, "--out", tmp_path, "--jobs", 1)
    assert asked.code == 0, asked.err
    record = json.loads((tmp_path / "4.24/finding.json").read_text())
    assert record["verdict"] in ("yes", "no", "unclear")
    assert len(record["checkpoints"]) == 3
    assert record["variants"][0]["effect"]["n"] == 3
    assert PROBLEMS["4.24"].rule.says in (tmp_path / "4.24.html").read_text()
    assert (tmp_path / "4.24/figures/positions.svg").is_file()
    assert f"<b>{record['verdict']}</b>" in (tmp_path / "index.html").read_text()
    assert record["verdict"] in (tmp_path / "problems.md").read_text()
    listed = analyze_command("problems", "--out", tmp_path).out
    assert f"{entries()['4.24'].title} [{record['verdict']}; published: " in listed
    assert f"Of your own runs: 1 finding in {tmp_path}" in listed


def test_a_second_run_finds_what_was_measured_and_any_jobs_give_the_same(runs: list[Path], tmp_path: Path) -> None:
    lines: list[str] = []
    ask(["4.24"], runs[:2], tmp_path / "one", jobs=1, say=lines.append)
    assert not any("found" in line for line in lines)
    lines.clear()
    ask(["4.24"], runs, tmp_path / "one", jobs=1, say=lines.append)
    assert sum("found" in line for line in lines) == 2
    ask(["4.24"], runs, tmp_path / "two", jobs=2, say=lines.append)
    mine, theirs = (json.loads((tmp_path / each / "4.24/finding.json").read_text()) for each in ("one", "two"))
    assert {**mine, "command": ""} == {**theirs, "command": ""}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["4.42x"], "there are 4.1 to 4.45, did you mean '4.42'"),
        (["4.1"], "has no program for checkpoints"),
        (["4.37"], "name the results that `polysem study quickstart` wrote"),
        (["4.24"], "no checkpoints given"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    words: list[str], says: str, analyze_command: Command, tmp_path: Path
) -> None:
    asked = analyze_command("problem", *words, "--out", tmp_path)
    assert asked.code == 2
    assert says.replace(", did", ", did") in asked.err.replace("; did", ", did")
    assert asked.err.count("\n") == 1


def test_checkpoints_of_other_data_or_named_twice_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="named twice"):
        ask(["4.24"], [runs[0], runs[0]], tmp_path)


def test_an_altered_measurement_is_refused(runs: list[Path], tmp_path: Path) -> None:
    ask(["4.24"], runs[:1], tmp_path, jobs=1, say=lambda line: None)
    path = next((tmp_path / "4.24/measurements").iterdir()) / "measurement.json"
    path.write_text(path.read_text().replace("gelu", "relu"))
    with pytest.raises(BadInput, match=r"measurement\.json"):
        ask(["4.24"], runs[:1], tmp_path, jobs=1, say=lambda line: None)
    shutil.rmtree(tmp_path / "4.24")


@pytest.mark.parametrize("name", [name for name, each in PROBLEMS.items() if each.trials and each.minutes < 0.1])
def test_quick_rules_hold_on_cases_of_known_truth(name: str, tmp_path: Path) -> None:
    tried = try_rules([name], tmp_path, jobs=1, say=lambda line: None)
    assert [each.holds for each in tried if each.problem == name] == [True]
    assert name in (tmp_path / "trials.md").read_text()


@pytest.mark.parametrize("name", [name for name, each in PROBLEMS.items() if each.trials])
def test_a_rule_finds_one_planted_case_and_nothing_in_one_null_case(name: str) -> None:
    assert try_one(name, "planted", 0) == "yes"
    assert try_one(name, "null", 0) != "yes"
