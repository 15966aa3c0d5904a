"""Stream evaluation tokens through a source of neurons, in bounded memory, into a sealed directory.

Forward passes run on micro-batches of a fixed number of rows (the last one is padded), and fp64 sums are taken a
micro-batch or a chunk of the stream at a time. So the result has the same bits however many rows are read at once. What
is collected, and in which order, is in passes.py; what it takes is in memory.py. A collection that was stopped or
killed goes on from its last saved state (resume.py) and ends with the same bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from analyze.activations.checks import (
    check_counts,
    check_data,
    check_same,
    check_space,
    recorded_settings,
    require_same_run,
    rows_of,
)
from analyze.activations.directory import HOOKS, ResultDirectory, beside
from analyze.activations.histograms import Histograms
from analyze.activations.identity import RunIdentity, identity_of
from analyze.activations.memory import required, size_of
from analyze.activations.moments import combine
from analyze.activations.passes import Passes
from analyze.activations.resume import Say, take_back, work_directory
from analyze.activations.sample import SAMPLE_FILE
from analyze.activations.settings import DEFAULT, CollectSettings
from analyze.activations.source import SHARED_BYTES, CheckpointSource, NeuronSource, SharedInputs, facts_of, hooks_of
from analyze.activations.store import (
    FORMAT_VERSION,
    Activations,
    ActivationsMeta,
    NeuronFacts,
    copy_metrics,
    open_activations,
    read_meta,
    write_activations,
)
from analyze.activations.threads import torch_threads
from analyze.activations.token_sample import Plan, make_plan, sample_share
from analyze.activations.token_sums import TOKEN_SUMS_FILE, write_token_sums
from train.checkpoint import Checkpoint, load
from train.data.tokens import TokenFile
from train.devices import best_device
from train.errors import BadInput
from train.files import clear_leftovers, manifest_hash, publishing, verify
from train.memory import free_memory
from train.workers import jobs_that_fit, workers

LEAST_CELLS = 200_000_000
"""Neurons x tokens of all layers from which processes pay: they take seconds to start."""


def collect_source(
    source: NeuronSource,
    tokens: TokenFile,
    out: Path | str,
    *,
    max_tokens: int | None = None,
    sample_tokens: int | None = None,
    batch: int = 64,
    say: Say = print,
    settings: CollectSettings = DEFAULT,
) -> Activations:
    """Collect one layer and hook: moments, histograms, examples, sums per token, and a sample with every activation.

    BOS, separators and padding are left out of everything. `out` is a directory such as `.../L0.mid`; the sample goes
    to its sibling `.../L0.mid.sample` (see store.py). An equal result that is there already is returned at once; where
    only its sample is gone, it is collected again.

    Args:
        tokens: evaluation split, with the source's n_ctx.
        max_tokens: read only the first rows, with about that many tokens; default: all.
        sample_tokens: about how many tokens the sample holds, chosen by a hash of their position in the stream, so
            that every source gets the same ones; default: all while the sample stays within 4 GB.
        batch: rows read at a time; changes no result.
        say: takes lines that say what goes on.

    Raises:
        BadInput: data that do not fit the source, another result at `out`, values that are not finite, or another
            process that collects the same.
        EnvironmentProblem: too little room on the disk.
        Stopped: by SIGINT or SIGTERM; the same call goes on from there.
    """
    out = Path(out)
    facts = source.facts
    check_data(facts, tokens)
    check_counts(max_tokens=max_tokens, sample_tokens=sample_tokens, batch=batch)
    recorded = recorded_settings(tokens, facts.n_neurons, max_tokens, sample_tokens, facts.max_neurons, settings)
    inputs = {
        "checkpoint_hash": facts.checkpoint_hash,
        "data_hash": tokens.data_hash,
        "layer": facts.layer,
        "hook": facts.hook,
        "settings": recorded,
    }
    if out.exists():
        check_same(out, inputs)
        sample = beside(out, "sample")
        if sample.is_dir() and manifest_hash(sample) == read_meta(out).sample_hash:
            verify(sample)
            say(f"{out}: already collected")
            return open_activations(out)
    plan = make_plan(tokens, recorded["n_rows"], recorded["sample_share"])
    kept = source.kept_bytes(plan.n_rows * tokens.n_ctx) if isinstance(source, CheckpointSource) else 0
    check_space(plan, facts, tokens.d_vocab, out, settings, say, kept)
    _make(source, tokens, plan, inputs, out, batch, settings, say)
    return open_activations(out)


def _make(
    source: NeuronSource,
    tokens: TokenFile,
    plan: Plan,
    inputs: dict[str, Any],
    out: Path,
    batch: int,
    settings: CollectSettings,
    say: Say,
) -> None:
    """Make all passes and seal the result; nothing of it stays in memory."""
    facts, sample = source.facts, beside(out, "sample")
    sealed = {"kind": "sample", "format_version": FORMAT_VERSION, **inputs}
    with work_directory(out, sealed, settings) as work:
        take_back(sample, sealed, work)
        for directory in (sample, out):
            clear_leftovers(directory)
        passes = Passes(source, tokens, plan, work, settings, batch)
        quantiles, rates = passes.run(say)
        assert passes.sample_hash is not None
        known = {SAMPLE_FILE: passes.sample_hash}
        # Moved in at the end, not copied: it is most of what lies on the disk. See `take_back`.
        adopted = {SAMPLE_FILE: passes.sample.path}
        with publishing(sample, sealed, replace=True, known=known, adopted=adopted) as aside:
            firing = passes.firing
            remainder = passes.remainder()
            write_token_sums(
                aside / TOKEN_SUMS_FILE, firing.sums.tables(), facts.n_neurons, firing.occurrences, remainder
            )
        meta = ActivationsMeta(
            **{field.name: getattr(facts, field.name) for field in fields(NeuronFacts)},
            format_version=FORMAT_VERSION,
            data_hash=tokens.data_hash,
            data_dir=str(tokens.directory),
            n_tokens=plan.n_tokens,
            n_sampled_tokens=len(plan.tokens),
            n_documents=plan.n_documents,
            quantiles="all tokens" if plan.share == 1 else "sample",
            sample_hash=manifest_hash(sample),
            settings=inputs["settings"],
        )
        acts = Activations(
            meta,
            plan.tokens,
            combine(passes.moments, quantiles, rates, facts.parent),
            passes.examples.finish(),
            passes.sample,
            histograms=Histograms(passes.tally.counts),
            bands=firing.bands.table(),
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
    checkpoints: Iterable[Path | str] = (),
    say: Say = print,
    jobs: int | None = None,
    share: tuple[int, int] = (0, 1),
) -> list[Path]:
    """Collect layers and hooks of a checkpoint into `out/<run>/step-<step>/L<layer>.<hook>`.

    Args:
        checkpoint: a step's directory, or a run's, whose newest step is taken.
        data: a prepared data directory, for its evaluation split.
        out: the study's results directory; the run's metrics.jsonl is copied to `out/<run>/`.
        layers: default: all.
        hooks: default: `mid`, and `post` where a mid LayerNorm makes it another value.
        max_tokens: as for `collect_source`; so are `sample_tokens`, `batch` and `say`.
        max_neurons: of a wider layer take a random choice of so many.
        checkpoints: where to look first for what the checkpoint descends from (see `train.locate`).
        jobs: cores to use: threads for one layer, processes of one thread for several. Changes no result. Default: the
            threads that torch has, and no process but this.
        share: of several processes that a launcher started, this one's number from 0 and how many there are: each
            collects every so manieth layer. Changes no result.

    Returns:
        The activations directories that this process collected or found, in order of layer and hook.

    Raises:
        BadInput: a checkpoint, layer, hook or data that is not there or does not fit, or results of another run of
            the same name.
        EnvironmentProblem: the system ended one of the processes.
    """
    check_counts(max_tokens=max_tokens, sample_tokens=sample_tokens, max_neurons=max_neurons, batch=batch)
    opened, checkpoints = load(checkpoint), list(checkpoints)
    if not opened.config.has_mlp:
        raise BadInput(f"{opened.directory}: act = 'none': this model is attention-only, it has no MLP neurons")
    identity = identity_of(opened, checkpoints)
    require_same_run(Path(out) / opened.state["run"], identity, opened, checkpoints)
    wanted = _Wanted(
        opened, identity, Path(data), Path(out), tuple(hooks or ()), max_tokens, sample_tokens, max_neurons, batch
    )
    number, n_launched = share
    each_layer = list(range(opened.config.n_layers) if layers is None else layers)[number::n_launched]
    if not each_layer:
        say(f"process {number + 1} of {n_launched}: the others collect all layers")
        return []
    n_processes = wanted.processes(each_layer, jobs or 1, say)
    if n_processes == 1:
        with torch_threads(jobs):
            made = [wanted.collect(layer, say) for layer in each_layer]
    else:
        made = []
        with workers(n_processes) as pool:
            futures = [pool.submit(_in_worker, wanted, layer) for layer in each_layer]
            for future in futures:
                directories, lines = future.result()
                made.append(directories)
                for line in lines:
                    say(line)
    copy_metrics(opened.directory.resolve().parent, Path(out) / opened.state["run"])
    return [directory for of_layer in made for directory in of_layer]


@dataclass(frozen=True)
class _Wanted:
    """What `collect` was asked for, in words that another process understands."""

    opened: Checkpoint
    identity: RunIdentity
    data: Path
    out: Path
    hooks: tuple[str, ...]
    max_tokens: int | None
    sample_tokens: int | None
    max_neurons: int | None
    batch: int

    def collect(self, layer: int, say: Say) -> list[Path]:
        """The hooks of one layer; the model runs up to the MLP once."""
        tokens = TokenFile.open(self.data, split="eval", n_ctx=self.opened.config.n_ctx)
        hooks, directories = self.hooks or hooks_of(self.opened.config), []
        inputs = SharedInputs() if len(hooks) > 1 else None
        for hook in hooks:
            source = CheckpointSource(self.opened, layer, hook, self.max_neurons, self.identity, inputs)
            target = ResultDirectory(self.out, self.opened.state["run"], self.opened.step, layer, hook).path
            collect_source(
                source,
                tokens,
                target,
                max_tokens=self.max_tokens,
                sample_tokens=self.sample_tokens,
                batch=self.batch,
                say=say,
            )
            directories.append(target)
        return directories

    def processes(self, layers: list[int], jobs: int, say: Say) -> int:
        """How many to spread layers over: as there is memory for; 1 where they would take longer to start."""
        config, n_processes = self.opened.config, min(jobs, len(layers))
        if n_processes == 1 or best_device().type != "cpu" or not set(layers) <= set(range(config.n_layers)):
            return 1
        tokens = TokenFile.open(self.data, split="eval", n_ctx=config.n_ctx)
        facts = [facts_of(self.opened, layer, HOOKS[0], None, None, self.identity) for layer in layers]
        widest = max(facts, key=lambda each: each.n_neurons)
        n_rows = rows_of(tokens, self.max_tokens)
        if n_rows * tokens.n_ctx * sum(each.n_neurons for each in facts) < LEAST_CELLS:
            return 1
        plan = make_plan(
            tokens, n_rows, sample_share(n_rows * (tokens.n_ctx - 1), widest.n_neurons, self.sample_tokens)
        )
        needed = required(size_of(widest, plan, tokens.d_vocab), DEFAULT, 1, kept=SHARED_BYTES)
        return jobs_that_fit(n_processes, needed.memory, free_memory(), say)


def _in_worker(wanted: _Wanted, layer: int) -> tuple[list[Path], list[str]]:
    """The directories of a layer, and what is to be said of them."""
    lines: list[str] = []
    return wanted.collect(layer, lines.append), lines
