"""Widened arms beside their controls, paired by seed: what the copies did, and what more training did."""

import numpy as np
import pytest

from analyze.comparison.command import compare
from analyze.comparison.comparison import Comparison
from analyze.comparison.controls import ArmResult


def put_widened(put, tmp_path, narrow: list[int], unparted: list[int], parted: list[int]) -> None:
    """Arms x2 of 40 neurons over some seeds: counts of monosemantic ones, no duplicates among them."""
    for seed in range(len(narrow)):
        put("gelu", seed, 10)
        arm = {"start_run": f"checkpoints/s/gelu-s{seed}", "root_variant": "gelu"}
        put("gelu-narrow", seed, narrow[seed], eval_loss=4.3, **arm)
        put("gelu-x2-none", seed, unparted[seed], factor=2, scheme="none", eval_loss=4.3, **arm)
        put("gelu-x2-w_in", seed, parted[seed], factor=2, scheme="w_in", eval_loss=4.2 + 0.01 * seed, **arm)


def arm_of(comparison: Comparison, variant: str) -> ArmResult:
    return next(arm for arm in comparison.arms if arm.result.variant == variant)


def test_a_widened_arm_is_compared_with_both_controls_paired_by_seed(put, tmp_path):
    put_widened(put, tmp_path, narrow=[8, 10, 12], unparted=[8, 12, 16], parted=[16, 20, 20])
    comparison = compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    arm = arm_of(comparison, "gelu-x2-w_in")
    over = arm.scores["k_eff"].over
    assert over["narrow"].mean == pytest.approx((8 + 10 + 8) / 3 / 40)
    assert over["unparted"].mean == pytest.approx((8 + 8 + 4) / 3 / 40)
    half = 4.302653 * np.std([8, 8, 4], ddof=1) / np.sqrt(3) / 40
    assert over["unparted"].low == pytest.approx(over["unparted"].mean - half, abs=1e-6)
    assert arm.loss_over_narrow.mean == pytest.approx(-0.09)
    assert arm.scores["k_eff"].beats_both == "yes"
    unparted = arm_of(comparison, "gelu-x2-none").scores["k_eff"]
    assert unparted.over["narrow"].mean == pytest.approx(2 / 40)
    assert unparted.over["unparted"].n == 0
    assert unparted.beats_both is None
    assert arm_of(comparison, "gelu-narrow").scores["k_eff"].over["narrow"].n == 0
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "Widened models against their controls" in text
    table = text.split("## Widened models against their controls")[1].split("##")[0]
    assert [line.split()[1] for line in table.splitlines() if "x2-" in line] == ["gelu-x2-none", "gelu-x2-w_in"]


@pytest.mark.parametrize(
    ("parted", "verdict"),
    [([16, 20, 20], "yes"), ([6, 8, 10], "no"), ([4, 12, 20], "not shown"), ([9, 13, 17], "not shown")],
)
def test_superposition_is_only_reduced_where_both_intervals_lie_above_zero(put, tmp_path, parted, verdict):
    put_widened(put, tmp_path, narrow=[8, 10, 12], unparted=[8, 12, 16], parted=parted)
    arm = arm_of(compare([tmp_path / "results"], tmp_path / "out", reference="gelu"), "gelu-x2-w_in")
    assert arm.scores["k_eff"].beats_both == verdict


def test_one_seed_says_nothing_of_controls_but_the_estimate(put, tmp_path):
    put_widened(put, tmp_path, narrow=[8], unparted=[8], parted=[20])
    arm = arm_of(compare([tmp_path / "results"], tmp_path / "out", reference="gelu"), "gelu-x2-w_in")
    over = arm.scores["k_eff"].over["narrow"]
    assert over.mean == pytest.approx(12 / 40)
    assert not over.has_interval
    assert arm.scores["k_eff"].beats_both is None


def test_without_controls_there_is_no_table_of_them(put, tmp_path):
    put("gelu", 0, 3)
    put("gelu-x10", 0, 9, factor=10, start_run="checkpoints/s/gelu-s0", root_variant="gelu", scheme="zero_sum")
    compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    assert "against their controls" not in (tmp_path / "out" / "comparison.md").read_text()
