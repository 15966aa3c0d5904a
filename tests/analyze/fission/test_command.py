"""`polysem fission`: every step of a widened run beside its parent, found again, and told on the page."""

import shutil
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.activations.collect import collect
from analyze.activations.store import open_activations
from analyze.fission import command
from analyze.fission.command import fission
from analyze.fission.families import MEDIAN, MOST, RANDOM, chosen_parents, shown_children, tree
from analyze.fission.store import Fission, find_fission, read_fission
from analyze.fission.verdicts import VERDICTS
from analyze.interventions.uses_store import find_uses
from analyze.report.fission import arm_cards
from analyze.report.fission_figures import arms_of
from analyze.report.page import report
from analyze.scores.run import score_directory
from tests.analyze.fission.widened import small_study
from tests.train.fixtures import small_data, small_run
from train.checkpoint import step_directory, steps
from train.config import WidenPlan
from train.configfile import validate
from train.data.config import DataConfig
from train.data.prepare import prepare
from train.errors import BadInput
from train.files import manifest_hash
from train.training_run import run
from train.widening.command import widen_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose widened run and parent are measured: root/{data,runs,results}."""
    root = small_study(tmp_path_factory.mktemp("fission"))
    for name in ("wide-s0", "parent-s0"):
        for directory in collect(root / "runs" / name, root / "data", root / "results", say=lambda _: None):
            score_directory(directory)
    fission(root / "runs/wide-s0", root / "data", root / "results", say=lambda _: None)
    return root


@pytest.fixture(scope="module")
def found(place: Path) -> list[Fission]:
    return find_fission(place / "results")


def test_every_saved_step_is_measured(place: Path, found: list[Fission]) -> None:
    saved = steps(place / "runs/wide-s0")
    assert [one.meta.step for one in found] == saved
    assert [one.meta.tokens for one in found] == [64 * step for step in saved]
    for one in found:
        assert one.children.height == 48
        assert one.parents.height == 16
        assert one.children["neuron"].sort().to_list() == list(range(48))
        assert (one.parents.select(VERDICTS).sum_horizontal() == 3).all()
        assert (one.examples is not None) == (one.meta.step == saved[-1])
        assert one.directory.name == "L0.mid.fission"


@pytest.mark.parametrize("jobs", [2, 3])
def test_several_processes_measure_the_same(place: Path, jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "LEAST_CELLS", 0)
    lines: list[str] = []
    fission(place / "runs/wide-s0", place / "data", tmp_path, say=lines.append, jobs=jobs)
    before, after = (
        {path.relative_to(root): path for path in root.rglob("L0.mid.*/*") if path.suffix in (".parquet", ".txt")}
        for root in (place / "results" / "wide-s0", tmp_path / "wide-s0")
    )
    measured = {name for name in before if name.parent.suffix in (".fission", ".split")}
    assert measured == after.keys()
    assert len([name for name in measured if name.name == "splits.parquet"]) == 1
    assert all(before[name].read_bytes() == after[name].read_bytes() for name in measured)
    assert len([line for line in lines if line.startswith("wrote")]) == len(steps(place / "runs/wide-s0"))


def test_no_jobs_is_bad_input(place: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="--jobs 0: must be at least 1"):
        fission(place / "runs/wide-s0", place / "data", tmp_path, jobs=0)


def test_copies_are_born_as_one_neuron(found: list[Fission]) -> None:
    born = found[0]
    alive = born.children.filter(pl.col("verdict") != "dead")
    assert set(alive["verdict"]) == {"same", "duplicate"}
    assert alive.filter(pl.col("verdict") == "same").height == born.parents["n_clusters"].sum()
    assert alive["correlation"].min() > 0.999
    assert born.parents["cos_in_mean"].min() > 1 - 1e-9
    assert born.parents["cos_out_mean"].max() < 0.99  # the zero-sum noise
    assert born.children["moved_in"].max() == 0


def test_the_loss_of_merging_is_measured_at_the_last_step_alone(place: Path, found: list[Fission]) -> None:
    *earlier, last = found
    assert all(one.splits is None and one.recovered is None for one in earlier)
    assert last.splits is not None
    assert last.splits["parent"].to_list() == list(range(16))
    assert last.recovered is not None
    assert last.recovered != 0
    told = (place / "results" / "wide-s0" / "fission-L0.md").read_text()
    assert "What the splits were worth" in told
    assert f"{1000 * last.recovered:.2f} millinats a token" in told


def test_siblings_part_and_move_as_they_train(found: list[Fission]) -> None:
    cosines = [one.parents["cos_in_mean"].median() for one in found]
    moved = [one.children["moved_out"].mean() for one in found]
    assert cosines[-1] < cosines[0]
    assert moved == sorted(moved)


def test_firing_is_what_collect_calls_firing(place: Path, found: list[Fission]) -> None:
    last = found[-1]
    acts = open_activations(last.directory.with_name("L0.mid"))
    rates = last.children.sort("neuron")["n_fires"].to_numpy() / last.meta.n_tokens
    assert np.allclose(rates, acts.moments.firing_rate, atol=1e-12)
    assert last.meta.n_tokens == acts.meta.n_sampled_tokens


def test_a_second_run_finds_everything_and_a_changed_setting_does_not(place: Path, tmp_path: Path) -> None:
    said: list[str] = []
    fission(place / "runs/wide-s0", place / "data", place / "results", say=said.append)
    assert all(line.startswith("found ") for line in said)
    results = tmp_path / "results"
    shutil.copytree(place / "results", results)
    before = {one.directory: manifest_hash(one.directory) for one in find_fission(results)}
    fission(place / "runs/wide-s0", place / "data", results, only=[0], max_tokens=2000, say=said.append)
    assert said[-1].startswith("wrote ")
    changed = [path for path, old in before.items() if manifest_hash(path) != old]
    assert [path.parent.name for path in changed] == ["step-000000000"]


def test_the_same_run_gives_the_same_files(place: Path, tmp_path: Path) -> None:
    fission(place / "runs/wide-s0", place / "data", tmp_path, say=lambda _: None)
    for one, again in zip(find_fission(place / "results"), find_fission(tmp_path), strict=True):
        assert manifest_hash(one.directory) == manifest_hash(again.directory)


def test_the_table_of_a_run_states_its_thresholds_and_families(place: Path) -> None:
    text = (place / "results/wide-s0/fission-L0.md").read_text(encoding="utf-8")
    for words in (
        "16 neurons of parent-s0",
        "3 children each",
        "0.95",
        "zero_sum noise, sigma 0.5",
        "## Three families",
    ):
        assert words in text
    assert text.count("└── ") >= 3
    trees = (place / "results/wide-s0/step-000000020/L0.mid.fission/tree.txt").read_text(encoding="utf-8")
    assert trees.count("neuron ") == 16


def test_one_step_can_be_measured_alone(place: Path, tmp_path: Path) -> None:
    fission(step_directory(place / "runs/wide-s0", 4), place / "data", tmp_path, say=lambda _: None)
    (only,) = find_fission(tmp_path)
    assert only.meta.step == 4
    assert only.examples is None


def test_examples_are_the_strongest_of_the_held_out_half(place: Path, found: list[Fission]) -> None:
    last = found[-1]
    acts = open_activations(last.directory.with_name("L0.mid"))
    parent = open_activations(place / "results/parent-s0/step-000000060/L0.mid")
    assert last.examples is not None
    assert last.examples.height
    for (family, neuron, is_parent), mine in last.examples.group_by("family", "neuron", "is_parent"):
        source = parent if is_parent else acts
        expected = source.examples.filter(
            (pl.col("neuron") == neuron) & (pl.col("half") == "eval") & (pl.col("rank") < 5)
        )
        assert mine.sort("rank")["stream_position"].to_list() == expected["stream_position"].to_list()
        at = np.searchsorted(parent.tokens.stream_position, mine["stream_position"].to_numpy())
        theirs = parent.block(int(family), int(family) + 1)[:, 0].numpy()[at]
        assert np.allclose(mine["parent_activation"].to_numpy(), theirs, rtol=2**-8)  # held as bf16


def made_up(counts: list[tuple[int, int, int, int, int]], correlation: list[float | None]) -> pl.DataFrame:
    """A table of parents with these verdicts and sibling correlations."""
    table = pl.DataFrame(counts, schema=dict.fromkeys(VERDICTS, pl.Int32), orient="row").with_row_index("parent")
    alive = pl.sum_horizontal("same", "specialised", "new", "duplicate")
    clusters = pl.sum_horizontal("same", "specialised", "new")
    return table.with_columns(
        pl.col("parent").cast(pl.Int32),
        alive.alias("n_alive"),
        clusters.alias("n_clusters"),
        pl.Series("correlation_mean", correlation, dtype=pl.Float64),
    )


def test_shown_parents_are_chosen_by_the_stated_rule() -> None:
    counts = [(1, 0, 0, 2, 0), (1, 1, 1, 0, 0), (1, 1, 0, 1, 0), (0, 0, 0, 0, 3), (0, 2, 1, 0, 0), (1, 0, 0, 2, 0)]
    parents = made_up(counts, [0.99, 0.1, 0.6, None, 0.3, 0.97])
    chosen = chosen_parents(parents, 0)
    assert chosen[MOST] == 1
    assert chosen[MEDIAN] == 5  # of 4, 2, 5, 0 in order
    assert chosen[RANDOM] in (0, 2, 4)
    assert chosen == chosen_parents(parents, 0)
    assert chosen_parents(made_up([(0, 0, 0, 0, 3)], [None]), 0) == {}
    assert chosen_parents(made_up([(1, 0, 0, 2, 0)], [1.0]), 0) == {MOST: 0}


def test_a_tree_hangs_duplicates_from_the_sibling_they_count_with(found: list[Fission]) -> None:
    born = found[0]
    parent = int(born.parents.filter(pl.col("duplicate") == 2)["parent"][0])
    lines = tree(parent, born.parents, born.children).splitlines()
    assert lines[0].endswith("1 same, 2 duplicate")
    assert lines[1].startswith(f"└── {parent} same: inside 1.00")
    assert lines[2].endswith(f"duplicates: {parent + 16} {parent + 32}")
    assert shown_children(born.children, parent) == [parent]


def test_the_report_shows_who_became_what(place: Path) -> None:
    page = report(place / "results").read_text(encoding="utf-8")
    assert 'id="fission"' in page
    assert "A parent drawn at random" in page
    assert "Parent: L0.mid neuron" in page
    assert "Child: L0.mid neuron" in page
    assert 'class="t h' in page[page.index('id="fission"') : page.index('id="neurons"')]
    for name in ("divergence", "verdicts"):
        assert (place / "results/figures" / f"fission-{name}.svg").is_file()


def test_a_report_without_widened_runs_says_nothing_of_them(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "results/parent-s0", tmp_path / "results/parent-s0")
    page = report(tmp_path / "results").read_text(encoding="utf-8")
    assert "Who became what" not in page
    assert not find_fission(tmp_path / "results")


def test_children_say_what_they_are_used_for_once_that_was_found_out(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "results", tmp_path / "results")
    assert "used for" not in arm_facts(tmp_path / "results")
    find_uses([tmp_path / "results"], say=lambda _: None)
    assert "used for" in arm_facts(tmp_path / "results")
    assert "used for <b>" in report(tmp_path / "results").read_text(encoding="utf-8")


def arm_facts(results: Path) -> str:
    """The words of the facts on the cards of the widened run's children."""
    (arm,) = arms_of(find_fission(results), ["wide"])
    families = arm_cards(arm, "#000000").families
    return " ".join(name for family in families for card in family.cards for name, _ in card.facts)


def test_a_page_without_the_run_s_last_step_shows_no_examples_and_says_why(place: Path, tmp_path: Path) -> None:
    fission(place / "runs/wide-s0", place / "data", tmp_path, only=[0, 4], say=lambda _: None)
    (arm,) = arms_of(find_fission(tmp_path), ["wide"])
    assert arm_cards(arm, "#000000").families == ()
    assert "not the run's last step" in (arm_cards(arm, "#000000").trouble or "")


def test_damage_is_noticed(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "results/wide-s0/step-000000020/L0.mid.fission", tmp_path / "L0.mid.fission")
    table = tmp_path / "L0.mid.fission/children.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"children\.parquet"):
        read_fission(tmp_path / "L0.mid.fission")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["PLACE/runs/plain-s0", "--data", "PLACE/data"], "plain-s0/step-000000020: was never widened"),
        (["PLACE/runs/nowhere", "--data", "PLACE/data"], "nowhere: no such directory"),
        (["PLACE/texts", "--data", "PLACE/data"], "holds no checkpoint step"),
        (["PLACE/runs/wide-s0", "--data", "PLACE/data", "--steps", "3"], "has no step 3; it has: 0, 1"),
        (
            ["PLACE/runs/wide-s0", "--data", "PLACE/data", "--layers", "1"],
            "layer 1 was not widened; those that were: 0",
        ),
        (["PLACE/runs/wide-s0", "--data", "PLACE/data", "--max-tokens", "0"], "--max-tokens: 0 must be at least 1"),
        (
            ["PLACE/runs/wide-s0", "--data", "PLACE/data", "--parent", "PLACE/runs/plain-s0"],
            "no step there is one that",
        ),
        (["PLACE/runs/wide-s0", "--data", "PLACE/other/data"], "its tokenizer"),
        (["PLACE/runs/wide-s0", "--data", "PLACE/nodata"], "nodata"),
        (["PLACE/runs/orphan-s0", "--data", "PLACE/data"], "give --parent"),
    ],
)
def test_bad_input_is_one_clear_line(place: Path, analyze_command, words: list[str], message: str) -> None:
    if "PLACE/other/data" in words and not (place / "other").exists():
        config = tomllib.loads((place / "data/data.toml").read_text(encoding="utf-8")) | {"d_vocab": 280}
        prepare(validate(DataConfig, config, "test"), place / "other/data")
    given = [word.replace("PLACE", str(place)) for word in words]
    if "orphan" in words[0]:
        target = place / "elsewhere" / "orphan-s0"
        shutil.copytree(place / "runs/wide-s0", target, dirs_exist_ok=True)
        (place / "runs/parent-s0").rename(place / "hidden")
        given[0] = str(target)
    try:
        said = analyze_command("fission", *given, "--out", place / "x")
    finally:
        if (place / "hidden").exists():
            (place / "hidden").rename(place / "runs/parent-s0")
    assert said.code == 2
    assert message in said.err
    assert len([line for line in said.err.splitlines() if line.startswith("error: ")]) == 1
    assert said.err.strip().splitlines()[-1].startswith("error: ")
    assert not (place / "x").exists()


@pytest.mark.parametrize(
    ("act", "layers", "widen"),
    [
        ("relu", 1, {"noise": "none"}),
        ("solu", 1, {"noise": "zero_sum"}),
        ("gelu_ln", 2, {"split": "dirichlet"}),
        ("solu_ln", 2, {"noise": "zero_sum"}),
        ("gelu_new", 1, {"noise": "none", "copies": "fresh"}),
    ],
)
def test_at_birth_every_copy_is_the_same_neuron_whatever_the_activation(
    tmp_path: Path, act: str, layers: int, widen: dict
) -> None:
    """SoLU's copies are a k-th of their parent: firing and correlation do not see scale."""
    data = small_data(tmp_path)
    run(small_run(data, model__act=act, model__n_layers=layers), tmp_path / "runs/parent-s0")
    plan = WidenPlan(layers=tuple(range(layers)), factor=3, **widen)
    widen_checkpoint(tmp_path / "runs/parent-s0", plan, data, tmp_path / "runs/wide-s0")
    paths = fission(tmp_path / "runs/wide-s0", data, tmp_path / "results", say=lambda _: None)
    assert [path.name for path in paths] == [f"fission-L{layer}.md" for layer in range(layers)]
    for one in find_fission(tmp_path / "results"):
        fresh = plan.copies == "fresh"
        assert (one.meta.n_children, one.meta.n_fresh) == ((1, 32) if fresh else (3, 0))
        alive = one.children.filter((pl.col("verdict") != "dead") & (pl.col("n_fires") > 0))
        assert alive.height > 8
        assert set(alive["verdict"]) <= {"same", "duplicate"}
        assert alive.filter(pl.col("copy") == 0)["verdict"].unique().to_list() == ["same"]
        assert one.parents["correlation_mean"].null_count() == (16 if fresh else one.parents["parent_dead"].sum())
