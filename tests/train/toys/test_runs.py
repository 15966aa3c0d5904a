"""A toy's directory: what it holds, and what is refused of one that was changed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tests.train.faults import edit_bytes, edit_json, reseal
from tests.train.toys.small import small_toy
from train.configfile import to_toml
from train.errors import BadInput
from train.files import MANIFEST
from train.toys.baseline import naive_on_final_samples
from train.toys.command import loss_table, run_toy
from train.toys.distributions import Sampler
from train.toys.fit import fit
from train.toys.runs import ToyRun
from train.toys.tables import CURVES, LOSSES, OUTPUTS, write_table
from train.toys.targets import Target


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
