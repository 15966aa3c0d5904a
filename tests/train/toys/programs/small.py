"""Programs that train in a moment."""

from typing import Any

from train.configfile import validate
from train.toys.programs.config import ProgramConfig, checked

SETTINGS: dict[str, dict[str, Any]] = {
    "parity": {"task": "xor", "bits": 4, "width": 8},
    "bumps": {"angles": "circle", "latents": 8},
    "bases": {"width": 3},
    "attention": {"sources": "own", "trigrams": 3},
    "gru": {"tokens": 3, "length": 3, "hidden": 8},
    "collisions": {"features": 6, "neurons": 12},
    "compressed": {"features": 8, "neurons": 4, "mixing": 0.03},
    "overlap": {"features": 32, "dimensions": 4},
    "shrinking": {"features": 8, "neurons": 4, "dropout": 0.2},
}
"""By program."""


def small_program(name: str = "gru", variants: dict[str, dict[str, Any]] | None = None, **fit: Any) -> ProgramConfig:
    """A program for 12 steps of 32 samples, 3 replicas; further words go into [fit]."""
    values = {
        "about": {"title": "Small", "question": "Does it run?", "expectation": "Yes.", "run_time": "no time"},
        "program": name,
        "settings": SETTINGS[name],
        "variants": variants or {"one": {}},
        "fit": {"steps": 12, "batch": 32, "lr": 1e-2, "replicas": 3, "curve_points": 5, "eval_batch": 64} | fit,
    }
    return checked(validate(ProgramConfig, values, "small"), "small")
