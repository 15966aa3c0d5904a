"""A table of scores made in several processes: each makes some scores of some neurons, of the layer or of a null.

Every process opens the activations for itself and reads the sample from disk; a null is made by one of them and written
into a temporary directory, from which the others read it. The parts are those that one process would compute one after
another, so the table is the same, bit for bit, for any number of processes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from jaxtyping import Float
from torch import Tensor

from analyze.activations.memory import to_score
from analyze.activations.provenance import located
from analyze.activations.sample import BLOCK, Sample, SampleFile, SampleWriter, blocks
from analyze.activations.store import Activations, open_activations, sampled_neurons
from analyze.nulls import NULLS
from analyze.scores import SCORES
from analyze.scores.made import first_hand, with_second_hand
from analyze.scores.table import neuron_table, with_matched, with_scores
from train.memory import free_memory
from train.workers import Workers, jobs_that_fit

LEAST_CELLS = 10_000_000
"""Neurons x sampled tokens of a layer from which starting processes pays: they take seconds to start."""
_TOKENS_AT_ONCE = 8192

SHARES = {"k_eff": "decision lists", "throughout": "decision lists", "labelled": "decision lists"}
"""As `NeuronScore.shares`, of scores whose published validity is bound to their modules as they stand,"""
BY_NEURON = frozenset({"k_eff", "throughout", "fidelity"})
"""and as `NeuronScore.by_neuron`. With the next measurement they can say so themselves."""

Parts = dict[str, list[tuple[list[str], "Future[Any]"]]]
"""Of each null: the scores that each part of its rows makes; the first part makes none of them."""


@dataclass(frozen=True)
class Layer:
    """Which activations to open, and where to look first for what has moved."""

    directory: Path
    data: tuple[Path, ...] = ()
    checkpoints: tuple[Path, ...] = ()


@dataclass(frozen=True)
class WrittenNull:
    """A null whose sample lies in a file. It shares the tokens of the layer that it was made from."""

    name: str
    without_sample: Activations
    """With empty tokens, which would be copied into every task."""
    sample: Path


@dataclass(frozen=True)
class Neurons:
    """Neurons first..stop of a sample, as a sample."""

    whole: Sample
    first: int
    stop: int

    def read(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Of these neurons the ones from first to stop, float32."""
        return self.whole.read(self.first + first, self.first + stop)

    def read_tokens(self, first: int, stop: int) -> Float[Tensor, "t n"]:
        """Tokens first..stop of these neurons, float32."""
        return self.whole.read_tokens(first, stop)[:, self.first : self.stop]


def affordable(acts: Activations, pool: Workers, say: Callable[[str], None]) -> bool:
    """Whether a layer is worth several processes and memory for them is free; limits the pool to those that fit."""
    if pool.jobs == 1 or acts.n_neurons * len(acts.tokens) < LEAST_CELLS:
        return False
    if not pool.started:
        pool.limit(jobs_that_fit(pool.jobs, to_score(acts.n_neurons, len(acts.tokens)), free_memory(), say))
    return pool.jobs > 1


def groups_of(names: Sequence[str]) -> list[list[str]]:
    """`names` in groups that one process makes, in order: work that scores share is done once."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_work_of(name), []).append(name)
    order = list(SCORES)
    return [sorted(group, key=order.index) for group in groups.values()]


def _work_of(name: str) -> str:
    """The name of the work that a score shares with others, as its `shares` says; else its own name."""
    return getattr(SCORES[name], "shares", "") or SHARES.get(name, name)


def spans(n_neurons: int, names: Sequence[str], jobs: int) -> list[tuple[int, int]]:
    """The neurons that each part of a group of scores has: whole blocks, unless each neuron is computed alone."""
    if any("weights" in SCORES[name].needs for name in names):
        return [(0, n_neurons)]  # of the whole layer
    if all(getattr(SCORES[name], "by_neuron", name in BY_NEURON) for name in names):
        width = min(BLOCK, max(1, -(-n_neurons // (2 * jobs))))
        return [(first, min(first + width, n_neurons)) for first in range(0, n_neurons, width)]
    return blocks(n_neurons)


def of_neurons(acts: Activations, first: int, stop: int) -> Activations:
    """Neurons first..stop of activations as activations of their own, numbered from 0."""
    if (first, stop) == (0, acts.n_neurons):
        return acts
    moments = {name: values if values is None else values[first:stop] for name, values in vars(acts.moments).items()}
    inside = acts.examples.filter(pl.col("neuron").is_between(first, stop - 1))
    examples = inside.with_columns((pl.col("neuron") - first).cast(acts.examples.schema["neuron"]))
    return Activations(
        replace(acts.meta, n_neurons=stop - first),
        acts.tokens,
        replace(acts.moments, **moments),
        examples,
        Neurons(acts.sample, first, stop),
        chosen=sampled_neurons(acts)[first:stop],
    )


def score_in_workers(
    layer: Layer, acts: Activations, names: Sequence[str], seed: int, nulls: Sequence[str], pool: Workers
) -> pl.DataFrame:
    """`analyze.scores.table.score_with_null`, by the processes of a pool.

    Args:
        layer: where the processes find `acts`.
    """
    acts.block(0, 1)  # a sample that is damaged or has gone is told before the work; workers need not hash it again
    for name in first_hand(names):
        SCORES[name].prepare(acts)
    with TemporaryDirectory(prefix="polysem-nulls-", ignore_cleanup_errors=True) as aside:
        making = {pool.submit(_write_null, layer, null, seed, Path(aside) / null): null for null in nulls}
        parts: Parts = {}
        _submit(pool, layer, "none", None, acts.n_neurons, names, parts)
        waiting: set[Future[Any]] = set(making)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                written = future.result()
                if written is not None:
                    n_neurons = written.without_sample.n_neurons
                    _submit(pool, layer, making[future], written, n_neurons, names, parts)
        tables = {null: _joined(parts[null], names, null) for null in ("none", *nulls) if null in parts}
    first = next((null for null in tables if null != "none"), None)
    return with_matched(pl.concat(tables.values(), how="vertical_relaxed"), names, first)


def _submit(
    pool: Workers,
    layer: Layer,
    null: str,
    written: WrittenNull | None,
    n_neurons: int,
    names: Sequence[str],
    parts: Parts,
) -> None:
    """Submit every part of the rows of a null (`none`: of the neurons themselves)."""
    parts[null] = [([], pool.submit(_frame, layer, written))]
    for group in groups_of(first_hand(names)):
        for first, stop in spans(n_neurons, group, pool.jobs):
            parts[null].append((group, pool.submit(_part, layer, written, tuple(group), first, stop)))


def _joined(parts: Sequence[tuple[list[str], "Future[pl.DataFrame]"]], names: Sequence[str], null: str) -> pl.DataFrame:
    """The rows of one null, columns in the order of `names`."""
    (_, frame), *others = parts
    tables: dict[str, list[dict[str, pl.DataFrame]]] = {}
    for group, future in others:
        part: Any = future.result()
        for name in group:
            tables.setdefault(name, []).append(part)
    made = {name: pl.concat([part[name] for part in parts], how="vertical") for name, parts in tables.items()}
    return with_scores(frame.result(), with_second_hand(names, made), null)


def _write_null(layer: Layer, null: str, seed: int, path: Path) -> WrittenNull | None:
    """Make a null and write its sample; None where the activations do not allow it."""
    acts, make = _opened(layer), NULLS[null].make
    made = make(acts, seed) if make else None
    if made is None:
        return None
    with SampleWriter(path, len(made.tokens), made.n_neurons) as writer:
        for first in range(0, len(made.tokens), _TOKENS_AT_ONCE):
            writer.append(made.sample.read_tokens(first, min(first + _TOKENS_AT_ONCE, len(made.tokens))))
    no_tokens = type(made.tokens)(**{name: values[:0] for name, values in vars(made.tokens).items()})
    return WrittenNull(null, replace(made, tokens=no_tokens, sample=_NO_SAMPLE), path)


_NO_SAMPLE = SampleFile(Path("-"), 0, 0)


def _frame(layer: Layer, written: WrittenNull | None) -> pl.DataFrame:
    return neuron_table(_activations(layer, written))


def _part(
    layer: Layer, written: WrittenNull | None, names: tuple[str, ...], first: int, stop: int
) -> dict[str, pl.DataFrame]:
    acts = of_neurons(_activations(layer, written), first, stop)
    return {name: SCORES[name].table(acts) for name in names}


def _activations(layer: Layer, written: WrittenNull | None) -> Activations:
    acts = _opened(layer)
    if written is None:
        return acts
    made = written.without_sample
    return replace(made, tokens=acts.tokens, sample=SampleFile(written.sample, len(acts.tokens), made.n_neurons))


@lru_cache(maxsize=1)
def _opened(layer: Layer) -> Activations:
    """The layer's activations, opened once a process. The process that submits the work has verified them."""
    return located(open_activations(layer.directory, check_hashes=False), layer.data, layer.checkpoints)
