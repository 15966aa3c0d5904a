"""A study of variants that start from an imported model: that model and its untrained network are measured too."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from analyze import load_scores
from analyze.study.plan import load_study, plan
from analyze.study.run import run_study
from tests.train.tl_legacy.legacy import write_legacy
from tests.train.tl_legacy.test_starting import own_data

ROOT = Path(__file__).parents[3]


def test_the_shipped_study_widens_a_published_model_beside_its_controls(monkeypatch):
    monkeypatch.chdir(ROOT)
    study, base = load_study(Path("configs/study/imported-widening.toml"), ["--start", "tl:solu-1l"])
    runs = plan(study, base, Path("checkpoints"), "a study")
    assert {run.config.start for run in runs} == {"tl:solu-1l"}
    assert {run.config.trainable for run in runs} == {"layers.0.mlp.*"}
    assert {run.config.widen.factor if run.config.widen else 1 for run in runs} == {1, 2, 10}
    assert all(run.starts_outside for run in runs)


@pytest.mark.slow
def test_a_legacy_directory_is_widened_fine_tuned_scored_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("POLYSEM_IMPORTS", str(tmp_path / "imports"))
    monkeypatch.chdir(ROOT)
    directory = write_legacy(tmp_path / "published", "gelu")
    data = own_data(directory, tmp_path)
    path = shutil.copy("configs/study/imported-widening.toml", tmp_path / "own.toml")
    words = ["--start", str(directory), "--data", str(data), "--seeds", "[0]", "--train.tokens", "2048"]
    words += ["--train.rows_per_step", "4", "--train.eval_every", "20", "--analysis.sample_tokens", "4000"]
    run_study(Path(path), tmp_path / "out", words)
    results = tmp_path / "out/results/own"
    assert "receipt x10-zero_sum-s0: exact" in capsys.readouterr().out
    scores = load_scores(results)
    assert {"published", "narrow", "x10-none", "x10-zero_sum"} <= set(scores["variant"])
    assert sorted(scores.filter(pl.col("variant") == "published")["step"].unique()) == [0, 1]
    assert scores.filter(pl.col("variant") == "x10-none")["n_neurons"].unique().to_list() == [240]
    assert (results / "report.html").is_file()
    comparison = (results / "comparison.md").read_text()
    assert "untrained" in comparison
