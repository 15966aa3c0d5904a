"""What became of each child of a widened neuron, told from what it fires on beside what its parent fires on.

    dead         never fires, or its range is a millionth of the layer's
    duplicate    correlates above 0.95 with an earlier sibling, so it counts with that one
    same         correlates above 0.95 with its parent, or fires where the parent does and on most of it
    specialised  fires where the parent does, on a part of it
    new          fires elsewhere

"Fires where the parent does": at least 80 % of what it says falls on tokens at which the parent fires, and that is at
least half of the way from what falls on those of other parents of the same firing rate to all. Tokens are weighted by
the child's activation: one that keeps only a faint part of its parent's contexts has a lower level of its own, and so
fires on the tokens at which the parent stays just below its level; counted alike, they would make it new.

A GELU neuron that never leaves its negative tail fires nowhere: dead here, whatever it correlates with, since there are
no contexts to compare.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from analyze.activations.duplicates import DUPLICATE
from analyze.fission.coactivation import Kinship, Levels
from analyze.fission.lineage import WeightFigures

VERDICTS = ("same", "specialised", "new", "duplicate", "dead")

WITHIN = 0.8
"""Of a child's activation where it fires, the share that must fall on its parent's firing tokens for it to fire where
the parent does. The 80 % by which the field calls one rule enough (SoLU paper); exact copies are at 1, unrelated
neurons at the parent's firing rate."""
COVERS = 0.8
"""Of the parent's firing tokens, the share that a child must fire on to be the same. As WITHIN, the other way round."""
BEYOND_CHANCE = 0.5
"""Least (inside - null) / (1 - null), null the mean of the same with the matched parents (the form of Cohen's kappa,
1960): half of what chance leaves. It binds above a null of 0.6: two neurons that fire on most tokens always meet."""
FEW_TOKENS = 30
"""A verdict on fewer firing tokens rests on little: a share of 0.8 then has a 95 % interval (Wilson) wider than
0.3. Such verdicts are given, and counted apart."""

THRESHOLDS = (
    "fires: above 0.1 x its 99.99th percentile, the rule of `collect`; "
    "inside: share of the child's activation that falls on the parent's firing tokens; "
    "cover: share of these tokens on which the child fires; "
    f"duplicate: |correlation| > {DUPLICATE:g} with an earlier sibling; "
    f"same: correlation > {DUPLICATE:g} with the parent, or inside >= {WITHIN:g} and cover >= {COVERS:g}; "
    f"specialised: inside >= {WITHIN:g} alone; either only where (inside - null) / (1 - null) >= {BEYOND_CHANCE:g}, "
    "null the mean of inside with the other parents whose firing rates are nearest; new: any other that fires; "
    "dead: fires on no token (`collect` calls such a neuron rare while it varies), or has a range of 1e-6 of the "
    "layer's median"
)
"""Said with every table of verdicts."""


def clusters_of(
    correlation: Float[np.ndarray, "parent child child"], alive: Bool[np.ndarray, "parent child"]
) -> Int[np.ndarray, "parent child"]:
    """For every child the first of the siblings that it is joined with by |correlation| > 0.95, transitively.

    A child that is joined with none, and one that is not alive, is its own first.
    """
    k = correlation.shape[-1]
    joined = (np.nan_to_num(np.abs(correlation)) > DUPLICATE) & alive[:, :, None] & alive[:, None, :]
    joined |= np.eye(k, dtype=bool)
    first = np.broadcast_to(np.arange(k), alive.shape).copy()
    while True:
        reached = np.where(joined, first[:, None, :], k).min(axis=-1)
        if np.array_equal(reached, first):
            return first
        first = reached


def children_table(
    families: Int[np.ndarray, "parent child"],
    levels: Levels,
    kinship: Kinship,
    weights: WeightFigures,
) -> pl.DataFrame:
    """One row a child, by parent and then by neuron: its verdict, and the evidence.

    parent, neuron, copy (place among its siblings); verdict; duplicate_of (a neuron, or null); n_fires (tokens);
    overlap (share of its firing tokens at which the parent fires), cover (share of the parent's that it fires on),
    inside (overlap with tokens weighted by its activation), null_inside and null_inside_most (mean and largest of
    the same with the matched parents), excess (inside - null_inside), related (inside above all matched ones);
    correlation (with the parent), null_correlation (mean absolute one with the matched); sibling_correlation (the
    largest, by size, with an earlier sibling); moved_in, moved_out. Null where it does not fire or does not vary.
    """
    n_parents, k = families.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap, cover = kinship.both / kinship.fires, kinship.both / kinship.parent_fires[:, None]
        shares = kinship.weight_with / kinship.weight[..., None]
    inside, null = shares[..., 0], shares[..., 1:]
    n_matched = null.shape[-1]
    # A layer of a single firing neuron has no others: the chance is the parent's own firing rate.
    rate = np.broadcast_to((kinship.parent_fires / kinship.n_tokens)[:, None], inside.shape)
    null_mean = null.mean(-1) if n_matched else rate
    null_most = null.max(-1) if n_matched else rate
    alive = (kinship.fires > 0) & ~levels.dead.numpy()[families]
    first = clusters_of(kinship.siblings, alive)
    correlation = kinship.correlation[..., 0]
    verdict = verdict_of(alive, first, inside, cover, null_mean, correlation)
    earlier = np.tril(np.ones((k, k), dtype=bool), -1)
    near = np.where(earlier, np.nan_to_num(kinship.siblings), 0.0)
    nearest = np.take_along_axis(near, np.abs(near).argmax(-1)[..., None], -1)[..., 0]
    others = np.nan_to_num(np.abs(kinship.correlation[..., 1:]))
    columns = {
        "parent": np.repeat(np.arange(n_parents), k),
        "neuron": families,
        "copy": np.tile(np.arange(k), n_parents),
        "verdict": np.array(VERDICTS)[verdict],
        "duplicate_of": np.where(first != np.arange(k), np.take_along_axis(families, first, 1), -1),
        "n_fires": kinship.fires.astype(np.int64),
        "overlap": overlap,
        "cover": cover,
        "inside": inside,
        "null_inside": null_mean,
        "null_inside_most": null_most,
        "excess": inside - null_mean,
        "related": inside > null_most,
        "correlation": correlation,
        "null_correlation": others.mean(-1) if n_matched else np.zeros(overlap.shape),
        "sibling_correlation": nearest,
        "moved_in": weights.moved_in.numpy(),
        "moved_out": weights.moved_out.numpy(),
    }
    table = pl.DataFrame({name: np.ascontiguousarray(values).reshape(-1) for name, values in columns.items()})
    return table.with_columns(
        pl.col("parent", "neuron", "copy").cast(pl.Int32),
        pl.when(pl.col("duplicate_of") >= 0).then(pl.col("duplicate_of").cast(pl.Int32)),
        pl.col(pl.Float64).fill_nan(None),
    )


def verdict_of(
    alive: Bool[np.ndarray, "*shape"],
    first: Int[np.ndarray, "*shape"],
    inside: Float[np.ndarray, "*shape"],
    cover: Float[np.ndarray, "*shape"],
    null: Float[np.ndarray, "*shape"],
    correlation: Float[np.ndarray, "*shape"],
) -> Int[np.ndarray, "*shape"]:
    """Index in VERDICTS of every child; the rules and their thresholds stand at the top of this file.

    Args:
        alive: whether it fires at all.
        first: place of the first sibling that it is joined with; its own where there is none.
        inside, cover, null, correlation: as in `children_table`; NaN counts as 0.
    """
    inside, cover, null, correlation = (np.nan_to_num(each) for each in (inside, cover, null, correlation))
    within = (inside >= WITHIN) & (inside - null >= BEYOND_CHANCE * (1 - null))
    same = (correlation > DUPLICATE) | (within & (cover >= COVERS))
    duplicate = first != np.arange(first.shape[-1])
    names = [~alive, duplicate, same, within]
    codes = [VERDICTS.index(name) for name in ("dead", "duplicate", "same", "specialised")]
    return np.select(names, codes, default=VERDICTS.index("new"))


def parents_table(
    children: pl.DataFrame, kinship: Kinship, weights: WeightFigures, parent_dead: Bool[np.ndarray, "parent"]
) -> pl.DataFrame:
    """One row a parent: its children counted by verdict, and how far they have parted.

    parent; parent_firing_rate, parent_dead; n_children, n_alive, n_clusters (living children, duplicates once), one
    column a verdict; n_related (new, yet more of it inside the parent than inside any matched one), n_few (of
    n_clusters, those that fire on fewer than 30 tokens: told from little); cos_in_mean, cos_in_min, cos_out_mean,
    cos_out_min over pairs of siblings; correlation_mean and correlation_min over pairs that vary; moved_in and
    moved_out, means over the children. Null where there is nothing to average.
    """
    pairs = np.triu_indices(kinship.siblings.shape[-1], 1)

    def over_pairs(values: Float[np.ndarray, "parent child child"], name: str) -> dict[str, np.ndarray]:
        held = values[:, pairs[0], pairs[1]]
        known = np.isfinite(held)
        n = known.sum(-1)
        mean = np.where(n > 0, np.where(known, held, 0.0).sum(-1) / np.maximum(n, 1), np.nan)
        least = np.where(n > 0, np.where(known, held, np.inf).min(-1, initial=np.inf), np.nan)
        return {f"{name}_mean": mean, f"{name}_min": least}

    counts = [(pl.col("verdict") == name).sum().cast(pl.Int32).alias(name) for name in VERDICTS]
    new, few = pl.col("verdict") == "new", pl.col("n_fires") < FEW_TOKENS
    told = children.group_by("parent", maintain_order=True).agg(
        pl.len().cast(pl.Int32).alias("n_children"),
        (pl.col("verdict") != "dead").sum().cast(pl.Int32).alias("n_alive"),
        (~pl.col("verdict").is_in(["dead", "duplicate"])).sum().cast(pl.Int32).alias("n_clusters"),
        *counts,
        (new & pl.col("related")).sum().cast(pl.Int32).alias("n_related"),
        (~pl.col("verdict").is_in(["dead", "duplicate"]) & few).sum().cast(pl.Int32).alias("n_few"),
        pl.col("moved_in", "moved_out").mean(),
    )
    own = {"parent_firing_rate": kinship.parent_fires / kinship.n_tokens, "parent_dead": parent_dead}
    spread = {
        **over_pairs(weights.cos_in.numpy(), "cos_in"),
        **over_pairs(weights.cos_out.numpy(), "cos_out"),
        **over_pairs(kinship.siblings, "correlation"),
    }
    extra = pl.DataFrame({**own, **spread}).with_columns(pl.col(pl.Float64).fill_nan(None))
    return pl.concat([told, extra], how="horizontal")
