"""The main job end to end, at minute sizes: every stage on real text, found again, stopped and gone on with."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from analyze.comparison.in_short import in_short
from analyze.rules.decision_list import N_RULES
from tests.commands import Command
from train import load
from train.cores import usable_cores
from train.study_progress import PROGRESS_FILE

ROOT = Path(__file__).parent.parent


SMOKE = ("configs/study/smoke.toml", "--train.tokens", "65536", "--analysis.sample_tokens", "8000")
"""The shipped study with half of its training and a fifth of its sample: every stage, in two thirds of the time."""


@pytest.fixture
def study(analyze_command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`./scripts/study.sh WORDS` in this process."""
    monkeypatch.chdir(ROOT)
    return partial(analyze_command, "study")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> tuple[Path, str]:
    """Where a study lies that was run in a process of its own, and what it said."""
    root = tmp_path_factory.mktemp("study")
    words = [sys.executable, "scripts/study.py", *SMOKE, "--out", str(root)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=1800)
    return root, done.stdout


@pytest.mark.slow
def test_a_study_leaves_a_table_and_a_report_and_says_where(smoke):
    root, said = smoke
    results = root / "results/smoke"
    assert f"report {results / 'report.html'}" in said
    assert f"table  {results / 'comparison.md'} (every table" in said
    assert "## " not in said  # the tables themselves stand in the file
    assert in_short(results) in said
    assert "receipt x4-zero-sum-s0: exact" in said
    table = pl.read_parquet(results / "comparison.parquet")
    variants = table["variant"].unique(maintain_order=True).to_list()
    assert variants == ["gelu_new", "solu_ln-2l", "narrow-continued", "x4-zero-sum"]
    page = (results / "report.html").read_text()
    assert "default-src 'none'" in page
    assert "Who became what" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    stages = json.loads((results / "stages.json").read_text())["stages"]
    assert len([line for line in stages if line["stage"] == "train"]) == 4


@pytest.mark.slow
def test_scores_open_as_one_table_that_traces_every_row(smoke):
    from analyze import load_scores

    root, _ = smoke
    scores = load_scores(root / "results/smoke")
    assert scores["data_hash"].n_unique() == 1
    checkpoint = load(root / "checkpoints/smoke/x4-zero-sum-s0")
    rows = scores.filter((pl.col("run") == "x4-zero-sum-s0") & (pl.col("null") == "none"))
    assert rows["checkpoint_hash"].unique().to_list() == [checkpoint.hash]
    assert rows.height == checkpoint.config.widths[0] == 256
    assert rows["k_eff"].drop_nulls().is_between(1, N_RULES + 1e-4).all()


@pytest.mark.slow
def test_a_second_start_finds_every_stage_and_changes_no_number(smoke, study):
    root, _ = smoke
    results = root / "results/smoke"
    before = (results / "comparison.csv").read_bytes()
    said = study(*SMOKE, "--out", root).out
    kinds = ("train", "score", "collect", "fission")
    done = [line for line in said.splitlines() if any(f"] {kind}" in line for kind in kinds)]
    assert len(done) == 17
    assert all("found" in line for line in done)
    assert (results / "comparison.csv").read_bytes() == before


@pytest.mark.slow
def test_any_number_of_jobs_gives_the_same_analysis_and_trains_as_it_began(smoke, study, tmp_path):
    from analyze import load_scores

    root, before = smoke
    assert "more than the" not in before
    for name in ("checkpoints", "data"):
        shutil.copytree(root / name, tmp_path / name)
    settled = tmp_path / "results/smoke/settled.json"
    settled.parent.mkdir(parents=True)
    settled.write_text('{"threads": 1, "precision": "fp32"}')
    jobs = usable_cores() + 1
    scored = ("--analysis.scores", '["k_eff"]', "--analysis.nulls", '["rotated"]')
    said = study(*SMOKE, *scored, "--jobs", jobs, "--out", tmp_path)
    assert said.code == 0, said.err
    assert "more than the" in said.out
    assert not (tmp_path / "results/smoke" / PROGRESS_FILE).exists()
    keys = ("run", "step", "layer", "hook", "null", "neuron")
    tables = [
        load_scores(place / "results/smoke").filter(pl.col("null").is_in(["none", "rotated"])).sort(keys)
        for place in (root, tmp_path)
    ]
    assert tables[0].height > 2 * 256
    assert tables[0].select(*keys, "k_eff").equals(tables[1].select(*keys, "k_eff"), null_equal=True)


@pytest.mark.slow
def test_a_study_says_what_it_settled_and_each_process_what_it_cost(smoke):
    root, _ = smoke
    settled = json.loads((root / "results/smoke/settled.json").read_text())
    assert settled == {"precision": "fp32", "threads": 1}  # of conftest.py, which the cores cannot raise
    costs = json.loads((root / "results/smoke/stages.json").read_text())["processes"]
    assert {"train gelu_new-s0", "measure gelu_new-s0 untrained", "fission x4-zero-sum-s0", "compare smoke"} <= set(
        costs
    )
    assert all(10**8 < cost["peak_bytes"] < 4 * 10**9 for cost in costs.values())
    state = load(root / "checkpoints/smoke/gelu_new-s0").state
    assert state["environment"]["threads"] == settled["threads"]


@pytest.mark.slow
def test_a_changed_key_of_a_study_is_named_and_its_results_stay(smoke, study):
    root, _ = smoke
    said = study(*SMOKE, "--out", root, "--optim.lr", "3e-3")
    assert said.code == 2
    assert said.err.strip().splitlines()[-1].startswith("error: ")
    assert "optim.lr = 0.01, now 0.003" in said.err
    assert (root / "results/smoke/report.html").exists()


def test_a_record_that_is_none_is_refused(tmp_path, study):
    settled = tmp_path / "results/smoke/settled.json"
    settled.parent.mkdir(parents=True)
    settled.write_text('{"threads": 0, "precision": "fp32"}')
    assert study("configs/study/smoke.toml", "--out", tmp_path).is_refusal(2, "settled.json", "'threads'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("configs/study/smoke.toml", "--jobs", "0"), "--jobs 0: must be at least 1"),
        (("configs/study/nope.toml",), "no such file"),
        (("configs/study/smoke.toml", "--train.tokenz", "3"), "unknown key 'train.tokenz'; did you mean 'tokens'?"),
        (("configs/study/smoke.toml", "--seeds", "[0, 0]"), "names a seed twice"),
        (("configs/study/smoke.toml", "--reference", "gleu_new"), "did you mean 'gelu_new'?"),
        (("configs/study/smoke.toml", "--variants.gelu_new.train.precision", "bf16"), "twins share it"),
    ],
)
def test_an_impossible_study_is_refused_in_one_line(tmp_path, study, words, message):
    assert study(*words, "--out", tmp_path).is_refusal(2, message)
    assert not (tmp_path / "checkpoints").exists()


def test_every_shipped_config_is_one():
    from analyze.study.config import StudyConfig
    from train.config import RunConfig
    from train.configfile import load_config
    from train.data.config import DataConfig

    for kind, model in (("data", DataConfig), ("run", RunConfig), ("study", StudyConfig)):
        paths = sorted((ROOT / "configs" / kind).glob("*.toml"))
        assert paths
        for path in paths:
            load_config(model, path)
