"""The results of `fission` read back from disk, and as tables for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from analyze.activations.directory import find_directories
from analyze.fission.coactivation import MATCHED
from analyze.fission.families import RULE, chosen_parents, tree
from analyze.fission.merge_loss import ROWS, n_noticeable, read_splits
from analyze.fission.verdicts import FEW_TOKENS, THRESHOLDS, VERDICTS
from analyze.tables import Table
from train.config import WidenPlan
from train.configfile import validate
from train.errors import BadInput
from train.files import read_manifest, verify
from train.parquet import read_parquet

FORMAT_VERSION = 1


class FissionMeta(BaseModel):
    """The facts of one measured step, under `meta` in its manifest."""

    model_config = ConfigDict(frozen=True)

    run: str
    variant: str
    root_variant: str
    seed: int
    step: int
    tokens: int
    """Trained on since the run's own start."""
    layer: int
    hook: str
    act: str
    plan: WidenPlan
    parent_run: str
    parent_step: int
    n_parents: int
    n_children: int
    """Of each parent."""
    n_fresh: int
    """Neurons that were drawn anew and have no parent."""
    n_tokens: int
    """Held-out tokens that this step was measured on."""
    data_dir: str
    data_hash: str
    n_ctx: int
    checkpoint_hash: str
    parent_hash: str
    run_hash: str = ""
    """Which run it is (`analyze.activations.identity`); empty in results of earlier versions."""


@dataclass(frozen=True)
class Fission:
    """One step of a widened run, one layer."""

    directory: Path
    meta: FissionMeta
    children: pl.DataFrame
    """See `analyze.fission.verdicts.children_table`."""
    parents: pl.DataFrame
    """See `analyze.fission.verdicts.parents_table`."""
    examples: pl.DataFrame | None
    """See `analyze.fission.families.strongest`; only of the run's last step."""
    passages: pl.DataFrame | None
    splits: pl.DataFrame | None
    """See `analyze.fission.merge_loss.measure_splits`; only of the run's last step."""
    loss: float | None
    """On the rows that splits were measured on."""
    loss_all_merged: float | None

    @property
    def recovered(self) -> float | None:
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
    splits, loss, all_merged = read_splits(directory) or (None, None, None)
    return Fission(
        directory,
        validate(FissionMeta, manifest.get("meta"), f"{directory}: meta"),
        children=read_parquet(directory / "children.parquet"),
        parents=read_parquet(directory / "parents.parquet"),
        examples=_table(directory / "examples.parquet"),
        passages=_table(directory / "passages.parquet"),
        splits=splits,
        loss=loss,
        loss_all_merged=all_merged,
    )


def _table(path: Path) -> pl.DataFrame | None:
    return read_parquet(path) if path.is_file() else None


def find_fission(results: Path) -> list[Fission]:
    """Everything that was measured under a results directory, by variant, seed, layer and step."""
    steps = [read_fission(path) for path in find_directories(results, "fission")]
    return sorted(steps, key=lambda step: (step.meta.variant, step.meta.seed, step.meta.layer, step.meta.step))


def read_run(results: Path, layer: int) -> list[Fission]:
    """One layer of one run, in order of its steps.

    Raises:
        BadInput: steps of two runs that share the name.
    """
    steps = [step for step in find_fission(results) if step.meta.layer == layer]
    require_one_run(steps)
    return steps


def require_same_run(results: Path, step: Path, run_hash: str) -> None:
    """Refuse to lay a run's steps among those of another run that has its name.

    Raises:
        BadInput: naming both.
    """
    for directory in find_directories(results, "fission"):
        before = read_manifest(directory).get("meta", {}).get("run_hash")
        if before and before != run_hash:
            raise BadInput(
                f"{step}: is another run than the one of its name that {directory} was measured on; choose another "
                f"--out, or remove {results}"
            )


def require_one_run(steps: Sequence[Fission]) -> None:
    """Refuse steps of two runs as those of one.

    Raises:
        BadInput: naming two of them.
    """
    known = [step for step in steps if step.meta.run_hash]
    for step in known[1:]:
        if step.meta.run_hash != known[0].meta.run_hash:
            raise BadInput(
                f"{known[0].directory} and {step.directory}: share the name {step.meta.run} and are of different runs; "
                "remove one, or measure it with another --out"
            )


def as_markdown(steps: Sequence[Fission]) -> str:
    """The whole fission-L<layer>.md of a run: divergence and verdicts over its steps, and three families."""
    last = steps[-1]
    meta = last.meta
    n_fresh = f", beside {meta.n_fresh:,} neurons without a parent" if meta.n_fresh else ""
    parts = [
        f"# Who became what: {meta.run}, layer {meta.layer}, hook {meta.hook}",
        f"{meta.n_parents:,} neurons of {meta.parent_run} (step {meta.parent_step:,}), {meta.n_children} children "
        f"each{n_fresh}; {plan_line(meta.plan)}; read on {meta.n_tokens:,} held-out tokens at step {meta.step:,}.",
    ]
    for table in (divergence_table(steps), verdict_table(steps)):
        parts += [f"## {table.title}", table.caption, table.markdown()]
    if line := splits_line(last):
        parts += ["## What the splits were worth", line]
    if last.examples is not None:
        parts += ["## Three families", RULE]
        for reason, parent in chosen_parents(last.parents, meta.layer).items():
            parts += [f"### {reason}", "```\n" + tree(parent, last.parents, last.children) + "\n```"]
    return "\n\n".join(parts) + "\n"


def splits_line(last: Fission) -> str:
    """What the splits of a run's last step recovered, in words; empty if it was not measured."""
    if last.splits is None or last.recovered is None:
        return ""
    total = last.splits["recovered"].sum()
    return (
        f"Merging the children of every parent again (each given the mean of its siblings' weights) costs "
        f"{1000 * last.recovered:.2f} millinats a token (loss {last.loss:.4f} on {ROWS} held-out rows, "
        f"{last.loss_all_merged:.4f} merged). Parent by parent, the rest left split: {1000 * total:.2f} in sum, more "
        f"than two standard errors over rows for {n_noticeable(last.splits):,} of {last.splits.height:,} parents."
    )


def plan_line(plan: WidenPlan) -> str:
    """A widening's plan in words."""
    noise = "no noise" if plan.noise == "none" else f"{plan.noise} noise, sigma {plan.sigma:g}"
    return f"widened {plan.factor} x, copies {plan.copies}, {plan.split} split, {noise}"


def divergence_table(steps: Sequence[Fission]) -> Table:
    """How far siblings have parted at every step of a run."""
    pairs = [f"{name}_{of}" for name in ("cos_in", "cos_out", "correlation") for of in ("mean", "min")]
    decimals = dict.fromkeys(pairs, 4) | {"moved_in": 3, "moved_out": 3}
    rows = []
    for step in steps:
        medians = (_median(step.parents[name], digits) for name, digits in decimals.items())
        rows.append((f"{step.meta.step:,}", f"{step.meta.tokens:,}", f"{step.meta.n_tokens:,}", *medians))
    least = ("cos W_in", "least", "cos W_out", "least", "correlation", "least")
    return Table(
        "How siblings part",
        "Medians over parents. Cosine of W_in and of W_out and correlation of activations among the children of one "
        "parent, mean and least over pairs; moved: distance from the weights at birth over their length. Tokens: "
        "trained on since the run's start; read on: held-out ones.",
        ("step", "tokens", "read on", *least, "moved W_in", "W_out"),
        tuple(rows),
    )


def verdict_table(steps: Sequence[Fission]) -> Table:
    """The verdicts on children at every step of a run."""
    rows = []
    for step in steps:
        sums = {name: f"{step.parents[name].sum():,}" for name in (*VERDICTS, "n_related", "n_few")}
        different = f"{step.parents['n_clusters'].sum() / step.parents.height:.2f}"
        rows.append(
            (f"{step.meta.step:,}", *(sums[name] for name in (*VERDICTS, "n_related")), different, sums["n_few"])
        )
    return Table(
        "What children became",
        f"{THRESHOLDS}. Related: new, yet more of it inside its parent than inside any of the {MATCHED} matched ones. "
        "Different a parent: children alive, duplicates counted once. On little: of these, those that fire on fewer "
        f"than {FEW_TOKENS} tokens.",
        ("step", *VERDICTS, "related", "different a parent", "on little"),
        tuple(rows),
    )


def _median(values: pl.Series, digits: int) -> str:
    median = values.drop_nulls().median()
    return "–" if median is None else f"{median:.{digits}f}"
