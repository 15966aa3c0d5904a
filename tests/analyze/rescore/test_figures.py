"""What is said of a layer beside its nulls, from rows of scores.parquet whose answers can be counted by hand."""

import numpy as np
import polars as pl
import pytest

from analyze.comparison.results import Place
from analyze.rescore.figures import Group, LayerFigures, against_null, group_of
from analyze.rescore.page import page_of, table_of


def rows(
    p: list[float | None],
    k_eff: list[float | None],
    rate: list[float] | None = None,
    clusters: list[int | None] | None = None,
    seen: list[bool] | None = None,
) -> pl.DataFrame:
    """Rows of scores.parquet: one feature from .9, several to .1, one rule to 1.5."""
    n = len(p)
    inside = [True] * n if seen is None else seen
    one = [
        None if not ok or value is None or 0.1 < value < 0.9 else value >= 0.9
        for value, ok in zip(p, inside, strict=True)
    ]
    return pl.DataFrame(
        {
            "neuron": range(n),
            "status": pl.Series([2] * n),
            "firing_rate": rate or [0.01 * (1 + i) for i in range(n)],
            "duplicate_cluster": pl.Series(clusters or [None] * n, dtype=pl.Int64),
            "k_eff": pl.Series(k_eff, dtype=pl.Float64),
            "k_eff_mono": pl.Series([None if k is None else k <= 1.5 for k in k_eff], dtype=pl.Boolean),
            "one_feature": pl.Series([float("nan") if value is None else value for value in p], dtype=pl.Float64),
            "one_feature_mono": pl.Series(one, dtype=pl.Boolean),
            "one_feature_seen": pl.Series([None if v is None else s for v, s in zip(p, inside)], dtype=pl.Boolean),
        }
    )


@pytest.fixture(autouse=True)
def scored_is_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyze.rescore.figures.SCORED", 2)


def test_each_verdict_is_counted_and_neurons_without_a_p_are_left_out():
    group = group_of(
        rows([0.95, 0.5, 0.05, 0.99, None], [1.2, 1.3, 3.0, None, 1.0], seen=[True, True, True, False, True])
    )
    assert group.n == 4
    assert group.seen == 0.75
    assert group.verdicts == {"one": 0.25, "several": 0.25, "cannot tell": 0.5}
    assert group.by_k_eff["one rule", "one"] == 1
    assert group.by_k_eff["one rule", "cannot tell"] == 1
    assert group.by_k_eff["several rules", "several"] == 1
    assert group.by_k_eff["no figure", "cannot tell"] == 1
    assert sum(group.by_k_eff.values()) == group.n
    assert group.k_eff_share == pytest.approx(2 / 3)


def test_copies_count_once():
    group = group_of(rows([0.2, 0.9, 0.9, 0.9], [2.0] * 4, clusters=[None, 7, 7, 7]))
    assert group.p.tolist() == [0.2, 0.9]


def test_correlations_are_of_ranks_and_k_eff_counts_downward():
    group = group_of(rows([0.9, 0.5, 0.1, 0.3], [1.0, 2.0, 9.0, None], rate=[0.01, 0.02, 0.9, 0.3]))
    assert group.rate_correlation == pytest.approx(-1)
    assert group.k_eff_correlation == pytest.approx(1)


def test_a_layer_above_its_null_has_a_large_auroc_and_pairs_of_equal_rate():
    rng = np.random.default_rng(0)
    rate = np.exp(rng.uniform(-5, -1, 60)).tolist()
    high = group_of(rows(rng.uniform(0.5, 1, 60).tolist(), [1.0] * 60, rate=rate))
    low = group_of(rows(rng.uniform(0, 0.5, 60).tolist(), [2.0] * 60, rate=rate))
    told = against_null(high, low)
    assert (told.auroc, told.at_equal_rate, told.n_pairs, told.by_k_eff) == (1, 1, 60, 1)
    assert against_null(low, high).auroc == 0
    same = against_null(high, high)
    assert same.auroc == pytest.approx(0.5)
    assert 0.03 < same.error < 0.08


def test_a_layer_without_any_p_gives_no_figure_and_does_not_fail():
    nothing = group_of(rows([None, None], [None, 1.0]))
    assert nothing.n == 0
    assert np.isnan([nothing.mean, nothing.rate_correlation, nothing.k_eff_share]).all()
    assert np.isnan(against_null(nothing, nothing).auroc)


def layer(seed: int, own: Group, null: Group, variant: str = "relu") -> LayerFigures:
    """A layer with one null."""
    return LayerFigures(
        variant, Place(0, "mid"), seed, 300, own, {"w_in_rotated": null}, {"w_in_rotated": against_null(own, null)}
    )


def test_the_page_has_a_row_a_variant_with_every_seed_in_order_and_the_csv_a_row_a_layer():
    rng = np.random.default_rng(1)
    groups = [group_of(rows(rng.random(50).tolist(), (1 + rng.random(50)).tolist())) for _ in range(6)]
    figures = [layer(2, groups[0], groups[1]), layer(0, groups[2], groups[3]), layer(0, groups[4], groups[5], "gelu")]
    text = page_of(figures, "polysem rescore x")
    assert "    polysem rescore x" in text
    each = ", ".join(f"{figures[at].against['w_in_rotated'].auroc:.2f}" for at in (1, 0))
    line = next(line for line in text.splitlines() if line.startswith("| relu L0.mid") and "W_in rotated" in line)
    assert f": {each}" in line
    assert text.count("| gelu L0.mid") == 4
    table = table_of(figures)
    assert table.height == 6
    assert table.filter(pl.col("null") == "none")["auroc"].is_nan().all()
    assert table.filter((pl.col("variant") == "relu") & (pl.col("null") == "w_in_rotated"))["auroc"].to_list() == [
        figure.against["w_in_rotated"].auroc for figure in figures[:2]
    ]
