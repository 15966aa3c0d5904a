"""A comparison as tables and notes for people: Markdown that reads in a terminal, cells for the report."""

import polars as pl

from analyze.comparison.comparison import Comparison
from analyze.comparison.controls import CONTROLS
from analyze.comparison.separation import SIDES
from analyze.comparison.summary import NULLS_SHOWN, Judge
from analyze.comparison.wording import GLOSSARY, doubts, place, tests_made, with_interval
from analyze.scores.k_eff import LEAST_REACH
from analyze.scores.validity import may_lead, validity_line
from analyze.tables import Table, count, number, percent, plain


def headline(comparison: Comparison, judge: Judge) -> Table:
    """Monosemantic neurons by one score: the main table, or the same by another score.

    A score that has not passed on planted neurons is shown under a title that says so.
    """
    rows = []
    for row in comparison.rows.iter_rows(named=True):
        name = judge.name
        is_reference = row["variant"] == comparison.reference
        difference = with_interval(row, f"{name}_difference", lambda value: percent(value, signed=True))
        cells = [
            place(row),
            str(row["n_seeds"]),
            with_interval(row, "eval_loss", lambda value: number(value, 3)),
            count(row["n_neurons"]),
            percent(row["dead_share"]),
            number(row[f"{name}_median"]),
            with_interval(row, f"{name}_mono_share", percent),
            percent(row[f"{name}_mono_share_all"]),
            with_interval(row, f"{name}_mono_number", count),
            count(_rounded(row[f"{name}_mono_once"])),
            percent(row[f"{name}_single_token_share"]),
            "reference" if is_reference else difference,
        ]
        rows.append(tuple(cells))
    return Table(
        f"Monosemantic neurons by {judge.title}"
        if may_lead(judge.name)
        else f"What {judge.title} calls monosemantic: a description, by a score that has not passed",
        f"{validity_line(judge.name)}. Mean over seeds [95 % t interval over seeds]. Loss: nats a token, held out. "
        "Median and difference count each cluster of duplicates once; difference: percentage points of the share "
        "of scored, paired by seed.",
        (
            "variant",
            "seeds",
            "eval loss",
            "neurons",
            "dead %",
            f"median {judge.title}",
            "mono % of scored",
            "mono % of all",
            "mono neurons",
            "duplicates once",
            "single-token % of mono",
            f"difference to {comparison.reference}",
        ),
        tuple(rows),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def chance(comparison: Comparison) -> Table:
    """Each score's share beside the same share in the untrained network and in two rotations."""
    rows = []
    for row in comparison.rows.iter_rows(named=True):
        for judge in comparison.judges:
            name = judge.name
            points = [
                with_interval(row, f"{name}_{null}_excess", lambda value: percent(value, signed=True))
                for null in NULLS_SHOWN
            ]
            cells = [
                place(row),
                judge.title,
                percent(row[f"{name}_mono_once_share"]),
                *(percent(row[f"{name}_{null}_share"]) for null in NULLS_SHOWN),
                *points,
                number(row[f"{name}_rotated_z"], 1),
            ]
            rows.append(tuple(cells))
    return Table(
        "Against chance",
        "Per cent of judged neurons called monosemantic, each cluster of duplicates counted once; excess in "
        "percentage points, paired by seed [95 % t interval over seeds].",
        (
            "variant",
            "score",
            "trained %",
            *(f"{shown.title} %" for shown in NULLS_SHOWN.values()),
            *(f"excess over {shown.title}" for shown in NULLS_SHOWN.values()),
            "z over rotated",
        ),
        tuple(rows),
    )


def models(comparison: Comparison) -> Table:
    """What was trained, and the states of its neurons."""
    rows = []
    for row in comparison.rows.iter_rows(named=True):
        cells = [
            place(row),
            row["act"],
            row["seeds"].replace(" ", ", "),
            count(row["tokens_seen"]),
            count(row["n_params"]),
            number(row["eval_loss"], 3),
            number(row["unigram_loss"], 3),
            number(row["bigram_loss"], 3),
            percent(row["dead_share"]),
            percent(row["rare_share"]),
            percent(row["dense_share"]),
            percent(row["always_on_share"]),
            number(row.get("k_eff_reach")),
            percent(row.get("k_eff_na_share")),
            " ".join(sorted({found[:8] for found in row["score_manifests"].split()})),
        ]
        rows.append(tuple(cells))
    return Table(
        "Models and the states of their neurons",
        "Losses in nats a token; unigram and bigram are baselines on the same held-out rows. Shares are "
        "per cent "
        f"of all neurons, except NA: per cent of scored neurons with a reach below {LEAST_REACH}, which K_eff does "
        "not judge.",
        (
            "variant",
            "act",
            "seed",
            "tokens",
            "parameters",
            "eval loss",
            "unigram",
            "bigram",
            "dead %",
            "rare %",
            "dense %",
            "always on %",
            "median reach",
            "NA %",
            "scores (sha256)",
        ),
        tuple(rows),
    )


def widened(comparison: Comparison) -> Table | None:
    """Variants that start from a checkpoint, beside the parent; None where there is none."""
    if not comparison.arms.height:
        return None
    rows = []
    for row in comparison.arms.iter_rows(named=True):
        cells = [
            place(row),
            " ".join(sorted({_stem(run) for run in row["start_runs"].split()})) if row["start_runs"] else "scratch",
            f"{row['factor']} x",
            count(row["n_neurons"]),
            number(row["birth_loss"], 3),
            with_interval(row, "eval_loss", lambda value: number(value, 3)),
        ]
        for judge in comparison.judges:
            cells.append(with_interval(row, f"{judge.name}_mono_once_share", percent))
            cells.append(with_interval(row, f"{judge.name}_mono_once", lambda value: count(_rounded(value))))
        rows.append(tuple(cells))
    scores = [f"{judge.title}: {what}" for judge in comparison.judges for what in ("mono %", "mono neurons")]
    return Table(
        "Widened models beside their parent",
        "Loss at birth is the first evaluation of the run. Monosemantic shares and numbers count each "
        "cluster of "
        "duplicates once, so that a copy is not a second monosemantic neuron.",
        ("variant", "start", "factor", "neurons", "loss at birth", "loss at end", *scores),
        tuple(rows),
    )


def controls(comparison: Comparison) -> Table | None:
    """Widened arms against the two controls; None where no arm has one."""
    judges = comparison.judges
    columns = [f"{judge.name}_over_{control}" for judge in judges for control in CONTROLS]
    arms = comparison.arms
    if not arms.height or arms.select(pl.any_horizontal(pl.col(columns).is_not_null().any())).item() is False:
        return None
    rows = []
    for row in arms.filter(pl.any_horizontal(pl.col(columns).is_not_null())).iter_rows(named=True):
        cells = [
            place(row),
            f"{row['factor']} x",
            row["scheme"] or "–",
            with_interval(row, "loss_over_narrow", lambda value: f"{value:+.4f}" if value is not None else "–"),
        ]
        for judge in judges:
            for control in CONTROLS:
                name = f"{judge.name}_over_{control}"
                cells.append(with_interval(row, name, lambda value: percent(value, signed=True)))
            cells.append(row[f"{judge.name}_beats_both"] or "–")
        rows.append(tuple(cells))
    heads = [
        f"{judge.title}: {what}"
        for judge in judges
        for what in ("over narrow, trained on", "over copies without noise", "beats both")
    ]
    return Table(
        "Widened models against their controls",
        "Differences paired by seed [95 % t interval over seeds]: of the held-out loss in nats a token, of the share "
        "monosemantic in percentage points, each cluster of duplicates counted once. Narrow, trained on: the same "
        "start, rows and schedule without widening; copies without noise: as many, which nothing parts. Superposition "
        "was reduced only where both intervals lie above 0 (`beats both`: yes); `no`: one lies below; else not shown.",
        ("variant", "factor", "noise", "loss over narrow", *heads),
        tuple(rows),
    )


def _stem(run: str) -> str:
    """`gelu-s0` -> `gelu`: runs are named after their variant and seed."""
    head, _, tail = run.rpartition("-s")
    return head if head and tail.isdigit() else run


def told_apart(comparison: Comparison) -> Table | None:
    """What each score tells apart; None where nothing was trained from scratch."""
    keys = list(dict.fromkeys((one.score, one.variant, one.layer, one.hook) for one in comparison.told))
    if not keys:
        return None
    by_key = {(one.score, one.variant, one.layer, one.hook, one.side): one for one in comparison.told}
    rows = []
    for score, variant, layer, hook in keys:
        cells = []
        for side in SIDES:
            one = by_key.get((score, variant, layer, hook, side))
            cells.append("–" if one is None else f"{', '.join(f'{p:.2f}' for p in one.probability)} ({one.verdict})")
        rows.append((score, f"{variant} L{layer}.{hook}", *cells))
    return Table(
        "What each score tells apart",
        "Probability that a neuron of the variant scores above one of the other side (0.5: the score does not tell "
        "them apart), one figure a seed, duplicates once. Above or below: every seed's 95 % interval lies on that side "
        "of 0.5, neurons taken for independent and seeds for fixed. A score that tells a trained layer neither from "
        "the untrained one nor from its rotation has shown nothing. "
        + "; ".join(f"{name}: {validity_line(name)}" for name in dict.fromkeys(key[0] for key in keys))
        + ".",
        ("score", "variant", *(f"over {each.title}" for each in NULLS_SHOWN.values()), f"over {comparison.reference}"),
        tuple(rows),
    )


def all_tables(comparison: Comparison) -> list[Table]:
    """In order of reading: the headline, chance, widened models, other scores, the models themselves."""
    ranked = sorted(comparison.judges, key=lambda judge: judge.name not in comparison.primaries)
    tables = [headline(comparison, ranked[0]), chance(comparison), controls(comparison), widened(comparison)]
    tables += [headline(comparison, judge) for judge in ranked[1:]] + [told_apart(comparison), models(comparison)]
    return [table for table in tables if table is not None]


def as_markdown(comparison: Comparison) -> str:
    """The whole comparison.md."""
    facts = comparison.facts
    parts = ["# Comparison", tests_made(comparison)]
    for table in all_tables(comparison):
        parts += [f"## {table.title}", table.caption, table.markdown()]
    found = doubts(comparison)
    parts += [
        "## Reasons to doubt",
        "\n".join(f"- {plain(doubt)}" for doubt in found) or "None found by rule.",
    ]
    parts += ["## How to read it", "\n".join(f"- **{word}**: {meaning}" for word, meaning in GLOSSARY)]
    parts.append(
        f"Data {facts['data_hash'][:12]}, token sample {facts['tokens_hash'][:12]}: "
        f"{count(facts['n_tokens'])} "
        f"tokens of held-out documents, {count(facts['n_sampled_tokens'])} held whole, rows of "
        f"{facts['n_ctx']}. "
        "Runs, steps, seeds and full hashes of every row stand in comparison.csv and comparison.parquet."
    )
    return "\n\n".join(parts) + "\n"
