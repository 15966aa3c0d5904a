"""A TOY.toml: what it may say, how it is swept, and the one line that refuses what cannot be meant."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.configfile import keys_of, load_config, to_toml, validate
from train.errors import BadInput
from train.toys.config import SweepConfig, ToyConfig
from train.toys.listing import SHIPPED

TOY = """
[about]
title = "Five features in two dimensions"
problem = "4.2"
question = "What shape?"
expectation = "A pentagon."
run_time = "1 s"

[features]
n = 4

[network]
kind = "bottleneck"
hidden = 2

[fit]
steps = 10
"""
COMPUTATION = ["--network.kind", "computation"]
ONE_HOT = [*COMPUTATION, "--target.function", "one_hot"]
CROSS_ENTROPY = ["--fit.loss", "cross_entropy", "--network.output", "linear"]
BINARY = ["--features.values.kind", "choice", "--features.values.choices", "[1.0]"]


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    return path


def toy(**tables: dict[str, Any]) -> ToyConfig:
    values = tomllib.loads(TOY)
    for name, table in tables.items():
        values[name] = values.get(name, {}) | table if isinstance(table, dict) else table
    return validate(ToyConfig, values, "toy.toml")


def refusal(path: Path, words: list[str]) -> str:
    with pytest.raises(BadInput) as refused:
        load_config(ToyConfig, path, words)
    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert len(said) < 400
    for jargon in ("pydantic", "constrained", "tuple[", "union"):
        assert jargon not in said
    return said.removeprefix(f"{path}: ")


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


EXPECT = '\n[[expect]]\nsays = "more"\nmeasure = "represented"\n'
SWEEP = "\n[sweep]\nprobability = [0.1, 0.2]\n"


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


def test_a_file_as_written_becomes_a_toy(toy_file: Path):
    toy_file.write_text(TOY + SWEEP + EXPECT + "at_least = 1\nwhere = { probability = 0.1 }\n")
    config = load_config(ToyConfig, toy_file, ["--features.n", "5", "--sweep.probability", "[0.05, 0.1]"])
    assert (config.features.n, config.network.hidden, config.sweep.probability) == (5, (2,), (0.05, 0.1))
    assert config.instance_of(config.expect[0].where) == 1


def test_the_last_swept_key_varies_fastest():
    config = toy(sweep={"lr": [0.1, 0.2], "probability": [0.3, 0.4], "dropout": [0.0, 0.5]})
    # In the order of the table's keys, not of the file's.
    assert config.sweep.rows() == [
        {"probability": p, "dropout": d, "lr": lr} for p in (0.3, 0.4) for d in (0.0, 0.5) for lr in (0.1, 0.2)
    ]
    for row, each in zip(config.sweep.rows(), config.instances(), strict=True):
        assert each.sweep == SweepConfig()
        assert each.features.probabilities() == (row["probability"],) * 4
        assert (each.network.dropout, each.fit.lr) == (row["dropout"], row["lr"])
    assert config.instance_of({"probability": 0.4, "dropout": 0.0, "lr": 0.2}) == 5


def test_every_swept_key_is_put_in_its_place():
    places = {
        "probability": "features",
        "probability_last": "features",
        "importance_decay": "features",
        "importance_last": "features",
        "active": "features",
        "dropout": "network",
        "init_scale": "network",
        "lr": "fit",
        "l1": "fit",
        "loss_power": "fit",
        "neurons": "network",
        "mixing": "target",
    }
    assert set(places) == set(SweepConfig.model_fields)
    for key, table in places.items():
        value = {"active": 1, "neurons": 1, "loss_power": 4.0}.get(key, 0.25)
        (each,) = toy(network={"kind": "computation"}, sweep={key: [value]}).instances()
        assert getattr(getattr(each, table), key) == value


def test_without_a_sweep_there_is_one_instance():
    config = toy()
    assert config.instances() == [config]
    assert config.sweep.rows() == [{}]
    assert config.instance_of({}) == 0


def test_an_instance_is_named_by_enough_of_its_values():
    config = toy(sweep={"probability": [0.1, 0.2], "lr": [0.1, 0.2]})
    with pytest.raises(ValueError, match="names 2 of 4 instances"):
        config.instance_of({"probability": 0.1})
    with pytest.raises(ValueError, match="names 0 of 4 instances"):
        config.instance_of({"dropout": 0.1})


def test_probabilities_and_importances_of_every_feature():
    assert toy(features={"probability": 0.5, "probability_last": 0.1}).features.probabilities() == (0.5, 0.5, 0.5, 0.1)
    assert toy(features={"active": 1}).features.probabilities() == (0.25,) * 4
    assert toy(features={"importance_decay": 0.5}).features.importances() == (1.0, 0.5, 0.25, 0.125)
    assert toy(features={"importance": [1.0, 2.0, 3.0, 4.0]}).features.importances() == (1.0, 2.0, 3.0, 4.0)
    assert toy(features={"importance_last": 7.0}).features.importances() == (1.0, 1.0, 1.0, 7.0)
    classes = [{"count": 3, "probability": 0.1, "importance": 2.0}, {"count": 1, "probability": 0.9}]
    features = toy(features={"classes": classes}).features
    assert features.probabilities() == (0.1, 0.1, 0.1, 0.9)
    assert features.importances() == (2.0, 2.0, 2.0, 1.0)


@st.composite
def toys(draw: st.DrawFn) -> dict[str, Any]:
    share = st.floats(0, 1)
    n = 2 * draw(st.integers(1, 4))
    features: dict[str, Any] = {"n": n} | draw(
        st.sampled_from(
            [
                {},
                {"probability": draw(share)},
                {"probability": draw(st.lists(share, min_size=n, max_size=n)), "importance": [0.5] * n},
                {"classes": [{"count": n, "probability": draw(share), "importance": 2.0}]},
                {"importance_decay": 0.9, "probability_last": draw(share), "importance_last": 3.0},
                {"active": draw(st.integers(0, n))},
                {"pairs": "correlated", "probability": draw(share)},
                {"pairs": "anticorrelated", "probability": draw(share) / 2},
            ]
        )
    )
    features["values"] = draw(
        st.sampled_from([{}, {"low": -1.0}, {"low": 0.5, "high": 2.0}, {"kind": "choice", "choices": [1.0, 3.0]}])
    )
    function = draw(st.sampled_from(["identity", "abs", "max", "argmax"]))
    network = {"kind": "computation", "hidden": draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))}
    target = {"function": function, "pairs": draw(st.sampled_from(["adjacent", "all"]))}
    values = tomllib.loads(TOY) | {"features": features, "network": network, "target": target}
    if draw(st.booleans()):
        rates = draw(st.lists(st.floats(1e-6, 1), min_size=1, max_size=3, unique=True))
        values["sweep"] = {"lr": rates, "l1": [0.0, 0.5]}
        where = {"lr": rates[0], "l1": 0.0}
        values["expect"] = [
            {"says": draw(st.text(max_size=9)), "measure": "m", "where": where, "minus": where, "at_most": 1}
        ]
    return values


@given(toys())
@settings(max_examples=100, deadline=None)
def test_a_toy_written_as_toml_reads_back_as_the_same_toy(values: dict[str, Any]):
    config = validate(ToyConfig, values, "drawn")
    again = validate(ToyConfig, tomllib.loads(to_toml(config)), "read back")
    assert again == config
    assert again.instances() == config.instances()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_value_of_a_key_gives_a_toy_or_bad_input(data: st.DataObject):
    values = tomllib.loads(TOY)
    key = data.draw(st.sampled_from([*keys_of(ToyConfig), *ToyConfig.model_fields]))
    table = values
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    table[last] = data.draw(JSON)
    try:
        config = validate(ToyConfig, values, "fuzz")
    except BadInput:
        return
    assert validate(ToyConfig, tomllib.loads(to_toml(config)), "read back") == config


@pytest.mark.parametrize("key", ["where", "minus"])
def test_a_whole_number_that_no_float_holds_is_bad_input(key: str):
    values = tomllib.loads((SHIPPED / "abs-independent.toml").read_text())
    values["verdict"][key] = {"probability": 10**400}
    with pytest.raises(BadInput, match=f"verdict.{key}: .*too large"):
        validate(ToyConfig, values, "large")


def test_features_that_exclude_each_other_may_have_their_probability_swept_alone(toy_file: Path):
    words = ["--features.pairs", "anticorrelated", "--features.probability", "1.0", "--sweep.probability", "[0.1, 0.5]"]
    assert len(load_config(ToyConfig, toy_file, words).instances()) == 2


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
