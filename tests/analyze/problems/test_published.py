"""Published verdicts: the program has those of docs/problems.md, and shows them beside one's own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analyze.problems.answers import in_words
from analyze.problems.base import Finding, VariantAnswer
from analyze.problems.catalogue import entries, entry
from analyze.problems.published import PAGE, RECORD, keep_published, published
from analyze.problems.summary import rules_of, table_of
from analyze.statistics import mean_interval
from tests.commands import Command

ROOT = Path(__file__).parents[3]


def of_variant(variant: str, verdict: str, statistic: float, null: float) -> VariantAnswer:
    """Three seeds that agree."""
    values = [mean_interval([float(each)] * 3) for each in (statistic, null, statistic - null)]
    return VariantAnswer(variant, verdict, *values, beyond=3, power=0.0)  # pyright: ignore[reportArgumentType]


def test_the_page_and_the_programs_record_say_the_same() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    again = f"`polysem problems --out RESULTS --page {PAGE}` writes both anew"
    assert list(published()) == [f"4.{number}" for number in range(1, 46)]
    assert f"\n{table_of(published())}\n" in page, again
    assert f"\n{rules_of(published())}\n" in page, again


def test_the_page_of_toys_tells_the_same_verdicts() -> None:
    text = (ROOT / "docs/toy-problems.md").read_text(encoding="utf-8")
    table = text.split("| verdict | problems |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    told = {name: verdict for verdict, names in rows for name in names.split(", ")}
    assert told == {f"4.{number}": published()[f"4.{number}"].verdict for number in range(1, 21)}


def test_where_nothing_was_asked_every_published_verdict_is_shown_with_its_figures_and_how_to_ask_anew(
    analyze_command: Command, tmp_path: Path
) -> None:
    listed = analyze_command("problems", "--out", tmp_path / "none")
    assert listed.code == 0
    assert f"no findings in {tmp_path / 'none'}. Published: the verdicts of {PAGE}" in listed.out
    for name, answer in published().items():
        known = entry(name)
        assert f"{known.title} [not asked yet; published: {answer.verdict}]" in listed.out
        assert f"         published: {answer.verdict}: {answer.in_words}\n         {known.ask}" in listed.out


def test_every_problem_has_words_for_its_figures_and_how_questions_say_what_yes_means() -> None:
    listed = [each for name, each in entries().items() if name.startswith("4.")]
    assert all("{statistic" in each.answer for each in listed)
    openings = ("How ", "In how", "Through how", "What ", "Which ")
    assert all(each.yes for each in listed if each.question.startswith(openings))
    assert entry("4.31").asks.endswith(f"(Yes: {entry('4.31').yes}.)")


def test_an_answer_in_words_spans_the_variants_that_its_format_names() -> None:
    of_and = [
        of_variant("and-pairs, neurons = 12", "yes", 0.5, 1),
        of_variant("and-pairs, neurons = 24", "yes", 0.7, 1),
    ]
    of_or = of_variant("or-pairs", "no", 0.97, 1)
    said = in_words(entry("4.5"), Finding("mixed", "", (*of_and, of_or)))
    assert "0.50 to 0.70 of what simple networks reach for AND, 0.97 for OR" in said
    assert said.endswith("(variants: 2 yes, 1 no)")
    of_log2 = Finding("no", "", (of_variant("gelu", "no", 5, 6),))
    assert in_words(entry("4.31"), of_log2).startswith("32 neurons make half")
    assert "64 directions" in in_words(entry("4.31"), of_log2)
    none = replace(of_or, effect=mean_interval([]), why="has no names; needs 75 %")
    assert in_words(entry("4.23"), Finding("not answerable", "", (none,))) == "could not answer: has no names"


def test_only_the_projects_own_page_is_kept_as_the_record(tmp_path: Path) -> None:
    before = RECORD.read_bytes()
    assert keep_published(published(), tmp_path / "problems.md", tmp_path / "kept.json") == []
    assert not (tmp_path / "kept.json").exists()
    assert keep_published(published(), ROOT / PAGE, tmp_path / "kept.json") == [tmp_path / "kept.json"]
    assert json.loads((tmp_path / "kept.json").read_text()) == json.loads(before)
    assert (tmp_path / "kept.json").read_bytes() == before


@pytest.mark.parametrize("verdict", ["yes", "no", "mixed", "unclear", "not answerable"])
def test_the_index_of_findings_shows_published_verdicts_too(
    verdict: str, analyze_command: Command, tmp_path: Path
) -> None:
    tmp_path.joinpath("found").mkdir()
    assert analyze_command("problems", "--out", tmp_path / "found").code == 0
    page = (tmp_path / "found/index.html").read_text()
    expected = sum(each.verdict == verdict for each in published().values())
    assert page.count(f"published: {verdict}<") == expected > 0
