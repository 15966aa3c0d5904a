"""Toys of every kind, trained for a moment, for tests of figures and pages."""

from pathlib import Path
from typing import Any

from train.toys.command import run_toy
from train.toys.config import ToyConfig
from train.toys.runs import ToyRun

ABOUT = {"title": "A toy", "question": "What is it?", "expectation": "Something.", "run_time": "a moment"}
MOMENT = {"steps": 30, "batch": 64, "lr": 1e-2, "replicas": 3, "eval_samples": 512, "curve_points": 4}
SIGNED = {"low": -1.0, "high": 1.0}

PENTAGON: dict[str, Any] = {
    "features": {"n": 5},
    "network": {"kind": "bottleneck", "hidden": 2},
    "fit": {"snapshots": 3},
    "sweep": {"probability": [0.5, 0.1, 0.05]},
    "expect": [
        {"says": "five", "measure": "features_represented", "where": {"probability": 0.05}, "at_least": 5},
        {
            "says": "sparse is easier",
            "measure": "loss",
            "where": {"probability": 0.05},
            "minus": {"probability": 0.5},
            "at_most": 0.0,
        },
    ],
}
NEURON: dict[str, Any] = {
    "features": {"n": 6, "probability": 0.2, "importance_decay": 0.8},
    "network": {"kind": "neuron", "hidden": 3},
}
ABSOLUTE: dict[str, Any] = {
    "features": {"n": 6, "importance_decay": 0.8, "values": SIGNED},
    "target": {"function": "abs"},
    "network": {"kind": "computation", "hidden": 8},
    "sweep": {"probability": [0.5, 0.1]},
}
PHASES: dict[str, Any] = {
    "features": {"n": 2},
    "network": {"kind": "bottleneck", "hidden": 1},
    "sweep": {"probability": [1.0, 0.05], "importance_last": [0.1, 1.0, 10.0]},
}
CLASSES: dict[str, Any] = {
    "features": {"n": 4, "probability": 0.5, "values": {"kind": "choice", "choices": [1.0, 2.0]}},
    "target": {"function": "one_hot", "levels": [0.0, 1.0, 2.0]},
    "network": {"kind": "computation", "hidden": [5, 4], "output": "linear", "hidden_bias": True},
    "fit": {"loss": "cross_entropy"},
}


def trained(directory: Path, values: dict[str, Any], **about: str) -> ToyRun:
    """A toy of these values, trained for a moment into a directory."""
    values = values | {"about": ABOUT | about, "fit": MOMENT | values.get("fit", {})}
    return run_toy(ToyConfig.model_validate(values), directory).run
