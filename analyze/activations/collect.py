"""Stream evaluation tokens through a source of neurons, in bounded memory, into a sealed directory.

Forward passes run on canonical micro-batches (a fixed number of rows, the last one padded) and sums are taken
a micro-batch or a piece of the stream at a time in fp64, so the result is the same, bit for bit, however many rows are
read at once. What is collected and in which order stands in passes.py, what it takes in memory.py. A collection that
was stopped or killed goes on from its last saved state (resume.py) and ends the same, bit for bit.
"""

import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from analyze.activations.band_examples import N_IN_BAND
from analyze.activations.directory import ResultDirectory, beside
from analyze.activations.histograms import Histograms
from analyze.activations.memory import needs
from analyze.activations.moments import MIN_DOCUMENTS, combine
from analyze.activations.passes import Sweeps
from analyze.activations.resume import Say, unfinished
from analyze.activations.sample import SAMPLE_FILE
from analyze.activations.source import CheckpointSource, NeuronSource, SourceFacts, hooks_of
from analyze.activations.store import (
    FORMAT_VERSION,
    Activations,
    ActivationsMeta,
    copy_metrics,
    open_activations,
    read_meta,
    write_activations,
)
from analyze.activations.token_sample import Plan, make_plan, sample_share
from analyze.activations.token_sums import TOKEN_SUMS_FILE, write_token_sums
from analyze.activations.top_examples import N_EXAMPLES
from train.checkpoint import load
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import canonical_json, manifest_hash, publishing, require_space

MICRO_BATCH_TOKENS = 2048
"""Tokens of a canonical micro-batch: 8 rows of 256."""
HELD_BYTES = 2**29
"""Activations of a piece of the stream that are held at once, where the sample does not hold all tokens."""
ENOUGH_DOCUMENTS = 60
"""Fewer evaluation documents can hardly give a neuron 30 to fire in and 20 examples in each half."""


def collect_source(
    source: NeuronSource,
    tokens: TokenFile,
    out: Path,
    *,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    batch: int = 64,
    say: Say = print,
) -> Activations:
    """Collect one layer and hook: moments, histograms, examples, sums per token, and a token sample held whole.

    BOS, separators and padding are left out of everything. `out` is a directory such as `.../L0.mid`; the
    sample goes to its sibling `.../L0.mid.sample` (see store.py). An equal result that is there already is
    returned at once; where only its sample is gone, it is collected again.

    Args:
        source: the neurons.
        tokens: evaluation split, with the source's n_ctx.
        max_tokens: pass only the first rows with about that many tokens; default: all.
        sample_tokens: about how many tokens to hold whole, chosen by a hash of their position in the stream,
            so that every source sees the same ones; default: all while the sample stays within 4 GB.
        batch: rows read at a time; changes no result.
        say: takes the lines that tell what is going on.

    Raises:
        BadInput: data that do not fit the source, another result at `out`, values that are not finite, or another
            process that collects the same.
        EnvironmentProblem: too little room on the disk.
        Stopped: by SIGINT or SIGTERM; the same call goes on from there.
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
        sample = beside(out, "sample")
        if sample.is_dir() and manifest_hash(sample) == read_meta(out).sample_hash:
            say(f"{out}: already collected")
            return open_activations(out)
    plan = make_plan(tokens, n_rows, share)
    tell(plan, facts, tokens.d_vocab, out, say)
    make(source, tokens, plan, settings, out, batch, say)
    return open_activations(out)


def make(
    source: NeuronSource, tokens: TokenFile, plan: Plan, settings: dict[str, Any], out: Path, batch: int, say: Say
) -> None:
    """Sweep over the tokens and seal what came of it; nothing of it stays in memory."""
    facts = source.facts
    identity = {
        "checkpoint_hash": facts.checkpoint_hash,
        "data_hash": tokens.data_hash,
        "layer": facts.layer,
        "hook": facts.hook,
        "settings": settings,
    }
    sealed = {"kind": "sample", "format_version": FORMAT_VERSION, **identity}
    sample = beside(out, "sample")
    remove_leftovers(sample)
    with unfinished(out, sealed) as work:
        sweeps = Sweeps(source, tokens, plan, work, micro_batch_rows(tokens.n_ctx), settings["piece_rows"], batch)
        statistics = sweeps.run(say)
        assert sweeps.sample_hash is not None
        known = {SAMPLE_FILE: sweeps.sample_hash}
        with publishing(sample, sealed, replace=True, known=known) as aside:
            # Linked, not moved: killed in here, the collection goes on from its last state and needs the file.
            os.link(sweeps.sample.path, aside / SAMPLE_FILE)
            sums = sweeps.firing.sums.tables()
            occurrences, remainder = sweeps.firing.occurrences, sweeps.remainder()
            write_token_sums(aside / TOKEN_SUMS_FILE, sums, facts.n_neurons, occurrences, remainder)
        own = {field.name for field in fields(SourceFacts)} & {field.name for field in fields(ActivationsMeta)}
        meta = ActivationsMeta(
            **{name: getattr(facts, name) for name in own},
            format_version=FORMAT_VERSION,
            data_hash=tokens.data_hash,
            data_dir=str(tokens.directory),
            n_tokens=plan.n_tokens,
            n_sampled_tokens=len(plan.tokens),
            n_documents=plan.n_documents,
            quantiles="all tokens" if plan.share == 1 else "sample",
            sample_hash=manifest_hash(sample),
            settings=settings,
        )
        acts = Activations(
            meta,
            plan.tokens,
            combine(sweeps.moments, statistics, facts.parent),
            sweeps.examples.finish(),
            sweeps.sample,
            histograms=Histograms(sweeps.tally.counts),
            bands=sweeps.firing.bands.table(),
        )
        write_activations(acts, out, replace=True)


def collect(
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
    directories = []
    for layer in range(opened.config.n_layers) if layers is None else layers:
        for hook in hooks or hooks_of(opened.config):
            result = ResultDirectory(Path(out), opened.state["run"], opened.step, layer, hook)
            collect_source(
                CheckpointSource(opened, layer, hook, max_neurons),
                tokens,
                result.path,
                max_tokens=max_tokens,
                sample_tokens=sample_tokens,
                batch=batch,
                say=say,
            )
            directories.append(result.path)
    copy_metrics(opened.directory.resolve().parent, Path(out) / opened.state["run"])
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
        "examples_in_band": N_IN_BAND,
        "micro_batch_tokens": MICRO_BATCH_TOKENS,
        "piece_rows": piece_rows(tokens.n_ctx, n_neurons),
    }


def micro_batch_rows(n_ctx: int) -> int:
    """Rows of a canonical micro-batch."""
    return max(1, MICRO_BATCH_TOKENS // n_ctx)


def piece_rows(n_ctx: int, n_neurons: int) -> int:
    """Rows of a piece of the stream, a whole number of micro-batches: what of it is held stays near HELD_BYTES."""
    size = micro_batch_rows(n_ctx)
    return size * max(1, HELD_BYTES // (2 * n_neurons * size * n_ctx))


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


def tell(plan: Plan, facts: SourceFacts, d_vocab: int, out: Path, say: Say) -> None:
    """Say what collecting will take before it takes it.

    Raises:
        EnvironmentProblem: the disk cannot hold it, or cannot be written.
    """
    size = micro_batch_rows(facts.n_ctx) * facts.n_ctx
    piece = piece_rows(facts.n_ctx, facts.n_neurons) * facts.n_ctx
    needed = needs(facts, plan, d_vocab, size, piece, torch.get_num_threads())
    whole = "all of them" if plan.share == 1 else f"{len(plan.tokens):,}"
    say(
        f"{out}: {facts.n_neurons:,} neurons, {plan.n_tokens:,} tokens of {plan.n_documents:,} documents, {whole} "
        f"held whole; at most {needed.memory / 1e6:,.0f} MB of memory and {needed.disk / 1e6:,.0f} MB of disk"
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
    require_space(out.parent, needed.disk)


def remove_leftovers(directory: Path) -> None:
    """Delete what killed processes left aside for a sample: gigabytes that no one else would clear."""
    for path in directory.parent.glob(f".tmp-{directory.name}-*"):
        pid = path.name.rpartition("-")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
