"""What became of each child of a widened neuron, by the tokens that it and its parent fire on.

    dead         never fires, or its range is a millionth of the layer's
    duplicate    correlates above 0.95 with an earlier sibling, so it counts with that one
    same         correlates above 0.95 with its parent, or fires where the parent does and on most of it
    specialised  fires where the parent does, on a part of it
    new          fires elsewhere

"Fires where the parent does": at least 80 % of the child's activation falls on tokens where the parent fires, and this
share lies at least halfway between the share on tokens of other parents of the same firing rate and 1. Tokens are
weighted by the child's activation: a child that keeps only a faint part of its parent's contexts has a lower firing
level, so that it also fires on tokens where the parent stays just below its own; weighted alike, these would make it
new.

A GELU neuron that never leaves its negative tail fires nowhere: it is dead here, whatever it correlates with, since
there are no contexts to compare.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from analyze.activations.duplicates import DUPLICATE, components
from analyze.fission.coactivation import Coactivation, FiringLevels
from analyze.fission.lineage import WeightFigures

VERDICTS = ("same", "specialised", "new", "duplicate", "dead")

WITHIN = 0.8
"""The share of a child's activation (where it fires) that must fall on its parent's firing tokens for it to fire where
the parent does. It is the 80 % at which the SoLU paper takes one rule for enough; exact copies are at 1, unrelated
neurons at the parent's firing rate."""
COVERS = 0.8
"""The share of the parent's firing tokens that a child must fire on to be the same: WITHIN the other way round."""
BEYOND_CHANCE = 0.5
"""Least (inside - null) / (1 - null), where null is the mean of inside with the matched parents (the form of Cohen's
kappa, 1960): half of what chance leaves. It matters above a null of 0.6: two neurons that fire on most tokens always
meet."""
FEW_TOKENS = 30
"""A verdict on fewer firing tokens rests on little: a share of 0.8 then has a 95 % interval (Wilson) wider than 0.3.
Such verdicts are given, and counted separately."""

THRESHOLDS = (
    "fires: above 0.1 x its 99.99th percentile, the rule of `collect`; inside: share of the child's activation that "
    "falls on the parent's firing tokens; cover: share of these tokens on which the child fires; duplicate: "
    f"|correlation| > {DUPLICATE:g} with an earlier sibling; same: correlation > {DUPLICATE:g} with the parent, or "
    f"inside >= {WITHIN:g} and cover >= {COVERS:g}; specialised: inside >= {WITHIN:g} alone; either only where (inside "
    f"- null) / (1 - null) >= {BEYOND_CHANCE:g}, null the mean of inside with the other parents whose firing rates are "
    "nearest; new: any other that fires; dead: fires on no token (`collect` calls such a neuron rare while it varies), "
    "or has a range of 1e-6 of the layer's median"
)
"""Stands with every table of verdicts."""


def clusters_of(
    correlation: Float[np.ndarray, "parent child child"], alive: Bool[np.ndarray, "parent child"]
) -> Int[np.ndarray, "parent child"]:
    """The first sibling that each child is joined with by |correlation| > 0.95, transitively.

    A child that is joined with none, or is not alive, is its own first.
    """
    k = correlation.shape[-1]
    joined = (np.nan_to_num(np.abs(correlation)) > DUPLICATE) & alive[:, :, None] & alive[:, None, :]
    family, one, other = joined.nonzero()
    labels = components(alive.size, np.stack([family * k + one, family * k + other], axis=1))
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return (first[inverse] % k).reshape(alive.shape)


def children_table(
    families: Int[np.ndarray, "parent child"], levels: FiringLevels, coactivation: Coactivation, weights: WeightFigures
) -> pl.DataFrame:
    """One row a child, by parent and then by copy: its verdict, and the evidence.

    parent, neuron, copy (place among its siblings); verdict; duplicate_of (a neuron, or null); n_fires (tokens);
    overlap (share of its firing tokens at which the parent fires), cover (share of the parent's that it fires on),
    inside (overlap with tokens weighted by its activation), null_inside and null_inside_most (mean and largest of
    the same with the matched parents), excess (inside - null_inside), related (inside above all matched ones);
    correlation (with the parent), null_correlation (mean absolute one with the matched); sibling_correlation (the
    largest, by size, with an earlier sibling); moved_in, moved_out. Null where it does not fire or does not vary.
    """
    n_parents, k = families.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap, cover = coactivation.both / coactivation.fires, coactivation.both / coactivation.parent_fires[:, None]
        shares = coactivation.weight_with / coactivation.weight[..., None]
    inside, null = shares[..., 0], shares[..., 1:]
    n_matched = null.shape[-1]
    # A layer of a single firing neuron has no others: the chance is the parent's own firing rate.
    rate = np.broadcast_to((coactivation.parent_fires / coactivation.n_tokens)[:, None], inside.shape)
    null_mean = null.mean(-1) if n_matched else rate
    null_most = null.max(-1) if n_matched else rate
    alive = (coactivation.fires > 0) & ~levels.dead.numpy()[families]
    first = clusters_of(coactivation.siblings, alive)
    correlation = coactivation.correlation[..., 0]
    verdict = verdict_of(alive, first, inside, cover, null_mean, correlation)
    earlier = np.tril(np.ones((k, k), dtype=bool), -1)
    near = np.where(earlier, np.nan_to_num(coactivation.siblings), 0.0)
    nearest = np.take_along_axis(near, np.abs(near).argmax(-1)[..., None], -1)[..., 0]
    others = np.nan_to_num(np.abs(coactivation.correlation[..., 1:]))
    columns = {
        "parent": np.repeat(np.arange(n_parents), k),
        "neuron": families,
        "copy": np.tile(np.arange(k), n_parents),
        "verdict": np.array(VERDICTS)[verdict],
        "duplicate_of": np.where(first != np.arange(k), np.take_along_axis(families, first, 1), -1),
        "n_fires": coactivation.fires.astype(np.int64),
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
    children: pl.DataFrame, coactivation: Coactivation, weights: WeightFigures, parent_dead: Bool[np.ndarray, "parent"]
) -> pl.DataFrame:
    """One row a parent: its children counted by verdict, and how far they have parted.

    parent; parent_firing_rate, parent_dead; n_children, n_alive, n_clusters (living children, duplicates once), one
    column a verdict; n_related (new, yet more of it inside the parent than inside any matched one), n_few (of
    n_clusters, those that fire on fewer than 30 tokens); cos_in_mean, cos_in_min, cos_out_mean,
    cos_out_min over pairs of siblings; correlation_mean and correlation_min over pairs that vary; moved_in and
    moved_out, means over the children. Null where there is nothing to average.
    """
    pairs = np.triu_indices(coactivation.siblings.shape[-1], 1)

    def over_pairs(values: Float[np.ndarray, "parent child child"], name: str) -> dict[str, np.ndarray]:
        of_pairs = values[:, pairs[0], pairs[1]]
        known = np.isfinite(of_pairs)
        n = known.sum(-1)
        mean = np.where(n > 0, np.where(known, of_pairs, 0.0).sum(-1) / np.maximum(n, 1), np.nan)
        least = np.where(n > 0, np.where(known, of_pairs, np.inf).min(-1, initial=np.inf), np.nan)
        return {f"{name}_mean": mean, f"{name}_min": least}

    counts = [(pl.col("verdict") == name).sum().cast(pl.Int32).alias(name) for name in VERDICTS]
    new, few = pl.col("verdict") == "new", pl.col("n_fires") < FEW_TOKENS
    counted = children.group_by("parent", maintain_order=True).agg(
        pl.len().cast(pl.Int32).alias("n_children"),
        (pl.col("verdict") != "dead").sum().cast(pl.Int32).alias("n_alive"),
        (~pl.col("verdict").is_in(["dead", "duplicate"])).sum().cast(pl.Int32).alias("n_clusters"),
        *counts,
        (new & pl.col("related")).sum().cast(pl.Int32).alias("n_related"),
        (~pl.col("verdict").is_in(["dead", "duplicate"]) & few).sum().cast(pl.Int32).alias("n_few"),
        pl.col("moved_in", "moved_out").mean(),
    )
    own = {"parent_firing_rate": coactivation.parent_fires / coactivation.n_tokens, "parent_dead": parent_dead}
    spread = {
        **over_pairs(weights.cos_in.numpy(), "cos_in"),
        **over_pairs(weights.cos_out.numpy(), "cos_out"),
        **over_pairs(coactivation.siblings, "correlation"),
    }
    extra = pl.DataFrame({**own, **spread}).with_columns(pl.col(pl.Float64).fill_nan(None))
    return pl.concat([counted, extra], how="horizontal")
