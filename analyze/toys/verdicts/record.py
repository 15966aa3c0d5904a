"""Findings of toys on disk, where `polysem problems` reads them, and the page of a problem that toys answer.

OUT/4.7/toys/NAME/finding.json      what one toy says, by its rule
OUT/4.7/toys/NAME/replicas.parquet  every replica: variant, statistic, mean of its null, whether it had settled
OUT/4.7/finding.json, 4.7.html      the problem's answer from all of them
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analyze.figures import Figure
from analyze.html import render, versions
from analyze.problems.base import Finding, Measured
from analyze.problems.catalogue import entry
from analyze.problems.page import variant_table
from analyze.problems.store import finite, read_finding, write_finding
from analyze.problems.verdict import combined, judge
from analyze.tables import Table, number
from analyze.toys.verdicts.question import ToyQuestion
from train.errors import BadInput, EnvironmentProblem
from train.files import write_atomic
from train.parquet import read_parquet, write_parquet

OUT = Path("results/problems")
"""Where findings lie unless told otherwise."""


def answer(
    question: ToyQuestion,
    measured: Sequence[Measured],
    out: Path = OUT,
    *,
    figures: Sequence[Figure] = (),
    facts: dict[str, Any] | None = None,
) -> Finding:
    """Judge what a toy measured, write it, and write the problem's finding and page from all toys that answer it.

    Args:
        question: what was asked; both configs and programs make one.
        measured: one a replica; `Measured.seed` numbers initialisations, `Measured.variant` what answers on its own.
        out: directory of findings.
        figures: kept beside the finding and shown on the page.
        facts: what else to keep in finding.json, such as the hash of the run.

    Returns:
        The finding of this toy alone.

    Raises:
        BadInput: a problem that is not there.
        EnvironmentProblem: it could not be written.
    """
    entry(question.problem)
    finding = judge(question, measured)
    place = out / question.problem / "toys" / question.name
    told = {
        "problem": question.problem,
        "toy": question.name,
        "title": entry(question.problem).title,
        "rule": question.rule.says,
        "statistic": question.statistic,
        "null_is": question.null,
        "command": question.command,
        "sources": list(question.sources),
        "replicas": sorted({each.seed for each in measured}),
        "figures": {each.name: [each.alt, each.caption] for each in figures},
        **(facts or {}),
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        write_parquet(_replicas(measured), place / "replicas.parquet")
        for figure in figures:
            (place / "figures").mkdir(exist_ok=True)
            write_atomic(place / "figures" / f"{figure.name}.svg", figure.svg.encode())
        write_finding(place, finding, told)
        assemble(question.problem, out)
    except OSError as failure:
        raise EnvironmentProblem(f"{place}: could not be written ({failure.strerror or failure})") from None
    return finding


def assemble(problem: str, out: Path = OUT) -> Finding:
    """The problem's finding from all toys that answered it under `out`, written with its page.

    Raises:
        BadInput: no toy has answered it, or a file that is no finding.
    """
    toys = answered(problem, out)
    if not toys:
        raise BadInput(f"{out / problem}: no toy has answered problem {problem} there")
    finding = combined([each for each, _ in toys])
    told = {
        "problem": problem,
        "title": entry(problem).title,
        "toys": {facts["toy"]: found.verdict for found, facts in toys},
        "rule": " ".join(f"{facts['toy']}: {facts['rule']}." for _, facts in toys),
        "statistic_is": "; ".join(f"{facts['toy']}: {facts['statistic']}" for _, facts in toys),
        "null_is": "; ".join(f"{facts['toy']}: {facts['null_is']}" for _, facts in toys),
        "command": f"polysem toy {problem}",
        "figure_names": [
            f"../toys/{facts['toy']}/figures/{name}" for _, facts in toys for name in facts.get("figures", {})
        ],
    }
    write_finding(out / problem, finding, told)
    page = render(
        "toy_problem.html.j2",
        entry=entry(problem),
        finding=finding,
        toys=[(found, facts, variant_table(found), _figures(out / problem, facts)) for found, facts in toys],
        replicas=[replica_table(facts["toy"], out / problem / "toys" / facts["toy"]) for _, facts in toys],
        versions=versions(),
    )
    write_atomic(out / f"{problem}.html", str(page).encode())
    return finding


def answered(problem: str, out: Path = OUT) -> list[tuple[Finding, dict[str, Any]]]:
    """What each toy said of a problem, in order of their names.

    Raises:
        BadInput: a file that is no finding.
    """
    found = (read_finding(path.parent) for path in sorted((out / problem / "toys").glob("*/finding.json")))
    return [each for each in found if each is not None]


def replica_table(name: str, place: Path) -> Table:
    """Every replica of a toy."""
    table = read_parquet(place / "replicas.parquet")
    return Table.of(
        f"Replicas of {name}",
        "",
        [
            [
                ("variant", row["variant"]),
                ("replica", str(row["replica"])),
                ("statistic", number(row["statistic"], 3)),
                ("null (mean)", number(row["null"], 3)),
                ("training", "settled" if row["settled"] else "still moving"),
                ("why not", row["why_not"]),
            ]
            for row in table.iter_rows(named=True)
        ],
    )


def _replicas(measured: Sequence[Measured]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "variant": [each.variant for each in measured],
            "replica": [each.seed for each in measured],
            "statistic": [finite(each.measurement.statistic) for each in measured],
            "null": [
                finite(float(np.mean(each.measurement.null))) if len(each.measurement.null) else None
                for each in measured
            ],
            "settled": [each.measurement.settled for each in measured],
            "why_not": [each.measurement.why_not for each in measured],
            **_details(measured),
        },
        schema_overrides={"statistic": pl.Float64, "null": pl.Float64, "replica": pl.Int64},
    )


def _details(measured: Sequence[Measured]) -> dict[str, list[float | None]]:
    names = dict.fromkeys(name for each in measured for name in each.measurement.details)
    return {name: [finite(each.measurement.details.get(name, float("nan"))) for each in measured] for name in names}


def _figures(place: Path, facts: dict[str, Any]) -> list[Figure]:
    here = place / "toys" / facts["toy"] / "figures"
    return [
        Figure(name, (here / f"{name}.svg").read_text(encoding="utf-8"), alt, caption)
        for name, (alt, caption) in facts.get("figures", {}).items()
    ]
