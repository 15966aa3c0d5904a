"""What became of the copies after widening: each saved step of a widened run and its parent, on the same tokens.

results/<study>/<run>/step-000000489/L0.mid.fission/   sealed: children.parquet parents.parquet, and for the run's
                                                       last step examples.parquet passages.parquet tree.txt
                              L0.mid.split/            sealed: the loss that splits gained (analyze.fission.merge_loss)
results/<study>/<run>/fission-L0.md                    the same in tables, over all steps that were measured
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import torch

from analyze.activations.checks import check_data
from analyze.activations.directory import ResultDirectory
from analyze.activations.duplicates import DUPLICATE
from analyze.activations.identity import run_hash_of
from analyze.activations.source import CheckpointSource, NeuronSource
from analyze.activations.threads import one_torch_thread
from analyze.activations.token_sample import concatenated
from analyze.fission.coactivation import (
    MATCHED,
    CoactivationMeter,
    FiringLevelMeter,
    FiringLevels,
    TokenPass,
    as_sampled,
    kept_values,
    stream_values,
)
from analyze.fission.families import chosen_parents, members_of, strongest, tree
from analyze.fission.lineage import Descent, descent_of, weight_figures, widened_layers
from analyze.fission.merge_loss import write_splits
from analyze.fission.store import FORMAT_VERSION, FissionMeta, as_markdown, read_run, require_same_run
from analyze.fission.verdicts import BEYOND_CHANCE, COVERS, FEW_TOKENS, VERDICTS, WITHIN, children_table, parents_table
from train.checkpoint import STEP_NAME, Checkpoint, open_step, step_directory, steps
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import found_or_made, write_atomic
from train.memory import free_memory
from train.model import Transformer
from train.parquet import write_parquet
from train.workers import checked_jobs, jobs_that_fit, one_thread, workers

HOOK = "mid"
"""Where neurons are read: after the activation, before a mid LayerNorm, which would mix siblings."""

STEP_TOKENS = 65_536
"""Held-out tokens for every step but the run's last, which takes all: enough for medians over parents."""

KEPT_BYTES = 400_000_000
"""Values of a step that are kept between its two passes, if they are no more than this."""
PROGRAM_BYTES = 700_000_000
"""A process with its libraries, its models and a micro-batch of activations."""
LEAST_CELLS = 200_000_000
"""Children x tokens x steps from which starting processes pays: they take seconds to start."""

Say = Callable[[str], None]


def fission(
    run: Path,
    data: Path,
    out: Path,
    *,
    parent: Path | None = None,
    layers: Sequence[int] | None = None,
    only: Sequence[int] | None = None,
    max_tokens: int | None = None,
    checkpoints: Sequence[Path | str] = (),
    say: Say = print,
    jobs: int | None = 1,
) -> list[Path]:
    """Compare every saved step of a widened run with its parent, unless that is done, and write the run's tables.

    Args:
        run: a run's directory, or one of its steps.
        data: a prepared data directory, whose evaluation split is read.
        out: the study's results directory.
        parent: see `analyze.fission.lineage.descent_of`.
        layers: default: all that were widened.
        only: steps to measure; default: all that are saved.
        max_tokens: read about this many tokens, spread evenly; default: all for the run's last step, and
            STEP_TOKENS for the others.
        checkpoints: where to look first for what the run descends from (see `train.locate`).
        say: receives the lines that report progress.
        jobs: processes at most, each on one thread; None: as many as there are cores to use. Changes no result.

    Returns:
        The tables, `out/<run>/fission-L<layer>.md`.

    Raises:
        EnvironmentProblem: too little memory, or the system ended a worker process.
        BadInput: `jobs` below 1; a run, step, layer, parent or data that is not there or does not fit; a run never
            widened.
    """
    jobs = checked_jobs(jobs, say)
    directory, chosen = _steps_of(run, only)
    newest = open_step(step_directory(directory, chosen[-1]))
    widened, run_hash = widened_layers(newest), run_hash_of(newest)
    require_same_run(out / newest.state["run"], newest.directory, run_hash)
    written = []
    for layer in widened if layers is None else layers:
        place = _Place(newest.directory, layer, data, parent, max_tokens, run_hash, tuple(map(Path, checkpoints)))
        try:
            _measure_layer(place, directory, chosen, out, jobs, say)
        finally:
            _comparison.cache_clear()  # of its models, and of what lies at its paths
        path = out / newest.state["run"] / f"fission-L{layer}.md"
        write_atomic(path, as_markdown(read_run(path.parent, layer)).encode())
        written.append(path)
    return written


@dataclass(frozen=True)
class _Place:
    """What a process needs to compare steps of one layer with their parent."""

    newest: Path
    layer: int
    data: Path
    parent: Path | None
    max_tokens: int | None
    run_hash: str
    checkpoints: tuple[Path, ...]


def _measure_layer(place: _Place, directory: Path, chosen: list[int], out: Path, jobs: int, say: Say) -> None:
    """Measure steps of a layer, in processes where that pays: the splits of the last step first, then the steps."""
    comparison = _comparison(place)
    last = steps(directory)[-1]
    # The longest first, so that no process waits for it at the end.
    work = [(step_directory(directory, step), step == last, False) for step in sorted(chosen, reverse=True)]
    work = [(path, is_last, True) for path, is_last, _ in work if is_last] + work
    n_jobs = jobs
    if jobs > 1 and (comparison.cells * len(work) < LEAST_CELLS or comparison.done(work, out)):
        n_jobs = 1
    if n_jobs > 1:
        n_jobs = jobs_that_fit(n_jobs, PROGRAM_BYTES + comparison.bytes_needed, free_memory(), say)
    if n_jobs == 1:
        with one_thread(), one_torch_thread():
            for path, is_last, splits in reversed(work):
                for line in _measured(place, path, out, is_last, splits):
                    say(line)
        return
    with workers(n_jobs) as pool:
        futures = [pool.submit(_measured, place, path, out, is_last, splits) for path, is_last, splits in work]
        for future in reversed(futures):
            for line in future.result():
                say(line)


def _measured(place: _Place, path: Path, out: Path, is_last: bool, splits: bool) -> list[str]:
    """One piece of the work on a layer, and the lines that it has to say."""
    comparison, lines = _comparison(place), []
    if splits:
        comparison.split(open_step(path), out)
    else:
        comparison.measure(open_step(path), out, is_last, lines.append)
    return lines


@lru_cache(maxsize=1)
def _comparison(place: _Place) -> "_LayerComparison":
    newest = open_step(place.newest)
    tokens = TokenFile.open(place.data, split="eval", n_ctx=newest.config.n_ctx)
    descent = descent_of(newest, place.layer, place.parent, place.checkpoints)
    source = CheckpointSource(descent.parent, place.layer, HOOK)
    check_data(source.facts, tokens)
    return _LayerComparison(descent, source, tokens, place.max_tokens, place.run_hash)


def _steps_of(run: Path, only: Sequence[int] | None) -> tuple[Path, list[int]]:
    if not run.is_dir():
        raise BadInput(f"{run}: no such directory")
    named = STEP_NAME.fullmatch(run.resolve().name)
    directory = run.resolve().parent if named else run
    saved = [int(named[1])] if named else steps(run)
    if not saved:
        raise BadInput(f"{run}: holds no checkpoint step")
    for step in only or ():
        if step not in saved:
            raise BadInput(f"--steps: {run} has no step {step}; it has: {', '.join(map(str, saved))}")
    return directory, sorted(only) if only else saved


class _LayerComparison:
    """One layer of a run, step after step, and its parent, which is measured once."""

    def __init__(
        self, descent: Descent, parent: CheckpointSource, tokens: TokenFile, max_tokens: int | None, run_hash: str
    ) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise BadInput(f"--max-tokens: {max_tokens} must be at least 1")
        self._descent, self._parent, self._tokens = descent, parent, tokens
        self._max_tokens, self._run_hash = max_tokens, run_hash
        self._parents: dict[int | None, tuple[TokenPass, FiringLevels]] = {}

    @property
    def cells(self) -> int:
        """Children x tokens of a step other than the last."""
        return self._descent.families.size * min(self._at_most(False) or self._tokens.n_tokens, self._tokens.n_tokens)

    def done(self, work: list[tuple[Path, bool, bool]], out: Path) -> bool:
        """Whether results of each step stand there: they need only be checked."""
        return all(self._place(open_step(path), out).is_dir() for path, _, _ in work)

    @cached_property
    def _birth(self) -> Transformer:
        return self._descent.birth.model()

    def split(self, checkpoint: Checkpoint, out: Path) -> None:
        """Measure what the splits of a step were worth, unless that is done."""
        descent, final = self._descent, self._place(checkpoint, out)
        write_splits(checkpoint, descent.layer, descent.families, self._tokens, final)

    def _place(self, checkpoint: Checkpoint, out: Path) -> Path:
        return ResultDirectory(out, checkpoint.state["run"], checkpoint.step, self._descent.layer, HOOK).beside(
            "fission"
        )

    def measure(self, checkpoint: Checkpoint, out: Path, is_last: bool, say: Say) -> None:
        """Measure a step into its sealed directory, unless it is already there."""
        layer, families = self._descent.layer, self._descent.families
        final = self._place(checkpoint, out)
        counts = ""

        def make(aside: Path) -> dict[str, Any]:
            nonlocal counts
            source = CheckpointSource(checkpoint, layer, HOOK)
            self._require_memory(source.facts.n_neurons)
            passed, parent_levels = self._parent_levels(is_last)
            kept = kept_values(source, passed, KEPT_BYTES)
            child_levels = _levels(kept or source, passed, f"step {checkpoint.step} levels")
            read = source if kept is None else kept.again()
            meter = CoactivationMeter(families, child_levels, parent_levels)
            what = f"step {checkpoint.step} coactivation"
            for (child, parent), _ in stream_values([read, self._parent], passed, what):
                meter.update(as_sampled(child), as_sampled(parent))
            coactivation = meter.coactivation()
            weights = weight_figures(checkpoint.model(), self._birth, layer, families)
            children = children_table(families, child_levels, coactivation, weights)
            parents = parents_table(children, coactivation, weights, parent_levels.dead.numpy())
            write_parquet(children, aside / "children.parquet")
            write_parquet(parents, aside / "parents.parquet")
            if is_last:
                self._write_examples(aside, source, passed, children, parents)
            counts = _counts(children)
            return {"meta": self._meta(checkpoint, passed).model_dump(mode="json")}

        depends = self._depends(checkpoint, is_last)
        facts = {"kind": "fission", "format_version": FORMAT_VERSION, "depends": depends}
        found = found_or_made(final, facts, make)
        say(f"found {final}" if found else f"wrote {final}: {counts}")

    def _parent_levels(self, is_last: bool) -> tuple[TokenPass, FiringLevels]:
        """The tokens of a step, and the parent's firing levels on them."""
        at_most = self._at_most(is_last)
        if at_most not in self._parents:
            passed = TokenPass.over(self._tokens, at_most)
            self._parents[at_most] = passed, _levels(self._parent, passed, "parent's levels")
        return self._parents[at_most]

    def _at_most(self, is_last: bool) -> int | None:
        return self._max_tokens if is_last or self._max_tokens is not None else STEP_TOKENS

    def _write_examples(
        self, aside: Path, source: CheckpointSource, passed: TokenPass, children: pl.DataFrame, parents: pl.DataFrame
    ) -> None:
        members = members_of(children, list(chosen_parents(parents, self._descent.layer).values()))
        values, samples = [], []
        for pair, sample in stream_values([source, self._parent], passed, "examples"):
            columns = [pair[member.is_parent][:, member.neuron] for member in members]
            values.append(torch.stack(columns, 1) if columns else pair[0][:, :0])
            samples.append(sample)
        examples, passages = strongest(members, torch.cat(values), concatenated(samples))
        write_parquet(examples, aside / "examples.parquet")
        write_parquet(passages, aside / "passages.parquet")
        lines = [tree(parent, parents, children) for parent in parents["parent"].to_list()]
        (aside / "tree.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _depends(self, checkpoint: Checkpoint, is_last: bool) -> dict[str, Any]:
        """What the numbers depend on: while it stays the same, they need not be measured again."""
        return {
            "checkpoint_hash": checkpoint.hash,
            "parent_hash": self._descent.parent.hash,
            "birth_hash": self._descent.birth.hash,
            "data_hash": self._tokens.data_hash,
            "at_most_tokens": self._at_most(is_last),
            "examples": is_last,
            "thresholds": [DUPLICATE, WITHIN, COVERS, BEYOND_CHANCE, MATCHED, FEW_TOKENS],
        }

    def _meta(self, checkpoint: Checkpoint, passed: TokenPass) -> FissionMeta:
        state, descent = checkpoint.state, self._descent
        assert checkpoint.lineage is not None
        n_parents, n_children = descent.families.shape
        return FissionMeta(
            run=state["run"],
            variant=state["variant"],
            root_variant=state["root_variant"],
            seed=state["seed"],
            step=state["step"],
            tokens=state["tokens"],
            layer=descent.layer,
            hook=HOOK,
            act=checkpoint.config.act,
            plan=checkpoint.lineage.plan,
            parent_run=descent.parent.state["run"],
            parent_step=descent.parent.step,
            n_parents=n_parents,
            n_children=n_children,
            n_fresh=descent.n_fresh,
            n_tokens=passed.n_tokens,
            data_dir=str(self._tokens.directory),
            data_hash=self._tokens.data_hash,
            n_ctx=self._tokens.n_ctx,
            checkpoint_hash=checkpoint.hash,
            parent_hash=descent.parent.hash,
            run_hash=self._run_hash,
        )

    @property
    def bytes_needed(self) -> int:
        """Of memory: sums of children with parents and siblings, a micro-batch, and the values that are kept."""
        n_parents, k = self._descent.families.shape
        n_neurons = n_parents * k + self._descent.n_fresh
        return 16 * n_neurons * n_parents + 8 * n_parents * k * k + 5 * 4 * 2048 * n_neurons + KEPT_BYTES

    def _require_memory(self, n_neurons: int) -> None:
        """Fail before measuring, not while, where the sums of a very wide layer do not fit.

        Raises:
            EnvironmentProblem: names the memory that is needed and what is free.
        """
        needed, n_parents = self.bytes_needed, len(self._descent.families)
        free = free_memory()
        if needed > free:
            raise EnvironmentProblem(
                f"fission: {n_neurons:,} children of {n_parents:,} parents take {needed / 1e9:.1f} GB of memory, "
                f"{free / 1e9:.1f} GB are free"
            )


def _levels(source: NeuronSource, passed: TokenPass, what: str) -> FiringLevels:
    meter = FiringLevelMeter(source.facts.n_neurons, passed.n_fit)
    for (values,), sample in stream_values([source], passed, what):
        meter.update(as_sampled(values), torch.from_numpy(sample.is_fit))
    return meter.levels()


def _counts(children: pl.DataFrame) -> str:
    counts = dict(children["verdict"].value_counts().iter_rows())
    return ", ".join(f"{counts[name]:,} {name}" for name in VERDICTS if name in counts)
