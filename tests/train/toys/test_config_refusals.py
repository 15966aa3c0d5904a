"""What the file of a toy may not say, and the words that say so."""

from pathlib import Path

import pytest

from tests.train.toys.tomls import BINARY, COMPUTATION, CROSS_ENTROPY, EXPECT, ONE_HOT, SWEEP, TOY, refusal
from train.configfile import load_config, to_toml
from train.toys.config import ToyConfig


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--features.probability", "1.5"], "features.probability: Input should be less than or equal to 1, got 1.5"),
        (["--features.probability", "-0.1"], "features.probability: Input should be greater than or equal to 0"),
        (["--features.probability", "nan"], "features.probability: Input should be a finite number"),
        (["--features.probability", "often"], "features.probability: Input should be a valid number, got 'often'"),
        (["--features.probability", "true"], "features.probability: Input should be a valid number, got True"),
        (["--features.probability", "[0.5, 1.5, 0.0, 0.0]"], "features.probability.1: Input should be less than or"),
        (["--features.probability_last", "2"], "features.probability_last: Input should be less than or equal to 1"),
        (["--features.probability", "[0.5]"], "features: probability: 1 values for 4 features"),
        (["--features.importance", "[1.0, 2.0]"], "features: importance: 2 values for 4 features"),
        (["--features.probability", "{ all = 0.5 }"], "features.probability: Input should be a valid number"),
        (["--features.importance", "-1.0"], "features.importance: Input should be greater than or equal to 0"),
        (["--features.importance", "[1, 1, -1, 1]"], "features.importance.2: Input should be greater than or equal"),
        (
            ["--features.importance_decay", "0.9", "--features.importance", "2.0"],
            "features: importance_decay: give importance or importance_decay, not both",
        ),
        (["--features.importance_decay", "1.5"], "features.importance_decay: Input should be less than or equal to 1"),
        (
            ["--features.classes", "[{ count = 2, probability = 0.1 }]"],
            "features: classes: 2 features in classes, n says 4",
        ),
        (
            ["--features.classes", "[{ count = 4, probability = 1.1 }]"],
            "features.classes.0.probability: Input should be less than or equal to 1, got 1.1",
        ),
        (["--features.classes", "[{ count = 4 }]"], "key 'features.classes.0.probability' is missing"),
        (
            ["--features.classes", "[{ count = 4, probability = 0.1 }]", "--features.probability", "0.5"],
            "features: classes: give classes or probability and importance, not both",
        ),
        (["--features.n", "0"], "features.n: Input should be greater than or equal to 1"),
        (["--features.n", "20_000"], "features.n: Input should be less than or equal to 10000"),
        (["--features.active", "5"], "features: active: 5 of 4 features"),
        (
            ["--features.active", "2", "--features.probability", "0.1"],
            "features: active: stands instead of probability, classes and pairs",
        ),
    ],
)
def test_impossible_features_are_refused(toy_file: Path, words: list[str], said: str):
    assert refusal(toy_file, words).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--features.pairs", "correlated", "--features.n", "3"], "features: pairs: 3 features cannot all be paired"),
        (
            ["--features.pairs", "correlated", "--features.probability", "[0.1, 0.2, 0.3, 0.3]"],
            "features: pairs: both features of a pair need the same probability",
        ),
        (
            ["--features.pairs", "correlated", "--features.probability_last", "0.2"],
            "features: pairs: both features of a pair need the same probability",
        ),
        (
            ["--features.pairs", "anticorrelated", "--features.probability", "0.6"],
            "features.probability: 0.6 is above 0.5",
        ),
        (
            [*COMPUTATION, "--target.function", "max", "--features.n", "3"],
            "features.n: 3 features cannot all be paired for function = 'max'",
        ),
        (
            [*COMPUTATION, "--target.function", "max", "--target.pairs", "all", "--features.n", "1"],
            "features.n: function = 'max' needs two features",
        ),
    ],
)
def test_impossible_pairs_are_refused(toy_file: Path, words: list[str], said: str):
    assert refusal(toy_file, words).startswith(said)


@pytest.mark.parametrize(
    ("words", "key", "meant"),
    [
        (["--target.function", "identiti"], "target.function", "identity"),
        (["--target.function", "one_hott"], "target.function", "one_hot"),
        (["--network.kind", "bottelneck"], "network.kind", "bottleneck"),
        (["--network.activation", "gelo"], "network.activation", "gelu"),
        (["--features.values.kind", "unifrm"], "features.values.kind", "uniform"),
        (["--features.pairs", "corelated"], "features.pairs", "correlated"),
        (["--fit.loss", "crossentropy"], "fit.loss", "cross_entropy"),
        (["--fit.schedule", "linar"], "fit.schedule", "linear"),
    ],
)
def test_an_unknown_name_gets_the_nearest_as_a_suggestion(toy_file: Path, words: list[str], key: str, meant: str):
    said = refusal(toy_file, words)
    assert said.startswith(f"{key}: ")
    assert said.endswith(f"got {words[1]!r}; did you mean {meant!r}?")


def test_an_unknown_name_unlike_any_other_gets_the_whole_list(toy_file: Path):
    said = refusal(toy_file, ["--target.function", "zzz"])
    assert "'identity', 'abs', 'square'" in said
    assert said.endswith("got 'zzz'")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fit.step", "1"], "unknown key 'fit.step'; did you mean 'steps'?"),
        (["--feature.n", "1"], "unknown key 'feature'; did you mean 'features'?"),
        (["--sweep.probabilty", "[0.1]"], "unknown key 'sweep.probabilty'; did you mean 'probability'?"),
        (["--features", "3"], "features: Input should be a valid dictionary"),
    ],
)
def test_an_unknown_key_gets_the_nearest_as_a_suggestion(toy_file: Path, words: list[str], said: str):
    assert refusal(toy_file, words).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network.hidden", "0"], "network: hidden: [0] must be at least 1"),
        (["--network.hidden", "[3, 0]"], "network: hidden: [3, 0] must be at least 1"),
        (["--network.hidden", "[]"], "network: hidden: [] must be at least 1"),
        (["--network.hidden", "true"], "network.hidden: Input should be a valid integer, got True"),
        (["--network.hidden", "[3, 3]"], "network: hidden: 2 layers; a bottleneck model ties W to W^T and has one"),
        (["--network.hidden_bias", "true"], "network: hidden_bias: a bottleneck model has none"),
        (["--network.dropout", "1.0"], "network.dropout: Input should be less than 1"),
        (["--network.init_scale", "0.0"], "network.init_scale: Input should be greater than 0"),
        (["--target.function", "abs"], "target.function: a bottleneck model ties its output to its input"),
        (["--fit.loss", "cross_entropy"], "fit.loss: cross_entropy needs function = one of one_hot, argmax, which"),
        (
            [*COMPUTATION, "--target.function", "argmax", "--fit.loss", "cross_entropy"],
            "network.output: cross_entropy reads logits; write output = 'linear'",
        ),
        (["--fit.betas", "[1.0, 0.5]"], "fit: betas: [1.0, 0.5] must lie in [0, 1)"),
        (["--fit.lr", "nan"], "fit.lr: Input should be a finite number"),
        (["--fit.replicas", "0"], "fit.replicas: Input should be greater than or equal to 1"),
        (["--fit.steps", "0"], "fit.steps: Input should be greater than or equal to 1"),
    ],
)
def test_impossible_networks_and_fits_are_refused(toy_file: Path, words: list[str], said: str):
    assert refusal(toy_file, words).startswith(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--features.values.kind", "choice"], "features.values: choices: needed by kind = 'choice'"),
        (["--features.values.choices", "[1.0]"], "features.values: choices: needed by kind = 'choice'"),
        (["--features.values.low", "2.0"], "features.values: low: 2.0 must lie below high = 1.0"),
        (ONE_HOT, "target: levels: needed by function = 'one_hot', and by no other function"),
        ([*COMPUTATION, "--target.levels", "[1.0]"], "target: levels: needed by function = 'one_hot'"),
        ([*ONE_HOT, "--target.levels", "[1.0, 1.0]"], "target: levels: [1.0, 1.0] names a level twice"),
        ([*ONE_HOT, "--target.levels", "[1.0]"], "features.values.kind: function = 'one_hot' needs kind = 'choice'"),
        (
            [*ONE_HOT, *BINARY, *CROSS_ENTROPY, "--target.levels", "[1.0, 2.0]", "--features.probability", "0.5"],
            "target.levels: [1.0, 2.0] lacks 0, a value that features have",
        ),
    ],
)
def test_values_and_levels_that_do_not_fit_are_refused(toy_file: Path, words: list[str], said: str):
    assert refusal(toy_file, words).startswith(said)


def test_levels_that_hold_every_value_fit(toy_file: Path):
    words = [*ONE_HOT, *BINARY, *CROSS_ENTROPY]
    always = load_config(ToyConfig, toy_file, [*words, "--target.levels", "[1.0]"])
    assert always.target.levels == (1.0,)
    swept = ["--sweep.probability", "[0.1, 0.2]"]
    assert len(load_config(ToyConfig, toy_file, [*words, *swept, "--target.levels", "[0.0, 1.0]"]).instances()) == 2
    assert refusal(toy_file, [*words, *swept, "--target.levels", "[1.0]"]).startswith("target.levels: [1.0] lacks 0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep.probability", "[0.1, 2.0]"], "sweep.probability.1: Input should be less than or equal to 1"),
        (["--sweep.dropout", "[0.0, 1.0]"], "sweep.dropout.1: Input should be less than 1"),
        (["--sweep.lr", "[0.0]"], "sweep.lr.0: Input should be greater than 0"),
        (["--sweep.importance_decay", "[2.0]"], "sweep.importance_decay.0: Input should be less than or equal to 1"),
        (["--sweep.l1", "[-1.0]"], "sweep.l1.0: Input should be greater than or equal to 0"),
        (["--sweep.init_scale", "[0.0]"], "sweep.init_scale.0: Input should be greater than 0"),
        (["--sweep.lr", "[1e-3, 1e-2, 1e-3]"], "sweep: lr: [0.001, 0.01, 0.001] names a value twice"),
        (["--sweep.active", "[5]"], "features: active: 5 of 4 features"),
        (
            ["--sweep.probability", "[0.1]", "--features.active", "2"],
            "features: active: stands instead of probability, classes and pairs",
        ),
        (
            [
                "--sweep.probability",
                "[0.4, 0.6]",
                "--features.pairs",
                "anticorrelated",
                "--features.probability",
                "0.1",
            ],
            "features.probability: 0.6 is above 0.5",
        ),
    ],
)
def test_swept_values_that_do_not_fit_are_refused(toy_file: Path, words: list[str], said: str):
    assert refusal(toy_file, words).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (EXPECT, "expect.0: at_least: give at_least, at_most or both"),
        (EXPECT + "at_least = 2\nat_most = 1\n", "expect.0: at_least: 2.0 lies above at_most = 1.0"),
        (
            EXPECT + "at_least = 1\nwhere = { probability = 0.1 }\n",
            "expect.0.where: 'probability' is not swept; there is one instance",
        ),
        (
            SWEEP + EXPECT + "at_least = 1\nwhere = { probability = 0.3 }\n",
            "expect.0.where: {'probability': 0.3} names 0 of 2 instances, not one",
        ),
        (SWEEP + EXPECT + "at_least = 1\n", "expect.0.where: {} names 2 of 2 instances, not one"),
        (
            SWEEP + EXPECT + "at_least = 1\nwhere = { probabilty = 0.1 }\n",
            "expect.0.where: 'probabilty' is not swept; did you mean 'probability'?",
        ),
        (
            SWEEP + EXPECT + "at_least = 1\nwhere = { probability = 0.1 }\nminus = { probability = 5 }\n",
            "expect.0.minus: {'probability': 5.0} names 0 of 2 instances, not one",
        ),
        (EXPECT.replace("measure", "mesure") + "at_least = 1\n", "unknown key 'expect.0.mesure'"),
    ],
)
def test_an_expectation_that_names_no_instance_or_no_bound_is_refused(toy_file: Path, text: str, said: str):
    toy_file.write_text(TOY + text)
    assert refusal(toy_file, []).startswith(said)


VERDICT = ["--verdict.says", "yes if", "--verdict.measure", "loss", "--verdict.least", "0.1"]
NUMBER = [*VERDICT, "--verdict.null", "number", "--verdict.by_chance", "1.0"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*VERDICT, "--verdict.null", "numbr"], "verdict.null: Input should be 'number', 'instance'"),
        ([*VERDICT, "--verdict.null", "number"], "verdict: by_chance: needed by null = 'number'"),
        ([*VERDICT, "--verdict.null", "toy"], "verdict: against: needed by null = 'toy'"),
        ([*NUMBER, "--verdict.against", "twin"], "verdict: against: needed by null = 'toy', and by no other null"),
        ([*NUMBER, "--verdict.lest", "1"], "unknown key 'verdict.lest'"),
        ([*NUMBER, "--verdict.where.lr", "1e-3"], "verdict.where: 'lr' is not swept; there is one instance"),
        (
            [*NUMBER, "--sweep.lr", "[1e-3, 2e-3]", "--verdict.over", "lrr"],
            "verdict.over: 'lrr' is not swept; did you mean 'lr'?",
        ),
        (
            [*NUMBER, "--sweep.lr", "[1e-3, 2e-3]", "--verdict.where.lr", "3e-3"],
            "verdict.where: {'lr': 0.003} names 0 of 2 instances",
        ),
        (
            [*VERDICT, "--verdict.null", "instance", "--sweep.lr", "[1e-3, 2e-3]", "--verdict.minus.lr", "3e-3"],
            "verdict.minus: {'lr': 0.003} names values that are not swept",
        ),
        ([*NUMBER, "--about.problem", ""], "about.problem: [verdict] answers a problem"),
    ],
)
def test_a_verdict_that_cannot_be_meant_is_refused(toy_file: Path, words: list[str], said: str):
    assert said in refusal(toy_file, words)


def test_a_verdict_is_kept_and_belongs_to_no_single_instance(toy_file: Path, tmp_path: Path):
    config = load_config(ToyConfig, toy_file, [*NUMBER, "--sweep.lr", "[1e-3, 2e-3]"])
    path = tmp_path / "again.toml"
    path.write_text(to_toml(config))
    assert load_config(ToyConfig, path) == config
    assert [each.verdict for each in config.instances()] == [None, None]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network.output", "golu"], "network.output: Input should be 'relu', 'gelu', 'solu' or 'linear'"),
        (["--network.activaton", "gelu"], "unknown key 'network.activaton'; did you mean 'activation'"),
        (["--network.neurons", "1"], "network: neurons: for one layer of hidden neurons"),
        ([*COMPUTATION, "--network.neurons", "3"], "network: neurons: 3 of hidden = 2"),
        ([*COMPUTATION, "--sweep.neurons", "[1, 3]"], "network: neurons: 3 of hidden = 2"),
        (["--fit.optimiser", "sgd"], "unknown key 'fit.optimiser'; did you mean 'optimizer'"),
        (["--fit.momentum", "0.9"], "fit: momentum: is sgd's; Adam has betas"),
        (["--fit.loss_power", "0.5"], "fit.loss_power: Input should be greater than or equal to 1"),
        ([*COMPUTATION, *CROSS_ENTROPY, "--fit.loss_power", "4"], "fit: loss_power: is of the errors"),
        (["--fit.frozen", '["W1"]'], "fit.frozen: this network has no 'W1'"),
        (["--fit.converged", "0.02", "--fit.schedule", "cosine"], "fit: converged: a cosine schedule ends at `steps`"),
        (["--fit.converged", "0.02", "--fit.curve_points", "10"], "fit: converged: is seen at points of the curve"),
        (["--target.mixng", "0.1"], "unknown key 'target.mixng'; did you mean 'mixing'"),
        ([*COMPUTATION, "--target.function", "which", "--target.mixing", "0.1"], "target: mixing: function = 'which'"),
        (["--target.function", "which"], "target.function: a bottleneck model ties its output to its input"),
    ],
)
def test_new_options_that_cannot_be_meant_are_refused(toy_file: Path, words: list[str], said: str):
    assert said in refusal(toy_file, words)
