"""A run from the outside: what it leaves, how it goes on, what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree, rmtree

import pytest
import torch

from tests.train.fixtures import small_data, small_run
from train import load
from train.checkpoint import step_directory, steps
from train.configfile import to_toml
from train.data.tokens import TokenFile
from train.errors import BadInput, Diverged, Stopped
from train.files import MANIFEST, RECORD, seal
from train.hashes import sha256
from train.tracking import read_metrics
from train.training_run import run


def weights(directory: Path, name: str = "model.safetensors") -> bytes:
    return (directory / name).read_bytes()


def losses(directory: Path) -> list:
    keys = ("kind", "step", "tokens", "loss", "lr", "grad_norm", "n_tokens", "unigram", "bigram")
    return [[line.get(key) for key in keys] for line in read_metrics(directory / "metrics.jsonl")]


def test_a_run_leaves_checkpoints_metrics_and_a_card(finished):
    assert steps(finished) == [0, 1, 2, 4, 8, 16, 20]
    checkpoint = load(finished)
    state = checkpoint.state
    assert (state["run"], state["variant"], state["seed"], state["step"], state["tokens"]) == (
        "gelu-s0",
        "gelu",
        0,
        20,
        1280,
    )
    assert state["evaluation"]["loss"] < load(step_directory(finished, 0)).state["evaluation"]["loss"]
    kinds = [line["kind"] for line in read_metrics(finished / "metrics.jsonl")]
    assert kinds.count("train") == 20
    assert kinds.count("eval") == 5
    card = (finished / "README.md").read_text()
    assert f"{state['evaluation']['loss']:.4f}" in card
    assert "100% files" in card


def test_a_checkpoint_stands_alone_and_has_the_loss_that_it_states(finished, data, tmp_path):
    from shutil import copytree

    from train.loss import NextTokenLoss

    alone = copytree(step_directory(finished, 20), tmp_path / "step-000000020")
    checkpoint = load(alone)
    held_out = TokenFile.open(data, split="eval")
    rows = held_out.plain_rows(0, held_out.n_rows)
    with torch.no_grad():
        loss = float(NextTokenLoss(checkpoint.model())(rows))
    assert loss == pytest.approx(checkpoint.state["evaluation"]["loss"], abs=1e-5)
    assert checkpoint.tokenizer().decode(checkpoint.tokenizer().encode("the cat").ids) == "the cat"


def test_equal_runs_have_equal_hashes_at_every_step_however_long_they_took(finished, data, tmp_path):
    again = run(small_run(data), tmp_path / "gelu-s0").directory
    seconds = [
        [line["seconds"] for line in read_metrics(each / "metrics.jsonl", "train")] for each in (again, finished)
    ]
    assert seconds[0] != seconds[1]
    hashes = [[load(step_directory(each, step)).hash for step in steps(each)] for each in (again, finished)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 7


def test_a_checkpoint_says_which_code_wrote_it_and_no_hash_depends_on_that(finished, data, tmp_path, monkeypatch):
    code = load(finished).code
    assert code.keys() <= {"version", "commit", "dirty", "precision"}
    assert all(len(commit) == 40 for commit in [code["commit"]] if "commit" in code)
    monkeypatch.setattr("train.training_run.code_facts", lambda: {"version": "99", "commit": "0" * 40, "dirty": True})
    other = run(small_run(data), tmp_path / "gelu-s0").checkpoint
    assert other.code == {"version": "99", "commit": "0" * 40, "dirty": True, "precision": "fp32"}
    assert other.hash == load(finished).hash


def test_what_touches_no_number_is_no_part_of_the_hash(finished, data, tmp_path):
    """How often a line is logged, and where the data lie; where they lie is known all the same."""
    moved = copytree(data, tmp_path / "moved")
    other = run(small_run(moved, train__log_every=2), tmp_path / "gelu-s0").checkpoint
    assert other.hash == load(finished).hash
    assert other.state["data"]["directory"] == str(moved)
    assert load(finished).state["data"]["directory"] == str(data)
    assert run(small_run(data, seed=1), tmp_path / "gelu-s1").checkpoint.hash != other.hash


def test_a_run_of_an_earlier_version_goes_on(finished, data, tmp_path):
    """It recorded where its log ended, which depends on the clock, and not which code wrote it."""
    out = copytree(finished, tmp_path / "gelu-s0")
    for step in steps(out):
        directory = step_directory(out, step)
        if step > 8:
            rmtree(directory)
            continue
        state = json.loads((directory / "state.json").read_text())
        (directory / "state.json").write_text(json.dumps(state | {"log_offset": 10_000}))
        (directory / RECORD).unlink()
        seal(directory, {"kind": "checkpoint", "format_version": 1})
        assert load(directory).hash == sha256((directory / MANIFEST).read_bytes())
        assert load(directory).code == {}
    assert run(small_run(data), out).checkpoint.hash == load(finished).hash
    assert losses(out) == losses(finished)


def test_the_same_command_finds_its_result(finished, data, tmp_path):
    before = load(finished).hash
    outcome = run(write_config(data, tmp_path / "run.toml"), str(finished))
    assert outcome.found
    assert outcome.checkpoint.hash == before


@pytest.mark.parametrize("crash_step", [0, 4, 7, 15])
def test_a_resumed_run_is_bit_identical_to_one_that_was_never_stopped(
    finished, data, tmp_path, monkeypatch, crash_step
):
    """Promise B, with a crash that leaves log lines behind its last checkpoint."""
    import train.loop

    out, real = tmp_path / "gelu-s0", train.loop._step

    def crashing(training, *args):
        if training.step == crash_step + 1:
            raise RuntimeError("power cut")
        return real(training, *args)

    monkeypatch.setattr(train.loop, "_step", crashing)
    with pytest.raises(RuntimeError, match="power cut"):
        run(small_run(data), out)
    monkeypatch.undo()
    assert not run(small_run(data), out).found
    for name in ("model.safetensors", "optim.safetensors"):
        assert weights(step_directory(out, 20), name) == weights(step_directory(finished, 20), name)
    assert losses(out) == losses(finished)


def test_a_damaged_newest_step_is_skipped_with_a_message_and_made_again(finished, data, tmp_path, capsys):
    from shutil import copytree

    out = copytree(finished, tmp_path / "gelu-s0")
    path = step_directory(out, 20) / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    assert not run(small_run(data), out).found
    assert "does not match its hash" in capsys.readouterr().out
    assert weights(step_directory(out, 20)) == weights(step_directory(finished, 20))


def test_accumulation_sees_the_same_global_rows(finished, data, tmp_path):
    out = run(small_run(data, train__accumulate=2), tmp_path / "gelu-s0").directory
    ours, theirs = (
        [line["loss"] for line in read_metrics(each / "metrics.jsonl") if line["kind"] == "train"]
        for each in (out, finished)
    )
    assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"optim__lr": 2e-2}, "holds a run with optim.lr = 0.01, now 0.02"),
        ({"seed": 1}, "holds a run with seed = 0, now 1"),
        ({"train__rows_per_step": 8}, "holds a run with train.rows_per_step = 4, now 8"),
    ],
)
def test_a_config_that_differs_from_the_directorys_is_refused_by_key(finished, data, over, message):
    with pytest.raises(BadInput, match=message):
        run(small_run(data, **over), finished)


def test_an_output_directory_with_other_content_is_refused(data, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(BadInput, match="taken by something that is not a run"):
        run(small_run(data), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_diverging_run_stops_before_the_step_and_keeps_the_last_good_checkpoint(data, tmp_path, monkeypatch):
    import train.loop

    out, real = tmp_path / "bad-s0", train.loop.Training.micro_batches

    def poisoned(training, step):
        if step == 11:
            with torch.no_grad():
                training.model.head.weight[0, 0] = float("nan")
        return real(training, step)

    monkeypatch.setattr(train.loop.Training, "micro_batches", poisoned)
    with pytest.raises(Diverged, match="step 11"):
        run(small_run(data), out)
    assert load(out).step == 10
    crash = json.loads((out / "crash-000000011.json").read_text())
    assert crash["step"] == 11
    assert crash["first_row"] == 44


def test_only_the_widened_mlp_trains_and_all_else_stays_bit_identical(finished, data, tmp_path):
    plan = {"layers": [0], "factor": 3, "noise": "zero_sum", "sigma": 0.1}
    out = run(small_run(data, start=str(finished), widen=plan), tmp_path / "x3-s0").directory
    before, after = load(finished).model().state_dict(), load(out).model().state_dict()
    for name, value in before.items():
        if name.startswith("layers.0.mlp."):
            assert value.shape != after[name].shape or not torch.equal(value, after[name])
        else:
            assert torch.equal(value, after[name])
    checkpoint = load(out)
    assert checkpoint.lineage is not None
    assert checkpoint.lineage.parent_hash == load(finished).hash
    assert checkpoint.state["tokens_before"] == 1280
    assert checkpoint.state["root_variant"] == "gelu"


def test_an_arm_goes_on_with_the_next_rows(finished, data, tmp_path, monkeypatch):
    import train.loop

    read, real = [], train.loop.Training.micro_batches

    def watching(training, step):
        pieces = list(real(training, step))
        read.append(torch.cat(pieces))
        return iter(pieces)

    monkeypatch.setattr(train.loop.Training, "micro_batches", watching)
    run(small_run(data, start=str(finished), trainable="layers.0.mlp.*"), tmp_path / "narrow-s0")
    expected = TokenFile.open(data).rows(0, 20, 4)
    assert torch.equal(read[0], expected)


def test_copies_without_noise_follow_the_narrow_control(finished, data, tmp_path):
    """The optimizer's rule for widened layers: tied copies take the narrow layer's steps in function space."""
    plan = {"layers": [0], "factor": 4, "noise": "none"}
    same = {"start": str(finished), "trainable": "layers.0.mlp.*", "optim__clip": 1000.0, "optim__lr": 3e-3}
    narrow = load(run(small_run(data, **same), tmp_path / "narrow-s0").directory)
    wide = load(run(small_run(data, **same, widen=plan), tmp_path / "wide-s0").directory)
    rows = TokenFile.open(data, split="eval").plain_rows(0, 8)
    with torch.no_grad():
        torch.testing.assert_close(wide.model()(rows[:, :-1]), narrow.model()(rows[:, :-1]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"widen": {"layers": [1], "factor": 2}}, "layer 1 is not there; the model has layers 0 to 0"),
        ({"trainable": "layers.0.mpl.*"}, "matches no parameter"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(finished, data, tmp_path, over, message):
    with pytest.raises(BadInput, match=message):
        run(small_run(data, start=str(finished), **over), tmp_path / "arm-s0")


def test_data_of_another_tokenizer_is_refused(finished, tmp_path):
    other = small_data(tmp_path / "other")
    tokenizer = other / "tokenizer.json"
    manifest = json.loads((other / "MANIFEST.json").read_text())
    changed = tokenizer.read_bytes() + b"\n"
    tokenizer.write_bytes(changed)
    manifest["tokenizer_sha256"] = sha256(changed)
    manifest["files"]["tokenizer.json"] = {"bytes": len(changed), "sha256": sha256(changed)}
    (other / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=r"the tokenizer of .* is not the one of"):
        run(small_run(other, start=str(finished)), tmp_path / "arm-s0")


def command(config_path: Path, out: Path, *words: str, launcher: tuple[str, ...] = ()) -> list[str]:
    launch = list(launcher) or [sys.executable]
    return [*launch, "-m", "train", "run", str(config_path), "--out", str(out), *words]


def write_config(data: Path, path: Path, **over: object) -> Path:
    path.write_text(to_toml(small_run(data, **over)))
    return path


def started(config: Path, out: Path, n_steps: int) -> subprocess.Popen[str]:
    """A run in a process of its own that has saved `n_steps` steps."""
    process = subprocess.Popen(command(config, out), stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 300
    while len(steps(out)) < n_steps and time.time() < deadline:
        time.sleep(0.02)
    return process


LONG: dict[str, object] = {"train__tokens": 800 * 64, "train__checkpoint_every": 0, "train__eval_every": 400}


@pytest.fixture(scope="module")
def long_run(data, tmp_path_factory) -> Path:
    """A run of 800 steps that was never stopped."""
    return run(small_run(data, **LONG), tmp_path_factory.mktemp("straight") / "long-s0").directory


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_a_run_finishes_its_step_saves_exits_75_and_can_go_on(data, long_run, tmp_path, number):
    config, out = write_config(data, tmp_path / "run.toml", **LONG), tmp_path / "long-s0"
    process = started(config, out, n_steps=3)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == Stopped.exit_code
    assert said.strip().splitlines()[-1].startswith("error: ")
    assert "start again to go on" in said
    stopped_at = load(out).step
    assert 0 < stopped_at < 800
    assert not run(small_run(data, **LONG), out).found
    assert weights(step_directory(out, 800)) == weights(step_directory(long_run, 800))


@pytest.mark.slow
def test_a_killed_run_goes_on_and_two_runs_in_one_directory_are_refused(data, tmp_path, train_command):
    long = {"train__tokens": 800 * 64, "train__eval_every": 400, "train__checkpoint_every": 100}
    config, out = write_config(data, tmp_path / "run.toml", **long), tmp_path / "long-s0"
    process = started(config, out, n_steps=4)
    assert train_command("run", config, "--out", out).is_refusal(BadInput.exit_code, "another run is writing here")
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert 0 < load(out).step < 800
    assert train_command("run", config, "--out", out).code == 0
    assert load(out).step == 800


@pytest.mark.slow
def test_two_processes_see_the_same_rows_and_reach_the_same_loss(finished, data, tmp_path, train_command):
    """Promise A under torchrun with gloo; the sums differ in order, so the loss is equal to a tolerance."""
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(config, out, launcher=launcher),
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    two, one = load(out), load(finished)
    assert two.state["environment"]["processes"] == 2
    assert two.state["evaluation"]["loss"] == pytest.approx(one.state["evaluation"]["loss"], abs=2e-3)
    # A run begun by two processes goes on with one.
    said = train_command("run", config, "--out", out)
    assert said.code == 0
    assert "found" in said.out


@pytest.mark.slow
def test_offline_wandb_changes_no_number(finished, data, tmp_path):
    config, out = write_config(data, tmp_path / "run.toml"), tmp_path / "gelu-s0"
    words = ("--train.wandb", "offline")
    subprocess.run(command(config, out, *words), check=True, capture_output=True, timeout=300)
    assert weights(step_directory(out, 20)) == weights(step_directory(finished, 20))
    assert list((out / "wandb").glob("offline-run-*"))


def test_a_log_that_lost_its_end_is_continued_without_a_gap(finished, data, tmp_path):
    out = copytree(finished, tmp_path / "gelu-s0")
    rmtree(step_directory(out, 20))
    log = out / "metrics.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    run(small_run(data), out)
    steps_logged = [line["step"] for line in read_metrics(log) if line["kind"] == "train"]
    assert steps_logged[:2] == [1, 2]
    assert steps_logged[-4:] == [17, 18, 19, 20]


def test_a_checkpoint_widened_by_hand_is_fine_tuned_with_its_factor_known(finished, data, tmp_path):
    from train.config import WidenPlan
    from train.widening.command import widen_checkpoint

    said = widen_checkpoint(finished, WidenPlan(layers=(0,), factor=3), data, tmp_path / "x3-s0")
    assert "widths 48" in said
    out = run(small_run(data, start=str(tmp_path / "x3-s0"), trainable="layers.0.mlp.*"), tmp_path / "tuned-s0")
    assert out.checkpoint.state["factor"] == 3
    assert out.checkpoint.lineage is not None
    assert out.checkpoint.state["tokens_before"] == 1280
    again = small_run(data, start=str(out.directory), widen={"layers": [0], "factor": 2})
    twice = run(again, tmp_path / "x6-s0").checkpoint
    assert twice.state["factor"] == 6
    assert twice.lineage is not None
    assert len(twice.lineage.ancestors) == 1
