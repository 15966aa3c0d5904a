"""What the tasks of a study take: seconds and bytes, roughly, known before they run.

Seconds order the tasks and foretell the time left. They are guesses until a task of that kind has ended; from then on
their ratios to the seconds that were measured count. Bytes decide how many tasks run at once.
"""

from pathlib import Path

from analyze.study.plan import PlannedRun
from train.checkpoint import load
from train.config import ModelConfig, RunConfig
from train.memory import to_train

PROGRAM = 600_000_000
"""Bytes of Python, torch and what a task imports and reads beside what grows with its work."""

FLOPS = 2e10
"""Floating point operations a second on one core that training gets out of small shapes."""
NEURONS = 4e7
"""Neurons x tokens a second on one core that collecting and scoring a layer take, each null once more,"""
MEASURING = 8.0
"""and seconds that every task of this kind takes: to start, and to read the text by its rules."""


def shapes_of(planned: list[PlannedRun], d_vocab: int) -> dict[str, ModelConfig]:
    """The shape of each run's model as it trains, by name; what starts from a checkpoint has its shape, widened."""
    shapes: dict[str, ModelConfig] = {}
    for run in planned:
        config = run.config
        if config.model is not None:
            shapes[run.name] = config.model.resolve(d_vocab)
            continue
        start = load(config.start or "").config if run.starts_outside else shapes[Path(config.start or "").name]
        widths = list(start.widths)
        if config.widen is not None:
            for layer in config.widen.layers_in(start.n_layers):
                widths[layer] *= config.widen.factor
        shapes[run.name] = start.model_copy(update={"widths": tuple(widths)})
    return shapes


def training_seconds(config: RunConfig, shape: ModelConfig) -> float:
    """6 operations a token and weight, those of the unembedding included, and evaluations at a third of that."""
    weights = shape.n_params - (shape.d_vocab + shape.n_ctx) * shape.d_model
    steps = config.train.tokens / (config.train.rows_per_step * shape.n_ctx)
    evaluated = config.train.eval_tokens * (2 + steps / config.train.eval_every)
    return 6 * weights * (config.train.tokens + evaluated / 3) / FLOPS


def training_bytes(config: RunConfig, shape: ModelConfig) -> int:
    """As `train.training_run` asks for before it trains, every parameter trained, and the program."""
    rows = config.train.rows_per_step // config.train.accumulate
    precision = "bf16" if config.train.precision == "bf16" else "fp32"
    recompute, l1 = config.train.memory == "recompute", config.optim.l1 > 0
    need = to_train(shape, shape.n_params, rows * shape.n_ctx, l1, precision=precision, recompute=recompute)
    return PROGRAM + need.total


def measuring_seconds(n_neurons: int, n_tokens: int, n_nulls: int) -> float:
    """Collecting and scoring: every neuron at every token, and each null of them."""
    return MEASURING + n_neurons * n_tokens * (1 + n_nulls) / NEURONS


def measuring_bytes(shape: ModelConfig, n_neurons: int, n_tokens: int) -> int:
    """The model; tables of a neuron; a block of 256 neurons a few times in fp32, and of a null's inputs."""
    block = min(256, n_neurons)
    return PROGRAM + 4 * shape.n_params + 60_000 * n_neurons + n_tokens * (200 + 24 * block + 8 * shape.d_model)
