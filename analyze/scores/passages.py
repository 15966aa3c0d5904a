"""Which neurons a report shows, and the activations around their examples, which stay when samples are deleted."""

from pathlib import Path

import numpy as np
import polars as pl

from analyze.activations.directory import beside
from analyze.activations.store import SCORED, Activations, open_activations
from analyze.scores import PRIMARY, SCORES
from analyze.scores.base import Verdict
from analyze.scores.store import read_scores
from train.errors import BadInput, Damaged
from train.files import found_or_made, manifest_hash, verify
from train.parquet import read_parquet, write_parquet

BEFORE, AFTER = 12, 6
"""Tokens shown before and after the peak of an example."""
N_EXAMPLES = 5
N_RANDOM, N_EXTREME = 6, 3


def shown_neurons(scores: pl.DataFrame, layer: int, verdict: Verdict | None) -> dict[str, list[int]]:
    """Neurons that a report shows: "random" of all scored ones, "smallest" and "largest" value of the judged.

    Args:
        scores: scores.parquet of one layer, without the rows of nulls.
        verdict: of the score that the report asks about.
    """
    scored = scores.filter(pl.col("status") == SCORED).sort("neuron")
    chosen = np.random.default_rng([layer, scored.height]).permutation(scored.height)[:N_RANDOM]
    shown = {"random": scored["neuron"][sorted(chosen.tolist())].to_list(), "smallest": [], "largest": []}
    if verdict is not None and verdict.column in scores.columns:
        judged = scored.filter(pl.col(verdict.column).is_not_null()).sort(verdict.value, "neuron")["neuron"]
        shown |= {"smallest": judged.head(N_EXTREME).to_list(), "largest": judged.tail(N_EXTREME).reverse().to_list()}
    return shown


def shown_examples(acts: Activations, neuron: int) -> pl.DataFrame:
    """The strongest examples of the score-eval half that a report shows, strongest first."""
    mine = acts.examples.filter((pl.col("neuron") == neuron) & (pl.col("half") == "eval"))
    return mine.sort("rank").head(N_EXAMPLES)


def around_examples(acts: Activations, neurons: list[int]) -> pl.DataFrame:
    """Sampled activations around the shown examples: one row a neuron and stream_position.

    Raises:
        BadInput: the sample has been deleted.
    """
    stream, frames = acts.tokens.stream_position, [pl.DataFrame(schema=_SCHEMA)]
    for neuron in sorted(set(neurons)):
        values = acts.block(neuron, neuron + 1)[:, 0].numpy()
        near = np.zeros(len(stream), dtype=bool)
        for peak in shown_examples(acts, neuron)["stream_position"].to_list():
            near[np.searchsorted(stream, peak - BEFORE) : np.searchsorted(stream, peak + AFTER + 1)] = True
        rows = {"neuron": [neuron] * int(near.sum()), "stream_position": stream[near], "activation": values[near]}
        frames.append(pl.DataFrame(rows, schema=_SCHEMA))
    return pl.concat(frames)


_SCHEMA = {"neuron": pl.Int64, "stream_position": pl.Int64, "activation": pl.Float32}


def keep_passages(directory: Path) -> Path:
    """Seal the activations a report will show beside scored activations, unless that is done.

    Call it before the sample is deleted: a report made later still highlights every token around an example.

    Raises:
        BadInput: no scores there, or the sample is gone while passages of these scores are not there.
    """
    final, scores = beside(directory, "passages"), beside(directory, "scores")

    def make(aside: Path) -> None:
        acts = open_activations(directory)
        rows = read_scores(scores)[0].filter(pl.col("null") == "none")
        shown = shown_neurons(rows, acts.meta.layer, SCORES[PRIMARY].verdict)
        table = around_examples(acts, [neuron for group in shown.values() for neuron in group])
        write_parquet(table, aside / "passages.parquet")

    found_or_made(final, {"kind": "passages", "scores_hash": manifest_hash(scores)}, make)
    return final


def read_passages(acts: Activations, neurons: list[int]) -> pl.DataFrame:
    """As `around_examples`: from the sample where it is there, else from what `keep_passages` kept.

    Raises:
        BadInput: neither is there, or what was kept belongs to other scores.
    """
    try:
        return around_examples(acts, neurons)
    except Damaged:
        raise
    except BadInput as failure:
        if acts.directory is None or not (kept := beside(acts.directory, "passages")).is_dir():
            raise
        if verify(kept).get("scores_hash") != manifest_hash(beside(acts.directory, "scores")):
            raise BadInput(f"{kept}: kept for other scores than lie beside it; collect again") from failure
        return read_parquet(kept / "passages.parquet")
