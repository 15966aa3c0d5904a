"""A parent trained for a second, and runs that are widened from it."""

from pathlib import Path

from tests.train.fixtures import small_data, small_run
from train.config import RunConfig
from train.configfile import validate
from train.training_run import run


def widened_run(data: Path, start: Path, **widen: object) -> RunConfig:
    """Twenty steps of fine-tuning of a widened `start`; keywords reach into [widen]."""
    plan = {"layers": [0], "factor": 3, "noise": "zero_sum", "sigma": 0.5, **widen}
    return small_run(data, start=str(start), widen=plan)


def small_study(root: Path) -> Path:
    """root/data and root/runs: parent-s0, wide-s0 widened three times from it, plain-s0 not widened."""
    data = small_data(root)
    parent = small_run(data, train__tokens=60 * 64)
    run(parent, root / "runs" / "parent-s0")
    run(widened_run(data, root / "runs" / "parent-s0"), root / "runs" / "wide-s0")
    run(small_run(data, start=str(root / "runs" / "parent-s0")), root / "runs" / "plain-s0")
    return root


def with_start(config: RunConfig, start: Path) -> RunConfig:
    """The same run without a widening of its own, from another start."""
    values = config.model_dump(mode="json") | {"start": str(start), "widen": None}
    return validate(RunConfig, {key: value for key, value in values.items() if value is not None}, "test")
