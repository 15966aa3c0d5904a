"""A toy's directory: what it holds, how training goes on, what is refused."""

import errno
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.train.faults import edit_bytes, edit_json, reseal
from tests.train.toys.small import small_toy
from train.configfile import to_toml
from train.errors import BadInput, Diverged, EnvironmentProblem, Stopped
from train.files import MANIFEST, locked, verify
from train.toys.baseline import naive_on_final_samples
from train.toys.command import loss_table, run_toy
from train.toys.distributions import Sampler
from train.toys.fit import _Run, fit
from train.toys.room import Pace
from train.toys.runs import ToyRun
from train.toys.tables import CURVES, LOSSES, OUTPUTS, write_table
from train.toys.targets import Target
from train.toys.unfinished import Unfinished


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> ToyRun:
    return run_toy(small_toy(), tmp_path_factory.mktemp("toys") / "small").run


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return shutil.copytree(finished.directory, tmp_path / "small")


def stop_before(step: int, monkeypatch, number: int = signal.SIGINT) -> None:
    """A signal that comes while the step before `step` is taken, or before all of them."""
    real_advance, real_train = _Run._advance, _Run.train

    def advance(run, at):
        if at == step - 1:
            os.kill(os.getpid(), number)
        real_advance(run, at)

    def train(run, *arguments):
        if step == 0:
            os.kill(os.getpid(), number)
        return real_train(run, *arguments)

    monkeypatch.setattr(_Run, "_advance", advance)
    monkeypatch.setattr(_Run, "train", train)


def same(a: ToyRun, b: ToyRun) -> bool:
    arrays = [(a.losses, b.losses), (a.per_output, b.per_output), (a.curves.losses, b.curves.losses)]
    tensors = [
        (one[name], other[name])
        for one, other in ((a.model.parameters, b.model.parameters), (a.snapshots, b.snapshots))
        for name in one
    ]
    return all(np.array_equal(*pair) for pair in arrays) and all(torch.equal(*pair) for pair in tensors)


def test_a_toy_is_read_back_as_it_was_trained(finished):
    config = small_toy()
    run, trained = ToyRun.load(finished.directory), fit(config)
    assert run.config == config
    assert (run.n_inst, run.n_rep) == (2, 3)
    assert list(run.model.parameters) == list(trained.model.parameters)
    for name, value in trained.model.parameters.items():
        assert torch.equal(run.model.parameters[name], value)
    assert np.array_equal(run.losses, trained.losses.numpy())
    assert np.array_equal(run.per_output, trained.per_output.numpy())
    assert np.array_equal(run.best, trained.best.numpy())
    assert np.array_equal(run.curves.steps, trained.curve_steps.numpy())
    assert np.array_equal(run.curves.losses, trained.curve_losses.numpy())
    assert run.snapshot_steps.tolist() == [0, 20, 40]
    for name, value in trained.snapshots.items():
        assert torch.equal(run.snapshots[name], value)
    assert np.array_equal(run.best_losses, run.losses.min(axis=1))
    assert torch.equal(run.best_model.parameters["W1"][1, 0], run.model.parameters["W1"][1, run.best[1]])
    assert run.seconds > 0


def test_tables_say_the_same_to_who_reads_them_without_polysem(finished):
    losses = pl.read_parquet(finished.directory / "losses.parquet")
    assert losses["probability"].to_list() == [0.1] * 3 + [0.5] * 3
    assert losses.filter("best")["replica"].to_list() == finished.best.tolist()
    assert losses["loss"].to_list() == finished.losses.reshape(-1).tolist()
    row = pl.read_parquet(finished.directory / "outputs.parquet").row(
        by_predicate=(pl.col("instance") == 1) & (pl.col("replica") == 2) & (pl.col("output") == 3), named=True
    )
    assert row["name"] == "|x3|"
    assert row["loss"] == finished.per_output[1, 2, 3]
    assert row["naive"] == finished.naive[1].per_output[3]
    point = pl.read_parquet(finished.directory / "curves.parquet").filter(step=16, instance=1, replica=0)
    assert point["loss"].item() == finished.curves.losses[2, 1, 0]


def test_losses_are_those_of_the_weights_on_samples_that_stand_beside_the_baselines(finished):
    """The naive baseline is taken on the very samples of the final loss."""
    config = small_toy()
    blocks = [Sampler.of(config.instances()).sample(1024, 0, f"eval-{i}") for i in range(2)]
    x = torch.cat(blocks, dim=2)
    error = (finished.model(x) - Target.of(config)(x)).square().mean(dim=(2, 3))
    np.testing.assert_allclose(finished.losses, error.numpy(), rtol=1e-5)
    for i, each in enumerate(config.instances()):
        assert finished.naive[i] == naive_on_final_samples(each)
        constant = Target.of(config)(x[i, 0])
        assert finished.naive[i].constant_loss == pytest.approx(
            float(constant.var(dim=0, correction=0).mean()), rel=1e-5
        )


def test_the_naive_baseline_takes_fewer_samples_where_they_would_not_fit():
    config = small_toy(fit__eval_samples=5000).instances()[1]
    whole = naive_on_final_samples(config)
    part = naive_on_final_samples(config, at_most=4)
    assert part.loss != whole.loss
    assert part == naive_on_final_samples(small_toy(fit__eval_samples=1024).instances()[1])


def test_the_neurons_of_a_run_are_those_of_its_leading_replica(finished):
    known = finished.neurons(instance=1)
    torch.testing.assert_close(known.responses, finished.model.parameters["W1"][1, int(finished.best[1])].abs() / 4)
    other = (int(finished.best[1]) + 1) % 3
    torch.testing.assert_close(
        finished.neurons(1, replica=other).responses, finished.model.parameters["W1"][1, other].abs() / 4
    )


def test_a_toy_without_a_sweep_or_snapshots_is_one_instance(tmp_path):
    config = small_toy(sweep={}, expect=(), fit__snapshots=0, features__probability=0.2)
    run = run_toy(config, tmp_path / "one").run
    assert run.instances.to_dicts() == [{"instance": 0}]
    assert run.snapshots == {}
    assert len(run.snapshot_steps) == 0
    assert not (tmp_path / "one" / "snapshots.safetensors").exists()


def test_instances_are_listed_with_everything_that_is_swept(tmp_path):
    config = small_toy(sweep={"probability": [0.1, 1], "lr": [1e-3, 1e-2]}, expect=(), fit__steps=2)
    run = run_toy(config, tmp_path / "grid").run
    assert run.instances.to_dict(as_series=False) == {
        "instance": [0, 1, 2, 3],
        "probability": [0.1, 0.1, 1.0, 1.0],
        "lr": [1e-3, 1e-2, 1e-3, 1e-2],
    }


def test_the_table_names_instances_losses_baselines_and_replicas_near_the_best(finished):
    lines = loss_table(finished).splitlines()
    assert lines[0].split() == ["instance", "probability", "best", "median", "naive", "constant", "good"]
    near = int(finished.good[1].sum())
    naive = finished.naive[1]
    figures = [finished.losses[1].min(), np.median(finished.losses[1]), naive.loss, naive.constant_loss]
    assert lines[2].split() == ["1", "0.5", *(f"{each:.4g}" for each in figures), str(near), "of", "3"]
    assert loss_table(finished, limit=1).splitlines()[2].startswith("... and 1 more in")


def test_the_same_command_finds_its_result_and_leaves_it_as_it_is(finished):
    outcome = run_toy(small_toy(), finished.directory)
    assert outcome.found
    assert outcome.run.hash == finished.hash
    assert outcome.text().splitlines()[-1].startswith(f"found {finished.directory}: 2 instances x 3 replicas, 40 steps")
    assert [path.name for path in finished.directory.parent.iterdir()] == ["small"]


def test_the_description_of_an_experiment_may_change_and_is_updated(finished, copy):
    about = small_toy().about.model_copy(update={"outcome": "It did."})
    config = small_toy(about=about.model_dump(), expect=())
    outcome = run_toy(config, copy)
    assert outcome.found
    assert outcome.run.config.about.outcome == "It did."
    assert outcome.run.config.expect == ()
    assert same(outcome.run, finished)
    assert verify(copy)["environment"] == verify(finished.directory)["environment"]
    assert run_toy(config, copy).run.hash == outcome.run.hash


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"fit__lr": 2e-2}, "fit.lr = 0.01, now 0.02"),
        ({"sweep": {"probability": [0.1, 0.4, 0.5]}}, "sweep.probability"),
        ({"network__hidden": 6}, r"network.hidden = \[5\], now \[6\]"),
        ({"fit__replicas": 4}, "fit.replicas = 3, now 4"),
    ],
)
def test_a_changed_input_is_named_by_its_key(finished, changes, key):
    with pytest.raises(BadInput, match=f"small: holds a toy with {key}"):
        run_toy(small_toy(**changes), finished.directory)
    assert ToyRun.load(finished.directory).hash == finished.hash


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("steps", [(0,), (1,), (23,), (5, 6, 31)])
def test_a_stopped_toy_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch, steps, number):
    out = tmp_path / "small"
    for step in steps:
        with monkeypatch.context() as patch:
            stop_before(step, patch, number)
            with pytest.raises(Stopped, match=f"small: stopped after step {step} of 40; the same command goes on"):
                run_toy(small_toy(), out)
        assert not out.exists()
        assert [path.name for path in Unfinished(out).states()] == [f"state-{step:09d}"]
    outcome = run_toy(small_toy(), out)
    assert not outcome.found
    assert same(outcome.run, finished)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_killed_toy_goes_on_from_its_last_point(finished, tmp_path, monkeypatch):
    real = _Run._advance

    def dying(run, step):
        if step == 30:
            raise MemoryError
        return real(run, step)

    monkeypatch.setattr(_Run, "_advance", dying)
    out = tmp_path / "small"
    with pytest.raises(MemoryError):
        run_toy(small_toy(), out, Pace(save_seconds=0.0))
    assert [path.name for path in Unfinished(out).states()] == ["state-000000024"]
    begun: list[int] = []
    monkeypatch.setattr(_Run, "_advance", lambda run, step: (begun.append(step), real(run, step))[1])
    assert same(run_toy(small_toy(), out).run, finished)
    assert begun == list(range(24, 40))


def test_only_the_description_of_an_unfinished_experiment_may_change(tmp_path, monkeypatch):
    out = tmp_path / "small"
    with monkeypatch.context() as patch:
        stop_before(7, patch)
        with pytest.raises(Stopped):
            run_toy(small_toy(), out)
    with pytest.raises(BadInput, match=r"holds an unfinished toy with fit.seed = 0, now 1; choose another --out"):
        run_toy(small_toy(fit__seed=1), out)
    assert len(Unfinished(out).states()) == 1
    assert run_toy(small_toy(expect=()), out).run.config.expect == ()


def test_a_damaged_state_is_skipped_with_a_message(finished, tmp_path, monkeypatch, capsys):
    out = tmp_path / "small"
    with monkeypatch.context() as patch:
        stop_before(7, patch)
        with pytest.raises(Stopped):
            run_toy(small_toy(), out)
    edit_bytes(Unfinished(out).states()[0] / "state.safetensors", lambda data: data.__setitem__(-3, data[-3] ^ 4))
    assert same(run_toy(small_toy(), out).run, finished)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert "does not match its hash" in said[0]
    assert "falling back" in said[0]


def test_leftovers_of_a_dead_process_are_removed_and_files_of_others_stay(tmp_path):
    for name in (".tmp-small-4194305", ".tmp-small-1-4194305", ".unfinished-small/.tmp-state-000000007-4194305"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "part").write_text("half")
    run_toy(small_toy(), tmp_path / "small")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-small-1-4194305", "small"]


def test_a_toy_that_diverges_leaves_nothing_in_the_way_of_another_rate(tmp_path):
    out = tmp_path / "small"
    wild = small_toy(fit__lr=1e30)
    with pytest.raises(Diverged, match=r"small: the loss of instance 0 .* is not finite at step \d+.*lower fit.lr"):
        run_toy(wild, out)
    assert list(tmp_path.iterdir()) == []
    assert not run_toy(small_toy(), out).found


def test_too_little_memory_or_disk_space_is_reported_beforehand_and_leaves_nothing(tmp_path, monkeypatch):
    out = tmp_path / "small"
    many = small_toy(fit__replicas=100_000, network__hidden=100_000)
    with pytest.raises(EnvironmentProblem, match=r"GB of memory, .* lower fit.replicas"):
        run_toy(many, out)
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(EnvironmentProblem, match="0 MB free where"):
        run_toy(small_toy(), out)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written_leaves_the_one_before(finished, tmp_path, monkeypatch):
    out, real = tmp_path / "small", Unfinished.save
    saved: list[int] = []

    def full(self, config, state):
        saved.append(state.step)
        if len(saved) > 1:
            monkeypatch.setattr("train.toys.unfinished.write_tensors", no_room)
        return real(self, config, state)

    def no_room(tensors, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "save", full)
        with pytest.raises(EnvironmentProblem, match=r"small: step 16 was not saved \(No space left on device\)"):
            run_toy(small_toy(), out, Pace(save_seconds=0.0))
    monkeypatch.undo()
    assert [path.name for path in Unfinished(out).states()] == ["state-000000008"]
    assert same(run_toy(small_toy(), out).run, finished)


def test_a_result_that_cannot_be_written_is_reported_and_does_not_appear(tmp_path, monkeypatch):
    def no_room(table, schema, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("train.toys.runs.write_table", no_room)
    with pytest.raises(EnvironmentProblem, match=r"small: could not be written \(No space left on device\)"):
        run_toy(small_toy(), tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_train_the_same_toy(tmp_path):
    out = tmp_path / "small"
    with locked(Unfinished(out).directory), pytest.raises(BadInput, match="another run is writing here"):
        run_toy(small_toy(), out)
    assert run_toy(small_toy(), out).run.n_inst == 2


def test_an_output_directory_in_use_is_left_unchanged_and_an_empty_one_is_used(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("thesis", "file"):
        with pytest.raises(BadInput, match=f"{name}: is taken by something that is not a toy; choose another --out"):
            run_toy(small_toy(), tmp_path / name)
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert not run_toy(small_toy(), tmp_path / "empty").found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "thesis"]


@pytest.mark.parametrize("name", ["a name with blanks", "zeile\n'ü 🦆\"", "x" * 250, "ü" * 120])
def test_a_toy_may_have_any_name(tmp_path, monkeypatch, name):
    with monkeypatch.context() as patch:
        stop_before(3, patch)
        with pytest.raises(Stopped):
            run_toy(small_toy(), tmp_path / name)
    assert not run_toy(small_toy(), tmp_path / name).found
    assert run_toy(small_toy(), tmp_path / name).found
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_too_long_for_a_file_do_not_share_a_place(tmp_path):
    one, other = (Unfinished(tmp_path / ("x" * 240 + end)).directory for end in "ab")
    assert one != other


def test_a_toy_below_a_file_is_a_fault_of_the_environment(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "small", Path("/proc/polysem/small")):
        with pytest.raises(EnvironmentProblem, match="cannot be written"):
            run_toy(small_toy(), out)


@pytest.mark.parametrize("name", ["model.safetensors", "losses.parquet", "snapshots.safetensors", "toy.toml"])
def test_a_changed_or_missing_file_is_refused(copy, name):
    data = (copy / name).read_bytes()
    edit_bytes(copy / name, lambda each: each.__setitem__(-2, each[-2] ^ 1))
    with pytest.raises(BadInput, match=name):
        ToyRun.load(copy)
    with pytest.raises(BadInput, match=name):
        run_toy(small_toy(), copy)
    (copy / name).unlink()
    with pytest.raises(BadInput, match=f"{name}: "):
        ToyRun.load(copy)
    (copy / name).write_bytes(data)
    assert ToyRun.load(copy).n_inst == 2


def losses_with(column: str, value: float):
    def change(directory: Path) -> None:
        table = pl.read_parquet(directory / "losses.parquet")
        write_table(table.with_columns(pl.lit(value).alias(column)), LOSSES, directory / "losses.parquet")

    return change


def fewer_rows(name: str, schema):
    def change(directory: Path) -> None:
        write_table(pl.read_parquet(directory / name).head(-1), schema, directory / name)

    return change


def without_a_column(directory: Path) -> None:
    pl.read_parquet(directory / "losses.parquet").drop("naive").write_parquet(directory / "losses.parquet")


def another_width(directory: Path) -> None:
    (directory / "toy.toml").write_text(to_toml(small_toy(network__hidden=6)))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (losses_with("loss", float("nan")), "column 'loss' holds a value that is not a finite number"),
        (losses_with("naive", float("inf")), "column 'naive'"),
        (without_a_column, "column 'naive' is missing"),
        (fewer_rows("losses.parquet", LOSSES), "5 rows where its config makes 6"),
        (fewer_rows("outputs.parquet", OUTPUTS), "23 rows where its config makes 24"),
        (fewer_rows("curves.parquet", CURVES), "35 rows for 6 steps of 2 x 3 replicas"),
        (lambda directory: (directory / "losses.parquet").write_bytes(b"PAR1"), "not a readable parquet"),
        (another_width, r"tensor 'W1' is \[2, 3, 5, 4\], its config says \[2, 3, 6, 4\]"),
        (lambda directory: (directory / "toy.toml").write_text("a = 1"), "toy.toml: unknown key 'a'"),
        (lambda directory: (directory / "notes.txt").write_text("a"), "notes.txt: has no place in a toy"),
        (lambda directory: (directory / "curves.parquet").unlink(), "curves.parquet: missing"),
    ],
)
def test_a_resealed_directory_is_checked_against_its_config(copy, change, part):
    change(copy)
    reseal(copy)
    with pytest.raises(BadInput, match=part):
        ToyRun.load(copy)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"kind": "data"}, "not a toy"),
        ({"format_version": 2}, "format version 2, this polysem reads version 1"),
        ({"seconds": "long"}, "seconds"),
        ({"snapshot_steps": [1, 2]}, "snapshots.safetensors"),
        ({"snapshot_steps": []}, "snapshots.safetensors"),
        ({"snapshot_steps": None}, "snapshot_steps"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(copy, changes, part):
    edit_json(copy / MANIFEST, **changes)
    with pytest.raises(BadInput, match=part):
        ToyRun.load(copy)


def test_a_missing_directory_or_one_without_a_toy_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such directory"):
        ToyRun.load(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="not a whole result"):
        ToyRun.load(tmp_path)


def test_good_replicas_end_within_ten_percent_of_the_lowest_loss_or_a_thousandth_of_the_constants(finished):
    constant = finished.naive[0].constant_loss
    for row in ([0.1, 0.1099, 0.1101], [1e-9, 9e-4, 1.1e-3], [10, 10.9, 11.1]):
        losses = np.tile(np.array(row) * constant, (finished.n_inst, 1))
        planted = replace(finished, losses=losses, naive=(finished.naive[0],) * finished.n_inst)
        assert planted.good.tolist() == [[True, True, False]] * finished.n_inst
