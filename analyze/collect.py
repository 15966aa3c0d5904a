"""Stream evaluation tokens through a source of neurons, in bounded memory, into a sealed directory.

Forward passes run on canonical micro-batches (a fixed number of rows, the last one padded) and sums are taken
a micro-batch at a time in fp64, so the result is the same, bit for bit, however many rows are read at once.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from analyze.examples import N_EXAMPLES, TopExamples
from analyze.moments import COLUMNS, MIN_DOCUMENTS, PIECE_BYTES, StreamMoments, combine, sampled_statistics
from analyze.positions import Plan, is_sampled, kept_tokens, make_plan, sample_share
from analyze.sample import SAMPLE_FILE, SampleFile, SampleWriter
from analyze.sources import CheckpointSource, NeuronSource, SourceFacts, hooks_of, run_directory
from analyze.store import (
    FORMAT_VERSION,
    Activations,
    ActivationsMeta,
    copy_metrics,
    open_activations,
    read_meta,
    sample_directory,
    write_activations,
)
from train.checkpoint import load
from train.errors import BadInput, EnvironmentProblem
from train.files import canonical_json, manifest_hash, publishing, require_space
from train.tokens import TokenFile

MICRO_BATCH_TOKENS = 2048
"""Tokens of a canonical micro-batch: 8 rows of 256."""
ENOUGH_DOCUMENTS = 60
"""Fewer evaluation documents can hardly give a neuron 30 to fire in and 20 examples in each half."""

Say = Callable[[str], None]


def collect(
    source: NeuronSource,
    tokens: TokenFile,
    out: Path,
    *,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    batch: int = 64,
    say: Say = print,
) -> Activations:
    """Collect one layer and hook: moments, strongest examples, and a token sample held whole.

    BOS, separators and padding are left out of everything. `out` is a directory such as `.../L0.mid`; the
    sample goes to its sibling `.../L0.mid.sample` (see analyze.store). An equal result that is there already
    is returned at once; where only its sample is gone, it is collected again.

    Args:
        source: the neurons.
        tokens: evaluation split, with the source's n_ctx.
        max_tokens: pass only the first rows with about that many tokens; default: all.
        sample_tokens: about how many tokens to hold whole, chosen by a hash of their position in the stream,
            so that every source sees the same ones; default: all while the sample stays within 4 GB.
        batch: rows read at a time; changes no result.
        say: takes the lines that tell what is going on.

    Raises:
        BadInput: data that do not fit the source, another result at `out`, values that are not finite.
        EnvironmentProblem: too little room on the disk.
    """
    out = Path(out)
    facts = source.facts
    check_data(facts, tokens)
    for name, value in (("max_tokens", max_tokens), ("sample_tokens", sample_tokens), ("batch", batch)):
        if value is not None and value < 1:
            raise BadInput(f"{name}: {value} must be at least 1")
    settings = collection_settings(tokens, facts.n_neurons, max_tokens, sample_tokens, facts.max_neurons)
    n_rows, share = settings["n_rows"], settings["sample_share"]
    if out.exists():
        check_same(out, facts, tokens, settings)
        beside = sample_directory(out)
        if beside.is_dir() and manifest_hash(beside) == read_meta(out).sample_hash:
            say(f"{out}: already collected")
            return open_activations(out)
    plan = make_plan(tokens, n_rows, share)
    tell(plan, facts, out, say)
    identity = {
        "checkpoint_hash": facts.checkpoint_hash,
        "data_hash": tokens.data_hash,
        "layer": facts.layer,
        "hook": facts.hook,
        "settings": settings,
    }
    sealed = {"kind": "sample", "format_version": FORMAT_VERSION, **identity}
    remove_leftovers(sample_directory(out))
    with publishing(sample_directory(out), sealed, replace=True) as aside:
        path = aside / SAMPLE_FILE
        stream, examples = stream_through(source, tokens, plan, path, batch)
        sample = SampleFile(path, len(plan.tokens), facts.n_neurons)
        statistics = sampled_statistics(sample, plan.tokens, facts.n_neurons)
    own = {field.name for field in fields(SourceFacts)} & {field.name for field in fields(ActivationsMeta)}
    meta = ActivationsMeta(
        **{name: getattr(facts, name) for name in own},
        format_version=FORMAT_VERSION,
        data_hash=tokens.data_hash,
        data_dir=str(tokens.directory),
        n_tokens=plan.n_tokens,
        n_sampled_tokens=len(plan.tokens),
        n_documents=plan.n_documents,
        quantiles="all tokens" if share == 1 else "sample",
        sample_hash=manifest_hash(sample_directory(out)),
        settings=settings,
    )
    moments = combine(stream, statistics, facts.parent)
    write_activations(Activations(meta, plan.tokens, moments, examples.finish(), sample), out, replace=True)
    return open_activations(out)


def collect_checkpoint(
    checkpoint: Path | str,
    data: Path | str,
    out: Path | str,
    *,
    layers: list[int] | None = None,
    hooks: list[str] | None = None,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    max_neurons: int | None = None,
    batch: int = 64,
    say: Say = print,
) -> list[Path]:
    """Collect layers and hooks of a checkpoint into `out/<run>/step-<step>/L<layer>.<hook>`.

    Args:
        checkpoint: a step's directory, or a run's, whose newest step is taken.
        data: a prepared data directory; its evaluation split is passed.
        out: the study's results directory; the run's metrics.jsonl is copied to `out/<run>/`.
        layers: default: all.
        max_neurons: of a wider layer take a random choice of so many.
        hooks: default: `mid`, and `post` where a mid LayerNorm makes it another value.

    Returns:
        The activations directories, in order of layer and hook.

    Raises:
        BadInput: a checkpoint, layer, hook or data that is not there or does not fit.
    """
    opened = load(checkpoint)
    tokens = TokenFile.open(data, split="eval", n_ctx=opened.config.n_ctx)
    run = Path(out) / opened.state["run"]
    directories = []
    for layer in range(opened.config.n_layers) if layers is None else layers:
        for hook in hooks or hooks_of(opened.config):
            target = run / f"step-{opened.step:09d}" / f"L{layer}.{hook}"
            collect(
                CheckpointSource(opened, layer, hook, max_neurons),
                tokens,
                target,
                max_tokens=max_tokens,
                sample_tokens=sample_tokens,
                batch=batch,
                say=say,
            )
            directories.append(target)
    copy_metrics(run_directory(opened), run)
    return directories


def collection_settings(
    tokens: TokenFile,
    n_neurons: int,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    max_neurons: int | None = None,
) -> dict[str, Any]:
    """What a collection depends on beside the checkpoint and the data; its meta.json keeps them."""
    n_rows = tokens.n_rows if max_tokens is None else min(tokens.n_rows, max(1, max_tokens // tokens.n_ctx))
    return {
        "n_rows": n_rows,
        "max_neurons": max_neurons,
        "sample_share": sample_share(n_rows * (tokens.n_ctx - 1), n_neurons, sample_tokens),
        "examples": N_EXAMPLES,
        "micro_batch_tokens": MICRO_BATCH_TOKENS,
    }


def check_data(facts: SourceFacts, tokens: TokenFile) -> None:
    """Refuse data that a source cannot read.

    Raises:
        BadInput: another tokenizer or row length, or not the evaluation split.
    """
    if tokens.tokenizer_sha256 != facts.tokenizer_sha256:
        raise BadInput(
            f"{tokens.directory}: its tokenizer ({tokens.tokenizer_sha256[:12]}) is not the one that "
            f"{facts.name} was trained with ({facts.tokenizer_sha256[:12]})"
        )
    if tokens.n_ctx != facts.n_ctx:
        raise BadInput(f"{tokens.directory}: rows of {tokens.n_ctx} where {facts.name} has {facts.n_ctx}")
    if tokens.split != "eval":
        raise BadInput(f"{tokens.directory}: split {tokens.split!r}; neurons are scored on split 'eval'")


def check_same(out: Path, facts: SourceFacts, tokens: TokenFile, settings: dict[str, Any]) -> None:
    """Refuse to write over a result that was made from something else, naming what differs."""
    meta = read_meta(out)
    given = {
        "checkpoint_hash": (meta.checkpoint_hash, facts.checkpoint_hash),
        "data_hash": (meta.data_hash, tokens.data_hash),
        "layer": (meta.layer, facts.layer),
        "hook": (meta.hook, facts.hook),
        **{name: (meta.settings.get(name), value) for name, value in settings.items()},
    }
    for name, (there, now) in given.items():
        if canonical_json(there) != canonical_json(now):
            raise BadInput(f"{out}: collected with {name} = {there}, now {now}; remove it or choose another --out")


def tell(plan: Plan, facts: SourceFacts, out: Path, say: Say) -> None:
    """Say what collecting will take before it takes it.

    Raises:
        EnvironmentProblem: the disk cannot hold it, or cannot be written.
    """
    n, held = facts.n_neurons, len(plan.tokens)
    disk = 2 * held * n + 40 * held + 1000 * n
    piece = 3 * max(PIECE_BYTES, 4 * held)
    passing = 4 * 4 * MICRO_BATCH_TOKENS * n + 2 * 8 * MICRO_BATCH_TOKENS * min(n, COLUMNS)
    memory = 4 * facts.n_params + 40 * held + 2 * 20 * N_EXAMPLES * n + max(piece, passing)
    whole = "all of them" if plan.share == 1 else f"{held:,}"
    say(
        f"{out}: {n:,} neurons, {plan.n_tokens:,} tokens of {plan.n_documents:,} documents, {whole} held "
        f"whole; about {memory / 1e6:,.0f} MB of memory and {disk / 1e6:,.0f} MB of disk"
    )
    if plan.n_documents < ENOUGH_DOCUMENTS:
        say(
            f"{out}: only {plan.n_documents} evaluation documents; a score needs a neuron to fire in "
            f"{MIN_DOCUMENTS} of them and examples from 20 in each half, so scores will be NA"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise EnvironmentProblem(f"{out.parent}: cannot be written ({failure.strerror})") from None
    require_space(out.parent, disk)


def remove_leftovers(directory: Path) -> None:
    """Delete what killed processes left aside for a sample: gigabytes that no one else would clear."""
    for path in directory.parent.glob(f".tmp-{directory.name}-*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


def micro_batches(tokens: TokenFile, n_rows: int, size: int, batch: int) -> Iterator[Int[Tensor, "rows row"]]:
    """Rows in stream order, `size` at a time (the last may be fewer), read `batch` at a time."""
    waiting = torch.empty(0, tokens.n_ctx + 1, dtype=torch.int64)
    for first in range(0, n_rows, batch):
        waiting = torch.cat((waiting, tokens.plain_rows(first, min(batch, n_rows - first))))
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting):
        yield waiting


@torch.no_grad()
def stream_through(
    source: NeuronSource, tokens: TokenFile, plan: Plan, path: Path, batch: int
) -> tuple[StreamMoments, TopExamples]:
    """The pass itself; the sample is written to `path` as it goes.

    Raises:
        BadInput: a value that is not finite.
    """
    facts, n_ctx = source.facts, tokens.n_ctx
    size = max(1, MICRO_BATCH_TOKENS // n_ctx)
    moments, examples = StreamMoments(facts.n_neurons), TopExamples(facts.n_neurons)
    progress = tqdm(
        total=plan.n_rows * n_ctx,
        desc=f"{facts.run} step {facts.step} L{facts.layer}.{facts.hook}",
        unit="tok",
        unit_scale=True,
        disable=None,
        file=sys.stderr,
    )
    first = 0
    with progress, SampleWriter(path, len(plan.tokens), facts.n_neurons) as writer:
        for rows in micro_batches(tokens, plan.n_rows, size, batch):
            padded = torch.zeros(size, n_ctx, dtype=torch.int64)
            padded[: len(rows)] = rows[:, :n_ctx]
            values = source.activations(padded).reshape(size * n_ctx, facts.n_neurons)
            flat, kept = kept_tokens(tokens, first, rows, plan.is_fit)
            first += len(rows)
            progress.update(len(rows) * n_ctx)
            if not len(flat):
                continue
            values = values.index_select(0, torch.from_numpy(flat))
            moments.update(values)
            broken = moments.not_finite()
            if broken:
                raise BadInput(
                    f"{facts.name}: layer {facts.layer}, hook {facts.hook}: {len(broken)} of "
                    f"{facts.n_neurons} neurons (first: {broken[0]}) give values that are not finite"
                )
            examples.update(values, kept)
            held = is_sampled(kept.stream_position, plan.share)
            writer.append(values if held.all() else values[torch.from_numpy(held)])
    return moments, examples
