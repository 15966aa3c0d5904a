"""A score with a verdict, a null and a part of the report are one file each: everything that shows them finds them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.activations.store import Activations
from analyze.comparison.command import compare
from analyze.comparison.flatten import flattened
from analyze.nulls import NULLS
from analyze.report.base import Paragraph, Part, Section
from analyze.report.page import PARTS, report
from analyze.scores import SCORES
from analyze.scores.base import About, JudgedBy, NeuronScore, Verdict
from tests.analyze.activations.synthetic import made_up_scores, meta_of, sampled_tokens, write_cell, write_data


class Brevity(NeuronScore):
    """A made-up score between 0 and 1."""

    name = "brevity"
    title = "brevity"
    number = 99
    rank = "brevity"
    about = About("how short", "0", "none", "always")
    needs = ()
    verdict = Verdict(
        "brevity_mono", "brevity", 0.5, False, "Brevity is at least 0.5.", JudgedBy("breadth", 0.25, "how broad")
    )

    def __call__(self, acts: Activations) -> np.ndarray:
        return np.zeros(acts.n_neurons)

    def table(self, acts: Activations) -> pl.DataFrame:
        return pl.DataFrame({"brevity": self(acts)})


SHUFFLED = replace(NULLS["rotated"], name="shuffled", title="shuffled", phrase="a shuffled layer", order=9)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """gelu and relu, scored by brevity too, with rows of a null `shuffled`."""
    data = write_data(tmp_path / "data", n_documents=12)
    tokens, rng = sampled_tokens(data), np.random.default_rng(0)
    for variant in ("gelu", "relu"):
        for seed in (0,):
            rows = pl.concat([made_up_scores(20, rng.uniform(1, 3, 20), rng, null) for null in ("none", "shuffled")])
            brevity = pl.Series("brevity", rng.uniform(0, 1, 40))
            rows = rows.with_columns(brevity, breadth=brevity / 2, brevity_mono=brevity >= 0.5)
            meta = meta_of(data, tokens, variant, seed, 500, n_neurons=20)
            write_cell(tmp_path / "results", tokens, meta, rows, with_sample=True)
    return tmp_path / "results"


def test_a_score_with_a_verdict_is_shown_by_every_table_and_may_lead(results: Path):
    with SCORES.including(Brevity()):
        comparison = compare([results], results, primaries=("brevity",))
        page = report(results).read_text(encoding="utf-8")
    assert {"brevity_mono_share", "brevity_breadth", "brevity_p_adjusted"} <= set(flattened(comparison).columns)
    text = re.sub(" +", " ", (results / "comparison.md").read_text())
    for words in (
        "What brevity calls neurons of one thing",
        "| gelu L0.mid | brevity |",
        "| brevity | relu L0.mid |",
        "median breadth",
        "NA % by brevity",
        "breadth below 0.25, which brevity does not judge",
        "Brevity is at least 0.5.",
        "brevity has not passed on planted neurons",
    ):
        assert words in text, words
    for words in ("Distribution of brevity", "Smallest brevity of the 20 judged neurons", "K_eff: ", "brevity <b>"):
        assert words in page, words
    assert (results / "figures" / "brevity.svg").is_file()
    assert [score.name for score in compare([results], results / "again").scores] == ["k_eff", "rule_share"]


def test_a_null_to_show_stands_in_every_table(results: Path):
    with NULLS.including(SHUFFLED):
        comparison = compare([results], results)
        page = report(results).read_text(encoding="utf-8")
    assert "k_eff_shuffled_excess" in flattened(comparison).columns
    text = (results / "comparison.md").read_text()
    for words in ("shuffled %", "excess over shuffled", "over shuffled", "untrained, rotated, W_in rotated, shuffled"):
        assert words in text, words
    assert "shuffled" in page
    assert "diamond: a shuffled layer" in page


def test_a_part_of_the_report_stands_in_its_place(results: Path):
    part = Part("weather", 35, lambda study: Section("sky", "Weather", "Weather", (Paragraph("<Sun> & rain"),)))
    with PARTS.including(part):
        page = report(results).read_text(encoding="utf-8")
    assert page.index('id="loss"') < page.index('<h2 id="sky">Weather</h2>') < page.index('id="scores"')
    assert '<a href="#sky">Weather</a>' in page
    assert "&lt;Sun&gt; &amp; rain" in page
    assert "Weather" not in report(results).read_text(encoding="utf-8")
