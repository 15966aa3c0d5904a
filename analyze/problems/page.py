"""Pages of findings: one a problem, and an index of all 45."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from analyze.figures import Figure
from analyze.html import render, versions
from analyze.problems.answers import answer_of, estimate
from analyze.problems.base import Finding, Measured, Problem
from analyze.problems.catalogue import entries, entry
from analyze.problems.published import PAGE, published
from analyze.tables import Table, number
from train.files import write_atomic


def write_page(
    out: Path, problem: Problem, finding: Finding, measured: Sequence[Measured], figures: Sequence[Figure], command: str
) -> Path:
    """Write OUT/<number>.html: question, verdict, rule, table by variant, figures, doubts."""
    path = out / f"{problem.name}.html"
    html = render(
        "problem.html.j2",
        entry=entry(problem.name),
        problem=problem,
        finding=finding,
        variants=variant_table(finding),
        checkpoints=checkpoint_table(measured),
        figures=figures,
        command=command,
        versions=versions(),
    )
    write_atomic(path, str(html).encode())
    return path


def write_index(out: Path) -> Path:
    """Write OUT/index.html and OUT/problems.md: all 45 with what was found under `out`, and what was published."""
    rows = []
    known = published()
    for each in entries().values():
        finding, facts = each.finding(out)
        names = facts.get("figure_names", [])
        figure = f"{each.name}/figures/{names[0]}.svg" if names else ""
        rows.append((each, answer_of(each, finding, facts), known.get(each.name), figure))
    out.mkdir(parents=True, exist_ok=True)
    html = render("problems.html.j2", rows=rows, published_in=PAGE, versions=versions())
    write_atomic(out / "index.html", str(html).encode())
    write_atomic(out / "problems.md", as_markdown(out).encode())
    return out / "index.html"


def as_markdown(out: Path) -> str:
    """All 45 in a table: question, verdict, what was published, figures, power, what to type."""
    lines = []
    known = published()
    for each in entries().values():
        answer, of_project = answer_of(each, *each.finding(out)), known.get(each.name)
        lines.append(
            [
                ("#", each.name),
                ("question", each.asks),
                ("verdict", answer.verdict),
                (f"published ({PAGE})", of_project.verdict if of_project else "–"),
                ("answer", answer.in_words or "–"),
                ("statistic", answer.statistic),
                ("null", answer.null),
                ("n", answer.n),
                ("power", answer.power),
                ("ask", each.ask or "cannot be asked yet"),
            ]
        )
    return Table.of("The 45 problems", "", lines).markdown() + "\n"


def variant_table(finding: Finding) -> Table:
    """What each variant's checkpoints say."""
    return Table.of(
        "By variant",
        "The interval is the 95 % t interval over seeds. Power: how far above the threshold an effect must lie for so "
        "many seeds with this spread to show it.",
        [
            [
                ("variant", answer.variant),
                ("verdict", answer.verdict + (f": {answer.why}" if answer.why else "")),
                ("statistic", estimate(answer.statistic)),
                ("null or untrained", estimate(answer.null)),
                ("effect", estimate(answer.effect)),
                ("beyond their null", f"{answer.beyond} of {answer.n}"),
                ("power", number(answer.power, 3)),
            ]
            for answer in finding.variants
        ],
    )


def checkpoint_table(measured: Sequence[Measured]) -> Table:
    """Every checkpoint, with its further figures."""
    names = list(dict.fromkeys(name for each in measured for name in each.measurement.details))
    has_reference = any(isfinite(each.measurement.reference) for each in measured)
    return Table.of(
        "By checkpoint",
        "",
        [
            [
                ("run", f"{each.run}, step {each.step:,}"),
                ("statistic", number(each.measurement.statistic, 3)),
                ("null (mean)", number(each.measurement.null.mean(), 3) if len(each.measurement.null) else "–"),
                ("untrained", number(each.measurement.untrained, 3)),
                *([("reference", number(each.measurement.reference, 3))] if has_reference else []),
                *((name, number(each.measurement.details.get(name), 3)) for name in names),
                ("why not", each.measurement.why_not),
            ]
            for each in measured
        ],
    )
