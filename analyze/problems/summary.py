"""All 45 problems on one page of Markdown, from a directory of findings: what docs/problems.md is made by."""

from pathlib import Path

import numpy as np
from scipy import stats

from analyze.problems import PROBLEMS
from analyze.problems.base import Finding, VariantAnswer
from analyze.problems.catalogue import Entry, entries
from analyze.problems.looks import HEAD, looks
from analyze.problems.page import best_answer
from analyze.problems.trial import trial_table, tried_rules
from analyze.tables import Table, number
from train.files import write_atomic

MOST_SEEDS = 100
"""More would be asked for by an effect that lies as good as on its threshold."""

INTRO = """# The 45 open problems

Each of the 45 problems of "200 Concrete Open Problems in Mechanistic Interpretability: Superposition" (Neel Nanda,
2023), in our words: what was measured; the verdict, by a rule that stood in the program before it ran (those of 4.37,
4.38 and 4.41 to 4.44 were written when first tables had been seen); the statistic with its 95 % interval over seeds;
what chance makes of it; how many checkpoints or replicas answered; and the power, that is, how far beyond its threshold
an effect must lie for so many seeds with this spread to show it. Where variants were asked apart, their figures follow
one another.

    polysem problem 4.24 CHECKPOINT... --out RESULTS      # ask one of your own checkpoints; all: every one they allow
    polysem problem 4.24 --trial --out RESULTS            # try its rule where the truth is known
    polysem problem 4.41 results/quickstart --out RESULTS # read it off what a study or a benchmark wrote
    polysem problems --out RESULTS --page docs/problems.md

How a toy answers one of 4.1 to 4.20 stands in [toys and open problems](toy-problems.md); a page of its own for every
finding, with rule, null, figures and doubts, lies beside it in RESULTS.
"""

TRIED = """Of each rule 20 cases in which something was planted by hand, without training, and 20 of its null. A rule
holds if it finds at least 18 of the first and says yes of at most 3 of the second; unclear and not answerable do not
count as found."""


def write_summary(findings: Path, page: Path) -> Path:
    """Write the page from what was found under a directory; the same findings give the same bytes.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_atomic(page, summary(findings).encode())
    return page


def summary(findings: Path) -> str:
    """The page: a table of all 45, then what is unclear and what would decide it."""
    rows, unclear = [], []
    for each in entries().values():
        finding, facts = each.finding(findings)
        statistic, null, n, power = best_answer(finding)
        rows.append(
            [
                ("#", each.name),
                ("question", each.question),
                ("measured", measured(each, facts)),
                ("verdict", finding.verdict),
                ("statistic", statistic),
                ("null", null),
                ("n", n),
                ("power", power),
                ("command", f"`{each.ask}`" if each.ask else "–"),
            ]
        )
        unclear += [f"- **{each.name}** {each.title}: {line}" for line in undecided(each, finding)]
    counts = {word: sum(row[3][1] == word for row in rows) for word in dict.fromkeys(row[3][1] for row in rows)}
    counted = ", ".join(f"{n} {word}" for word, n in sorted(counts.items(), key=lambda item: -item[1]))
    parts = [INTRO, f"Verdicts: {counted}.", _table(Table.of("", "", rows))]
    looked = looks(findings)
    if looked:
        parts += ["## Models that others trained", HEAD, "\n".join(looked)]
    tried = tried_rules(findings)
    if tried:
        parts += ["## Rules on cases of known truth", TRIED, _table(trial_table(tried))]
    if unclear:
        parts += ["## What is unclear, and what would decide it", "\n".join(unclear)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _table(table: Table) -> str:
    """Unpadded, and with code as code: the cells are our own words and numbers."""
    lines = [table.headers, tuple("---" for _ in table.headers), *table.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def measured(entry: Entry, facts: dict) -> str:
    """What the statistic is, in words; a dash where nothing says it."""
    if entry.name in PROBLEMS:
        return PROBLEMS[entry.name].statistic
    return str(facts.get("statistic_is") or entry.measures or "–")


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
