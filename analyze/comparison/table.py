"""A comparison as tables for people: Markdown that reads in a terminal, cells for the report."""

from collections.abc import Callable
from math import isfinite

from analyze.comparison.comparison import Comparison
from analyze.comparison.controls import CONTROLS, ArmResult
from analyze.comparison.results import Place
from analyze.comparison.separation import REFERENCE
from analyze.comparison.summary import ComparedScore
from analyze.comparison.variants import ScoreSummary, VariantResult
from analyze.comparison.wording import doubts, glossary, null_of_z, tests_made, unjudged, with_interval
from analyze.nulls import NULLS, shown_nulls
from analyze.scores.validity import may_lead, validity_line
from analyze.tables import Table, count, number, percent, plain

Column = tuple[str, Callable[[VariantResult], str]]


def headline(comparison: Comparison, score: ComparedScore) -> Table:
    """Monosemantic neurons by one score: the main table, or the same by another score.

    A score that has not passed on planted neurons stands under a title that says so.
    """
    name, reference = score.name, comparison.reference

    def difference(row: VariantResult) -> str:
        return "reference" if row.variant == reference else with_interval(row.scores[name].difference, signed)

    columns: list[Column] = [
        ("variant", str),
        ("seeds", lambda row: str(row.n_seeds)),
        ("eval loss", lambda row: with_interval(row.eval_loss, nats)),
        ("neurons", lambda row: count(row.meta.n_neurons)),
        ("dead %", lambda row: percent(row.dead_share)),
        (f"median {score.title}", lambda row: number(row.scores[name].median)),
        ("mono % of scored", lambda row: with_interval(row.scores[name].share, percent)),
        ("mono % of all", lambda row: percent(row.scores[name].share_all)),
        ("mono neurons", lambda row: with_interval(row.scores[name].number, count)),
        ("duplicates once", lambda row: rounded(row.scores[name].once.mean)),
        ("single-token % of mono", lambda row: percent(row.scores[name].single_token_share)),
        (f"difference to {reference}", difference),
    ]
    return Table.of(
        f"Monosemantic neurons by {score.title}"
        if may_lead(name)
        else f"What {score.title} calls monosemantic: a description, by a score that has not passed",
        f"{validity_line(name)}. Mean over seeds [95 % t interval over seeds]. Loss: nats a token, held out. Median "
        "and difference count each cluster of duplicates once; difference: percentage points of the share of scored, "
        "paired by seed.",
        comparison.rows,
        columns,
    )


def nats(value: float) -> str:
    """A loss, in nats a token."""
    return number(value, 3)


def signed(value: float) -> str:
    """A difference of shares, in percentage points."""
    return percent(value, signed=True)


def rounded(value: float) -> str:
    """A number of neurons of which clusters count once, to a tenth."""
    return count(round(value, 1))


def chance(comparison: Comparison) -> Table:
    """Each score's share, and the same share in every null."""
    nulls, z = shown_nulls(), null_of_z(comparison)
    rows = [(row, score) for row in comparison.rows for score in comparison.scores]

    def summary(row: tuple[VariantResult, ComparedScore]) -> ScoreSummary:
        return row[0].scores[row[1].name]

    return Table.of(
        "Against chance",
        "Per cent of judged neurons called monosemantic, each cluster of duplicates counted once; excess in "
        "percentage points, paired by seed [95 % t interval over seeds].",
        rows,
        [
            ("variant", lambda row: str(row[0])),
            ("score", lambda row: row[1].title),
            ("trained %", lambda row: percent(summary(row).once_share.mean)),
            *(
                (f"{null.title} %", lambda row, name=null.name: percent(summary(row).nulls[name].share))
                for null in nulls
            ),
            *(
                (
                    f"excess over {null.title}",
                    lambda row, name=null.name: with_interval(summary(row).nulls[name].excess, signed),
                )
                for null in nulls
            ),
            (f"z over {NULLS[z].title}", lambda row: number(summary(row).nulls[z].z, 1)),
        ],
    )


def models(comparison: Comparison) -> Table:
    """What was trained, and the states of its neurons."""
    deciding = [score for score in comparison.scores if score.verdict.judged_by is not None]
    columns: list[Column] = [
        ("variant", str),
        ("act", lambda row: row.meta.act),
        ("seed", lambda row: ", ".join(str(meta.seed) for meta in row.metas)),
        ("tokens", lambda row: count(row.tokens_seen)),
        ("parameters", lambda row: count(row.meta.n_params)),
        ("eval loss", lambda row: nats(row.eval_loss.mean)),
        ("unigram", lambda row: nats(row.unigram_loss)),
        ("bigram", lambda row: nats(row.bigram_loss)),
        ("dead %", lambda row: percent(row.dead_share)),
        ("rare %", lambda row: percent(row.rare_share)),
        ("dense %", lambda row: percent(row.dense_share)),
        ("always on %", lambda row: percent(row.always_on_share)),
    ]
    for score in deciding:
        of = f" by {score.title}" if len(deciding) > 1 else ""
        assert score.verdict.judged_by is not None
        columns += [
            (
                f"median {score.verdict.judged_by.column}",
                lambda row, name=score.name: number(row.scores[name].judged_by),
            ),
            (f"NA %{of}", lambda row, name=score.name: percent(row.scores[name].na_share)),
        ]
    columns.append(("scores (sha256)", lambda row: " ".join(sorted({each.cell.hash[:8] for each in row.cells}))))
    na = "; ".join(f"with a {unjudged(score)}, which {score.title} does not judge" for score in deciding)
    return Table.of(
        "Models and the states of their neurons",
        "Losses in nats a token; unigram and bigram are baselines on the same held-out rows. Shares are per cent of "
        f"all neurons{f', except NA: per cent of scored neurons {na}' if na else ''}.",
        comparison.rows,
        columns,
    )


def widened(comparison: Comparison) -> Table | None:
    """Parents and the variants that start from them; None where there is none."""
    if not comparison.arms:
        return None
    columns: list[tuple[str, Callable[[ArmResult], str]]] = [
        ("variant", lambda arm: str(arm.result)),
        ("start", lambda arm: " ".join(sorted(set(map(_stem, arm.result.start_runs)))) or "scratch"),
        ("factor", lambda arm: f"{arm.result.meta.factor} x"),
        ("neurons", lambda arm: count(arm.result.meta.n_neurons)),
        ("loss at birth", lambda arm: nats(arm.birth_loss)),
        ("loss at end", lambda arm: with_interval(arm.result.eval_loss, nats)),
    ]
    for score in comparison.scores:
        columns += [
            (
                f"{score.title}: mono %",
                lambda arm, name=score.name: with_interval(arm.result.scores[name].once_share, percent),
            ),
            (
                f"{score.title}: mono neurons",
                lambda arm, name=score.name: with_interval(arm.result.scores[name].once, rounded),
            ),
        ]
    return Table.of(
        "Widened models beside their parent",
        "Loss at birth is the first evaluation of the run. Monosemantic shares and numbers count each cluster of "
        "duplicates once, so that a copy is not a second monosemantic neuron.",
        comparison.arms,
        columns,
    )


def controls(comparison: Comparison) -> Table | None:
    """Widened arms against the two controls; None where no arm has one."""
    arms = [arm for arm in comparison.arms if arm.has_control]
    if not arms:
        return None
    headings = dict(zip(CONTROLS, ("over narrow, trained on", "over copies without noise")))

    def loss(value: float) -> str:
        return f"{value:+.4f}" if isfinite(value) else "–"

    columns: list[tuple[str, Callable[[ArmResult], str]]] = [
        ("variant", lambda arm: str(arm.result)),
        ("factor", lambda arm: f"{arm.result.meta.factor} x"),
        ("noise", lambda arm: arm.result.meta.scheme or "–"),
        ("loss over narrow", lambda arm: with_interval(arm.loss_over_narrow, loss)),
    ]
    for score in comparison.scores:
        for control, heading in headings.items():
            columns.append(
                (
                    f"{score.title}: {heading}",
                    lambda arm, name=score.name, control=control: with_interval(arm.scores[name].over[control], signed),
                )
            )
        columns.append((f"{score.title}: beats both", lambda arm, name=score.name: arm.scores[name].beats_both or "–"))
    return Table.of(
        "Widened models against their controls",
        "Differences paired by seed [95 % t interval over seeds]: of the held-out loss in nats a token, of the share "
        "monosemantic in percentage points, each cluster of duplicates counted once. Narrow, trained on: the same "
        "start, rows and schedule without widening; copies without noise: as many, which nothing parts. Superposition "
        "was reduced only where both intervals lie above 0 (`beats both`: yes); `no`: one lies below; else not shown.",
        arms,
        columns,
    )


def _stem(run: str) -> str:
    """`gelu-s0` -> `gelu`: runs are named after their variant and seed."""
    head, _, tail = run.rpartition("-s")
    return head if head and tail.isdigit() else run


def separated(comparison: Comparison) -> Table | None:
    """What each score separates; None where nothing was trained from scratch."""
    by_row: dict[tuple[str, str, Place], dict[str, str]] = {}
    for each in comparison.separations:
        figures = ", ".join(f"{p:.2f}" for p in each.probability)
        row = by_row.setdefault((each.score, each.variant, each.place), {})
        row[each.side] = f"{figures} ({each.verdict})"
    if not by_row:
        return None
    names = {null.name: null.title for null in shown_nulls()} | {REFERENCE: comparison.reference}
    validity = "; ".join(f"{name}: {validity_line(name)}" for name in dict.fromkeys(key[0] for key in by_row))
    return Table.of(
        "What each score tells apart",
        "Probability that a neuron of the variant scores above one of the other side (0.5: the score does not tell "
        "them apart), one figure a seed, duplicates once. Above or below: every seed's 95 % interval lies on that side "
        "of 0.5, neurons taken for independent and seeds for fixed. A score that tells a trained layer neither from "
        f"the untrained one nor from its rotation has shown nothing. {validity}.",
        by_row.items(),
        [
            ("score", lambda row: row[0][0]),
            ("variant", lambda row: f"{row[0][1]} {row[0][2]}"),
            *((f"over {title}", lambda row, side=side: row[1].get(side, "–")) for side, title in names.items()),
        ],
    )


def all_tables(comparison: Comparison) -> list[Table]:
    """In order of reading: the headline, chance, widened models, other scores, the models themselves."""
    first, *others = sorted(comparison.scores, key=lambda score: score.name not in comparison.primaries)
    tables = [headline(comparison, first), chance(comparison), controls(comparison), widened(comparison)]
    tables += [headline(comparison, score) for score in others] + [separated(comparison), models(comparison)]
    return [table for table in tables if table is not None]


def as_markdown(comparison: Comparison) -> str:
    """The whole comparison.md."""
    facts = comparison.facts
    parts = ["# Comparison", tests_made(comparison)]
    for table in all_tables(comparison):
        parts += [f"## {table.title}", table.caption, table.markdown()]
    reasons = "\n".join(f"- {plain(doubt)}" for doubt in doubts(comparison))
    terms = "\n".join(f"- **{word}**: {meaning}" for word, meaning in glossary(comparison))
    parts += ["## Reasons to doubt", reasons or "None found by rule.", "## How to read it", terms]
    parts.append(
        f"Data {facts.data_hash[:12]}, token sample {facts.tokens_hash[:12]}: {count(facts.n_tokens)} tokens of "
        f"held-out documents, {count(facts.n_sampled_tokens)} held whole, rows of {facts.n_ctx}. Runs, steps, seeds "
        "and full hashes of every row stand in comparison.csv and comparison.parquet."
    )
    return "\n\n".join(parts) + "\n"
