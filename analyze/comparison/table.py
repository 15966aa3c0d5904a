"""A comparison as tables for people: Markdown that reads in a terminal, cells for the report."""

from math import isfinite

from analyze.activations.store import MOST_NEURONS
from analyze.comparison.comparison import Comparison
from analyze.comparison.controls import CONTROLS
from analyze.comparison.results import Place
from analyze.comparison.separation import REFERENCE
from analyze.comparison.summary import ComparedScore
from analyze.comparison.wording import doubts, glossary, null_of_z, rate_of, tests_made, unjudged, with_interval
from analyze.nulls import NULLS, shown_nulls
from analyze.scores import SCORES
from analyze.scores.validity import may_lead, neurons_called, validity_line
from analyze.tables import Table, count, number, percent, plain


def nats(value: float) -> str:
    """A loss, in nats a token."""
    return number(value, 3)


def signed(value: float) -> str:
    """A difference of shares, in percentage points."""
    return percent(value, signed=True)


def rounded(value: float) -> str:
    """A number of neurons of which clusters count once, to a tenth."""
    return count(round(value, 1))


def headline(comparison: Comparison, score: ComparedScore) -> Table:
    """The neurons that one score says yes of: the main table, or the same by another score.

    A score that has not passed on planted neurons stands under a title that says so.
    """
    rows = []
    called = neurons_called(score.name, score.verdict.called)
    for row in comparison.rows:
        summary = row.scores[score.name]
        is_reference = row.variant == comparison.reference
        difference = "reference" if is_reference else with_interval(summary.difference, signed)
        rows.append(
            (
                ("variant", str(row)),
                ("seeds", str(row.n_seeds)),
                ("eval loss", with_interval(row.eval_loss, nats)),
                ("neurons", count(row.meta.n_neurons)),
                ("peak rate", rate_of(row)),
                ("dead %", percent(row.dead_share)),
                ("firing %", percent(row.firing_rate)),
                (f"median {score.title}", number(summary.median)),
                ("called so % of judged", with_interval(summary.share, percent)),
                (f"{score.verdict.neither} %", percent(summary.na_share)),
                *((("like planted %", percent(summary.seen)),) if score.verdict.seen else ()),
                ("called so % of all", percent(summary.share_all)),
                ("called so", with_interval(summary.number, count)),
                ("duplicates once", rounded(summary.once.mean)),
                ("single-token % of these", percent(summary.single_token_share)),
                (f"difference to {comparison.reference}", difference),
            )
        )
    return Table.of(
        f"{called[0].upper()}{called[1:]} by {score.title}"
        if may_lead(score.name)
        else f"What {score.title} calls {called}: a description, by a score that has not passed",
        f"{validity_line(score.name)}. Cells: mean over seeds [95 % t interval over seeds]. Loss: "
        "nats a token on held-out text. Peak rate: the largest learning rate. Firing: per cent of tokens on which the "
        "median scored neuron fires. Difference: percentage points of the share of judged neurons, paired by seed. "
        f"Median and difference count duplicates once.{_sampled(comparison, score)}",
        rows,
    )


def _sampled(comparison: Comparison, score: ComparedScore) -> str:
    """In which wide layers a score has read a sample of the neurons, and the error of that; empty where in none."""
    errors = [(row, row.scores[score.name].sampling_error) for row in comparison.rows]
    of = [f"{row} ± {percent(error)}" for row, error in errors if error > 0]
    if not of:
        return ""
    return (
        f" Of wide layers a random sample of {MOST_NEURONS:,} neurons is read; standard error of that, in percentage "
        f"points at each seed: {', '.join(of)}."
    )


def chance(comparison: Comparison) -> Table:
    """Each score's share, and the same share in every null."""
    nulls, z = shown_nulls(), null_of_z(comparison)
    rows = []
    for row in comparison.rows:
        for score in comparison.scores:
            summary = row.scores[score.name]
            by_null = [(null.title, summary.nulls[null.name]) for null in nulls]
            rows.append(
                (
                    ("variant", str(row)),
                    ("score", score.title),
                    ("dead %", percent(row.dead_share)),
                    ("firing %", percent(row.firing_rate)),
                    ("trained %", percent(summary.once_share.mean)),
                    *((f"{title} %", percent(null.share)) for title, null in by_null),
                    *((f"excess over {title}", with_interval(null.excess, signed)) for title, null in by_null),
                    (f"z over {NULLS[z].title}", number(summary.nulls[z].z, 1)),
                )
            )
    return Table.of(
        "Against chance",
        "Per cent of judged neurons that a score says yes of, each cluster of duplicates counted once; dead: per cent "
        "of all neurons; firing: per cent of tokens on which the median scored neuron fires; excess in percentage "
        f"points, paired by seed [95 % t interval over seeds].{_not_allowed(comparison)}",
        rows,
    )


def _not_allowed(comparison: Comparison) -> str:
    """Why nulls and scores that were asked for are not there; empty where all are."""
    titles = {name: each.title for name, each in (*NULLS.items(), *SCORES.items())}
    reasons: dict[str, list[str]] = {}
    for row in comparison.rows:
        for name, needs in {key: value for each in row.cells for key, value in each.cell.without.items()}.items():
            reasons.setdefault(f"{titles.get(name, name)} needs {needs}", []).append(str(row))
    return "".join(f" NA: {reason}: {', '.join(rows)}." for reason, rows in reasons.items())


def models(comparison: Comparison) -> Table:
    """What was trained, and the states of its neurons."""
    deciding = [(score, score.verdict.judged_by) for score in comparison.scores if score.verdict.judged_by is not None]
    rows = []
    for row in comparison.rows:
        cells = [
            ("variant", str(row)),
            ("act", row.meta.act),
            ("seed", ", ".join(str(meta.seed) for meta in row.metas)),
            ("tokens", count(row.tokens_seen)),
            ("parameters", count(row.meta.n_params)),
            ("eval loss", nats(row.eval_loss.mean)),
            ("unigram", nats(row.unigram_loss)),
            ("bigram", nats(row.bigram_loss)),
            ("dead %", percent(row.dead_share)),
            ("rare %", percent(row.rare_share)),
            ("dense %", percent(row.dense_share)),
            ("always on %", percent(row.always_on_share)),
            ("firing %", percent(row.firing_rate)),
        ]
        for score, decides in deciding:
            cells.append((f"median {decides.column}", number(row.scores[score.name].judged_by)))
            by = f" by {score.title}" if len(deciding) > 1 else ""
            cells.append((f"NA %{by}", percent(row.scores[score.name].na_share)))
        cells.append(("scores (sha256)", " ".join(sorted({each.cell.hash[:8] for each in row.cells}))))
        rows.append(cells)
    na = "; ".join(f"with a {unjudged(score)}, which {score.title} does not judge" for score, _ in deciding)
    return Table.of(
        "Models and the states of their neurons",
        "Losses in nats a token; unigram and bigram are baselines on the same held-out rows. Shares are per cent of "
        f"all neurons{f', except NA: per cent of scored neurons {na}' if na else ''}.",
        rows,
    )


def widened(comparison: Comparison) -> Table | None:
    """Parents and the variants that start from them; None where there is none."""
    rows = []
    for arm in comparison.arms:
        row = arm.result
        cells = [
            ("variant", str(row)),
            ("start", " ".join(sorted(set(map(_stem, row.start_runs)))) or "scratch"),
            ("factor", f"{row.meta.factor} x"),
            ("neurons", count(row.meta.n_neurons)),
            ("loss at birth", nats(arm.birth_loss)),
            ("loss at end", with_interval(row.eval_loss, nats)),
        ]
        for score in comparison.scores:
            summary = row.scores[score.name]
            cells.append((f"{score.title}: called so %", with_interval(summary.once_share, percent)))
            cells.append((f"{score.title}: called so", with_interval(summary.once, rounded)))
        rows.append(cells)
    table = Table.of(
        "Widened models beside their parent",
        "Loss at birth is the first evaluation of the run. Shares and numbers of neurons called so count each cluster "
        "of duplicates once, so that a copy is not a second such neuron.",
        rows,
    )
    return table if rows else None


def controls(comparison: Comparison) -> Table | None:
    """Widened arms against the two controls; None where no arm has one."""
    headings = dict(zip(CONTROLS, ("over narrow, trained on", "over copies without noise")))

    def loss(value: float) -> str:
        return f"{value:+.4f}" if isfinite(value) else "–"

    rows = []
    for arm in (arm for arm in comparison.arms if arm.has_control):
        cells = [
            ("variant", str(arm.result)),
            ("factor", f"{arm.result.meta.factor} x"),
            ("noise", arm.result.meta.scheme or "–"),
            ("loss over narrow", with_interval(arm.loss_over_narrow, loss)),
        ]
        for score in comparison.scores:
            against = arm.scores[score.name]
            for control, heading in headings.items():
                cells.append((f"{score.title}: {heading}", with_interval(against.over[control], signed)))
            cells.append((f"{score.title}: beats both", against.beats_both or "–"))
        rows.append(cells)
    table = Table.of(
        "Widened models against their controls",
        "Differences paired by seed [95 % t interval over seeds]: of the held-out loss in nats a token, of the share "
        "called so in percentage points, each cluster of duplicates counted once. Narrow, trained on: the same "
        "start, rows and schedule without widening; copies without noise: as many, which nothing parts. Superposition "
        "was reduced only where both intervals lie above 0 (`beats both`: yes); `no`: one lies below; else not shown.",
        rows,
    )
    return table if rows else None


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
        [
            (
                ("score", score),
                ("variant", f"{variant} {place}"),
                *((f"over {title}", by_side.get(side, "–")) for side, title in names.items()),
            )
            for (score, variant, place), by_side in by_row.items()
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
    meta, tokens_hash = comparison.first.meta, comparison.first.tokens_hash
    parts = ["# Comparison", tests_made(comparison)]
    for table in all_tables(comparison):
        parts += [f"## {table.title}", table.caption, table.markdown()]
    reasons = "\n".join(f"- {plain(doubt)}" for doubt in doubts(comparison))
    terms = "\n".join(f"- **{word}**: {meaning}" for word, meaning in glossary(comparison))
    parts += ["## Reasons to doubt", reasons or "None found by rule.", "## How to read it", terms]
    parts.append(
        f"Data {meta.data_hash[:12]}, token sample {tokens_hash[:12]}: {count(meta.n_tokens)} tokens of "
        f"held-out documents, {count(meta.n_sampled_tokens)} held whole, rows of {meta.n_ctx}. Runs, steps, seeds "
        "and full hashes of every row stand in comparison.csv and comparison.parquet."
    )
    return "\n\n".join(parts) + "\n"
