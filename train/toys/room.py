"""How much training takes at a time, and whether there is memory enough for it."""

import math
from dataclasses import dataclass

import torch

from train.errors import EnvironmentProblem
from train.memory import free_memory
from train.toys.config import ToyConfig
from train.toys.models import shapes
from train.toys.targets import Target

EVAL_BLOCK = 1024
"""Samples that are evaluated at a time."""


def eval_blocks(n: int) -> list[tuple[str, int]]:
    """The blocks of the first `n` samples for evaluation: the sampler's stream of each, and its size."""
    return [(f"eval-{block}", min(EVAL_BLOCK, n - first)) for block, first in enumerate(range(0, n, EVAL_BLOCK))]


@dataclass(frozen=True)
class Pace:
    """How training goes about its work; its results depend on it by no more than rounding."""

    save_seconds: float = 60.0
    """Least time between two states that `save` receives along the way."""
    piece: int = 2**18
    """Activations of one layer that are computed at a time, for each thread: 1 MB, which stays in a core's cache."""


PACE = Pace()


def piece_sizes(config: ToyConfig, n_outputs: int, piece: int = Pace.piece) -> tuple[int, int]:
    """How many networks are computed at a time, and how many whole instances where those are enough for one."""
    room = piece * torch.get_num_threads() // config.fit.batch
    networks = max(1, room // max(*config.network.hidden, n_outputs))
    return networks, max(1, min(networks // config.fit.replicas, room // config.features.n))


def require_memory(config: ToyConfig, n_inst: int) -> None:
    """Fail before training where a config needs more memory than is free.

    Raises:
        EnvironmentProblem: with what is needed, what is free, and which key to lower.
    """
    n_features, n_outputs, replicas = config.features.n, Target.of(config).n_outputs, config.fit.replicas
    size = sum(math.prod(shape) for shape in shapes(config.network, n_features, n_outputs).values())
    networks, instances = piece_sizes(config, n_outputs)
    batch = max(config.fit.batch, EVAL_BLOCK)
    own = config.fit.data == "own"
    draws = (replicas if own else 1) * batch * (2 * n_features + sum(config.network.hidden))
    at_a_time = instances * (min(replicas, networks) if own else 1)
    samples = at_a_time * batch * (3 * n_features + 2 * n_outputs + 2 * sum(config.network.hidden))
    activations = min(networks, instances * replicas) * batch * (2 * sum(config.network.hidden) + 4 * n_outputs)
    trained = n_inst * replicas
    needed = {
        # Parameters, gradients, two moments, work space, the initial ones, a saved state, the final ones.
        "fit.replicas": 4 * trained * 10 * size + 3 * 8 * trained * n_outputs,
        "fit.batch": 4 * (draws + samples + activations),
        "fit.snapshots": 2 * 4 * config.fit.snapshots * n_inst * size,
        "fit.curve_points": 3 * 8 * min(config.fit.curve_points, config.fit.steps + 1) * trained,
    }
    total, free = sum(needed.values()), free_memory()
    if total > free:
        key = max(needed, key=lambda name: needed[name])
        raise EnvironmentProblem(
            f"{n_inst} instances of {replicas} replicas need {total / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free; lower {key}"
        )
