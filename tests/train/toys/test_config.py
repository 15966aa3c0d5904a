"""Toys as their files say them: what is read, swept, named and written."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.toys.tomls import EXPECT, SWEEP, TOY, toy
from train.configfile import keys_of, load_config, to_toml, validate
from train.errors import BadInput
from train.toys.config import SweepConfig, ToyConfig
from train.toys.listing import SHIPPED


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
