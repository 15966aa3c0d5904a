"""After widening: who became what. Each saved step of a widened run beside its parent, on the same tokens.

results/<study>/<run>/step-000000489/L0.mid.fission/   sealed: children.parquet parents.parquet, and of the
                                                       run's last step examples.parquet passages.parquet tree.txt
                              L0.mid.split/            sealed: what each split was worth (analyze.fission.merge_loss)
results/<study>/<run>/fission-L0.md                    the same in tables, over all steps that were measured
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from analyze.activations.collect import check_data
from analyze.activations.directory import ResultDirectory
from analyze.activations.duplicates import DUPLICATE
from analyze.activations.source import CheckpointSource
from analyze.activations.token_sample import joined
from analyze.fission.coactivation import MATCHED, KinshipMeter, LevelMeter, Levels, TokenPass, as_held, stream_values
from analyze.fission.families import chosen_parents, members_of, strongest, tree
from analyze.fission.lineage import Descent, descent_of, weight_figures, widened_layers
from analyze.fission.merge_loss import write_splits
from analyze.fission.store import FORMAT_VERSION, as_markdown, read_run
from analyze.fission.verdicts import (
    BEYOND_CHANCE,
    COVERS,
    FEW_TOKENS,
    VERDICTS,
    WITHIN,
    children_table,
    parents_table,
)
from train.checkpoint import STEP_NAME, Checkpoint, open_step, step_directory, steps
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem
from train.files import canonical_json, publishing, read_manifest, write_atomic

HOOK = "mid"
"""Where neurons are read: after the activation, before a mid LayerNorm, which would mix siblings."""

STEP_TOKENS = 65_536
"""Held-out tokens of every step but the run's last, which takes all: enough for medians over parents."""

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
    say: Say = print,
) -> list[Path]:
    """Measure every saved step of a widened run beside its parent, unless that is done, and write its table.

    Args:
        run: a run's directory, or one of its steps.
        data: a prepared data directory; its evaluation split is passed.
        out: the study's results directory.
        parent: see `analyze.fission.lineage.descent_of`.
        layers: default: all that were widened.
        only: steps to measure; default: all that are there.
        max_tokens: pass about so many tokens, spread evenly; default: all for the run's last step, and
            STEP_TOKENS for the others.
        say: takes the lines that tell what is going on.

    Returns:
        The tables, `out/<run>/fission-L<layer>.md`.

    Raises:
        BadInput: a run, step, layer, parent or data that is not there or does not fit; a run never widened.
    """
    directory, chosen = _steps_of(run, only)
    newest = open_step(step_directory(directory, chosen[-1]))
    tokens = TokenFile.open(data, split="eval", n_ctx=newest.config.n_ctx)
    known = widened_layers(newest)
    written = []
    for layer in known if layers is None else layers:
        descent = descent_of(newest, layer, parent)
        source = CheckpointSource(descent.parent, layer, HOOK)
        check_data(source.facts, tokens)
        measure = _Measure(descent, source, tokens, max_tokens, say)
        for step in chosen:
            checkpoint = newest if step == newest.step else open_step(step_directory(directory, step))
            measure.at(checkpoint, out, is_last=step == steps(directory)[-1])
        path = out / newest.state["run"] / f"fission-L{layer}.md"
        write_atomic(path, as_markdown(read_run(path.parent, layer)).encode())
        written.append(path)
    return written


def _steps_of(run: Path, only: Sequence[int] | None) -> tuple[Path, list[int]]:
    if not run.is_dir():
        raise BadInput(f"{run}: no such directory")
    named = STEP_NAME.fullmatch(run.resolve().name)
    directory = run.resolve().parent if named else run
    there = [int(named[1])] if named else steps(run)
    if not there:
        raise BadInput(f"{run}: holds no checkpoint step")
    for step in only or ():
        if step not in there:
            raise BadInput(f"--steps: {run} has no step {step}; it has: {', '.join(map(str, there))}")
    return directory, sorted(only) if only else there


class _Measure:
    """One layer of a run, step after step: what is known of the parent is found once."""

    def __init__(
        self, descent: Descent, parent: CheckpointSource, tokens: TokenFile, max_tokens: int | None, say: Say
    ) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise BadInput(f"--max-tokens: {max_tokens} must be at least 1")
        self._descent, self._parent, self._tokens, self._say = descent, parent, tokens, say
        self._max_tokens = max_tokens
        self._passes: dict[int | None, tuple[TokenPass, Levels]] = {}
        self._birth: Any = None

    def at(self, checkpoint: Checkpoint, out: Path, is_last: bool) -> None:
        """Measure a step into its sealed directory, unless that is there."""
        layer = self._descent.layer
        final = ResultDirectory(out, checkpoint.state["run"], checkpoint.step, layer, HOOK).beside("fission")
        depends = self._depends(checkpoint, is_last)
        if is_last:
            write_splits(checkpoint, layer, self._descent.families, self._tokens, final)
        if final.is_dir() and canonical_json(read_manifest(final).get("depends")) == canonical_json(depends):
            self._say(f"found {final}")
            return
        source = CheckpointSource(checkpoint, layer, HOOK)
        self._require_memory(source.facts.n_neurons)
        passed, parent_levels = self._passed(is_last)
        own_levels = _levels(source, passed, f"step {checkpoint.step} levels")
        meter = KinshipMeter(self._descent.families, own_levels, parent_levels)
        for (child, parent), _ in stream_values([source, self._parent], passed, f"step {checkpoint.step} kinship"):
            meter.update(as_held(child), as_held(parent))
        kinship = meter.kinship()
        if self._birth is None:
            self._birth = self._descent.birth.model()
        weights = weight_figures(checkpoint.model(), self._birth, layer, self._descent.families)
        children = children_table(self._descent.families, own_levels, kinship, weights)
        parents = parents_table(children, kinship, weights, parent_levels.dead.numpy())
        facts = {"kind": "fission", "format_version": FORMAT_VERSION, "depends": depends}
        with publishing(final, {**facts, "meta": self._meta(checkpoint, passed)}, replace=True) as aside:
            children.write_parquet(aside / "children.parquet")
            parents.write_parquet(aside / "parents.parquet")
            if is_last:
                self._write_examples(aside, source, passed, children, parents)
        self._say(f"wrote {final}: {_counts(children)}")

    def _passed(self, is_last: bool) -> tuple[TokenPass, Levels]:
        """The tokens of a step, and the parent's levels on the same ones."""
        at_most = self._at_most(is_last)
        if at_most not in self._passes:
            passed = TokenPass.over(self._tokens, at_most)
            self._passes[at_most] = passed, _levels(self._parent, passed, "parent's levels")
        return self._passes[at_most]

    def _at_most(self, is_last: bool) -> int | None:
        return self._max_tokens if is_last or self._max_tokens is not None else STEP_TOKENS

    def _write_examples(
        self,
        aside: Path,
        source: CheckpointSource,
        passed: TokenPass,
        children: pl.DataFrame,
        parents: pl.DataFrame,
    ) -> None:
        chosen = chosen_parents(parents, self._descent.layer)
        members = members_of(children, list(chosen.values()))
        held, kept = [], []
        for pair, tokens in stream_values([source, self._parent], passed, "examples"):
            columns = [pair[one.is_parent][:, one.neuron] for one in members]
            held.append(torch.stack(columns, 1) if columns else pair[0][:, :0])
            kept.append(tokens)
        examples, passages = strongest(members, torch.cat(held), joined(kept))
        examples.write_parquet(aside / "examples.parquet")
        passages.write_parquet(aside / "passages.parquet")
        lines = [tree(parent, parents, children) for parent in parents["parent"].to_list()]
        (aside / "tree.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _depends(self, checkpoint: Checkpoint, is_last: bool) -> dict[str, Any]:
        """What the numbers depend on; where it is the same they need not be made again."""
        return {
            "checkpoint_hash": checkpoint.hash,
            "parent_hash": self._descent.parent.hash,
            "birth_hash": self._descent.birth.hash,
            "data_hash": self._tokens.data_hash,
            "at_most_tokens": self._at_most(is_last),
            "examples": is_last,
            "thresholds": [DUPLICATE, WITHIN, COVERS, BEYOND_CHANCE, MATCHED, FEW_TOKENS],
        }

    def _meta(self, checkpoint: Checkpoint, passed: TokenPass) -> dict[str, Any]:
        state, descent = checkpoint.state, self._descent
        assert checkpoint.lineage is not None
        n_parents, n_children = descent.families.shape
        return {
            **{name: state[name] for name in ("run", "variant", "seed", "step", "tokens", "root_variant")},
            "layer": descent.layer,
            "hook": HOOK,
            "act": checkpoint.config.act,
            "plan": checkpoint.lineage.plan.model_dump(mode="json"),
            "parent_run": descent.parent.state["run"],
            "parent_step": descent.parent.step,
            "n_parents": n_parents,
            "n_children": n_children,
            "n_fresh": descent.n_fresh,
            "n_tokens": passed.n_tokens,
            "data_dir": str(self._tokens.directory),
            "data_hash": self._tokens.data_hash,
            "n_ctx": self._tokens.n_ctx,
            "checkpoint_hash": checkpoint.hash,
            "parent_hash": descent.parent.hash,
        }

    def _require_memory(self, n_neurons: int) -> None:
        """Say so before, not while, where the sums of a very wide layer do not fit.

        Raises:
            EnvironmentProblem: with what it would take.
        """
        import psutil

        n_parents, k = self._descent.families.shape
        passing = 5 * 4 * 2048 * n_neurons
        needed = 16 * n_neurons * n_parents + 8 * n_parents * k * k + passing
        free = psutil.virtual_memory().available
        if needed > free:
            raise EnvironmentProblem(
                f"fission: {n_neurons:,} children of {n_parents:,} parents take {needed / 1e9:.1f} GB of memory, "
                f"{free / 1e9:.1f} GB are free"
            )


def _levels(source: CheckpointSource, passed: TokenPass, what: str) -> Levels:
    meter = LevelMeter(source.facts.n_neurons, passed.n_fit)
    for (values,), kept in stream_values([source], passed, what):
        meter.update(as_held(values), torch.from_numpy(kept.is_fit))
    return meter.levels()


def _counts(children: pl.DataFrame) -> str:
    counts = dict(children["verdict"].value_counts().iter_rows())
    return ", ".join(f"{counts[name]:,} {name}" for name in VERDICTS if name in counts)
