"""The report: one page that opens offline, says what is known, and shows hostile text harmlessly."""

import base64
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from analyze.activations.store import drop_sample
from analyze.comparison.command import compare
from analyze.comparison.comparison import comparison_of
from analyze.comparison.results import find_cells
from analyze.comparison.wording import bigram_doubts, in_own_words
from analyze.figures import styles_of
from analyze.interventions.uses_store import uses_beside
from analyze.report.cards import level, shown
from analyze.report.page import report
from analyze.report.plots import Curve, Dot, dot_plot, loss_curves
from analyze.scores import SCORES
from analyze.scores.passages import keep_passages
from analyze.scores.store import write_scores
from analyze.statistics import Estimate
from tests.analyze.activations.synthetic import (
    HOSTILE,
    k_eff_of,
    made_up_scores,
    meta_of,
    sampled_tokens,
    write_cell,
    write_data,
    write_study,
)
from train.errors import BadInput
from train.files import publishing
from train.parquet import write_parquet

ELEMENTS = set(
    re.findall(
        r"\w+",
        "html head meta title style body header h1 h2 h3 h4 p nav a main figure div img figcaption table "
        "thead tbody tr th td span details summary ul li ol article dl dt dd footer b br wbr code",
    )
)
BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Parsed(HTMLParser):
    """Elements, attributes and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        for name, value in attrs:
            self.attributes.add(name)
            if name == "src":
                self.sources.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    results = write_study(tmp_path_factory.mktemp("study"))
    compare([results], results, reference="gelu")
    report(results)
    return results


@pytest.fixture(scope="module")
def page(study) -> str:
    return (study / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(page) -> Parsed:
    return Parsed(page)


def test_the_page_needs_no_network_and_runs_no_script(page, parsed):
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert parsed.sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.sources)
    assert all(link.startswith("#") for link in parsed.links)
    assert {link[1:] for link in parsed.links} <= set(parsed.ids)
    assert "url(" not in page
    assert "@import" not in page


def test_hostile_token_text_is_shown_and_does_nothing(page, parsed):
    text = "".join(parsed.text)
    assert set(parsed.elements) <= ELEMENTS
    assert not {name for name in parsed.attributes if name.startswith("on")}
    assert "alert(" in text
    assert "<script>" in text
    assert "<script>" not in page
    assert not BIDI.search(page)
    assert BIDI.search(HOSTILE)


def test_images_in_the_page_are_the_figures_of_its_directory(study, parsed):
    embedded = {base64.b64decode(source.split(",", 1)[1]) for source in parsed.sources}
    beside = {path.read_bytes() for path in (study / "figures").glob("*.svg")}
    assert embedded == beside
    assert len(beside) == 5
    for svg in beside:
        ElementTree.fromstring(svg)
        assert b"<text" in svg


def test_figures_say_in_a_legend_what_their_lines_and_marks_are(study):
    def words(name: str) -> set[str]:
        root = ElementTree.fromstring((study / "figures" / f"{name}.svg").read_bytes())
        return {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}

    assert {"held-out text, a line a seed", "training batches, smoothed", "baseline"} <= words("loss")
    nulls = {"untrained", "rotated"}  # of W_in rotated the made-up study has none
    assert {"trained", "threshold of the verdict, 1.5", *nulls} <= words("k-eff")
    assert {"mean over seeds", "95 % t interval", "a seed", *nulls} <= words("share")
    assert "W_in rotated" not in words("k-eff") | words("share")
    assert "a seed" not in words("widened-share")  # which shows none


def test_nothing_is_called_by_the_short_form_of_the_headlines_word(study, page, parsed):
    assert not re.search(r"\bmono\b", " ".join(parsed.text))
    assert not re.search(r"class=\"[^\"]*\bmono\b", page)
    assert not [path.name for path in (study / "figures").iterdir() if "mono" in path.name]
    rules = [text for text in parsed.text if text.startswith("Rule share: ") and "strongest" in text]
    assert any(text.endswith("(one rule).") for text in rules)


def test_a_scores_words_are_replaced_and_those_of_a_rule_are_not():
    verdict = SCORES["rule_share"].verdict
    assert verdict is not None
    row = {"rule_share": 0.95, "rule_share_rule": "the token (mono) where mono", "rule_share_base_rate": 0.01}
    for says, word in ((True, "one rule"), (False, "not one rule")):
        said = in_own_words(SCORES["rule_share"].sentence(row | {"rule_share_mono": says}), verdict)
        assert said.endswith(f"1 % of all tokens ({word}).")
        assert "the token (mono)" in said
    k_eff = SCORES["k_eff"].verdict
    assert k_eff is not None
    assert in_own_words(k_eff.meaning, k_eff).endswith("one word rule where it is at most 1.5.")


def test_a_model_worse_than_a_bigram_is_said_to_be_and_by_how_much(study):
    rows = comparison_of(find_cells([study])).rows
    near = replace(rows[0], variant="near", eval_loss=replace(rows[0].eval_loss, mean=4.70), bigram_loss=4.74)
    worse = replace(rows[0], variant="worse", eval_loss=replace(rows[0].eval_loss, mean=5.24), bigram_loss=4.74)
    unknown = replace(worse, variant="unknown", bigram_loss=float("nan"))
    assert bigram_doubts([rows[0], unknown]) == []
    assert bigram_doubts([near, worse, worse]) == [
        "Predicts held-out text worse than a bigram, nats a token: worse by 0.50.",
        "Predicts held-out text better than a bigram by less than 0.1 nats a token: near by 0.04.",
    ]


def test_making_the_report_twice_gives_the_same_bytes(study, page):
    figures = {path.name: path.read_bytes() for path in (study / "figures").iterdir()}
    report(study)
    assert (study / "report.html").read_text(encoding="utf-8") == page
    assert {path.name: path.read_bytes() for path in (study / "figures").iterdir()} == figures


def test_the_report_keeps_the_reference_that_was_compared_with(parsed):
    text = " ".join(parsed.text)
    assert "difference to gelu" in text
    assert "Estimated differences to gelu run from" in text


def test_without_a_test_nothing_is_claimed(parsed):
    text = " ".join(parsed.text)
    assert "No test was made" in text
    assert "significan" not in text.lower()


def test_neurons_are_a_labelled_random_sample_beside_the_extremes(study, parsed):
    text = " ".join(parsed.text)
    assert "A random sample of the 18 scored neurons" in text
    assert "Smallest K_eff of the" in text
    assert "Largest K_eff" in text
    assert parsed.elements["article"] == 7 * 12
    k_eff = pl.read_parquet(study / "relu-s0" / "step-000000500" / "L0.mid.scores" / "scores.parquet")
    own = k_eff.filter((pl.col("null") == "none") & pl.col("k_eff_mono").is_not_null())
    assert f"{own['k_eff'].min():.2f}" in text


def test_every_variant_and_hash_is_traceable(study, parsed):
    text = " ".join(parsed.text)
    for run in ("relu-s0", "relu-s1", "solu-s1", "gelu-x10-s0", "relu-100x-s1"):
        assert run in text
    manifests = pl.read_parquet(study / "comparison.parquet")["score_manifests"].to_list()
    for found in " ".join(manifests).split():
        assert found[:16] in text


def test_tokens_are_highlighted_by_their_own_activation(page):
    examples = re.findall(r'<span class="text">(.*?)</li>', page)
    assert examples
    with_peak = [example for example in examples if example.count("peak") == 1]
    assert len(with_peak) == len(examples)
    shades = [len(re.findall(r'class="t h\d', example)) for example in examples]
    assert max(shades) > 1
    assert "⏎" in "".join(examples)


def test_without_the_sample_only_peaks_are_highlighted(tmp_path):
    results = write_study(tmp_path, seeds=(0,), with_sample=False)
    page = report(results).read_text(encoding="utf-8")
    assert "Only peaks are highlighted" in page
    examples = re.findall(r'<span class="text">(.*?)</li>', page)
    assert examples
    assert all(len(re.findall(r'class="t h\d', example)) == 1 for example in examples)
    assert "One seed only" in page


@pytest.fixture
def one(tmp_path):
    """one(variant, run) -> a results directory with a single scored run of a hostile or plain name."""

    def write(variant="gelu", **over) -> Path:
        data = write_data(tmp_path / "data", n_documents=12)
        tokens = sampled_tokens(data)
        rng = np.random.default_rng(0)
        scores = made_up_scores(40, k_eff_of(40, rng, 0.3), rng)
        meta = meta_of(data, tokens, variant, 0, 500, **over)
        write_cell(tmp_path / "results", tokens, meta, scores, with_sample=True)
        return tmp_path / "results"

    return write


def test_names_of_runs_are_escaped_and_cannot_steer_the_text(one):
    results = one("</td><script>alert(1)</script>\u202e$x_{2}$ & 日本", run="odd-run")
    page = report(results).read_text(encoding="utf-8")
    assert set(Parsed(page).elements) <= ELEMENTS
    assert not BIDI.search(page)
    assert "alert(1)" in "".join(Parsed(page).text)
    for svg in (results / "figures").glob("*.svg"):
        tags = {element.tag.rsplit("}")[-1] for element in ElementTree.parse(svg).iter()}
        assert "script" not in tags
        assert not BIDI.search(svg.read_text(encoding="utf-8"))


def test_a_card_says_what_its_neuron_is_used_for_where_that_was_found_out(one):
    results = one()
    assert "used for <b>" not in report(results).read_text(encoding="utf-8")
    (activations,) = (path.parent for path in results.rglob("meta.json") if path.parent.name.endswith("mid"))
    with publishing(uses_beside(activations), {"kind": "uses"}) as aside:
        every = range(40)
        table = {"neuron": every, "of_layer": every, "used_for": ["in <code>"] * 40, "rise": [0.125] * 40}
        write_parquet(pl.DataFrame(table), aside / "uses.parquet")
    page = report(results).read_text(encoding="utf-8")
    assert "used for <b>in &lt;code&gt; (+0.12 nats without it)</b>" in page


def test_without_metrics_the_report_says_so(one):
    page = report(one()).read_text(encoding="utf-8")
    assert "No metrics.jsonl lies beside these results" in page


def test_losses_by_source_and_dead_neurons_stand_in_tables_where_runs_logged_them(one):
    results = one(run="odd-run")
    log = results / "odd-run" / "metrics.jsonl"
    line = {"kind": "eval", "step": 7, "tokens": 7, "loss": 2.5}
    log.write_text(json.dumps(line) + "\n")
    assert "Held-out loss by source" not in report(results).read_text(encoding="utf-8")
    line |= {"by_source": {"wiki": {"loss": 3.25}, "<b>py": {"loss": 1.125}, "odd": 3, "odder": {"loss": "1"}}}
    line |= {"dead": {"layers.0": {"neurons": 1234, "share": 0.25}}}
    log.write_text(json.dumps(line) + "\n")
    page = report(results).read_text(encoding="utf-8")
    text = "".join(Parsed(page).text)
    for said in ("Held-out loss by source", "<b>py", "3.250", "1.125", "2.500", "Dead neurons", "1,234 (25.0 %)"):
        assert said in text
    assert "odder" not in text


def test_without_the_data_the_text_is_left_out_and_the_reason_given(one):
    page = report(one(data_dir="/nowhere/at all")).read_text(encoding="utf-8")
    assert "The text of examples is not shown" in page
    assert "/nowhere/at all" in page
    assert 'class="t ' not in page


def test_other_data_than_was_scored_is_not_shown_as_its_text(one):
    page = report(one(data_hash="f" * 64)).read_text(encoding="utf-8")
    assert "not the data that the activations were collected on" in page


def test_a_directory_without_scores_is_bad_input_and_gets_no_page(tmp_path):
    with pytest.raises(BadInput, match="no scores here"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_deleting_a_sample_after_scoring_leaves_the_report_possible(one):
    results = one()
    drop_sample(results / "gelu-s0" / "step-000000500" / "L0.mid")
    assert "Only peaks are highlighted" in report(results).read_text(encoding="utf-8")


def test_passages_kept_before_the_sample_is_deleted_give_the_same_page(one):
    results = one()
    directory = results / "gelu-s0" / "step-000000500" / "L0.mid"
    whole = report(results).read_text(encoding="utf-8")
    kept = keep_passages(directory)
    drop_sample(directory)
    assert keep_passages(directory) == kept
    assert report(results).read_text(encoding="utf-8") == whole


def test_passages_of_other_scores_are_not_used(one):
    results = one()
    directory = results / "gelu-s0" / "step-000000500" / "L0.mid"
    keep_passages(directory)
    drop_sample(directory)
    scores = pl.read_parquet(directory.with_name("L0.mid.scores") / "scores.parquet")
    write_scores(directory, scores.with_columns(pl.col("k_eff") + 0.01), {}, 1.0)
    assert "kept for other scores" in report(results).read_text(encoding="utf-8")


def test_the_report_follows_the_comparison_in_its_directory(tmp_path):
    data = write_data(tmp_path / "data", n_documents=12)
    tokens, rng = sampled_tokens(data), np.random.default_rng(0)
    results = tmp_path / "results"
    for variant in ("gelu", "relu", "solu"):
        scores = made_up_scores(40, k_eff_of(40, rng, 0.3), rng)
        write_cell(results, tokens, meta_of(data, tokens, variant, 0, 500), scores, with_sample=True)
    compare([results / "solu-s0", results / "gelu-s0"], results)
    page = report(results).read_text(encoding="utf-8")
    assert "relu" not in page
    assert page.index('"></span>solu') < page.index('"></span>gelu')
    assert "difference to solu" in page


@pytest.mark.parametrize(
    ("piece", "text", "odd"),
    [
        (b" city", " city", False),
        (b"\n", "⏎", False),
        (b"\t", "⇥", False),
        (b"    ", "␣␣␣␣", False),
        (b" ", "␣", False),
        ("é".encode(), "é", False),
        (b"\xf0\x9f", "\\xF0\\x9F", True),
        ("\u202e".encode(), "\\u202e", False),
        (b"a\x00", "a\\u0000", False),
    ],
)
def test_white_space_bytes_and_controls_are_visible(piece, text, odd):
    assert shown(piece) == (text, odd)


def test_shades_follow_the_activation_and_start_above_zero():
    assert [level(value, 2.0) for value in (None, -1.0, 0.0, 0.25, 1.0, 2.0, 9.0)] == [0, 0, 0, 1, 4, 8, 8]
    assert level(1.0, 0.0) == 0
    assert level(float("nan"), 1.0) == 0


def test_a_variant_keeps_its_colour_and_ten_can_be_told_apart():
    names = [f"v{index}" for index in range(12)]
    styles = styles_of(names)
    assert len({str(style) for style in styles.values()}) == 12
    assert styles_of(names[:3])["v2"] == styles["v2"]


def test_figures_of_ten_variants_name_every_one():
    names = [f"variant-{index}" for index in range(10)]
    points = np.array([[1000.0, 6.0], [2000.0, 5.0]])
    svg = loss_curves([Curve(name, points, points, False) for name in names], styles_of(names), 6.9, 4.7)
    dots = dot_plot([("%", [Dot(name, name, Estimate(10.0, 5.0, 15.0, 1.0, 2)) for name in names])], styles_of(names))
    for name in names:
        assert name in svg
        assert name in dots
