"""`run --dry-run`: what a training run will take of memory, disk and time, without training."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from train.checkpoint import Checkpoint, load
from train.config import ModelConfig, RunConfig
from train.configfile import load_config
from train.cost import operations_of, training_seconds
from train.data.config import DataConfig
from train.data.made_rows import made_rows
from train.data.readymade import ready_made
from train.data.tokens import TokenFile
from train.devices import best_device
from train.errors import BadInput
from train.filesystem import free_space
from train.gpus import OF_BANDWIDTH, OF_PRODUCTS, Gpu, gpu_named
from train.loop import is_permanent, steps_of
from train.loss import TrainingLoss
from train.memory import PROGRAM_BYTES, SHARE, Need, free_memory, logits_bytes, room_on, settled_memory
from train.model import Transformer
from train.optim import build_optimizer
from train.precision import with_settled_precision
from train.training_run import freeze, needs_of, shape_of

VOCABULARIES = {
    "hf:NeelNanda/gpt-neox-tokenizer-digits": 48_262,
    "hf:EleutherAI/gpt-neox-20b": 50_277,
    "hf:gpt2": 50_257,
    "hf:openai-community/gpt2": 50_257,
}
"""Sizes of tokenizers of the hub, for those that are not in its cache here."""

MEASURED_SECONDS = 3.0
"""A measured rate is over about so long, or one step where that is longer."""

MEASURED_TOKENS = 4096
"""Most tokens of a measured pass."""


@dataclass(frozen=True)
class DryRun:
    """What a run would take."""

    text: str
    """Several lines."""
    refusal: str | None
    """Why it would not fit and what to change, in one line; None: it fits."""


def dry_run(config: RunConfig, out: Path, gpu: str | None = None) -> DryRun:
    """Reckon a run's memory, disk and time; only the rate of a step is measured, and only where none is named.

    Nothing is prepared or written. Of data that are not prepared only the config is read.

    Args:
        config: of the run.
        out: its directory, for the room on that disk.
        gpu: a name of `train.gpus.GPUS`: reckon with that card instead of this machine.

    Raises:
        BadInput: no such card, data or start, or rows that cannot be made up; see `train.training_run.run`.
    """
    card = None if gpu is None else gpu_named(gpu)
    if card is None:
        config = with_settled_precision(config, out)
    elif config.train.precision == "auto":
        config = _with(config, precision="fp32" if card.bf16 is None else "bf16")
    start = None if config.start is None else load(config.start)
    n_ctx = config.model.n_ctx if config.model is not None else start.config.n_ctx  # pyright: ignore[reportOptionalMemberAccess]
    d_vocab, of_data = _vocabulary(config, start, n_ctx)
    shape, lower = shape_of(config, start, d_vocab)
    here = torch.device("cpu") if config.train.device == "cpu" else best_device()
    device = here.type if card is None else "cuda"
    n_tokens = max(1, config.train.rows_per_step // config.train.accumulate) * n_ctx
    needs = needs_of(config, shape, n_tokens, device)
    program = PROGRAM_BYTES if device == "cpu" else 0
    room = int(SHARE * card.memory) if card is not None else room_on(here)
    free = room if card is not None else free_memory(here)
    asked = config.train.memory
    config = settled_memory(config, needs["save"].total, room, out)
    way = "recompute" if config.train.memory == "recompute" else "save"
    lines = [
        _about(shape, of_data),
        f"  parameters      {shape.n_params:,}, of them {_in_mlps(shape):,} in MLPs",
        f"  steps           {steps_of(config, n_ctx):,} of {config.train.rows_per_step * n_ctx:,} tokens, "
        f"{config.train.tokens:,} in all; {config.train.precision}",
        *_memory_lines(shape, config, needs, device, program),
        f"  train.memory    {asked} = {way}" if asked == "auto" else f"  train.memory    {way}",
        _disk_line(shape, config, n_ctx, out),
        _sample_line(shape),
    ]
    fits = program + needs[way].total <= free
    where = card.title if card is not None else "this machine"
    there = f"{free / 1e9:.1f} GB to count on" if card is not None else f"{free / 1e9:.1f} GB free"
    if card is not None:
        lines.append(_card_line(card, shape, config, n_ctx, way == "recompute"))
    elif fits:
        lines.append(_measured_line(shape, config, n_ctx, n_tokens))
    lines.append(
        f"  fits            {'yes' if fits else 'NO'}: {(program + needs[way].total) / 1e9:.1f} GB where {where} "
        f"has {there}"
    )
    return DryRun("\n".join(lines), None if fits else _refusal(needs, program, way, free, where, lower))


def _with(config: RunConfig, **values: str) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def _vocabulary(config: RunConfig, start: Checkpoint | None, n_ctx: int) -> tuple[int, str]:
    """Size of the vocabulary, and where it is known from."""
    path = Path(config.data)
    if path.suffix == ".toml":
        data = load_config(DataConfig, path)
        prepared = Path("data") / data.name
        if not prepared.is_dir():
            if start is not None:
                return start.config.d_vocab, f"of {start.directory}"
            return _vocabulary_of(data), f"of {path}, which is not prepared"
        path = prepared
    if not path.is_dir():
        raise BadInput(f"data: {config.data!r} is neither a prepared directory nor a DATA.toml")
    fit = TokenFile.open(path, split="fit", n_ctx=n_ctx)
    made_rows(config.train, fit)  # a run would refuse it
    return fit.d_vocab, f"of {path}"


def _vocabulary_of(data: DataConfig) -> int:
    if data.tokenizer is None:
        return data.d_vocab
    if data.tokenizer in VOCABULARIES:
        return VOCABULARIES[data.tokenizer]
    return ready_made(data).tokenizer.get_vocab_size()


def _about(shape: ModelConfig, of_data: str) -> str:
    widths = " and ".join(f"{width:,}" for width in dict.fromkeys(shape.widths))
    mlps = f"d_mlp {widths} ({shape.act})" if shape.has_mlp else "no MLPs"
    return (
        f"{shape.n_layers} layer{'s' * (shape.n_layers > 1)}, d_model {shape.d_model}, {mlps}, n_ctx {shape.n_ctx:,}, "
        f"vocabulary {shape.d_vocab:,} ({of_data})"
    )


def _in_mlps(shape: ModelConfig) -> int:
    return sum(
        (2 * shape.d_model + 1 + 2 * shape.has_mid_ln) * width + shape.d_model for width in shape.widths if width
    )


def _memory_lines(
    shape: ModelConfig, config: RunConfig, needs: dict[str, Need], device: str, program: int
) -> list[str]:
    """A table: what takes memory, with both ways of `train.memory`."""
    save, again = needs["save"], needs["recompute"]
    copies = 2 * shape.n_params if config.train.precision == "bf16" else 0
    n_trained = (save.weights - copies - 4 * shape.n_params) // 12
    logits = logits_bytes(shape, config.train.precision, device)
    rows = [
        ("weights", 4 * shape.n_params + copies, 4 * shape.n_params + copies),
        ("gradients, at the peak", 4 * n_trained - save.later, 4 * n_trained - again.later),
        ("optimizer (Adam)", 8 * n_trained, 8 * n_trained),
        ("activations", save.activations, again.activations),
        ("  of them logits, at most", logits, logits),
        ("program", program, program),
        ("all", save.total + program, again.total + program),
    ]
    shown = [f"    {name:<26}{_gb(first):>10}{_gb(second):>12}" for name, first, second in rows]
    n_tokens = max(1, config.train.rows_per_step // config.train.accumulate) * shape.n_ctx
    title = f"  memory, GB      of one process, {n_tokens:,} tokens a pass"
    return [title, f"    {'train.memory =':<26}{'save':>10}{'recompute':>12}", *shown]


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.2f}"


def _disk_line(shape: ModelConfig, config: RunConfig, n_ctx: int, out: Path) -> str:
    n_steps = steps_of(config, n_ctx)
    kept = sum(map(is_permanent, range(min(n_steps, 999) + 1))) + n_steps // 1000 + (not is_permanent(n_steps))
    size = 12 * shape.n_params
    return (
        f"  checkpoints     {kept:,} of {_gb(size)} GB: {_gb(kept * size)} GB of disk, "
        f"{_gb(free_space(out))} GB are free"
    )


def _sample_line(shape: ModelConfig) -> str:
    n = max(shape.widths)
    return (
        f"  samples         2 bytes a held-out token and neuron: {_gb(2 * n * 200_000)} GB of disk for 200,000 tokens "
        f"of a layer and hook; `polysem collect --dry-run` says the rest"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"


def _card_line(card: Gpu, shape: ModelConfig, config: RunConfig, n_ctx: int, recompute: bool) -> str:
    """Training by arithmetic; evaluations come to a third of that a token."""
    n_steps = steps_of(config, n_ctx)
    n_tokens = config.train.tokens + _evaluated(config, n_steps) // 3
    seconds = training_seconds(card, shape, config.train.precision, recompute, n_tokens, n_steps)
    operations = operations_of(shape).training(recompute)
    return (
        f"  time            {_duration(seconds)} on one {card.title}: {operations / 1e6:,.0f} M operations a token at "
        f"{OF_PRODUCTS:.0%} of its peak, then what lies between the products at {OF_BANDWIDTH:.0%} of its bandwidth "
        "(assumed shares; not measured)"
    )


def _evaluated(config: RunConfig, n_steps: int) -> int:
    return config.train.eval_tokens * (2 + n_steps // config.train.eval_every)


def _measured_line(shape: ModelConfig, config: RunConfig, n_ctx: int, n_tokens: int) -> str:
    rows = max(1, min(n_tokens, MEASURED_TOKENS) // n_ctx)
    n_steps = steps_of(config, n_ctx)
    passing, updating = measured_seconds(shape, config, rows)
    seconds = passing * (config.train.tokens + _evaluated(config, n_steps) / 3) + updating * n_steps
    return (
        f"  time            {_duration(seconds)} here: {1 / passing:,.0f} tokens/s measured over passes of "
        f"{rows * n_ctx:,} tokens on {torch.get_num_threads()} threads, {updating:.3f} s a step for the optimizer"
    )


def measured_seconds(shape: ModelConfig, config: RunConfig, rows: int) -> tuple[float, float]:
    """Seconds a token of a forward and backward pass, and seconds of an optimizer step, on this machine.

    Args:
        rows: of a pass; their tokens are random.
    """
    device = best_device() if config.train.device == "auto" else torch.device("cpu")
    model = Transformer(shape, seed=0).train()
    model.set_recompute(config.train.memory == "recompute")
    freeze(model, config)
    optimizer = build_optimizer(model, config.optim, {})
    loss = TrainingLoss(model.to(device), config.optim.l1)
    tokens = torch.randint(0, shape.d_vocab, (rows, shape.n_ctx + 1), generator=torch.Generator().manual_seed(0))
    tokens = tokens.to(device)
    passes, updates = [], []
    begun = time.perf_counter()
    while len(passes) < 2 or time.perf_counter() - begun < MEASURED_SECONDS:
        passes.append(_timed(lambda: _pass(loss, tokens, config.train.precision == "bf16"), device))
        updates.append(_timed(lambda: (optimizer.step(), optimizer.zero_grad(set_to_none=True)), device))
    # The first is warm-up.
    return min(passes[1:]) / (rows * shape.n_ctx), min(updates[1:])


def _pass(loss: TrainingLoss, tokens: torch.Tensor, bf16: bool) -> None:
    with torch.autocast(tokens.device.type, dtype=torch.bfloat16, enabled=bf16):
        lowered = loss(tokens)[0]
    lowered.backward()


def _timed(work: Callable[[], object], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _refusal(needs: dict[str, Need], program: int, way: str, free: int, where: str, lower: str) -> str:
    """One line: what does not fit, and what to change."""
    need = needs[way]
    rest = need.total - need.activations
    remedies = []
    if way == "save" and program + needs["recompute"].total <= free:
        remedies.append("--train.memory recompute")
    if program + rest < free:
        share = -(-need.activations // max(1, free - program - rest))
        remedies.append(f"--train.accumulate {share} times what it is")
    remedies.append(f"a smaller {lower}")
    return (
        f"{where} cannot hold the run: about {(program + need.total) / 1e9:.1f} GB are needed (weights "
        f"{(need.weights - need.later) / 1e9:.1f}, activations of {need.n_tokens:,} tokens "
        f"{need.activations / 1e9:.1f}), {free / 1e9:.1f} GB are there; give {' or '.join(remedies)}"
    )
