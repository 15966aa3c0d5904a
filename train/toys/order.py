"""The order in which shipped toys are best trained: those of open problems, cheapest first."""

import math
from pathlib import Path

from train.configfile import load_config
from train.toys.config import ToyConfig
from train.toys.listing import SHIPPED, about_of, shipped_configs
from train.toys.models import shapes
from train.toys.programs.base import initial
from train.toys.programs.config import load_program, names_program
from train.toys.targets import Target


def cost(path: Path) -> float:
    """How much there is to train, in products of a weight and a sample: good for an order, not for a time."""
    if names_program(path):
        config = load_program(path)
        each = [initial(config.of, settings, 0, 1) for settings in config.resolved().values()]
        weights = sum(tensor.numel() for parameters in each for tensor in parameters.values())
        return float(weights) * config.fit.replicas * config.fit.steps * config.fit.batch
    config = load_config(ToyConfig, path)
    instances = config.instances()
    n_outputs = Target.of(config).n_outputs
    weights = sum(math.prod(shape) for shape in shapes(config.network, config.features.n, n_outputs).values())
    fit, arms = config.fit, sum(arm.factor for arm in config.arms.values())
    samples = fit.steps * fit.batch + fit.eval_samples
    return float(weights) * len(instances) * fit.replicas * samples * (1 + arms)


def asks_a_toy_problem(path: Path) -> bool:
    """Whether it asks one of 4.1 to 4.20."""
    chapter, _, number = about_of(path).problem.partition(".")
    return chapter == "4" and number.isdecimal() and 1 <= int(number) <= 20


def names(every: bool = False, directory: Path = SHIPPED) -> list[str]:
    """Names of the shipped configs that ask a problem from 4.1 to 4.20, or of every one, cheapest first."""
    chosen = [path for path in shipped_configs(directory) if every or asks_a_toy_problem(path)]
    return [path.stem for path in sorted(chosen, key=lambda path: (cost(path), path.stem))]
