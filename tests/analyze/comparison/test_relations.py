"""Cells are matched by what checkpoints say of themselves; names, of runs and of directories, are labels.

Twins stand in test_command.py.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analyze.activations.collect import collect
from analyze.activations.identity import identity_of
from analyze.activations.store import IDENTITY, read_meta
from analyze.comparison.command import compare
from analyze.comparison.comparison import Comparison
from analyze.comparison.relations import roots_of, untrained_among
from analyze.comparison.results import find_cells
from analyze.fission.command import fission
from analyze.scores.run import score
from tests.commands import Command
from tests.train.fixtures import small_data, small_run
from train.checkpoint import load, step_directory
from train.config import WidenPlan
from train.errors import BadInput
from train.files import publishing, read_manifest
from train.training_run import run
from train.widening.command import widen_checkpoint

PLAN = {"layers": [0], "factor": 2, "noise": "zero_sum", "sigma": 0.1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few thousand tokens."""
    return small_data(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one name and of others, each in a directory of its own: DIR/<what it is>/<name>."""
    root = tmp_path_factory.mktemp("relations")
    configs = {
        "gelu/m-s0": {},
        "relu/m-s0": {"model__act": "relu", "model__mlp_ratio": 3},
        "rate/m-s0": {"optim__lr": 2e-2, "train__tokens": 24 * 64},
        "gelu/m-s1": {"seed": 1},
        "rate/m-s1": {"seed": 1, "optim__lr": 2e-2},
        "again/m-s0": {},
    }
    for name, over in configs.items():
        run(small_run(data, **over), root / name)
    start = root / "gelu" / "m-s0"
    for name, over in {"x2-s0": {"widen": PLAN}, "on-s0": {}}.items():
        run(small_run(data, start=str(start), **over), root / "gelu" / name)
    run(small_run(data, start=str(root / "rate" / "m-s0")), root / "rate" / "on-s0")
    return root


@pytest.fixture
def scored(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Collects steps into a results directory of tmp_path, scores them quickly and returns that directory."""

    def make(*steps: Path, out: str = "results") -> Path:
        for step in steps:
            collect(step, data, tmp_path / out, say=lambda _: None)
        score(tmp_path / out, ["k_eff"], nulls=["rotated"])
        return tmp_path / out

    return make


def first_and_last(directory: Path) -> tuple[Path, Path]:
    return step_directory(directory, 0), load(directory).directory


def untrained_of(comparison: Comparison, variant: str) -> bool:
    """Whether the variant is held against an untrained network."""
    (row,) = comparison.results[variant].values()
    return "untrained" in row.cells[0].nulls


def laid(results: Path, other: Path) -> None:
    """Lay other results among some, as an earlier version's `collect` or a copy did."""
    shutil.copytree(other, results, dirs_exist_ok=True)


def forgetting(results: Path) -> None:
    """Make results those of a version that recorded no identity."""
    for scores in results.rglob("L0.mid.scores"):
        manifest, table = read_manifest(scores), (scores / "scores.parquet").read_bytes()
        meta = {key: value for key, value in manifest["meta"].items() if key not in IDENTITY}
        facts = {key: manifest[key] for key in ("kind", "format_version", "activations_hash", "settings")}
        with publishing(scores, facts | {"meta": meta}, replace=True) as aside:
            (aside / "scores.parquet").write_bytes(table)


def test_equal_runs_are_one_whatever_their_directories_are_called(runs: Path, data: Path, tmp_path: Path):
    one, again = (identity_of(load(runs / name / "m-s0")) for name in ("gelu", "again"))
    assert one == again
    moved = shutil.copytree(data, tmp_path / "elsewhere")
    called = run(small_run(moved, train__log_every=3), tmp_path / "another-name-s7").checkpoint
    assert identity_of(called).run_hash == one.run_hash
    assert identity_of(load(step_directory(runs / "gelu" / "m-s0", 0))) == one


@pytest.mark.parametrize("other", ["relu/m-s0", "rate/m-s0", "gelu/m-s1", "gelu/x2-s0", "gelu/on-s0", "rate/on-s0"])
def test_runs_that_differ_in_config_seed_or_start_are_others(runs: Path, other: str):
    identities = [identity_of(load(runs / name)) for name in ("gelu/m-s0", other)]
    assert identities[0].run_hash != identities[1].run_hash


def test_a_run_that_widens_and_a_widened_step_know_start_and_root(runs: Path, tmp_path: Path):
    parent = load(runs / "gelu" / "m-s0")
    root = identity_of(parent).run_hash
    for name in ("x2-s0", "on-s0"):
        arm = identity_of(load(runs / "gelu" / name))
        assert (arm.start_hash, arm.root_hash) == (parent.hash, root)
    hashes = set()
    for factor in (2, 3):
        plan = WidenPlan.model_validate(PLAN | {"factor": factor})
        widen_checkpoint(parent.directory, plan, out=tmp_path / f"wide-{factor}")
        wide = identity_of(load(tmp_path / f"wide-{factor}"))
        assert (wide.start_hash, wide.root_hash) == (parent.hash, root)
        hashes.add(wide.run_hash)
    assert len(hashes | {root}) == 3


# Untrained of.


@pytest.mark.parametrize("other", ["relu", "rate"])
def test_collecting_another_run_of_the_same_name_is_refused_and_names_both(
    runs: Path, data: Path, scored: Callable[..., Path], analyze_command: Command, other: str
):
    """Another activation and width; a run retrained after a change of its config, collected at its end alone."""
    results = scored(*first_and_last(runs / "gelu" / "m-s0"))
    shutil.rmtree(results / "m-s0" / "step-000000020")
    before = sorted(results.rglob("*"))
    words = ("collect", runs / other / "m-s0", "--data", data, "--out", results)
    key = {"relu": "model.act", "rate": "optim.lr"}[other]
    there = str(results / "m-s0" / "step-000000000" / "L0.mid")
    assert analyze_command(*words).is_refusal(2, str(runs / other / "m-s0"), there, key)
    assert sorted(results.rglob("*")) == before
    meta = results / "m-s0" / "step-000000000" / "L0.mid" / "meta.json"
    old = {name: value for name, value in json.loads(meta.read_text()).items() if name not in IDENTITY}
    meta.write_text(json.dumps(old))
    assert analyze_command(*words).is_refusal(2, str(runs / other / "m-s0"), there, key)


@pytest.mark.parametrize("other", ["relu", "rate", "gelu/m-s1"])
def test_another_runs_step_0_under_the_same_name_is_no_untrained_null(
    runs: Path, scored: Callable[..., Path], analyze_command: Command, tmp_path: Path, other: str
):
    """As an earlier version's `collect` left it: one name, the first step of one run and the last of another."""
    results = scored(step_directory(runs / "gelu" / "m-s0", 0))
    laid(results, scored(load(runs / other / ("" if "/" in other else "m-s0")).directory, out="other"))
    if "/" in other:
        (results / "m-s1" / "step-000000020").rename(results / "m-s0" / "step-000000020")
    for is_old in (False, True):
        if is_old:
            forgetting(results)
        said = analyze_command("compare", results, "--out", tmp_path / "out")
        assert said.is_refusal(2, "step-000000000/L0.mid.scores", "L0.mid.scores and", "of different runs")
        assert not (tmp_path / "out").exists()


def test_a_run_finds_its_untrained_network_in_another_directory_of_results(runs: Path, scored: Callable[..., Path]):
    first, last = first_and_last(runs / "gelu" / "m-s0")
    dirs = [scored(first, out="untrained"), scored(last, out="trained")]
    assert untrained_of(compare(dirs, dirs[0]), "m")


def test_the_untrained_network_of_another_run_with_the_same_variant_and_seed_is_not_taken(
    runs: Path, scored: Callable[..., Path]
):
    arm = scored(load(runs / "gelu" / "x2-s0").directory, step_directory(runs / "rate" / "m-s0", 0))
    assert not untrained_of(compare([arm], arm), "x2")
    arm = scored(load(runs / "gelu" / "x2-s0").directory, step_directory(runs / "gelu" / "m-s0", 0), out="own")
    assert untrained_of(compare([arm], arm), "x2")


# Two cells that claim one place.


def test_two_runs_of_one_variant_and_seed_are_refused_and_both_are_named(
    runs: Path, scored: Callable[..., Path], analyze_command: Command, tmp_path: Path
):
    dirs = [scored(load(runs / name / "m-s0").directory, out=name) for name in ("gelu", "rate")]
    said = analyze_command("compare", *dirs, "--out", tmp_path / "out")
    assert said.is_refusal(2, "variant 'm' with seed 0", str(dirs[0]), str(dirs[1]), "optim.lr 0.01 and 0.02")


def test_one_cell_twice_is_refused_and_both_are_named(
    runs: Path, scored: Callable[..., Path], analyze_command: Command, tmp_path: Path
):
    dirs = [scored(load(runs / name / "m-s0").directory, out=name) for name in ("gelu", "again")]
    said = analyze_command("compare", *dirs, "--out", tmp_path / "out")
    assert said.is_refusal(2, "are the same run, step, layer and hook", str(dirs[0]), str(dirs[1]))


# Seed of.


def test_seeds_of_a_variant_differ_in_nothing_but_their_seed(
    runs: Path, scored: Callable[..., Path], analyze_command: Command, tmp_path: Path
):
    seeds = scored(*(load(runs / "gelu" / name).directory for name in ("m-s0", "m-s1")))
    (row,) = compare([seeds], tmp_path / "out").rows
    assert row.n_seeds == 2
    mixed = scored(load(runs / "gelu" / "m-s0").directory, load(runs / "rate" / "m-s1").directory, out="mixed")
    said = analyze_command("compare", mixed, "--out", tmp_path / "mixed-out")
    assert said.is_refusal(2, "m-s0", "m-s1", "differ in more than the seed", "optim.lr 0.01 and 0.02")


def test_seeds_whose_configs_are_not_there_are_compared_by_what_activations_say(
    runs: Path, scored: Callable[..., Path], tmp_path: Path
):
    alone = [
        shutil.copytree(load(runs / name).directory, tmp_path / name / "step-000000020") for name in ("gelu/m-s1",)
    ]
    assert identity_of(load(alone[0])).recipe is None
    assert compare([scored(load(runs / "gelu" / "m-s0").directory, *alone)], tmp_path / "out").rows[0].n_seeds == 2
    mixed = scored(load(runs / "relu" / "m-s0").directory, *alone, out="mixed")
    with pytest.raises(BadInput, match=r"differ in more than the seed .*act, n_params, n_neurons"):
        compare([mixed], tmp_path / "out")


def test_a_config_that_was_edited_after_training_says_nothing(runs: Path, tmp_path: Path):
    copy = shutil.copytree(runs / "gelu" / "m-s0", tmp_path / "m-s0")
    known = identity_of(load(copy))
    (copy / "run.toml").write_text((copy / "run.toml").read_text().replace("lr = 0.01", "lr = 0.02"))
    assert identity_of(load(copy)) == replace(known, recipe=None)


# Parent of.


def test_arms_stand_behind_the_run_that_they_descend_from(runs: Path, scored: Callable[..., Path], tmp_path: Path):
    results = scored(*(load(runs / "gelu" / name).directory for name in ("m-s0", "x2-s0", "on-s0")))
    comparison = compare([results], tmp_path / "out")
    assert [arm.result.variant for arm in comparison.arms] == ["m", "on", "x2"]
    x2 = next(arm for arm in comparison.arms if arm.result.variant == "x2")
    assert x2.loss_over_narrow.n == 1


def test_a_run_of_the_parents_name_is_no_parent_and_its_continuation_no_control(
    runs: Path, scored: Callable[..., Path], tmp_path: Path
):
    """rate/m-s0 and rate/on-s0 are called like parent and control of gelu/x2-s0."""
    names = ("gelu/x2-s0", "rate/m-s0", "rate/on-s0")
    comparison = compare([scored(*(load(runs / name).directory for name in names))], tmp_path / "out", reference="m")
    x2 = next(arm for arm in comparison.arms if arm.result.variant == "x2")
    assert x2.loss_over_narrow.n == 0
    arms = compare(
        [scored(*(load(runs / name).directory for name in ("gelu/x2-s0", "rate/m-s0")), out="two")], tmp_path / "out"
    ).arms
    assert [arm.result.variant for arm in arms] == ["x2"]


def test_an_arm_whose_parent_is_nowhere_finds_its_root_among_the_cells(
    runs: Path, scored: Callable[..., Path], data: Path, tmp_path: Path
):
    lone = shutil.copytree(load(runs / "gelu" / "x2-s0").directory, tmp_path / "alone" / "x2-s0" / "step-000000020")
    gone = runs / "gelu"
    gone.rename(runs / "hidden")
    try:
        results = scored(lone)
        assert read_meta(results / "x2-s0" / "step-000000020" / "L0.mid").root_hash is None
    finally:
        (runs / "hidden").rename(gone)
    (arm,) = find_cells([results])
    assert untrained_among([arm])(arm) is None
    cells = find_cells([scored(*first_and_last(runs / "gelu" / "m-s0"))])
    (arm,) = (cell for cell in cells if cell.meta.variant == "x2")
    birth = untrained_among(cells)(arm)
    assert birth is not None
    assert (birth.meta.run, birth.meta.step) == ("m-s0", 0)
    # With the parent's place it is known when collected.
    collect(lone, data, tmp_path / "told", checkpoints=[runs], say=lambda _: None)
    root = read_meta(tmp_path / "told" / "x2-s0" / "step-000000020" / "L0.mid").root_hash
    assert root == roots_of(cells)[arm.meta.run_hash]


# Results of earlier versions, and rooms that keep results by a run's name.


def test_results_of_an_earlier_version_take_their_identity_from_the_checkpoint(
    runs: Path, scored: Callable[..., Path], analyze_command: Command, tmp_path: Path
):
    own = shutil.copytree(runs / "gelu" / "m-s0", tmp_path / "project" / "runs" / "m-s0")
    results = scored(*first_and_last(own))
    wanted = (compare([results], tmp_path / "out"), (tmp_path / "out" / "comparison.md").read_text())[1]
    forgetting(results)
    words = ["compare", results, "--out", tmp_path / "old"]
    assert analyze_command(*words).code == 0
    old = (tmp_path / "old" / "comparison.md").read_text()
    assert [line for line in old.splitlines() if "untrained" in line] == [
        line for line in wanted.splitlines() if "untrained" in line
    ]
    (tmp_path / "project").rename(tmp_path / "gone")
    assert analyze_command(*words).is_refusal(2, "earlier version", "--checkpoints", "collect and score again")
    assert analyze_command(*words, "--checkpoints", tmp_path / "gone").code == 0


def test_copies_of_two_runs_of_one_name_are_refused(runs: Path, data: Path, tmp_path: Path):
    other = run(
        small_run(data, start=str(runs / "gelu" / "m-s0"), widen=PLAN | {"sigma": 0.2}), tmp_path / "x2-s0"
    ).directory
    fission(runs / "gelu" / "x2-s0", data, tmp_path / "out", only=[0, 20], say=lambda _: None)
    with pytest.raises(BadInput, match=r"x2-s0.*is another run than the one of its name"):
        fission(other, data, tmp_path / "out", parent=runs / "gelu" / "m-s0", only=[8], say=lambda _: None)


def test_probes_of_two_runs_of_one_name_are_refused_and_the_first_stay(
    runs: Path, scored: Callable[..., Path], analyze_command: Command, tmp_path: Path
):
    dirs = [scored(load(runs / name / "m-s0").directory, out=name) for name in ("gelu", "relu")]
    words = ("--out", tmp_path / "probes", "--families", "position in row", "--k", 1)
    assert analyze_command("probe", dirs[0], *words).code == 0
    before = (tmp_path / "probes" / "probes.parquet").read_bytes()
    said = analyze_command("probe", dirs[1], *words)
    assert said.is_refusal(2, "L0.mid.probes", "another run called m-s0", str(runs / "relu" / "m-s0"))
    assert (tmp_path / "probes" / "probes.parquet").read_bytes() == before
