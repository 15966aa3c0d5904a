"""`python -m analyze` from the command line: the chain of commands, and one clear line for what cannot be."""

from pathlib import Path

import polars as pl
import pytest

from tests.train.fixtures import small_data, small_run
from train.checkpoint import step_directory
from train.training_run import run


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("place")
    run(small_run(small_data(root)), root / "gelu-s0")
    return root


def test_collect_score_compare_and_report_follow_one_another(place, analyze_command):
    results = place / "results"
    for source in (place / "gelu-s0", step_directory(place / "gelu-s0", 0)):
        assert analyze_command("collect", source, "--data", place / "data", "--out", results).code == 0
    assert analyze_command("score", results).code == 0
    said = analyze_command("score", results)
    assert said.code == 0
    assert said.out.count("found") == 2
    said = analyze_command("compare", results, "--out", results)
    assert said.code == 0
    assert "gelu L0.mid" in said.out
    said = analyze_command("report", results)
    assert said.code == 0, said.err
    assert (results / "report.html").stat().st_size > 10_000


def test_a_random_choice_of_neurons_is_the_same_neurons(place, analyze_command):
    from analyze.activations.store import open_activations

    some, every = place / "some", place / "every"
    for out, words in ((some, ("--max-neurons", 5)), (every, ())):
        source = ("collect", place / "gelu-s0", "--data", place / "data")
        assert analyze_command(*source, "--out", out, *words).code == 0
    chosen = open_activations(next(some.rglob("L0.mid")))
    whole = open_activations(next(every.rglob("L0.mid")))
    assert (chosen.n_neurons, whole.n_neurons) == (5, 16)
    columns = whole.block(0, 16)
    for neuron in chosen.block(0, 5).T:
        assert any(bool((neuron == column).all()) for column in columns.T)
    few = chosen.meta.settings
    assert (few["max_neurons"], whole.meta.settings["max_neurons"]) == (5, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("collect", "PLACE/gelu-s0", "--data", "PLACE/data", "--out", "PLACE/x", "--layers", "3"),
            "no layer 3; it has: 0",
        ),
        (("collect", "PLACE/gelu-s0", "--data", "PLACE/data", "--out", "PLACE/x", "--hooks", "pots"), "no hook 'pots'"),
        (("collect", "PLACE/nowhere", "--data", "PLACE/data", "--out", "PLACE/x"), "nowhere: no such directory"),
        (("collect", "PLACE/gelu-s0", "--data", "PLACE/texts", "--out", "PLACE/x"), "texts"),
        (("score", "PLACE/nowhere"), "nowhere: no such directory"),
        (("score", "PLACE/texts"), "holds no activations"),
        (("compare", "PLACE/texts", "--out", "PLACE/x"), "no scores"),
        (("report", "PLACE/texts"), "no scores"),
        (
            ("report", "PLACE/texts", "--referense", "x"),
            "'--referense' is not an option of `report`; did you mean '--ref",
        ),
        (("report", "PLACE/texts", "--nope"), "`report`; known: --checkpoints, --data, --debug, --reference"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(place, analyze_command, words, message):
    assert analyze_command(*(word.replace("PLACE", str(place)) for word in words)).is_refusal(2, message)
    assert not (place / "x").exists() or not list((place / "x").rglob("meta.json"))


def test_scores_open_as_a_data_frame(place, analyze_command):
    from analyze import load_scores

    results = place / "again"
    assert analyze_command("collect", place / "gelu-s0", "--data", place / "data", "--out", results).code == 0
    assert analyze_command("score", results, "--scores", "rule_share").code == 0
    frame = load_scores(results)
    assert isinstance(frame, pl.DataFrame)
    assert frame.filter(pl.col("null") == "none").height == 16
    assert "k_eff" not in frame.columns
