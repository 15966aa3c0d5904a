"""4.38: does a score tell neurons of one feature from neurons of several? Read from the benchmark's own page."""

import re
from collections.abc import Sequence
from math import nan
from pathlib import Path

from analyze.problems.base import Finding, Rule, VariantAnswer, VerdictWord
from analyze.problems.table_problem import TableProblem, file_in
from analyze.statistics import Estimate
from train.errors import BadInput
from train.textfiles import read_text

PAGE = "score-benchmark.md"
ENOUGH = 0.9
CHANCE = 0.5
_CELL = re.compile(r"(-?[01]?\.\d+) \[(-?[01]?\.\d+), (-?[01]?\.\d+)\]")


def answer(problem: TableProblem, places: Sequence[Path]) -> Finding:
    """Every score by the layer of truth in which it does worst at equal density."""
    if len(places) != 1:
        raise BadInput(f"problem {problem.name}: takes one place, the page that `{problem.written_by}` writes")
    path = file_in(places[0], PAGE)
    if not path.is_file():
        raise BadInput(f"{path}: not there; `{problem.written_by}` writes it")
    answers = sorted((_judged(*each) for each in _figures(path)), key=lambda each: -each.statistic.mean)
    words = {each.verdict for each in answers}
    verdict: VerdictWord = "yes" if "yes" in words else "unclear" if "unclear" in words else "no"
    best = answers[0]
    sentence = (
        f"{verdict.capitalize()}. The best score at equal density, {best.variant}, has {best.statistic.mean:.2f} "
        f"[{best.statistic.low:.2f}, {best.statistic.high:.2f}] in the layer of truth in which it does worst."
    )
    return Finding(verdict, sentence, tuple(answers), problem.doubts)


def _judged(score: str, figures: Sequence[Estimate]) -> VariantAnswer:
    worst = min(figures, key=lambda each: each.mean)
    # A layer without a figure is not passed: `n` counts the layers of the page.
    if len(figures) == figures[0].n and all(each.low >= ENOUGH for each in figures):
        word: VerdictWord = "yes"
    else:
        word = "no" if any(each.high < ENOUGH for each in figures) else "unclear"
    effect = Estimate(worst.mean - ENOUGH, worst.low - ENOUGH, worst.high - ENOUGH, nan, len(figures))
    chance = Estimate(CHANCE, CHANCE, CHANCE, 0.0, len(figures))
    power = (worst.high - worst.low) / 2
    return VariantAnswer(score, word, worst, chance, effect, sum(each.low > CHANCE for each in figures), power)


def _figures(path: Path) -> list[tuple[str, list[Estimate]]]:
    """Of each score its figure in each layer of truth, at equal density: the page's first table."""
    lines = [line.strip().strip("|").split(" | ") for line in read_text(path).splitlines() if line.startswith("| ")]
    heads = [i for i, cells in enumerate(lines) if cells[0].strip() == "score"]
    head = lines[heads[0]] if heads else []
    wanted = [i for i, cell in enumerate(head) if cell.strip().startswith("equal density, layer")]
    found = []
    for cells in lines[heads[0] + 1 : heads[1] if len(heads) > 1 else None] if wanted else []:
        matches = [_CELL.fullmatch(cells[i].strip()) for i in wanted if i < len(cells)]
        figures = [
            Estimate(*(float(part) for part in match.groups()), sd=nan, n=len(wanted)) for match in matches if match
        ]
        if figures:
            found.append((cells[0].strip(), figures))
    if not found:
        raise BadInput(f"{path}: no table of scores at equal density by layer of truth")
    return found


ANSWERED = TableProblem(
    name="4.38",
    reads=PAGE,
    written_by="polysem bench-scores",
    rule=Rule(
        says="yes if a score has an AUROC of at least .90 at equal density in every layer of truth, by the whole "
        "interval; no if every score lies below .90 in some layer, by the whole interval",
        least=ENOUGH,
        against_untrained=False,
        unit="layer of truth",
    ),
    statistic="AUROC of one feature against several at equal density, in the layer of truth where the score does worst",
    null="0.5, a score that tells nothing",
    answer=answer,
    doubts=("Planted neurons are unions of features that can be named; real ones may be of others.",),
)
