"""The report's first part: the result in sentences and one figure."""

from analyze.comparison.comparison import Comparison
from analyze.comparison.table import rounded, signed
from analyze.comparison.variants import VariantResult
from analyze.comparison.wording import doubts, tests_made, with_interval
from analyze.figures import Figure
from analyze.nulls import shown_nulls
from analyze.report.base import Paragraph, Part, Section, Study
from analyze.report.plots import Dot, dot_plot
from analyze.scores.validity import may_lead, neurons_called, says_monosemantic, validity_line
from analyze.tables import count, percent, visible


def _section(study: Study) -> Section:
    sentences = [Paragraph(sentence) for sentence in summary(study.comparison)]
    blocks = (*sentences, Paragraph(tests_made(study.comparison), "note"), share_figure(study))
    return Section("found", "What was found", "", blocks)


def summary(comparison: Comparison) -> list[str]:
    """Sentences made from the numbers; they name estimates, and claim nothing that was not tested."""
    name, title = comparison.primary.name, comparison.primary.title
    called = neurons_called(name, comparison.primary.verdict.called)
    rows = [(row, row.scores[name]) for row in comparison.rows if row.scores[name].share.n]
    if not rows:
        return [f"No neuron could be judged by {title}."]
    sentences = []
    if not may_lead(name):
        sentences.append(
            f"Read this first: {title} has not passed its test on planted neurons, that is, neurons whose truth is "
            f"known. {validity_line(name)}. So the numbers below say what {title} calls {called}. They do not count "
            "monosemantic neurons."
        )
    first, score = next(((row, score) for row, score in rows if row.variant == comparison.reference), rows[0])
    chances = [f"{null.title} {percent(score.nulls[null.name].share)}" for null in shown_nulls()]
    sentences.append(
        f"By {title}, {with_interval(score.share, percent)} per cent of the judged neurons of {first} are {called}: "
        f"{with_interval(score.number, count)} of {count(first.meta.n_neurons)} neurons. Chance gives, in per cent: "
        f"{', '.join(chances)}."
    )
    differences = [(row, score.difference) for row, score in rows if score.difference.n]
    if differences:
        least = min(differences, key=lambda pair: pair[1].mean)
        most = max(differences, key=lambda pair: pair[1].mean)
        intervals = most[1].n > 1
        means = "brackets are 95 % t intervals over seeds" if intervals else "one seed, so without an interval"
        sentences.append(
            f"Estimated differences to {comparison.reference} run from {with_interval(least[1], signed)} percentage "
            f"points ({least[0]}) to {with_interval(most[1], signed)} ({most[0]}); {means}."
        )
    widest, score = max(rows, key=lambda row: row[1].once.mean)
    sentences.append(
        f"{widest} has the largest number of neurons called so: {rounded(score.once.mean)} of "
        f"{count(widest.meta.n_neurons)}, where duplicates count once."
    )
    n_doubts = len(doubts(comparison))
    if n_doubts:
        reasons = (
            f"{n_doubts} reasons to doubt these numbers stand" if n_doubts > 1 else "A reason to doubt them stands"
        )
        sentences.append(f"{reasons} below the table.")
    return sentences


def share_figure(study: Study) -> Figure:
    """Share and number of the neurons that the primary score says yes of, of every variant, with those of the nulls."""
    primary, nulls = study.comparison.primary, shown_nulls()

    def share(row: VariantResult) -> Dot:
        score = row.scores[primary.name]
        chance = {null.name: 100 * score.nulls[null.name].share for null in nulls}
        seeds = tuple(100 * value for value in score.share_by_seed)
        return Dot(str(row), row.variant, score.share.scaled(100.0), seeds, chance)

    short = "monosemantic" if says_monosemantic(primary.name) else primary.verdict.called
    shares = [share(row) for row in study.comparison.rows]
    numbers = [Dot(str(row), row.variant, row.scores[primary.name].once) for row in study.comparison.rows]
    panels = [(f"% of judged neurons: {short}, by {primary.title}", shares), ("neurons, duplicates once", numbers)]
    listed = "; ".join(f"{dot.title}: {dot.estimate.mean:.1f} %" for dot in shares)
    marks = ", ".join(f"{null.style.called}: {null.phrase}" for null in nulls)
    return Figure(
        "share",
        dot_plot(panels, study.styles),
        visible(f"Share of judged neurons called {short} by {primary.title}. {listed}."),
        f"Left: share of judged neurons called {short}. Dot: mean over seeds. Line: 95 % t interval over seeds "
        f"(none with one seed). Ticks: single seeds. Chance: {marks}. Right: how many neurons, duplicates counted "
        "once.",
    )


PART = Part("summary", 0, _section)
