"""The page of all 45 follows from the findings alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from analyze.problems import PROBLEMS
from analyze.problems.base import Measured, Measurement
from analyze.problems.store import write_finding
from analyze.problems.summary import summary
from analyze.problems.verdict import judge
from tests.commands import Command
from train.errors import BadInput


def found(out: Path, name: str, values: list[float]) -> None:
    """A finding of a problem from made-up statistics, one a seed, whose null is 0."""
    measured = [
        Measured(f"gelu-s{i}", "gelu", i, 10, f"{i}", Measurement(value, np.linspace(-0.01, 0.01, 21)))
        for i, value in enumerate(values)
    ]
    (out / name).mkdir(parents=True)
    write_finding(out / name, judge(PROBLEMS[name], measured), {"problem": name, "rule": PROBLEMS[name].rule.says})


def row(page: str, name: str) -> list[str]:
    """The cells of a problem's row."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_page_has_45_rows_with_verdict_statistic_null_n_power_and_command(tmp_path: Path) -> None:
    found(tmp_path, "4.24", [0.80, 0.82, 0.81])
    page = summary(tmp_path)
    assert sum(line.startswith("| 4.") for line in page.splitlines()) == 45
    cells = row(page, "4.24")
    assert cells[2] == "**yes**"
    assert "lack 0.81 of what as many random ones hold" in cells[3]
    assert PROBLEMS["4.24"].statistic in cells[4]
    assert cells[5].startswith("gelu 0.810 [")
    assert [cells[6].strip("-"), cells[7]] == ["0.000", "3"]
    assert float(cells[8]) == pytest.approx(0.025, abs=0.001)
    assert "polysem problem 4.24" in cells[9]
    assert f"- **4.24** {PROBLEMS['4.24'].rule.says}." in page
    assert row(page, "4.31")[2] == "**not asked yet**"
    assert "44 not asked yet, 1 yes" in page
    assert "What is unclear" not in page


def test_what_is_unclear_says_how_many_seeds_would_decide(tmp_path: Path) -> None:
    found(tmp_path, "4.24", [0.7, 0.8, 0.3])
    page = summary(tmp_path)
    assert row(page, "4.24")[2] == "**unclear**"
    unclear = page.split("## What is unclear")[1]
    (line,) = [line for line in unclear.splitlines() if line.startswith("- **4.24**")]
    # Mean .6, deviation .265, threshold .5: t(.975, n - 1) * .265 / sqrt(n) < .1 from n = 30 on.
    assert "some 30 seeds of this spread would decide it" in line


def test_one_seed_asks_for_three(tmp_path: Path) -> None:
    found(tmp_path, "4.24", [0.9])
    assert "3 seeds would" in summary(tmp_path)


def test_rules_that_were_tried_stand_in_a_table_of_their_own(tmp_path: Path) -> None:
    assert "known truth" not in summary(tmp_path)
    tried = {
        "4.31": {"planted": {"yes": 17, "unclear": 3}, "null": {"no": 20}},
        "4.24": {"planted": {"yes": 20}, "null": {"no": 19, "yes": 1}},
    }
    (tmp_path / "trials.json").write_text(json.dumps(tried))
    lines = summary(tmp_path).split("## Rules on cases of known truth")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    heads, _, first, second = rows
    assert (first[0], first[-1]) == ("4.24", "yes")
    assert (second[0], second[-1]) == ("4.31", "no")
    assert second[heads.index("planted: yes")] == "17"
    assert first[heads.index("null: yes")] == "1"


def test_the_same_findings_give_the_same_page(analyze_command: Command, tmp_path: Path) -> None:
    found(tmp_path / "found", "4.24", [0.80, 0.82, 0.81])
    pages = [tmp_path / "first.md", tmp_path / "second.md"]
    for page in pages:
        made = analyze_command("problems", "--out", tmp_path / "found", "--page", page)
        assert made.code == 0, made.err
        assert f"wrote {page}" in made.out
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert pages[0].read_text() == summary(tmp_path / "found")


def test_a_page_where_none_can_be_written_is_one_line(analyze_command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = analyze_command("problems", "--out", tmp_path / "none", "--page", tmp_path / "file" / "page.md")
    assert made.code == 3
    assert made.err.count("\n") == 1


def test_a_look_at_a_model_that_others_trained_is_a_line_and_no_verdict(tmp_path: Path) -> None:
    record = {
        "model": "Small (4-bit weights)",
        "by the rule, this model alone": "yes",
        "why_not": "",
        "statistic": 0.6875,
        "null": [1.0, 1.0],
        "details": {
            "indirect object likelier, share": 0.95,
            "layer": 15.0,
            "d_model": 576.0,
            "dimensions for 90 %": 11.0,
            "dimensions of the differences": 16.0,
        },
    }
    place = tmp_path / "4.23/looks"
    place.mkdir(parents=True)
    (place / "a.json").write_text(json.dumps(record))
    (place / "b.json").write_text(json.dumps({**record, "model": "Other", "why_not": "has no names"}))
    page = summary(tmp_path)
    first, second = [line for line in page.splitlines() if line.startswith("- **4.23**")]
    assert "Small (4-bit weights): after 95% of sentences" in first
    assert "dimensions 11, of the 16 in which" in first
    assert "0.688 against 1.000 of random ones. By the rule, this model alone: yes." in first
    assert second == "- **4.23** Other: not answerable: has no names."
    assert row(page, "4.23")[2] == "**not asked yet**"
    (place / "a.json").write_text("{}")
    with pytest.raises(BadInput, match="not a look at a model"):
        summary(tmp_path)
