"""What `fission` left on disk, read back, and as tables for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from analyze.activations.directory import find_directories
from analyze.fission.coactivation import MATCHED
from analyze.fission.families import RULE, chosen_parents, tree
from analyze.fission.merge_loss import ROWS, n_worth, read_splits
from analyze.fission.verdicts import FEW_TOKENS, THRESHOLDS, VERDICTS
from analyze.tables import Table
from train.errors import BadInput
from train.files import verify

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Fission:
    """What was found at one step of a widened run, one layer."""

    directory: Path
    meta: dict[str, Any]
    """run, variant, seed, step, tokens (since the run's own start), layer, hook, act, plan, parent_run, parent_step,
    n_parents, n_children (of each), n_fresh, n_tokens, data_dir, data_hash, n_ctx, checkpoint_hash, parent_hash."""
    children: pl.DataFrame
    """See `analyze.fission.verdicts.children_table`."""
    parents: pl.DataFrame
    """See `analyze.fission.verdicts.parents_table`."""
    examples: pl.DataFrame | None
    """See `analyze.fission.families.strongest`; of the run's last step alone."""
    passages: pl.DataFrame | None
    splits: pl.DataFrame | None
    """See `analyze.fission.merge_loss.measure_splits`; of the run's last step alone."""
    loss: float | None
    """On the rows that splits were measured on."""
    loss_all_merged: float | None

    @property
    def worth(self) -> float | None:
        """Nats a token that all splits together recovered."""
        return None if self.loss is None or self.loss_all_merged is None else self.loss_all_merged - self.loss


def read_fission(directory: Path) -> Fission:
    """Open one sealed `.fission` directory.

    Raises:
        BadInput: not such a directory, another format version, or damaged.
    """
    manifest = verify(directory)
    if manifest.get("kind") != "fission" or manifest.get("format_version") != FORMAT_VERSION:
        raise BadInput(f"{directory}: not fission of format version {FORMAT_VERSION}; measure again")
    tables = {path.stem: pl.read_parquet(path) for path in directory.glob("*.parquet")}
    splits, loss, merged = read_splits(directory) or (None, None, None)
    return Fission(
        directory,
        manifest["meta"],
        tables["children"],
        tables["parents"],
        tables.get("examples"),
        tables.get("passages"),
        splits,
        loss,
        merged,
    )


def find_fission(results: Path) -> list[Fission]:
    """Everything that was measured under a results directory, by variant, seed, layer and step."""
    found = [read_fission(path) for path in find_directories(results, "fission")]
    return sorted(found, key=lambda one: tuple(one.meta[key] for key in ("variant", "seed", "layer", "step")))


def read_run(results: Path, layer: int) -> list[Fission]:
    """One layer of one run, in order of its steps."""
    return [one for one in find_fission(results) if one.meta["layer"] == layer]


def as_markdown(found: Sequence[Fission]) -> str:
    """The whole fission-L<layer>.md of a run: divergence and verdicts over its steps, and three families."""
    last = found[-1]
    meta = last.meta
    n_fresh = f", beside {meta['n_fresh']:,} neurons without a parent" if meta["n_fresh"] else ""
    parts = [
        f"# Who became what: {meta['run']}, layer {meta['layer']}, hook {meta['hook']}",
        f"{meta['n_parents']:,} neurons of {meta['parent_run']} (step {meta['parent_step']:,}), "
        f"{meta['n_children']} children each{n_fresh}; {plan_line(meta['plan'])}; read on {meta['n_tokens']:,} "
        f"held-out tokens at step {meta['step']:,}.",
    ]
    for table in (divergence_table(found), verdict_table(found)):
        parts += [f"## {table.title}", table.caption, table.markdown()]
    told = splits_line(last)
    if told:
        parts += ["## What the splits were worth", told]
    if last.examples is not None:
        parts += ["## Three families", RULE]
        for reason, parent in chosen_parents(last.parents, meta["layer"]).items():
            parts += [f"### {reason}", "```\n" + tree(parent, last.parents, last.children) + "\n```"]
    return "\n\n".join(parts) + "\n"


def splits_line(one: Fission) -> str:
    """What the splits of a run's last step recovered, in words; empty where it was not measured."""
    if one.splits is None or one.worth is None:
        return ""
    total = one.splits["recovered"].sum()
    return (
        f"Merging the children of every parent again (each given the mean of its siblings' weights) costs "
        f"{1000 * one.worth:.2f} millinats a token (loss {one.loss:.4f} on {ROWS} held-out rows, "
        f"{one.loss_all_merged:.4f} merged). Parent by parent, the rest left split: {1000 * total:.2f} in sum, more "
        f"than two standard errors over rows for {n_worth(one.splits):,} of {one.splits.height:,} parents."
    )


def plan_line(plan: dict[str, Any]) -> str:
    """A widening's plan in words."""
    noise = "no noise" if plan["noise"] == "none" else f"{plan['noise']} noise, sigma {plan['sigma']:g}"
    return f"widened {plan['factor']} x, copies {plan['copies']}, {plan['split']} split, {noise}"


def divergence_table(found: Sequence[Fission]) -> Table:
    """How far siblings have parted at every step of a run."""
    rows = []
    for one in found:
        own = one.parents
        cells = [f"{one.meta['step']:,}", f"{one.meta['tokens']:,}", f"{one.meta['n_tokens']:,}"]
        for name in ("cos_in", "cos_out", "correlation"):
            cells += [_median(own[f"{name}_mean"], 4), _median(own[f"{name}_min"], 4)]
        cells += [_median(own["moved_in"], 3), _median(own["moved_out"], 3)]
        rows.append(tuple(cells))
    return Table(
        "How siblings part",
        "Medians over parents. Cosine of W_in and of W_out and correlation of activations among the children of one "
        "parent, mean and least over pairs; moved: distance from the weights at birth over their length. Tokens: "
        "trained on since the run's start; read on: held-out ones.",
        (
            "step",
            "tokens",
            "read on",
            "cos W_in",
            "least",
            "cos W_out",
            "least",
            "correlation",
            "least",
            "moved W_in",
            "W_out",
        ),
        tuple(rows),
    )


def verdict_table(found: Sequence[Fission]) -> Table:
    """What children are told to be at every step of a run."""
    rows = []
    for one in found:
        sums = {name: int(one.parents[name].sum()) for name in (*VERDICTS, "n_related", "n_few", "n_clusters")}
        apart = f"{sums['n_clusters'] / one.parents.height:.2f}"
        cells = [f"{one.meta['step']:,}", *(f"{sums[name]:,}" for name in VERDICTS)]
        rows.append((*cells, f"{sums['n_related']:,}", apart, f"{sums['n_few']:,}"))
    return Table(
        "What children became",
        f"{THRESHOLDS}. Related: new, yet more of it inside its parent than inside any of the {MATCHED} matched ones. "
        "Different a parent: children alive, duplicates counted once. On little: of these, those that fire on fewer "
        f"than {FEW_TOKENS} tokens.",
        ("step", *VERDICTS, "related", "different a parent", "on little"),
        tuple(rows),
    )


def _median(values: pl.Series, digits: int) -> str:
    found = values.drop_nulls().median()
    return "–" if found is None else f"{found:.{digits}f}"
