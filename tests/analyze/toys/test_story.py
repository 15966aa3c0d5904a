"""docs/toys.md from results: what is made, what stays, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from analyze.figures import Figure
from analyze.problems.base import Measured, Measurement
from analyze.toys.story import PARTS, Sources, first_sentence, in_words, side_by_side, tell
from analyze.toys.verdicts.question import ToyQuestion, toy_rule
from analyze.toys.verdicts.record import answer
from train.errors import BadInput

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


def test_the_leading_toy_is_one_that_says_what_the_problem_says(sources: Sources) -> None:
    ask("aaa", 0.203, sources.problems)
    ask("zzz", 0.9, sources.problems)
    text = tell(sources).read_text()
    assert "Asked by `zzz`; also by `aaa`: unclear." in text


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
