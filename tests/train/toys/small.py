"""A toy that trains in a moment."""

from typing import Any

from train.configfile import validate
from train.toys.config import ToyConfig


def small_toy(**changes: Any) -> ToyConfig:
    """|x| of 4 features by 5 neurons at two probabilities, 3 replicas, 40 steps; `fit__steps=7` changes a key."""
    values: dict[str, Any] = {
        "about": {"title": "Small", "question": "Does it run?", "expectation": "Yes.", "run_time": "no time"},
        "features": {"n": 4, "values": {"low": -1.0}},
        "target": {"function": "abs"},
        "network": {"kind": "computation", "hidden": 5},
        "fit": {
            "steps": 40,
            "batch": 64,
            "lr": 1e-2,
            "replicas": 3,
            "eval_samples": 2048,
            "curve_points": 6,
            "snapshots": 3,
        },
        "sweep": {"probability": [0.1, 0.5]},
        "expect": [{"says": "it learns", "measure": "loss", "where": {"probability": 0.5}, "at_most": 1.0}],
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        if name:
            values[table] = values.get(table, {}) | {name: value}
        else:
            values[table] = value
    return validate(ToyConfig, values, "small")
