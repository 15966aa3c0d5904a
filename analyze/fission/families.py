"""The parents that readers see with their children, and what these fire on most strongly."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from analyze.activations.store import TokenSample
from analyze.activations.token_sample import select
from analyze.activations.top_examples import TopExamples
from analyze.fission.verdicts import VERDICTS
from analyze.scores.passages import AFTER, BEFORE, N_EXAMPLES

MOST, MEDIAN, RANDOM = "most different verdicts", "median sibling correlation", "random"
SHOWN = 8
"""Children that are shown with their examples; the rest are counted."""
RULE = (
    f"A rule chooses three parents among those with a child that fires. The first has the {MOST} (of equals the one "
    "with more clusters of children, then the first). The second stands in the middle when all are put in order of "
    "the mean correlation among their children. The third is drawn at random with a fixed seed; it alone is typical. "
    f"You see the first {SHOWN} children that are neither dead nor a duplicate of an earlier sibling."
)


@dataclass(frozen=True)
class Member:
    """A parent or a child that is shown with examples."""

    family: int
    """The parent's index."""
    neuron: int
    is_parent: bool


def chosen_parents(parents: pl.DataFrame, seed: int) -> dict[str, int]:
    """The parents that are shown, by reason; see RULE. Empty where no child fires."""
    living = parents.filter(pl.col("n_alive") > 0)
    if not living.height:
        return {}
    kinds = pl.sum_horizontal(*((pl.col(name) > 0).cast(pl.Int32) for name in VERDICTS))
    most = living.sort(kinds, "n_clusters", -pl.col("parent"), descending=True)["parent"][0]
    chosen = {MOST: int(most)}
    for reason, table in (
        (MEDIAN, living.sort("correlation_mean", "parent", nulls_last=True)),
        (RANDOM, living.sort("parent")),
    ):
        rest = table.filter(~pl.col("parent").is_in(list(chosen.values())))["parent"].to_list()
        if rest:
            drawn = int(np.random.default_rng([seed, len(rest)]).integers(len(rest)))
            chosen[reason] = int(rest[drawn if reason == RANDOM else len(rest) // 2])
    return chosen


def shown_children(children: pl.DataFrame, parent: int) -> list[int]:
    """The children of a parent that are shown with their examples, in order."""
    mine = children.filter((pl.col("parent") == parent) & ~pl.col("verdict").is_in(["dead", "duplicate"]))
    return mine.sort("copy")["neuron"].head(SHOWN).to_list()


def members_of(children: pl.DataFrame, chosen: Sequence[int]) -> list[Member]:
    """Every parent that is shown, each before its children."""
    members = []
    for parent in chosen:
        members.append(Member(parent, parent, True))
        members += [Member(parent, neuron, False) for neuron in shown_children(children, parent)]
    return members


def strongest(
    members: Sequence[Member], values: Float[Tensor, "t member"], tokens: TokenSample
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The strongest examples of every member in the score-eval half, and the activations around them.

    Returns:
        Examples: family, neuron, is_parent, rank from 0, document, stream_position, position, activation, and
        parent_activation, the parent's at that token. Passages: family, neuron, is_parent, stream_position,
        activation, for the tokens around each of them.
    """
    eval_half = np.flatnonzero(~tokens.is_fit)
    part, kept = values[torch.from_numpy(eval_half)], select(tokens, eval_half)
    who = {"family": pl.Int32, "neuron": pl.Int32, "is_parent": pl.Boolean}
    rows = [(index, *astuple(member)) for index, member in enumerate(members)]
    keys = pl.DataFrame(rows, schema={"member": pl.Int32, **who}, orient="row")
    top = TopExamples(len(members))
    if len(kept):
        top.update(part, kept)
    examples = top.finish().filter(pl.col("rank") < N_EXAMPLES).rename({"neuron": "member"}).drop("half")
    parent_at = {member.family: index for index, member in enumerate(members) if member.is_parent}
    place = np.searchsorted(kept.stream_position, examples["stream_position"].to_numpy())
    columns = np.array([parent_at[members[index].family] for index in examples["member"].to_list()], dtype=np.int64)
    theirs = part.numpy()[place, columns] if len(columns) else np.zeros(0, dtype=np.float32)
    examples = examples.with_columns(pl.Series("parent_activation", theirs, dtype=pl.Float32))
    around = []
    for (index,), mine in examples.group_by("member", maintain_order=True):
        near = np.zeros(len(kept), dtype=bool)
        for peak in mine["stream_position"].to_list():
            first, stop = np.searchsorted(kept.stream_position, (peak - BEFORE, peak + AFTER + 1))
            near[first:stop] = True
        columns_near = {"stream_position": kept.stream_position[near], "activation": part[:, index].numpy()[near]}
        around.append(pl.DataFrame(columns_near).select(pl.lit(index, dtype=pl.Int32).alias("member"), pl.all()))
    schema = {"member": pl.Int32, "stream_position": pl.Int64, "activation": pl.Float32}
    passages = pl.concat(around) if around else pl.DataFrame(schema=schema)
    joined = (table.join(keys, on="member", how="left", maintain_order="left") for table in (examples, passages))
    examples, passages = (table.select(*who, pl.exclude("member", *who)) for table in joined)
    return examples, passages


def tree(parent: int, parents: pl.DataFrame, children: pl.DataFrame) -> str:
    """A parent and its children as text, duplicates below the sibling that they count with."""
    own = parents.row(by_predicate=pl.col("parent") == parent, named=True)
    counts = ", ".join(f"{own[name]} {name}" for name in VERDICTS if own[name])
    state = "dead" if own["parent_dead"] else f"fires on {100 * own['parent_firing_rate']:.2g} % of tokens"
    mine = children.filter(pl.col("parent") == parent)
    apart = mine.filter(pl.col("duplicate_of").is_null()).to_dicts()
    lines = [f"neuron {parent} ({state}): {counts}"]
    for index, row in enumerate(apart):
        last = index == len(apart) - 1
        lines.append(f"{'└' if last else '├'}── {_child_line(row)}")
        copies = mine.filter(pl.col("duplicate_of") == row["neuron"])["neuron"].to_list()
        if copies:
            lines.append(f"{' ' if last else '│'}   └── duplicates: {' '.join(map(str, copies))}")
    return "\n".join(lines)


def called(row: dict[str, Any]) -> str:
    """A child's verdict in words; one that is new and yet related to its parent is called so."""
    return "new, related" if row["verdict"] == "new" and row["related"] else row["verdict"]


def _child_line(row: dict[str, Any]) -> str:
    if row["verdict"] == "dead":
        return f"{row['neuron']} dead"
    names = {"null_inside": "by chance"}
    keys = ("inside", "null_inside", "overlap", "cover", "correlation")
    return f"{row['neuron']} {called(row)}: {', '.join(f'{names.get(key, key)} {value(row[key])}' for key in keys)}"


def value(figure: object) -> str:
    """A share or correlation with two decimals; a dash where there is none."""
    return f"{figure:.2f}" if isinstance(figure, float) else "–"
