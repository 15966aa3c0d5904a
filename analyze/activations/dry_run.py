"""`collect --dry-run`: what collecting and scoring a layer will take of memory, disk and time, without doing either."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.activations.checks import check_counts
from analyze.activations.collect import collect_source
from analyze.activations.memory import DENSITY, Requirement, Size, required, to_score
from analyze.activations.settings import DEFAULT, CollectSettings
from analyze.activations.source import CheckpointSource, NeuronSource, SourceFacts, hooks_of
from analyze.activations.token_sample import sample_share
from train.checkpoint import Checkpoint, load
from train.config import ModelConfig, RunConfig
from train.configfile import load_config
from train.cost import operations_of
from train.data.tokens import TokenFile
from train.errors import BadInput
from train.filesystem import free_space
from train.gpus import OF_PRODUCTS, Gpu, gpu_named
from train.memory import free_memory
from train.shipped import named_config

TOKENS = 1_000_000
"""Held-out tokens that are reckoned with where no data are at hand and --max-tokens does not say."""

MEASURED_NEURONS = 512
MEASURED_TOKENS = 16_384
MEASURED_SECONDS = 5.0
"""About so much of the forward pass is measured."""

BUS = 20e9
"""Bytes a second between a GPU and main memory; assumed."""

SCORED = 4e6
"""Neurons x tokens a second and core that the scores of a study take (k_eff and rule_share; all scores a third)."""


@dataclass(frozen=True)
class DryRun:
    """What a collection would take."""

    text: str
    """Several lines."""
    refusal: str | None
    """Why it would not fit and what to change, in one line; None: it fits."""


@dataclass(frozen=True)
class Inputs:
    """What is collected of which model, as far as it is there."""

    config: ModelConfig
    name: str
    checkpoint: Checkpoint | None
    tokens: TokenFile | None


def dry_run(
    checkpoint: Path,
    data: Path,
    out: Path,
    *,
    layers: list[int] | None = None,
    hooks: list[str] | None = None,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    max_neurons: int | None = None,
    gpu: str | None = None,
    settings: CollectSettings = DEFAULT,
) -> DryRun:
    """Reckon what `collect` with the same arguments takes, and `score` after it; nothing is kept.

    Args:
        checkpoint: as for `collect`; or a RUN.toml, or the name of one that comes with polysem, for a model that is not
            trained yet.
        data: as for `collect`; where it is not there, MAX_TOKENS tokens are reckoned with, 1,000,000 by default.
        gpu: a name of `train.gpus.GPUS`: the forward pass by that card's data sheet; the rest is main memory's.

    Raises:
        BadInput: no such checkpoint, config, layer, hook or card, or a number below 1.
    """
    check_counts(max_tokens=max_tokens, sample_tokens=sample_tokens, max_neurons=max_neurons)
    card = None if gpu is None else gpu_named(gpu)
    inputs = _inputs(checkpoint, data)
    config, threads = inputs.config, torch.get_num_threads()
    chosen = list(range(config.n_layers)) if layers is None else layers
    for layer in chosen:
        if not 0 <= layer < config.n_layers:
            raise BadInput(f"{inputs.name}: no layer {layer}; it has layers 0 to {config.n_layers - 1}")
    places = [(layer, hook) for layer in chosen for hook in hooks or hooks_of(config)]
    lines, refusal, disk = [], None, 0
    at_hand = inputs.checkpoint is not None and inputs.tokens is not None and places
    rates = _measured(inputs, places[-1], card, settings) if at_hand else None
    for layer, hook in places:
        n = config.widths[layer] if max_neurons is None else min(max_neurons, config.widths[layer])
        size = _size(inputs, n, max_tokens, sample_tokens)
        needed = required(size, settings, threads)
        disk += needed.likely_disk
        lines += _lines(f"L{layer}.{hook}", size, needed, config, layer, card, rates)
        free = free_memory()
        if needed.memory > free and refusal is None:
            refusal = (
                f"L{layer}.{hook}: collecting needs at most {needed.memory / 1e9:.1f} GB of memory, "
                f"{free / 1e9:.1f} GB are free; give --max-neurons or a smaller --sample-tokens"
            )
    free = free_space(out)
    lines.append(
        f"all {len(places)}: {disk / 1e9:,.1f} GB of disk where neurons fire on {DENSITY:.0%} of the token ids, "
        f"{free / 1e9:,.1f} GB are free at {out}; samples can go once they are scored (`score --drop-samples`)"
    )
    largest = max((config.widths[layer] for layer in chosen), default=0)
    if refusal is None and disk > free:
        refusal = (
            f"{out}: collecting needs about {disk / 1e9:,.1f} GB of disk, {free / 1e9:,.1f} GB are free; give one of "
            f"--layers at a time, --sample-tokens below {max(1, free // (4 * max(1, largest))):,}, or --max-neurons"
        )
    return DryRun("\n".join(lines), refusal)


def _inputs(checkpoint: Path, data: Path) -> Inputs:
    if checkpoint.suffix == ".toml" or (not checkpoint.exists() and len(checkpoint.parts) == 1):
        path = named_config("run", checkpoint)
        run = load_config(RunConfig, path)
        if run.model is None:
            raise BadInput(f"{path}: starts from a checkpoint; give that one")
        tokens = _tokens(data, run.model.n_ctx)
        d_vocab = REFERENCE_VOCABULARY if tokens is None else tokens.d_vocab
        return Inputs(run.model.resolve(d_vocab), str(path), None, tokens)
    opened = load(checkpoint)
    return Inputs(opened.config, str(opened.directory), opened, _tokens(data, opened.config.n_ctx))


REFERENCE_VOCABULARY = 48_262
"""Of the published small models; for data that are not prepared."""


def _tokens(data: Path, n_ctx: int) -> TokenFile | None:
    return TokenFile.open(data, split="eval", n_ctx=n_ctx) if data.is_dir() else None


def _size(inputs: Inputs, n: int, max_tokens: int | None, sample_tokens: int | None) -> Size:
    config, tokens = inputs.config, inputs.tokens
    there = (max_tokens or TOKENS) // config.n_ctx if tokens is None else tokens.n_rows
    n_rows = max(1, there if max_tokens is None else min(there, max_tokens // config.n_ctx))
    n_tokens = n_rows * (config.n_ctx - 1)
    n_sampled = round(n_tokens * sample_share(n_tokens, n, sample_tokens))
    return Size(n, config.n_params, config.n_ctx, config.d_vocab, n_rows, n_tokens, n_sampled)


def _lines(
    place: str,
    size: Size,
    needed: Requirement,
    config: ModelConfig,
    layer: int,
    card: Gpu | None,
    rates: "Rates | None",
) -> list[str]:
    sample, process = 2 * size.n_sampled * size.n_neurons, to_score(size.n_neurons, size.n_sampled)
    n_blocks = -(-size.n_neurons // 256)
    held = "all of them" if size.is_whole else f"{size.n_sampled:,}"
    lines = [
        f"{place}: {size.n_neurons:,} neurons, {size.n_tokens:,} tokens, {held} held whole, {size.d_vocab:,} token ids",
        f"  memory     {needed.memory / 1e9:,.1f} GB to collect, at most; {process / 1e9:,.1f} GB a process to score, "
        f"{n_blocks} blocks of 256 neurons one after another",
        f"  disk       {sample / 1e9:,.1f} GB for the sample; {needed.likely_disk / 1e9:,.1f} GB with sums per token "
        f"where neurons fire on {DENSITY:.0%} of the ids, {needed.disk / 1e9:,.1f} GB if they fired on all",
    ]
    passes = 1 if size.is_whole else 2
    scoring = size.n_neurons * size.n_sampled / SCORED
    if rates is not None:
        forward = rates.forward
        by = f"measured: {1 / forward:,.0f} tokens/s forward, {1 / rates.rest / 1e6:,.1f} M neurons x tokens/s beside"
        if card is not None:
            forward = _forward_on(card, config, layer)
            by += f"; forward on {card.title} at {OF_PRODUCTS:.0%} of its peak in fp32, assumed"
        seconds = size.n_tokens * (passes * forward + rates.rest * size.n_neurons)
        lines.append(f"  time       {_hours(seconds)} to collect ({by}); {_hours(scoring)} to score on one core")
    elif card is not None:
        seconds = passes * size.n_tokens * _forward_on(card, config, layer)
        lines.append(
            f"  time       {_hours(seconds)} of forward passes on {card.title} at {OF_PRODUCTS:.0%} of its peak in "
            f"fp32 (assumed); {_hours(scoring)} to score on one core"
        )
    else:
        lines.append(f"  time       not measured without a checkpoint and data; {_hours(scoring)} to score on one core")
    return lines


def _forward_on(card: Gpu, config: ModelConfig, layer: int) -> float:
    """Seconds a token of the layers up to this one's neurons, and of bringing those to main memory."""
    operations = operations_of(replace_layers(config, layer + 1)).forward
    return operations / (OF_PRODUCTS * card.fp32) + 4 * config.widths[layer] / BUS


def replace_layers(config: ModelConfig, n_layers: int) -> ModelConfig:
    """The first layers of a shape, without an unembedding to speak of."""
    widths, eps = config.widths[:n_layers], config.mlp_ln_eps[:n_layers]
    return config.model_copy(update={"n_layers": n_layers, "widths": widths, "mlp_ln_eps": eps, "d_vocab": 2})


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


@dataclass(frozen=True)
class Rates:
    """Seconds a token."""

    forward: float
    """Of the source's pass."""
    rest: float
    """And neuron: of everything else that a collection does."""


class Timed:
    """A source that knows how long its passes took."""

    def __init__(self, source: NeuronSource) -> None:
        self._source, self.seconds = source, 0.0

    @property
    def facts(self) -> SourceFacts:
        """Of the source."""
        return self._source.facts

    def activations(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos neuron"]:
        """Of the source."""
        begun = time.perf_counter()
        values = self._source.activations(tokens)
        self.seconds += time.perf_counter() - begun
        return values


def _measured(inputs: Inputs, place: tuple[int, str], card: Gpu | None, settings: CollectSettings) -> Rates:
    """Collect a few tokens of some of a layer's neurons, and time it; fewer still where a card's rate counts."""
    assert inputs.checkpoint is not None
    assert inputs.tokens is not None
    source = Timed(CheckpointSource(inputs.checkpoint, *place, max_neurons=MEASURED_NEURONS))
    n_ctx = inputs.config.n_ctx
    rows = torch.zeros(settings.micro_batch_rows(n_ctx), n_ctx, dtype=torch.int64)
    source.activations(rows)  # warm-up
    source.seconds = 0.0
    source.activations(rows)
    afford = int(MEASURED_SECONDS / max(source.seconds, 1e-6)) * rows.numel()
    n_tokens = min(MEASURED_TOKENS, inputs.tokens.n_rows * n_ctx, max(rows.numel(), afford if card is None else 0))
    source.seconds = 0.0
    with TemporaryDirectory(prefix="polysem-dry-run-") as aside:
        begun = time.perf_counter()
        acts = collect_source(source, inputs.tokens, Path(aside) / "L0.mid", max_tokens=n_tokens, say=lambda line: None)
        seconds = time.perf_counter() - begun
    n_seen = acts.meta.n_tokens
    passed = -(-n_tokens // rows.numel()) * rows.numel()
    return Rates(source.seconds / passed, max(seconds - source.seconds, 1e-6) / (n_seen * acts.n_neurons))
