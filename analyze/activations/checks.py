"""What a collection needs before it starts: data that fit, no other result in its place, memory and disk."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from analyze.activations.band_examples import N_IN_BAND
from analyze.activations.directory import find_directories
from analyze.activations.identity import RunIdentity, difference, identity_of_results
from analyze.activations.memory import DENSITY, Requirement, required, size_of
from analyze.activations.moments import MIN_DOCUMENTS
from analyze.activations.resume import Say
from analyze.activations.settings import DEFAULT, CollectSettings
from analyze.activations.source import SourceFacts
from analyze.activations.store import read_meta
from analyze.activations.token_sample import Plan, sample_share
from analyze.activations.top_examples import N_EXAMPLES
from train.checkpoint import Checkpoint
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import canonical_json
from train.filesystem import free_space, require_space
from train.memory import free_memory

ENOUGH_DOCUMENTS = 60
"""Fewer evaluation documents can hardly give a neuron 30 to fire in and 20 examples in each half."""


def require_same_run(
    results: Path, identity: RunIdentity, opened: Checkpoint, checkpoints: Iterable[Path | str]
) -> None:
    """Refuse to lay a run's results among those of another run that has its name.

    Raises:
        BadInput: naming both.
    """
    for directory in find_directories(results):
        meta = read_meta(directory)
        other = identity_of_results(meta, directory, checkpoints)
        if other is not None and other.run_hash != identity.run_hash:
            raise BadInput(
                f"{opened.directory}: is another run than the {meta.run} whose step {meta.step} lies at {directory} "
                f"({difference(other.recipe, identity.recipe)}); choose another --out, or remove {results}"
            )


def recorded_settings(
    tokens: TokenFile,
    n_neurons: int,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    max_neurons: int | None = None,
    settings: CollectSettings = DEFAULT,
) -> dict[str, Any]:
    """What a result depends on besides the checkpoint and the data; its meta.json keeps them."""
    n_rows = rows_of(tokens, max_tokens)
    return {
        "n_rows": n_rows,
        "max_neurons": max_neurons,
        "sample_share": sample_share(n_rows * (tokens.n_ctx - 1), n_neurons, sample_tokens),
        "examples": N_EXAMPLES,
        "examples_in_band": N_IN_BAND,
        "micro_batch_tokens": settings.micro_batch_tokens,
        "piece_rows": settings.chunk_rows(tokens.n_ctx, n_neurons),
    }


def rows_of(tokens: TokenFile, max_tokens: int | None) -> int:
    """Rows that are read."""
    return tokens.n_rows if max_tokens is None else min(tokens.n_rows, max(1, max_tokens // tokens.n_ctx))


def check_counts(**counts: int | None) -> None:
    """Refuse numbers below 1; None is a default.

    Raises:
        BadInput: names the first.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise BadInput(f"{name}: {value} must be at least 1")


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


def check_same(out: Path, inputs: dict[str, Any]) -> None:
    """Refuse to replace a result of other inputs.

    Raises:
        BadInput: names the first input that differs.
    """
    meta = read_meta(out)
    recorded = inputs["settings"]
    before = {name: getattr(meta, name) for name in inputs if name != "settings"} | meta.settings
    for name, now in {**inputs, **recorded}.items():
        if name != "settings" and canonical_json(before.get(name)) != canonical_json(now):
            raise BadInput(
                f"{out}: collected with {name} = {before.get(name)}, now {now}; remove it or choose another --out"
            )


def check_space(
    plan: Plan, facts: SourceFacts, d_vocab: int, out: Path, settings: CollectSettings, say: Say, kept: int = 0
) -> None:
    """Say what the collection will take, and check that there is memory and that the disk has room for it.

    Sums per token take what neurons make of them. Where the disk would not hold them if every neuron fired on every
    token id, it must hold what trained neurons were seen to take.

    Raises:
        EnvironmentProblem: too little memory, a disk with too little room, or one that cannot be written.
    """
    needed = required(size_of(facts, plan, d_vocab), settings, torch.get_num_threads(), kept)
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
    require_memory(out, needed)
    require_space(out.parent, min(needed.disk, needed.likely_disk))
    if (free := free_space(out.parent)) < needed.disk:
        say(
            f"{out}: the disk has {free / 1e6:,.0f} MB free: enough where neurons fire on {DENSITY:.0%} of the token "
            f"ids ({needed.likely_disk / 1e6:,.0f} MB); where it fills up, the collection stops and can go on"
        )


def require_memory(out: Path, needed: Requirement) -> None:
    """Refuse a collection that the system would kill.

    Raises:
        EnvironmentProblem: with both figures and what to give.
    """
    free = free_memory()
    if needed.memory > free:
        raise EnvironmentProblem(
            f"{out}: collecting needs at most {needed.memory / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; "
            "give --max-neurons or a smaller --sample-tokens"
        )
