"""`polysem toy` from the outside: the shipped configs, what it says, how it leaves."""

import io
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.commands import TRACEBACK, Command
from tests.train.toys.small import small_toy
from train.configfile import load_config, to_toml
from train.toys.command import run_toy
from train.toys.config import ToyConfig
from train.toys.listing import (
    SHIPPED,
    about_of,
    list_toys,
    shipped_configs,
    shipped_programs,
    shipped_toys,
    toys_of_problem,
)
from train.toys.programs.run import ProgramRun
from train.toys.runs import ToyRun

TINY = "--fit.steps 5 --fit.replicas 2 --fit.batch 32 --fit.eval_samples 512 --fit.curve_points 3 --fit.snapshots 2"

FEW = "--fit.steps 2 --fit.replicas 2 --fit.batch 8 --fit.eval_batch 16"


@pytest.fixture
def command(train_command: Command) -> Command:
    """`polysem toy WORDS` in this process."""
    return partial(train_command, "toy")


@pytest.fixture
def toml(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(to_toml(small_toy()))
    return path


@pytest.mark.parametrize("path", shipped_toys(), ids=lambda path: path.stem)
def test_every_shipped_config_runs(command, tmp_path, path):
    said = command(path, "--out", tmp_path / "out", *TINY.split())
    assert (said.code, said.err) == (0, "")
    run = ToyRun.load(tmp_path / "out")
    assert said.out.splitlines()[-1].startswith(f"wrote {tmp_path / 'out'}: ")
    assert (run.n_inst, run.n_rep) == (len(run.config.instances()), 2)
    asks = run.config.expect or run.config.verdict
    assert asks or path.stem in compared_with(), "what is expected of it is written down"


def compared_with() -> set[str]:
    """The shipped toys that are the null of another one."""
    verdicts = [load_config(ToyConfig, path).verdict for path in shipped_toys()]
    return {each.against for each in verdicts if each is not None and each.against}


@pytest.mark.parametrize(
    "path", [*shipped_programs(), *shipped_programs(SHIPPED / "known")], ids=lambda path: path.stem
)
def test_every_shipped_program_runs(command, tmp_path, path):
    said = command(path, "--out", tmp_path / "out", *FEW.split())
    assert (said.code, said.err) == (0, "")
    run = ProgramRun.load(tmp_path / "out")
    assert said.out.splitlines()[-1].startswith(f"wrote {tmp_path / 'out'}: {len(run.variants)} variants, 2 steps")
    assert all(each.replicas == 2 for each in run.variants.values())
    again = command(path, "--out", tmp_path / "out", *FEW.split())
    assert again.out.splitlines()[-1].startswith("found")
    named = command(path, "--out", tmp_path / "bad", "--fit.stepz", "2")
    assert named.is_refusal(2, "unknown key 'fit.stepz'; did you mean 'steps'?")


def test_the_listing_names_every_shipped_config_and_what_it_asks(command):
    said = command("--list")
    assert (said.code, said.err) == (0, "")
    blocks = said.out.strip().split("\n\n")
    entries = {block.partition(".toml:")[0].rpartition("/")[2]: block for block in blocks if ".toml:" in block}
    assert set(entries) == {path.stem for path in shipped_configs()}
    for path in shipped_configs():
        about = about_of(path)
        text = " ".join(entries[path.stem].split())
        assert f"{path.name}: {about.title}" in text
        for label, part in (
            ("question", about.question),
            ("expectation", about.expectation),
            ("run time", about.run_time),
        ):
            assert f"{label} {' '.join(part.split())}" in text
        assert ("outcome" in text) == bool(about.outcome) or "outcome" in about.model_dump_json(exclude={"outcome"})


def test_the_listing_goes_by_problem(command):
    blocks = command("--list").out.strip().split("\n\n")
    groups = [block for block in blocks if ".toml:" not in block]
    numbers = [int(block.split()[1].partition(".")[2]) for block in groups[:-1]]
    assert numbers == sorted(set(numbers))
    assert groups[-1] == "Of no numbered problem"
    place = blocks.index("Problem 4.7 (polysem toy 4.7)")
    assert "configs/toy/values-one.toml" in blocks[place + 1]
    assert "verdict" in blocks[place + 1]


def test_a_problem_finds_its_toys_and_what_they_are_compared_with():
    assert [path.stem for path in toys_of_problem("4.7")] == ["values-uniform", "values-one"]
    assert [path.stem for path in toys_of_problem("4.4")] == ["two-classes"]
    names = [path.stem for path in toys_of_problem("4.11")]
    assert names.index("relu-square") < names.index("gelu-square")
    assert [path.stem for path in toys_of_problem("4.44")] == ["widening-abs"]
    for number in (*range(1, 15), 16):
        assert all(path.is_file() for path in toys_of_problem(f"4.{number}"))


def test_a_problem_is_trained_into_a_directory_a_toy(command, tmp_path):
    said = command("4.7", "--out", tmp_path / "toys", *TINY.split())
    assert (said.code, said.err) == (0, "")
    assert ToyRun.load(tmp_path / "toys/values-one").config.about.problem == "4.7"
    assert said.out.splitlines()[-1].startswith(f"the verdict: polysem toy-pages {tmp_path / 'toys/values-uniform'} ")


def test_a_problem_without_a_toy_is_one_line(command):
    said = command("4.44x")
    assert said.is_refusal(2, "4.44x: no such file")
    said = command("4.22")
    assert said.is_refusal(2, "problem 4.22: no toy that comes with polysem asks it", "`polysem problems`")


def test_the_listing_says_which_problem_and_what_came_of_it(tmp_path):
    about = small_toy().about.model_copy(update={"problem": "4.2", "outcome": "It did, " + "and how " * 30 + "indeed."})
    (tmp_path / "one.toml").write_text(to_toml(small_toy(about=about.model_dump())))
    heading, _, *lines = list_toys(tmp_path, width=60).splitlines()
    assert heading == "Problem 4.2 (polysem toy 4.2)"
    assert lines[0].endswith("one.toml: Small")
    assert lines[1:4] == ["  question     Does it run?", "  expectation  Yes.", "  run time     no time"]
    assert lines[4].startswith("  outcome      It did,")
    assert max(map(len, lines[1:])) <= 60


def test_the_listing_stands_alone_and_without_it_a_file_is_needed(command, toml):
    assert command("--list", toml).is_refusal(2, "--list stands alone")
    assert command().is_refusal(2, "needs a TOY.toml; --list shows")


def test_the_result_is_named_after_the_file_and_found_again(command, toml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = command(toml)
    assert first.code == 0
    assert first.err == ""  # no bar where nobody watches
    assert first.out.splitlines()[-1].startswith("wrote checkpoints/toy/small: 2 instances x 3 replicas, 40 steps")
    identity = ToyRun.load("checkpoints/toy/small").hash
    again = command(toml)
    assert again.out.splitlines()[-1].startswith("found checkpoints/toy/small: ")
    assert again.out.splitlines()[:-1] == first.out.splitlines()[:-1]
    assert ToyRun.load("checkpoints/toy/small").hash == identity
    changed = command(toml, "--features.importance", "0.5")
    assert changed.is_refusal(2, "checkpoints/toy/small: holds a toy with features.importance = 1.0, now 0.5")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--sweep.probability", "[0.1, 1.5]"], ["sweep.probability.1", "less than or equal to 1", "got 1.5"]),
        (["--features.probability", "-0.1"], ["features.probability", "greater than or equal to 0"]),
        (["--features.importance", "[1, 1, 1]"], ["features: importance: 3 values for 4 features"]),
        (
            ["--features.classes", "[{count = 3, probability = 0.1}]", "--sweep", "{}", "--expect", "[]"],
            ["features: classes: 3 features in classes, n says 4"],
        ),
        (["--target.function", "abz"], ["target.function", "'abs'", "got 'abz'"]),
        (["--features.values.kind", "normal"], ["features.values.kind", "'uniform' or 'choice'", "got 'normal'"]),
        (["--features.probabilty", "0.1"], ["unknown key 'features.probabilty'; did you mean 'probability'?"]),
        (["--network.hidden", "0"], ["network: hidden: [0] must be at least 1"]),
        (["--fit.replicas", "0"], ["fit.replicas", "greater than or equal to 1"]),
        (
            ["--features", "{n = 4, probability = 0.1, pairs = 'anticorrelated'}", "--sweep.probability", "[0.5, 0.6]"],
            ["0.6 is above 0.5"],
        ),
    ],
)
def test_an_impossible_toy_is_refused_in_one_line(command, toml, tmp_path, words, parts):
    assert command(toml, "--out", tmp_path / "out", *words).is_refusal(2, "small.toml: ", *parts)
    assert list(tmp_path.iterdir()) == [toml]


def test_a_toy_that_diverges_is_stopped_with_step_and_rate(command, toml, tmp_path):
    said = command(toml, "--out", tmp_path / "out", "--fit.lr", "1e30")
    assert said.is_refusal(4, str(tmp_path / "out"), "is not finite at step", "1e+30", "lower fit.lr")
    assert list(tmp_path.iterdir()) == [toml]


def test_memory_for_too_many_replicas_is_reported_beforehand(command, toml, tmp_path):
    said = command(toml, "--out", tmp_path / "out", "--fit.replicas", "100000", "--network.hidden", "100000")
    assert said.is_refusal(3, "2 instances of 100000 replicas need", "GB are free", "lower fit.replicas")
    assert list(tmp_path.iterdir()) == [toml]


def test_a_signal_stops_a_toy_at_any_time_and_the_same_command_goes_on(toml, tmp_path):
    """From another process, in the middle of a training that would take minutes."""
    long = (sys.executable, "-m", "train", "toy", toml, "--out", tmp_path / "out", "--fit.steps", "1000000")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(long, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    lock = tmp_path / ".unfinished-out" / ".lock"
    deadline = time.monotonic() + 300
    while not lock.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 75, err
    assert TRACEBACK not in err
    assert len(err.strip().splitlines()) == 1
    assert "the same command goes on" in err
    assert out == ""
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / ".unfinished-out").glob("state-*/state.safetensors"))) == 1


class Terminal(io.StringIO):
    """Standard error that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_with_rate_and_time_left(tmp_path, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    run_toy(small_toy(), tmp_path / "out")
    bar = screen.getvalue().rstrip().split("\r")[-1]
    assert bar.startswith("out: 100%")
    assert "40/40 [00:0" in bar
    assert "step/s" in bar
    assert "best loss" in bar


def test_the_shipped_configs_lie_where_the_source_lies():
    assert SHIPPED.is_dir()
    assert load_config(ToyConfig, shipped_toys()[0]).about.title
