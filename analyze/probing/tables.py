"""Tables of probes: how sparse the representation of each label is, and the figures behind that."""

from typing import Any

import polars as pl

from analyze.probing.columns import LIMITS
from analyze.probing.label import ENOUGH, FEWEST_DOCUMENTS
from analyze.tables import Table, number

MOST_ROWS = 200
"""Markdown shows this many rows of the long table; the Parquet file has all."""

RULE = (
    "How few neurons tell a label? A k-sparse probe is a logistic regression on k neurons. Forward selection of "
    "least squares chooses them on fit documents (by orthogonalised gains; the first is the neuron with the largest "
    "standardised mean difference). The probe is fitted there, with a ridge and classes weighted by the square roots "
    "of their sizes, and judged on eval documents by its AUPRC, the area under precision and recall. A probe that "
    f"knows nothing reaches the base rate. Sparsity is the smallest k that gets {100 * ENOUGH:.0f} % of the way from "
    "the base rate to the probe on all neurons (dense). Shifted: the same label moved along the corpus, chosen for "
    "and fitted anew. A label that the untrained network yields as well has not been learnt: most random features "
    "show what a token is."
)


def latest(table: pl.DataFrame) -> pl.DataFrame:
    """The last step of every run and its step 0, with a column `arm`, such as `gelu L0.mid untrained`."""
    last = pl.col("step") == pl.col("step").max().over("run", "layer", "hook")
    name = pl.format("{} L{}.{}", "variant", "layer", "hook")
    arm = pl.when(pl.col("step") == 0).then(name + pl.lit(" untrained")).otherwise(name)
    steps = table.filter(last | (pl.col("step") == 0)).with_columns(arm=arm)
    return steps.sort("variant", "layer", "hook", pl.col("step") == 0, maintain_order=True)


def sparsity_table(table: pl.DataFrame) -> Table:
    """A row for each label, a column for each variant: sparsity (AUPRC of the dense probe), seeds between commas."""
    shown = latest(table)
    arms = shown["arm"].unique(maintain_order=True).to_list()
    rows = []
    for (label, family), mine in shown.group_by("label", "family", maintain_order=True):
        cells = [_sparsities(mine.filter(pl.col("arm") == arm)) for arm in arms]
        rows.append((str(label), str(family), *cells))
    return Table(
        "How few neurons tell a label",
        f"Smallest k whose AUPRC reaches {100 * ENOUGH:.0f} % of the dense probe's above the base rate (in brackets: "
        "the dense probe's AUPRC); `more`: none of the k does; `not found`: the dense probe does no better than a "
        f"shifted label; NA: fewer than {FEWEST_DOCUMENTS} documents with it in a half (how many in fit + eval).",
        ("label", "family", *arms),
        tuple(rows),
    )


def _sparsities(mine: pl.DataFrame) -> str:
    cells = []
    for row in mine.filter(pl.col("kind").is_in(["dense", "NA"])).sort("seed", "step").iter_rows(named=True):
        if row["kind"] == "NA":
            cells.append(f"NA ({row['documents_fit']} + {row['documents_eval']})")
        elif not row["is_there"]:
            cells.append("not found")
        else:
            cells.append(f"{'more' if row['sparsity'] is None else row['sparsity']} ({number(row['auprc'])})")
    return ", ".join(cells) or "–"


def auprc_table(table: pl.DataFrame, most: int = MOST_ROWS) -> Table:
    """A row for each label and run: AUPRC of the best neuron, of sparse probes, of the dense probe, and of chance."""
    shown = latest(table)
    ks = shown.filter(pl.col("kind") == "sparse")["k"].unique().sort().to_list()
    columns = [k for index, k in enumerate(ks) if index % 2 == 0 or k == ks[-1]]
    rows = []
    groups = shown.filter(pl.col("kind") != "NA").group_by("label", "run", "arm", maintain_order=True)
    for (label, _, arm), mine in groups:
        dense = mine.filter(pl.col("kind") == "dense").row(0, named=True)
        seed = f" seed {dense['seed']}" if shown["seed"].n_unique() > 1 else ""
        by_k = {row["k"]: row for row in mine.filter(pl.col("kind") == "sparse").iter_rows(named=True)}
        last = by_k[max(by_k)]
        rows.append(
            (
                str(label),
                f"{arm}{seed}",
                number(dense["base_rate"], 4),
                number(mine.filter(pl.col("kind") == "single")["auprc"].item()),
                *(number(by_k[k]["auprc"]) if k in by_k else "–" for k in columns),
                _with_interval(dense, "auprc"),
                _with_interval(dense, "f1"),
                number(max(last["shifted_auprc"] or [], default=None), 4),
            )
        )
    rows.sort(key=lambda row: row[0])
    rest = f" The first {most} of {len(rows)} rows; the rest stands in probes.parquet." if len(rows) > most else ""
    return Table(
        "AUPRC by number of neurons",
        "On eval documents; [95 % interval over resampled documents]. Single: the neuron with the largest AUPRC on fit "
        f"documents. Dense: all living neurons (of more than {LIMITS.neurons:,}, those that correlate most with the "
        f"label). Shifted: the best shifted label at the largest k.{rest}",
        ("label", "variant", "base rate", "single", *(f"k = {k}" for k in columns), "dense", "dense F1", "shifted"),
        tuple(rows[:most]),
    )


def _with_interval(row: dict[str, Any], key: str) -> str:
    return f"{number(row[key])} [{number(row[f'{key}_low'])}, {number(row[f'{key}_high'])}]"


def as_markdown(table: pl.DataFrame) -> str:
    """The whole probes.md."""
    parts = ["# Sparse probes", RULE]
    for shown in (sparsity_table(table), auprc_table(table)):
        parts += [f"## {shown.title}", shown.caption, shown.markdown()]
    parts.append("Every probe, with the neurons chosen, precision, recall and each shifted label: probes.parquet.")
    return "\n\n".join(parts) + "\n"
