"""Problems whose answer stands in a table: the verdict follows from it by the rule, and a wrong file is one line."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analyze.problems.ask_table import ask_table
from analyze.problems.catalogue import entries
from analyze.problems.from_tables import table_problems
from analyze.problems.store import read_finding
from tests.commands import Command
from train.errors import BadInput
from train.shipped import here_or_shipped


def comparison(directory: Path, *rows: dict[str, Any], score: str = "k_eff") -> Path:
    """A comparison of the columns that are read."""
    usual = {
        "hook": "mid",
        "factor": 1,
        "start_runs": None,
        "n_neurons": 256,
        "seeds": "0 1 2",
        "primaries": score,
        "checkpoint_hashes": "a b c",
        f"{score}_w_in_rotated_share": 0.05,
    }
    directory.mkdir(parents=True, exist_ok=True)
    shares = f"{score}_mono_share_by_seed"
    filled = [{**usual, **{shares if key == "shares" else key: value for key, value in row.items()}} for row in rows]
    pl.DataFrame(filled, schema_overrides={"start_runs": pl.String}).write_parquet(directory / "comparison.parquet")
    return directory


def row(variant: str, act: str, shares: str, **more: Any) -> dict[str, Any]:
    return {"variant": variant, "act": act, "shares": shares, **more}


GELU = row("gelu", "gelu_new", "0.1 0.3 0.2")


@pytest.mark.parametrize(
    ("shares", "word"), [("0.31 0.50 0.41", "yes"), ("0.10 0.31 0.20", "no"), ("0.50 0.30 0.25", "unclear")]
)
def test_a_share_is_set_against_the_other_model_of_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: str, word: str
) -> None:
    monkeypatch.setattr("analyze.scores.validity.may_lead", lambda name: True)
    results = comparison(tmp_path / "study", GELU, row("solu", "solu_ln", shares))
    assert ask_table("4.37", [results], tmp_path / "out").verdict == word


def test_a_yes_by_a_score_that_failed_on_planted_neurons_is_unclear_and_a_no_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyze.scores.validity.may_lead", lambda name: False)
    results = comparison(tmp_path / "study", GELU, row("solu", "solu_ln", "0.31 0.50 0.41"))
    found = ask_table("4.37", [results], tmp_path / "out")
    assert found.verdict == "unclear"
    assert "has not passed on planted neurons" in found.variants[0].why
    other = comparison(tmp_path / "other", GELU, row("relu", "relu", "0.1 0.3 0.2"))
    assert ask_table("4.41", [other], tmp_path / "out").verdict == "no"


def test_a_share_that_rotated_neurons_have_too_is_no_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyze.scores.validity.may_lead", lambda name: True)
    solu = row("solu", "solu_ln", "0.41 0.42 0.41", k_eff_w_in_rotated_share=0.45)
    assert ask_table("4.37", [comparison(tmp_path / "study", GELU, solu)], tmp_path / "out").verdict == "no"


def test_a_wide_layer_is_set_against_the_narrow_one_and_copies_against_the_model_trained_on(tmp_path: Path) -> None:
    results = comparison(
        tmp_path / "study",
        GELU,
        row("relu", "relu", "0.2 0.2 0.2"),
        row("wide", "relu", "0.04 0.05 0.04", n_neurons=6400),
        row("longer", "gelu_new", "0.21 0.22 0.23", start_runs="gelu-s0"),
        row("copies", "gelu_new", "0.21 0.22 0.24", start_runs="gelu-s0", factor=10, n_neurons=2560),
    )
    wide = ask_table("4.42", [results], tmp_path / "out")
    copies = ask_table("4.44", [results], tmp_path / "out")
    assert [each.variant for each in wide.variants] == ["wide mid over relu"]
    assert [each.variant for each in copies.variants] == ["copies mid over longer"]
    assert (wide.verdict, copies.verdict) == ("no", "no")
    assert copies.variants[0].effect.mean == pytest.approx(0.01 / 3)
    stored = read_finding(tmp_path / "out/4.44")
    assert stored is not None
    assert stored[0].verdict == "no"
    assert stored[1]["rule"] == table_problems()["4.44"].rule.says


def test_a_study_without_the_two_variants_cannot_answer(tmp_path: Path) -> None:
    found = ask_table("4.44", [comparison(tmp_path / "study", GELU)], tmp_path / "out")
    assert found.verdict == "not answerable"
    assert "no two variants" in found.variants[0].why


def test_the_published_benchmark_is_read(tmp_path: Path) -> None:
    found = ask_table("4.38", [here_or_shipped(Path("docs/score-benchmark.md"))], tmp_path / "out")
    assert len(found.variants) >= 10
    assert found.verdict in found.sentence.lower()
    best = found.variants[0]
    assert best.variant == "P(one feature)"
    assert best.statistic.low < best.statistic.mean < best.statistic.high < 1


@pytest.mark.parametrize(
    ("cells", "word"),
    [
        (".95 [.92, .97] | .93 [.90, .96]", "yes"),
        (".95 [.92, .97] | .85 [.80, .89]", "no"),
        (".95 [.92, .97] | .88 [.80, .93]", "unclear"),
        (".95 [.92, .97] | –", "unclear"),
    ],
)
def test_a_score_must_do_well_in_every_layer_of_truth(tmp_path: Path, cells: str, word: str) -> None:
    head = (
        "| score | equal density, layer 1 | equal density, layer 3 | symmetric, layer 1 |\n| --- | --- | --- | --- |\n"
    )
    rows = f"| mine | {cells} | .99 [.98, .99] |\n| poor | .50 [.40, .60] | .50 [.40, .60] | .99 [.98, .99] |\n"
    (tmp_path / "score-benchmark.md").write_text(head + rows)
    assert ask_table("4.38", [tmp_path], tmp_path / "out").verdict == word


def test_a_place_without_the_file_is_one_line_that_names_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"comparison\.parquet: not there; `polysem study quickstart` writes it"):
        ask_table("4.41", [tmp_path], tmp_path / "out")
    with pytest.raises(BadInput, match=r"score-benchmark\.md: not there"):
        ask_table("4.38", [tmp_path], tmp_path / "out")
    with pytest.raises(BadInput, match="no layers here; `polysem collect"):
        ask_table("4.43", [tmp_path], tmp_path / "out")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "comparison.parquet")
    with pytest.raises(BadInput, match="not a comparison"):
        ask_table("4.41", [tmp_path], tmp_path / "out")


def test_the_command_reads_results_and_says_where_they_come_from(analyze_command: Command, tmp_path: Path) -> None:
    results = comparison(tmp_path / "study", GELU, row("relu", "relu", "0.1 0.3 0.2"))
    done = analyze_command("problem", "4.41", results, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "4.41 GELU against ReLU: No." in done.out
    twice = analyze_command("problem", "4.41", results, results / "comparison.parquet", "--out", tmp_path / "out")
    assert twice.is_refusal(2, "given twice; its seeds would count twice")
    refused = analyze_command("problem", "4.41", "--out", tmp_path / "out")
    assert refused.is_refusal(2, "name the results that `polysem study quickstart` wrote")
    assert "polysem problem 4.41 RESULTS" in entries()["4.41"].ask


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"primaries": ""}, "not a comparison with a score"),
        ({"k_eff_mono_share_by_seed": "0.1 0.2"}, "k_eff_mono_share_by_seed has 2 entries for 3 seeds"),
        ({"k_eff_mono_share_by_seed": "a b c"}, "is no number"),
        ({"k_eff_mono_share_by_seed": "7 8 9"}, "is no share"),
        ({"seeds": "x y z"}, "seeds = 'x y z' are no whole numbers"),
        ({"factor": None}, "factor = None is no whole number"),
        ({"n_neurons": None}, "n_neurons = None is no whole number"),
        ({"checkpoint_hashes": ""}, "checkpoint_hashes has 0 entries"),
    ],
)
def test_an_edited_comparison_is_refused_by_file_row_and_column(tmp_path: Path, changed: dict, said: str) -> None:
    results = comparison(tmp_path / "study", GELU | changed, row("relu", "relu", "0.1 0.3 0.2"))
    with pytest.raises(BadInput, match=re.escape(said)) as refused:
        ask_table("4.41", [results], tmp_path / "out")
    assert "comparison.parquet" in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_studies_of_one_name_are_not_taken_for_more_seeds_of_one(tmp_path: Path) -> None:
    places = [comparison(tmp_path / each / "study", GELU, row("relu", "relu", "0.1 0.3 0.2")) for each in "ab"]
    found = ask_table("4.41", places, tmp_path / "out")
    assert [each.n for each in found.variants] == [3, 3]
