"""Learning rates, dead shares and firing rates stand beside shares, and the rate comes first among reasons to doubt."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.activations.store import DEAD, SCORED
from analyze.comparison.command import compare
from tests.analyze.activations.synthetic import made_up_scores, meta_of, sampled_tokens, write_cell, write_data


@pytest.fixture
def put(tmp_path: Path):
    """put(variant, seed, lr, status, firing_rate) writes a scored cell whose run had that peak rate (None: unknown)."""
    data = write_data(tmp_path / "data", n_documents=12)
    tokens = sampled_tokens(data)

    def write(variant: str, seed: int, lr: float | None, status: list[int], firing: list[float], **over) -> None:
        n = len(status)
        table = made_up_scores(n, np.full(n, 1.0), np.random.default_rng(0)).with_columns(
            status=pl.Series(status), firing_rate=pl.Series(firing)
        )
        recipe = None if lr is None else json.dumps({"optim": {"lr": lr}})
        meta = replace(meta_of(data, tokens, variant, seed, 500, n_neurons=n, **over), recipe=recipe)
        write_cell(tmp_path / "results", tokens, meta, table)

    return write


def first_doubt(tmp_path: Path) -> str:
    text = (tmp_path / "out" / "comparison.md").read_text()
    return next(line for line in text.split("## Reasons to doubt")[1].splitlines() if line.startswith("- "))


STATES, FIRING = [DEAD, DEAD, SCORED, SCORED, SCORED, SCORED], [0.0, 0.0, 0.1, 0.2, 0.4, 0.9]


def test_dead_share_and_firing_rate_of_scored_neurons_stand_beside_the_share(put, tmp_path):
    put("relu", 0, 0.012, STATES, FIRING)
    row = compare([tmp_path / "results"], tmp_path / "out").rows[0]
    assert row.dead_share == pytest.approx(1 / 3)
    assert row.firing_rate == pytest.approx(0.3)  # the median of the four that are not dead
    table = pl.read_parquet(tmp_path / "out" / "comparison.parquet")
    assert table["median_firing_rate"].to_list() == pytest.approx([0.3])
    assert table["peak_lr"].to_list() == ["0.012"]
    page = (tmp_path / "out" / "comparison.md").read_text()
    for title in ("## What K_eff calls neurons of one word rule", "## Against chance"):
        header = page.split(title)[1].split("|---")[0]
        assert "dead %" in header, title
        assert "firing %" in header, title


def test_the_learning_rate_is_the_first_reason_to_doubt_and_says_which_rates_were_taken(put, tmp_path):
    put("gelu", 0, 0.024, STATES, FIRING)
    put("relu", 0, 0.012, STATES, FIRING)
    compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    assert "learning rate" in first_doubt(tmp_path)
    assert "gelu L0.mid 0.024, relu L0.mid 0.012" in first_doubt(tmp_path)


def test_one_rate_for_all_is_said_to_be_one_rate(put, tmp_path):
    put("gelu", 0, 0.006, STATES, FIRING)
    put("relu", 0, 0.006, STATES, FIRING)
    compare([tmp_path / "results"], tmp_path / "out", reference="gelu")
    assert "all have a peak of 0.006" in first_doubt(tmp_path)


def test_results_that_do_not_say_their_rate_have_none(put, tmp_path):
    put("gelu", 0, None, STATES, FIRING)
    assert compare([tmp_path / "results"], tmp_path / "out").rows[0].peak_rates == ()
    assert "do not say" in first_doubt(tmp_path)


def test_a_comparison_of_arms_alone_names_their_rates(put, tmp_path):
    put("relu-x10", 0, 0.002, STATES, FIRING, start_hash="f" * 64, start_run="relu-s0")
    compare([tmp_path / "results"], tmp_path / "out")
    assert "all have a peak of 0.002" in first_doubt(tmp_path)
