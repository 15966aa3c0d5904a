"""All 45 problems on one page of Markdown, from a directory of findings: what docs/problems.md is made by."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import stats

from analyze.problems import PROBLEMS
from analyze.problems.answers import Answer, answer_of
from analyze.problems.base import Finding, VariantAnswer
from analyze.problems.catalogue import Entry, entries
from analyze.problems.looks import HEAD, looks
from analyze.problems.published import keep_published
from analyze.problems.trial import trial_table, tried_rules
from analyze.tables import Table, number
from train.files import write_atomic

MOST_SEEDS = 100
"""More would be asked for by an effect that lies as good as on its threshold."""

INTRO = """# The 45 open problems

Each of the 45 problems of "200 Concrete Open Problems in Mechanistic Interpretability: Superposition" (Neel Nanda,
2023), in our words, with what a yes means where the question is not one of yes or no; the verdict, by a rule that stood
in the program before it ran ([the rules](#the-rules) with their thresholds stand below; those of 4.37, 4.38 and 4.41 to
4.44 were written when first tables had been seen); the answer in figures, means over seeds from the lowest to the
highest variant; what was measured; the statistic of each variant with its 95 % interval over seeds; what chance makes
of it; how many checkpoints or replicas answered; and the power, that is, how far beyond its threshold an effect must
lie for so many seeds with this spread to show it. Where variants were asked apart, their figures follow one another.
`polysem problems` shows these verdicts too, as published, beside those of your own.

    polysem problem 4.24 CHECKPOINT... --out RESULTS      # ask one of your own checkpoints; all: every one they allow
    polysem problem 4.24 --trial --out RESULTS            # try its rule where the truth is known
    polysem problem 4.41 results/quickstart --out RESULTS # read it off what a study or a benchmark wrote
    polysem problems --out RESULTS --page docs/problems.md

How a toy answers one of 4.1 to 4.20 stands in [toys and open problems](toy-problems.md); a page of its own for every
finding, with rule, null, figures and doubts, lies beside it in RESULTS.
"""

RULES = """The effect is the statistic less what chance, the untrained model or a reference makes of it, whichever is
nearest to yes. **yes**: the whole 95 % interval of the effect over seeds lies beyond the threshold, and each seed
beyond its null. **no**: the whole interval lies short of the threshold, so an effect of that size was not there.
**unclear**: anything else, such as an interval that holds the threshold. **mixed**: variants say yes and no.
**not answerable**: no checkpoint has what the problem needs. Toys that go by one rule stand together."""

TRIED = """Of each rule 20 cases in which something was planted by hand, without training, and 20 of its null. A rule
holds if it finds at least 18 of the first and says yes of at most 3 of the second; unclear and not answerable do not
count as found."""


def write_summary(findings: Path, page: Path) -> list[Path]:
    """Write the page from what was found under a directory; the same findings give the same bytes.

    Returns:
        What was written: the page, and where it is the project's own, docs/problems.md of a clone, the program's record
        of it too.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_atomic(page, summary(findings).encode())
    return [page, *keep_published(answers(findings), page)]


def answers(findings: Path) -> dict[str, Answer]:
    """What was found of all 45, and of questions of one's own, by number."""
    return {each.name: answer_of(each, *each.finding(findings)) for each in entries().values()}


def summary(findings: Path) -> str:
    """The page: a table of all 45, the rules, then what is unclear and what would decide it."""
    answered = answers(findings)
    words = [each.verdict for each in answered.values()]
    counts = sorted(dict.fromkeys(words), key=lambda word: -words.count(word))
    counted = ", ".join(f"{words.count(word)} {word}" for word in counts)
    parts = [INTRO, f"Verdicts: {counted}.", table_of(answered)]
    rules = rules_of(answered)
    if rules:
        parts += ["## The rules", RULES, rules]
    looked = looks(findings)
    if looked:
        parts += ["## Models that others trained", HEAD, "\n".join(looked)]
    tried = tried_rules(findings)
    if tried:
        parts += ["## Rules on cases of known truth", TRIED, _table(trial_table(tried))]
    unclear = [
        f"- **{each.name}** {each.title}: {line}"
        for each in entries().values()
        for line in undecided(each, each.finding(findings)[0])
    ]
    if unclear:
        parts += ["## What is unclear, and what would decide it", "\n".join(unclear)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def table_of(answered: Mapping[str, Answer]) -> str:
    """The page's table."""
    known = entries()
    rows = [
        [
            ("#", name),
            ("question", known[name].asks),
            ("verdict", f"**{answer.verdict}**"),
            ("answer", answer.in_words or "–"),
            ("measured", answer.measured),
            ("statistic", answer.statistic),
            ("null", answer.null),
            ("n", answer.n),
            ("power", answer.power),
            ("command", f"`{known[name].ask}`" if known[name].ask else "–"),
        ]
        for name, answer in answered.items()
    ]
    return _table(Table.of("", "", rows))


def rules_of(answered: Mapping[str, Answer]) -> str:
    """A line a rule."""
    return "\n".join(f"- **{name}** {rule}." for name, answer in answered.items() for rule in answer.rules)


def _table(table: Table) -> str:
    """Unpadded, and with code as code: the cells are our own words and numbers."""
    lines = [table.headers, tuple("---" for _ in table.headers), *table.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def undecided(entry: Entry, finding: Finding) -> list[str]:
    """Of every variant without a verdict why, and what would decide it; of one that cannot answer what is missing."""
    if finding.verdict not in ("unclear", "not answerable"):
        return []
    lines = []
    for answer in finding.variants:
        more = f"; {more_seeds(entry, answer)}" if answer.verdict == "unclear" and entry.name in PROBLEMS else ""
        lines.append(f"{answer.variant}: {answer.why or answer.verdict}{more}.")
    return lines


def more_seeds(entry: Entry, answer: VariantAnswer) -> str:
    """How many seeds of this spread would put the threshold outside of the interval."""
    rule = PROBLEMS[entry.name].rule
    if answer.n < rule.seeds or not answer.effect.has_interval:
        return f"{rule.seeds} seeds would"
    away = abs(answer.effect.mean - rule.least)
    if answer.effect.low > rule.least:
        return "a null with less spread, or more text, would"
    for n in range(answer.n + 1, MOST_SEEDS + 1):
        if stats.t.ppf(0.975, n - 1) * answer.effect.sd / np.sqrt(n) < away:
            return f"some {n} seeds of this spread would decide it"
    effect = number(answer.effect.mean, 3)
    return f"not even {MOST_SEEDS} seeds of this spread would decide it: the effect, {effect}, lies at its threshold"
