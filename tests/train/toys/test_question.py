"""What a TOY.toml asks that could not be answered is refused before anything is trained, in one line."""

from pathlib import Path

import pytest

from tests.commands import Command
from tests.train.toys.tomls import EXPECT, SWEEP, TOY
from train.configfile import load_config
from train.toys.config import ToyConfig
from train.toys.listing import shipped_toys
from train.toys.question import require_answerable

VERDICT = """
[verdict]
says = "yes if"
measure = "features_represented"
null = "number"
by_chance = 2
least = 0.1
"""
INSTANCE = ["--verdict.null", "instance"]
COMPUTATION = ["--network.kind", "computation", "--network.hidden", "4"]


@pytest.fixture
def refused(train_command: Command, tmp_path: Path):
    """What `polysem toy` says of a config that it refuses, behind the file's name."""

    def call(text: str, *words: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        said = train_command("toy", path, "--out", tmp_path / "out", *words)
        assert said.is_refusal(2, f"{path}: ")
        assert not (tmp_path / "out").exists()
        return said.err.strip().removeprefix(f"error: {path}: ")

    return call


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--verdict.measure", "feature_represented"],
            "verdict.measure: measure 'feature_represented' is not known; did you mean 'features_represented'?",
        ),
        (["--verdict.measure", "accuracy"], "verdict.measure: 'accuracy' does not apply to this bottleneck model"),
        (COMPUTATION, "verdict.measure: 'features_represented' does not apply to this computation model; it is for"),
        (["--about.problem", '"4.46"'], "about.problem: '4.46' is none of 4.1 to 4.45"),
        (["--verdict.nul", "number"], "unknown key 'verdict.nul'; did you mean 'null'?"),
        (["--verdict.null", "numbers"], "verdict.null: "),
        (["--verdict.by_chance", "inf"], "verdict.by_chance: "),
        (["--verdict.least", "nan"], "verdict.least: "),
        (["--verdict.draws", "3"], "verdict.draws: "),
        (["--verdict.replicas", "some"], "verdict.replicas: "),
        (["--verdict.over", "probability"], "verdict.over: 'probability' is not swept"),
        (["--verdict.where", "{ lr = 1e-3 }"], "verdict.where: 'lr' is not swept"),
    ],
)
def test_a_rule_that_cannot_be_asked_is_refused(refused, words, says):
    assert refused(TOY + VERDICT, *words).startswith(says)


def test_nulls_of_other_weights_need_a_measure_of_weights_and_rotations_a_bottleneck(refused):
    of_weights = VERDICT.replace("by_chance = 2\n", "")
    for null in ("untrained", "rotation", "permutation"):
        said = refused(TOY + of_weights.replace('"number"', f'"{null}"'), "--verdict.measure", "loss")
        assert said == (
            f"verdict.null: {null!r} measures other weights, and 'loss' is of losses that training recorded; take "
            "number, instance, toy"
        )
    said = refused(TOY + of_weights.replace('"number"', '"rotation"'), *COMPUTATION, "--verdict.measure", "mean_share")
    assert said == "verdict.null: a computation model is not free to rotate"


def test_an_expectation_names_a_measure_that_there_is(refused):
    assert refused(TOY + EXPECT + "at_least = 1.0\n").startswith("expect.0.measure: measure 'represented' is not known")


def test_a_slope_and_an_instance_that_is_compared_differ_from_those_that_answer(refused):
    swept = TOY + SWEEP + VERDICT
    of_instance = swept.replace("by_chance = 2\n", "minus = { probability = 0.2 }\n").replace("number", "instance")
    assert refused(of_instance) == (
        "verdict.minus: {'probability': 0.2} is an instance that answers; its effect would be 0"
    )
    assert refused(swept, "--verdict.over", "probability", "--verdict.where", "{ probability = 0.2 }") == (
        "verdict.where: 'probability' is what the slope runs over"
    )
    for values in ("[0.2]", "[0.0, 0.2]"):
        toml = swept.replace("probability", "l1").replace("[0.1, 0.2]", values)
        assert refused(toml, "--verdict.over", "l1").startswith("verdict.over: 'l1' needs two values above 0")


def test_the_toy_of_a_null_is_there_and_can_be_compared(refused, tmp_path):
    against = TOY + VERDICT.replace("by_chance = 2", 'against = "twin"').replace("number", "toy")
    missing = "verdict.against: there is no twin.toml beside this file, nor among those of polysem"
    assert refused(against) == missing
    for stem in ("twins", "mine"):
        (tmp_path / f"{stem}.toml").write_text(TOY)
    assert refused(against) == f"{missing}; did you mean 'twins'?"
    assert refused(against, "--verdict.against", "mine") == "verdict.against: 'mine' is this toy itself"
    assert refused(against, "--verdict.against", "attention-heads").endswith(
        "is a program, whose networks have other measures"
    )
    twin = tmp_path / "twin.toml"
    twin.write_text(TOY + SWEEP)
    assert refused(against) == f"verdict.against: {twin} has other instances or replicas"
    twin.write_text(TOY.replace("bottleneck", "computation"))
    assert refused(against).startswith("verdict.measure: of the toy 'twin': 'features_represented' does not apply")


def test_a_rule_that_can_be_asked_trains(train_command: Command, tmp_path):
    (tmp_path / "twin.toml").write_text(TOY)
    (tmp_path / "mine.toml").write_text(
        TOY + VERDICT.replace("by_chance = 2", 'against = "twin"').replace("number", "toy")
    )
    said = train_command("toy", tmp_path / "mine.toml", "--out", tmp_path / "out", "--fit.replicas", 2)
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("path", shipped_toys(), ids=lambda path: path.stem)
def test_what_shipped_toys_ask_can_be_answered(path):
    require_answerable(load_config(ToyConfig, path), path)
