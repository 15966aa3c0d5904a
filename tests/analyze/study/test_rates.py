"""The rule that chooses peak learning rates, and the study that measures what rates do."""

from math import inf, nan
from pathlib import Path

import pytest

from analyze.study.rates import RatePoint, at_edge, best_rate, common_rate, rates_figure, rates_table, spread_line
from tests.commands import Command

ROOT = Path(__file__).parents[3]


def point(rate: float, loss: float, dead: float = 0.0, variant: str = "relu", share: float = 0.2) -> RatePoint:
    return RatePoint(variant, rate, loss, dead, firing=0.1, share=share, null=0.1, judged=200.0)


def test_the_lowest_loss_wins_where_neurons_live():
    assert best_rate([point(0.006, 4.5), point(0.012, 4.4), point(0.024, 4.6)]) == 0.012


def test_a_lower_loss_with_more_than_5_percent_dead_is_passed_over():
    assert best_rate([point(0.012, 4.41, dead=0.05), point(0.024, 4.39, dead=0.051)]) == 0.012


def test_of_equal_losses_the_smaller_rate_wins():
    assert best_rate([point(0.024, 4.4), point(0.012, 4.4)]) == 0.012


def test_no_rate_is_chosen_where_all_diverge_or_kill():
    diverged = RatePoint("relu", 0.048, inf, nan, nan, nan, nan, 0.0)
    assert best_rate([diverged, point(0.024, 4.4, dead=0.6)]) is None


def test_one_rate_for_all_is_allowed_for_every_variant():
    points = {
        "relu": [point(0.006, 4.5), point(0.012, 4.4), point(0.024, 4.1, dead=0.6)],
        "gelu": [point(0.006, 4.5), point(0.012, 4.45), point(0.024, 4.2)],
    }
    assert common_rate(points) == 0.012
    assert common_rate(points | {"solu": [point(0.024, 4.0)]}) is None


def test_a_chosen_rate_at_the_edge_of_the_grid_is_marked():
    points = [point(0.006, 4.5), point(0.012, 4.4), point(0.024, 4.3)]
    assert at_edge(best_rate(points), points)
    assert "chosen, edge of the grid" in rates_table({"relu": points}, "K_eff").markdown()
    inside = [*points, point(0.048, 4.6)]
    assert not at_edge(best_rate(inside), inside)


def test_the_figure_names_every_variant_and_leaves_out_what_diverged():
    points = {
        "relu": [point(0.012, 4.4), RatePoint("relu", 0.048, inf, nan, nan, nan, nan, 0.0)],
        "gelu": [point(0.012, 4.0)],
    }
    svg = rates_figure(points, "K_eff")
    for text in ("relu", "gelu", "W_in rotated", "Dead", "firing rate"):
        assert text in svg


def test_the_page_says_how_far_the_rate_moves_the_share_and_how_far_the_variant_does():
    points = {
        "relu": [point(0.006, 4.5, share=0.05), point(0.012, 4.4, share=0.2), point(0.024, 4.3, dead=0.7, share=0.9)],
        "gelu": [point(0.006, 4.5, share=0.04), point(0.012, 4.4, share=0.07)],
    }
    assert spread_line(points, "K_eff") == (
        "Share called so by K_eff, lowest to highest over these rates: relu 5.0 to 20.0 %, gelu 4.0 to "
        "7.0 %. Across variants at one rate: 4.0 to 5.0 % at 0.006, 7.0 to 20.0 % at 0.012."
    )
    assert "No rate" in spread_line({"relu": [point(0.024, 4.3, dead=0.7)]}, "K_eff")


@pytest.fixture
def rates(analyze_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`polysem rates` over two variants of minute size."""
    monkeypatch.chdir(ROOT)
    study = tmp_path / "tiny.toml"
    study.write_text(
        'base = "configs/run/smoke.toml"\nseeds = [0]\n[variants.gelu_new]\n[variants.solu_ln]\nmodel.act = "solu_ln"\n'
        "[analysis]\nsample_tokens = 4_000\n"
    )
    sizes = ("--tokens", "16384", "--out", tmp_path, "--page", tmp_path / "docs" / "rates.md")
    return lambda *words: analyze_command("rates", study, *sizes, *words)


@pytest.mark.slow
def test_rates_are_trained_scored_and_written_down_and_found_again(rates, tmp_path: Path):
    said = rates("--rates", "0.01", "0.02", "--variants", "solu_ln")
    assert said.code == 0, said.err
    assert not (tmp_path / "docs").exists()  # a part of the variants writes no page
    said = rates("--rates", "0.01", "0.02")
    assert said.code == 0, said.err
    page = (tmp_path / "docs" / "rates.md").read_text()
    assert "at most 5 %" in page
    assert page.count("| solu_ln") == page.count("| gelu_new") == 2
    assert (tmp_path / "docs" / "rates.svg").read_text().startswith("<?xml")
    before = sorted((tmp_path / "checkpoints").rglob("MANIFEST.json"))
    rates("--rates", "0.01", "0.02")
    assert (tmp_path / "docs" / "rates.md").read_text() == page
    assert sorted((tmp_path / "checkpoints").rglob("MANIFEST.json")) == before


def test_a_seed_of_the_study_and_an_unknown_variant_are_refused(rates):
    assert rates("--rates", "0.01", "--seed", "0").code == 2
    said = rates("--rates", "0.01", "--variants", "swish")
    assert said.code == 2
    assert "swish" in said.err
