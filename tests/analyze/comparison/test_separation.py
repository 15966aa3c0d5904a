"""What each score tells apart: probabilities by hand, the right pairs, and verdicts that need every seed."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.comparison.command import compare
from analyze.comparison.comparison import comparison_of
from analyze.comparison.results import Place, find_cells
from analyze.comparison.separation import Separation, superiority
from analyze.comparison.summary import compared_scores, rows_of
from tests.analyze.activations.synthetic import made_up_scores, meta_of, sampled_tokens, write_cell, write_data


def test_superiority_is_the_share_of_pairs_won_with_ties_half():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0])
    assert superiority(a, b)[0] == pytest.approx((3 + 1 + 0.5) / 6)
    assert superiority(b, a)[0] == pytest.approx(1 - 4.5 / 6)


def test_its_standard_error_is_that_of_repeated_draws():
    rng = np.random.default_rng(0)
    drawn = [superiority(rng.normal(0.5, 1, 80), rng.normal(0, 1, 60)) for _ in range(400)]
    assert np.mean([error for _, error in drawn]) == pytest.approx(np.std([p for p, _ in drawn]), rel=0.15)


def test_a_verdict_needs_every_seed_on_one_side():
    def verdict(*probability: float) -> str:
        return Separation("s", "v", Place(0, "mid"), "rotated", probability, (0.05,) * len(probability)).verdict

    assert verdict(0.7, 0.65) == "above"
    assert verdict(0.3, 0.2) == "below"
    assert verdict(0.9, 0.55) == verdict(0.9, 0.1) == verdict(0.5) == "not shown"


def test_a_score_is_read_where_higher_is_more_monosemantic():
    scores = made_up_scores(20, np.linspace(1, 4, 20), np.random.default_rng(0)).with_columns(ms=pl.col("k_eff"))
    ranks = rows_of(scores, compared_scores(scores.columns)).ranks
    assert set(ranks) == {"k_eff", "rule_share", "ms"}
    assert ranks["k_eff"].tolist() == scores["k_eff_score"].drop_nulls().to_list()
    assert ranks["ms"].tolist() == scores["ms"].drop_nulls().to_list()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """relu and gelu over two seeds: K_eff 1 in trained relu, 2 in trained gelu, 4 untrained, 3 rotated."""
    data = write_data(tmp_path / "data", n_documents=12)
    tokens, rng = sampled_tokens(data), np.random.default_rng(0)
    for seed in (0, 1):
        for variant, trained in (("gelu", 2.0), ("relu", 1.0)):
            for step, k_eff in ((0, 4.0), (500, trained)):
                scores = [made_up_scores(20, np.full(20, k_eff), rng)]
                if step:
                    scores.append(made_up_scores(20, np.full(20, 3.0), rng, "rotated"))
                meta = meta_of(data, tokens, variant, seed, step, n_neurons=20)
                write_cell(tmp_path / "results", tokens, meta, pl.concat(scores))
        arm = meta_of(data, tokens, "gelu-x2", seed, 500, n_neurons=20, factor=2, start_run=f"c/gelu-s{seed}")
        write_cell(tmp_path / "results", tokens, arm, made_up_scores(20, np.full(20, 1.0), rng))
    return tmp_path / "results"


def test_every_variant_from_scratch_is_compared_with_its_own_nulls_and_the_reference(results):
    comparison = comparison_of(find_cells([results]), "gelu")
    k_eff = {(each.variant, each.side): each for each in comparison.separations if each.score == "k_eff"}
    assert set(k_eff) == {
        ("gelu", "untrained"),
        ("gelu", "rotated"),
        ("relu", "untrained"),
        ("relu", "rotated"),
        ("relu", "reference"),
    }
    assert all(each.probability == (1.0, 1.0) and each.verdict == "above" for each in k_eff.values())


def test_copies_count_once(results, tmp_path):
    """Nine of ten neurons that are one cluster weigh as one."""
    data = tmp_path / "data"
    tokens, rng = sampled_tokens(data), np.random.default_rng(1)
    k_eff = np.array([1.0] * 9 + [4.0])
    scores = made_up_scores(10, k_eff, rng).with_columns(duplicate_cluster=pl.Series([0] * 9 + [1], dtype=pl.Int32))
    write_cell(results, tokens, meta_of(data, tokens, "solu", 0, 500, n_neurons=10), scores)
    separations = comparison_of(find_cells([results]), "gelu").separations
    solu = next(each for each in separations if (each.variant, each.score) == ("solu", "k_eff"))
    assert solu.side == "reference"
    assert solu.probability == (0.5,)


def test_the_comparison_prints_it(results, tmp_path):
    compare([results], tmp_path / "out", reference="gelu")
    table = (tmp_path / "out" / "comparison.md").read_text().split("## What each score tells apart")[1].split("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("| k_eff")]
    assert len(rows) == 2
    assert rows[1].count("1.00, 1.00 (above)") == 3
