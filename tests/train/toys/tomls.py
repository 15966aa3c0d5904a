"""A toy as its file says it, and the words of what is refused."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from train.configfile import load_config, validate
from train.errors import BadInput
from train.toys.config import ToyConfig

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
EXPECT = '\n[[expect]]\nsays = "more"\nmeasure = "represented"\n'
SWEEP = "\n[sweep]\nprobability = [0.1, 0.2]\n"
BINARY = ["--features.values.kind", "choice", "--features.values.choices", "[1.0]"]


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
