"""docs/toys.md from results: what is made, what stays, what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from analyze.figures import Figure
from analyze.problems.base import VERDICTS, Finding, Measured, Measurement, VariantAnswer, VerdictWord
from analyze.statistics import mean_interval
from analyze.toys.story import PARTS, Sources, by_rule, first_sentence, in_words, side_by_side, tell
from analyze.toys.verdicts.question import ToyQuestion, toy_rule
from analyze.toys.verdicts.record import answer
from train.configfile import read_toml
from train.errors import BadInput
from train.toys.listing import shipped_configs

ROOT = Path(__file__).parents[3]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    page = tmp_path / "docs" / "toys.md"
    page.parent.mkdir()
    page.write_text("# Toys\n\nBefore.\n\n<!-- made: problems -->\nold\n<!-- end: problems -->\n\nAfter.\n")
    return Sources(tmp_path / "toys", tmp_path / "problems", page)


def replicas(value: float, variant: str) -> list[Measured]:
    spread = np.linspace(-0.01, 0.01, 8)
    return [
        Measured("x", variant, i, 10, "0" * 64, Measurement(value + float(d), np.zeros(20)))
        for i, d in enumerate(spread)
    ]


def ask(name: str, value: float, out: Path) -> None:
    question = ToyQuestion(
        "4.19", name, toy_rule("yes if more than .2", 0.2), "joint share", "sums", f"polysem toy {name}"
    )
    figure = Figure("orders", "<svg>mine</svg>", "orders of it", "What it is.")
    answer(question, replicas(value, name), out, figures=[figure])


def test_a_problem_gets_its_verdict_its_number_and_its_figure(sources: Sources) -> None:
    ask("xor-compositions", 0.9, sources.problems)
    text = tell(sources).read_text()
    assert text.startswith("# Toys\n\nBefore.\n\n<!-- made: problems -->\n")
    assert text.endswith("<!-- end: problems -->\n\nAfter.\n")
    assert "\nold\n" not in text
    assert "### 4.19 A representation that does not decompose (yes)" in text
    assert "By its rule **yes**: joint share is 0.900 [" in text
    assert "![orders of it](toys/4.19.svg)" in text
    assert (sources.page.parent / "toys" / "4.19.svg").read_text() == "<svg>mine</svg>"
    assert "### 4.7 Features that are 0 or 1 (not asked yet)" in text
    assert "`polysem toy 4.7` asks it" in text
    assert tell(sources).read_text() == text, "made again it is the same"


def test_dots_of_one_value_lie_side_by_side() -> None:
    offsets = side_by_side(np.array([5.0, 5.0, 6.0, 5.001, np.nan]), near=0.1)
    assert sorted(offsets[[0, 1, 3]]) == pytest.approx([-0.1, 0.0, 0.1])
    assert offsets[2] == offsets[4] == 0
    many = side_by_side(np.full(100, 0.3), near=0.0)
    assert len(np.unique(many)) == 100
    assert np.abs(many).max() <= 0.4


def test_a_measure_says_what_it_is_and_leaves_its_range_to_the_table() -> None:
    assert in_words("loss_over_simple, p = .1") == (
        "Loss over the lower one of two that need no superposition (`loss_over_simple`)"
    )
    assert in_words("features_represented") == "Features with |W_i| > 0.5 (`features_represented`)"
    assert in_words("interference_within_last_class").endswith("class, 0 to 1 (`interference_within_last_class`)")
    assert in_words("joint share") == "joint share"


def test_toys_that_say_unlike_things_stand_each_with_its_verdict_below_that_of_the_problem(sources: Sources) -> None:
    ask("aaa", 0.203, sources.problems)
    ask("zzz", 0.9, sources.problems)
    text = tell(sources).read_text()
    assert "**yes**: `aaa` unclear, `zzz` yes." in text
    assert "- `aaa`. By its rule **unclear**: " in text
    assert "- `zzz`. By its rule **yes**: " in text


def test_where_instances_answer_apart_the_toys_verdict_stands_beside_theirs() -> None:
    def of(where: str, verdict: VerdictWord, value: float) -> VariantAnswer:
        seen = mean_interval([value] * 3)
        return VariantAnswer(f"toy, {where}", verdict, seen, seen, seen, beyond=3, power=0.0)

    finding = Finding("mixed", "", (of("p = 1", "no", 0.5), of("p = .1", "yes", 0.9), of("p = .2", "unclear", 0.7)))
    said = by_rule(finding, {"statistic": "share"})
    assert said.startswith("By its rule **mixed**: share is 0.500")
    assert "at p = 1: no; other variants: 1 yes, 1 unclear)" in said


RULED = {
    path.stem: values
    for path in shipped_configs()
    if "verdict" in (values := read_toml(path)) or ("program" in values and values["about"].get("problem"))
}


@pytest.mark.parametrize("name", RULED)
def test_what_came_of_a_toy_with_a_rule_opens_with_a_verdict(name: str) -> None:
    opening = re.split(r"\W", RULED[name]["about"]["outcome"])[0].lower()
    assert opening in VERDICTS


def test_on_the_shipped_page_what_a_toy_is_said_to_show_is_what_its_rule_says() -> None:
    text = (ROOT / "docs" / "toys.md").read_text()
    sections = re.split(r"^### (?=4\.)", text.split("<!-- end: problems -->")[0], flags=re.MULTILINE)[1:]
    assert len(sections) == 20
    for section in sections:
        line = r"^(?:- `([^`]+)`\. )?([A-Z][a-z]+)\b.*By its rule \*\*([a-z ]+)\*\*"
        told = re.findall(line, section, re.MULTILINE)
        assert told
        assert all(word.lower() == rule for _, word, rule in told)
        verdict = section.splitlines()[0].rsplit("(", 1)[1].rstrip(")")
        words = {rule for *_, rule in told}
        assert verdict == ("mixed" if {"yes", "no"} <= words or "mixed" in words else verdict)
        assert verdict in words or verdict == "mixed"


def test_every_variant_stands_in_the_long_table(sources: Sources) -> None:
    ask("aaa", 0.9, sources.problems)
    ask("zzz", 0.0, sources.problems)
    made = PARTS["verdicts"](sources)
    assert [line.split("|")[2].strip() for line in made.splitlines()[2:]] == ["aaa", "zzz"]
    assert "`polysem toy zzz`" in made


def test_what_was_not_run_says_so(sources: Sources) -> None:
    assert PARTS["verdicts"](sources) == "Nothing has been run."
    assert "`polysem toy-known`" in PARTS["known"](sources)
    assert "`polysem toy-trial`" in PARTS["trials"](sources)
    assert "(`polysem toy abs-20-10`)" in PARTS["experiments"](sources)
    sources.toys.mkdir()
    (sources.toys / "abs-20-10.json").write_text(
        json.dumps({"verdicts": [{"verdict": "held"}, {"verdict": "unclear"}]})
    )
    assert "(1 held, 1 unclear; `polysem toy abs-20-10`)" in PARTS["experiments"](sources)


def test_a_mark_that_names_no_part_is_refused_and_so_is_a_page_without_one(sources: Sources) -> None:
    sources.page.write_text("<!-- made: poems -->\n<!-- end: poems -->\n")
    with pytest.raises(BadInput, match="<!-- made: poems --> is no part; there are problems"):
        tell(sources)
    sources.page.write_text("nothing")
    with pytest.raises(BadInput, match="to write between"):
        tell(sources)


def test_a_sentence_ends_at_its_full_stop() -> None:
    assert first_sentence("Held: 5 of 8 at p = 0.1. More.") == "Held: 5 of 8 at p = 0.1."
    assert first_sentence("All.\nof it") == "All. of it"


def test_the_shipped_page_has_every_part() -> None:
    text = (ROOT / "docs" / "toys.md").read_text()
    assert all(f"<!-- made: {name} -->" in text for name in PARTS)
