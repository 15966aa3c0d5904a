"""Variants x seeds in one table, held against chance and against a reference."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

import analyze.scores.validity
from analyze.comparison.arguments import Compare
from analyze.comparison.command import compare
from analyze.comparison.flatten import flattened
from analyze.scores import PRIMARY
from analyze.scores.validity import Case, Validity
from analyze.study.config import StudyConfig
from tests.analyze.activations.synthetic import k_eff_of, made_up_scores, meta_of, write_cell, write_metrics
from tests.analyze.comparison.cells import k_eff, mono_scores, row_of
from train.errors import BadInput


def test_the_primary_is_the_same_from_the_command_line_a_study_and_python():
    assert Compare.primaries == StudyConfig.model_fields["primaries"].default == (PRIMARY,)


def test_share_number_and_t_interval_over_seeds(put, tmp_path):
    for seed, n_mono in enumerate((4, 8, 12)):
        put("gelu", seed, n_mono)
    comparison = compare([tmp_path / "results"], tmp_path / "out")
    score, shares = k_eff(comparison, "gelu"), [0.1, 0.2, 0.3]
    low, high = stats.t.interval(0.95, 2, loc=0.2, scale=stats.sem(shares))
    assert score.share.mean == pytest.approx(0.2)
    assert (score.share.low, score.share.high) == pytest.approx((max(low, 0), high))
    assert score.number.mean == pytest.approx(8)
    assert row_of(comparison, "gelu").n_seeds == 3
    assert score.median == 3


def test_one_seed_has_no_interval_and_the_table_says_so(put, tmp_path):
    put("gelu", 0, 4)
    comparison = compare([tmp_path / "results"], tmp_path / "out")
    assert k_eff(comparison, "gelu").share.mean == pytest.approx(0.1)
    assert not k_eff(comparison, "gelu").share.has_interval
    assert not row_of(comparison, "gelu").eval_loss.has_interval
    assert flattened(comparison)["k_eff_mono_share_low"].to_list() == [None]
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "One seed only" in text
    assert "nan" not in text.lower().replace("finance", "")


def test_differences_are_paired_by_seed_and_no_test_is_made_of_two(put, tmp_path):
    for seed in (0, 1):
        put("gelu", seed, 4 + 8 * seed)
        put("relu", seed, 8 + 8 * seed)
    put("relu", 2, 40)
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    score = k_eff(comparison, "relu")
    assert score.difference.mean == pytest.approx(0.1)
    assert score.difference.low == pytest.approx(0.1)
    assert score.difference.n == 2
    assert np.isnan(score.p)
    assert "No test was made" in (tmp_path / "out" / "comparison.md").read_text()
    assert k_eff(comparison, "gelu").difference.n == 0


def test_six_seeds_are_tested_and_holm_counts_all_planned_contrasts(put, tmp_path):
    for seed in range(6):
        put("gelu", seed, 4)
        put("relu", seed, 8 + seed)
        put("solu", seed, 9)
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    assert k_eff(comparison, "relu").p == pytest.approx(2 / 64)
    assert k_eff(comparison, "relu").p_adjusted == pytest.approx(2 * 2 / 64)
    assert comparison.n_tests == 2
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "No test was made" not in text
    assert "none of them can reach 0.05 (that takes 7)" in text


def test_dead_rare_and_unjudged_neurons_are_in_all_but_not_in_scored(put, tmp_path):
    k_eff = np.where(np.arange(40) % 2 == 0, 1.0, 3.0)
    k_eff[-4:] = np.nan
    put("gelu", 0, 0, scores=made_up_scores(40, k_eff, np.random.default_rng(0)))
    row = row_of(compare([tmp_path / "results"], tmp_path / "out"), "gelu")
    assert row.dead_share == pytest.approx(2 / 40)
    assert row.rare_share == pytest.approx(2 / 40)
    assert row.scores["k_eff"].na_share == pytest.approx(4 / 36)
    assert row.scores["k_eff"].share.mean == pytest.approx(16 / 32)
    assert row.scores["k_eff"].share_all == pytest.approx(16 / 40)


def test_copies_do_not_multiply_monosemantic_neurons(put, tmp_path):
    scores = mono_scores(40, 20).with_columns(duplicate_cluster=pl.col("neuron") // 10)
    put("gelu", 0, 0, scores=scores)
    score = k_eff(compare([tmp_path / "results"], tmp_path / "out"), "gelu")
    assert score.number.mean == 20
    assert score.once.mean == pytest.approx(2)
    assert score.once_share.mean == pytest.approx(0.5)


def test_copies_move_neither_median_nor_difference(put, tmp_path):
    """A widened layer whose ten monosemantic neurons were copied four times, and whose others were not."""
    put("gelu", 0, 10)
    originals = mono_scores(40, 10)
    copies = originals.tail(10)
    wide = pl.concat([originals, *[copies] * 4]).with_columns(neuron=pl.int_range(80).cast(originals.schema["neuron"]))
    put("gelu-x2", 0, 0, scores=wide, n_neurons=80, factor=2)
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    score = k_eff(comparison, "gelu-x2")
    assert score.share.mean == pytest.approx(50 / 80)
    assert score.difference.mean == pytest.approx(0)
    assert score.median == k_eff(comparison, "gelu").median == 3


def test_each_share_stands_beside_the_untrained_network_and_the_rotation(put, tmp_path):
    for seed in (0, 1):
        put("gelu", seed, 1, step=0)
        put("gelu", seed, 12, rotated=4)
    row = row_of(compare([tmp_path / "results"], tmp_path / "out"), "gelu")
    nulls = row.scores["k_eff"].nulls
    assert nulls["untrained"].share == pytest.approx(1 / 40)
    assert nulls["rotated"].share == pytest.approx(4 / 40)
    assert nulls["rotated"].excess.mean == pytest.approx(8 / 40)
    pooled = 32 / 160
    assert nulls["rotated"].z == pytest.approx(0.2 / np.sqrt(pooled * (1 - pooled) * 2 / 80))
    assert [meta.step for meta in row.metas] == [500, 500]


def test_z_is_taken_against_the_first_null_that_was_made(put, tmp_path):
    put("gelu", 0, 12, rotated=4)
    compare([tmp_path / "results"], tmp_path / "rotated")
    assert "z over rotated" in (tmp_path / "rotated" / "comparison.md").read_text()
    put("relu", 0, 0, scores=pl.concat([mono_scores(40, 12), mono_scores(40, 1, "w_in_rotated")]))
    comparison = compare([tmp_path / "results"], tmp_path / "both")
    table = (tmp_path / "both" / "comparison.md").read_text().split("## Against chance")[1].split("##")[0]
    assert "z over W_in rotated" in table
    z = k_eff(comparison, "relu").nulls["w_in_rotated"].z
    assert [line.split("|")[-2].strip() for line in table.splitlines() if "K_eff" in line] == ["–", f"{z:.1f}"]


@pytest.mark.parametrize(
    ("other", "n"),
    [
        ({}, 1),
        ({"run": "odd name", "run_hash": "r"}, 1),
        ({"train_data_hash": "f" * 64}, 0),
        ({"seed": 1}, 0),
        ({"seed": 1, "run": "relu-s0"}, 0),
    ],
)
def test_a_twin_shares_seed_and_training_data_whatever_it_is_called(put, tmp_path, other, n):
    facts = {"seed": 0, "n_mono": 8} | other
    put("gelu", 0, 4)
    put("relu", facts.pop("seed"), facts.pop("n_mono"), **facts)
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    assert k_eff(comparison, "relu").difference.n == n
    assert ("reference" in {each.side for each in comparison.separations}) == bool(n)
    doubted = "Trained on other data than gelu of the same seed" in (tmp_path / "out" / "comparison.md").read_text()
    assert doubted == ("train_data_hash" in other)


def test_an_arm_is_compared_with_the_untrained_network_of_its_root(put, tmp_path):
    put("gelu", 0, 3, step=0)
    put("gelu", 0, 12)
    put("gelu-x10", 0, 9, factor=10, start_run="checkpoints/s/gelu-s0", root_variant="gelu", eval_loss=4.2)
    write_metrics(tmp_path / "results", "gelu-x10-s0", 0, 4.35, 4.2)
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    assert k_eff(comparison, "gelu-x10").nulls["untrained"].share == pytest.approx(3 / 40)
    assert [arm.result.variant for arm in comparison.arms] == ["gelu", "gelu-x10"]
    assert comparison.arms[1].birth_loss == pytest.approx(4.35)
    assert comparison.arms[1].result.eval_loss.mean == pytest.approx(4.2)
    assert "Widened models beside their parent" in (tmp_path / "out" / "comparison.md").read_text()


def test_post_is_compared_with_the_mid_of_a_reference_without_layer_norm(put, tmp_path):
    put("gelu", 0, 4)
    put("solu", 0, 8)
    put("solu", 0, 12, hook="post")
    score = k_eff(compare([tmp_path / "results"], tmp_path / "out", reference="gelu"), "solu", "post")
    assert score.difference.mean == pytest.approx(0.2)


def test_a_score_no_better_than_its_rotation_is_a_reason_to_doubt(put, tmp_path):
    put("gelu", 0, 2, rotated=10)
    put("relu", 0, 12, rotated=2)
    compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    doubts = (tmp_path / "out" / "comparison.md").read_text().split("## Reasons to doubt")[1].split("##")[0]
    line = next(line for line in doubts.splitlines() if "rotation" in line and "K_eff" in line)
    assert "gelu L0.mid" in line
    assert "relu" not in line


def test_the_three_files_hold_the_same_rows_and_trace_every_one(put, tmp_path):
    put("gelu", 0, 4)
    put("gelu", 1, 5)
    comparison = compare([tmp_path / "results"], tmp_path / "out")
    table = flattened(comparison)
    assert pl.read_parquet(tmp_path / "out" / "comparison.parquet").equals(table)
    csv = pl.read_csv(tmp_path / "out" / "comparison.csv")
    assert csv.columns == table.columns
    row = table.row(by_predicate=pl.col("variant") == "gelu", named=True)
    assert row["runs"] == "gelu-s0 gelu-s1"
    assert row["seeds"] == "0 1"
    hashes = row["score_manifests"].split()
    assert [len(found) for found in hashes] == [64, 64]
    assert hashes[0][:8] in (tmp_path / "out" / "comparison.md").read_text()


def test_comparing_twice_writes_the_same_bytes(put, tmp_path):
    for seed in (0, 1):
        put("gelu", seed, 4 + seed)
        put("relu", seed, 8)
    files = ("comparison.md", "comparison.csv", "comparison.parquet")
    compare([tmp_path / "results"], tmp_path / "out")
    first = [(tmp_path / "out" / name).read_bytes() for name in files]
    compare([tmp_path / "results"], tmp_path / "out")
    assert first == [(tmp_path / "out" / name).read_bytes() for name in files]


def test_runs_on_other_data_are_refused_and_both_are_named(put, tmp_path):
    put("gelu", 0, 4)
    put("relu", 0, 4, data_hash="f" * 64)
    with pytest.raises(BadInput, match=r"gelu-s0.*relu-s0.*do not share data"):
        compare([tmp_path / "results"], tmp_path / "out")
    assert not (tmp_path / "out" / "comparison.md").exists()


def test_runs_on_another_token_sample_are_refused(put, tmp_path, data, tokens):
    put("gelu", 0, 4)
    fewer = type(tokens)(**{name: values[:-5] for name, values in vars(tokens).items()})
    meta = meta_of(data, fewer, "relu", 0, 500)
    write_cell(tmp_path / "results", fewer, meta, mono_scores(40, 4))
    with pytest.raises(BadInput, match="do not share a token sample"):
        compare([tmp_path / "results"], tmp_path / "out")


def test_two_runs_of_one_variant_and_seed_are_refused(put, tmp_path):
    put("gelu", 0, 4)
    put("gelu", 0, 4, run="gelu-again-s0")
    with pytest.raises(BadInput, match=r"gelu-s0.*gelu-again-s0|gelu-again-s0.*gelu-s0"):
        compare([tmp_path / "results"], tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"reference": "gelo"}, "did you mean 'gelu'"), ({"primaries": ["keff"]}, "did you mean 'k_eff'")],
)
def test_an_unknown_name_gets_the_nearest_as_a_suggestion(put, tmp_path, arguments, message):
    put("gelu", 0, 4)
    with pytest.raises(BadInput, match=message):
        compare([tmp_path / "results"], tmp_path / "out", **arguments)


def test_an_empty_directory_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no scores here"):
        compare([tmp_path], tmp_path / "out")


def test_a_variant_of_which_no_neuron_is_judged_has_dashes_not_errors(put, tmp_path):
    rng = np.random.default_rng(0)
    put("gelu", 0, 0, rotated=None, scores=made_up_scores(40, np.full(40, np.nan), rng))
    put("relu", 0, 0, scores=made_up_scores(40, k_eff_of(40, rng, 0.3), rng))
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="relu")
    score = k_eff(comparison, "gelu")
    assert score.share.n == 0
    assert score.number.mean == 0
    assert score.difference.n == 0
    assert flattened(comparison)["k_eff_mono_share"].to_list()[1] is None


def test_names_cannot_break_the_markdown_table(put, tmp_path):
    put("a|b\n<script>\u202e", 0, 4, run="odd")
    compare([tmp_path / "results"], tmp_path / "out")
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "\u202e" not in text
    assert "<script>" not in text.replace("\\<script\\>", "")
    tables = [part for part in text.split("## ") if "\n|" in part]
    for table in tables:
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def measured_validity(auroc: float) -> Validity:
    """As published of a score with this AUROC on the one symmetric case."""
    case = Case("symmetric", True, 120, 180, auroc, auroc - 0.03, auroc + 0.02, auroc, -0.7, 0.0, 0.0, 0.8, 0.1, 0.5)
    facts = {"why_not": "", "data_hash": "d", "planted_hash": "p", "admitted_hash": "a", "n_features": 100}
    return Validity("k_eff", "held", code="c", cases=(case,), **facts)


@pytest.mark.parametrize(("auroc", "leads"), [(0.95, True), (0.85, False), (None, False)])
def test_a_score_that_has_not_passed_never_leads_and_its_validity_stands_beside_it(
    put, tmp_path, monkeypatch, auroc, leads
):
    published = {} if auroc is None else {"k_eff": measured_validity(auroc)}
    monkeypatch.setattr(analyze.scores.validity, "published", lambda path=None: published)
    put("gelu", 0, 4)
    compare([tmp_path / "results"], tmp_path / "out")
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert ("## Neurons of one word rule by K_eff" in text) == leads
    assert ("What K_eff calls neurons of one word rule: a description, by a score that has not passed" in text) != leads
    assert ("K_eff has not passed on planted neurons" in text.split("## Reasons to doubt")[1]) != leads
    said = "not measured on planted neurons" if auroc is None else f"AUROC {auroc:.2f}".replace("0.", ".")
    assert said in text.split("## ")[1]
