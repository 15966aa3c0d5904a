"""Pages about finished toys: one HTML file each that opens without a network, an index, and a Markdown table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from analyze.figures import Figure
from analyze.html import render, versions
from analyze.tables import Table, visible
from analyze.toys.arms import ArmComparison
from analyze.toys.arms_page import ArmsPage, arms_page
from analyze.toys.doubts import doubts
from analyze.toys.expectations import Verdict, bounds, judge
from analyze.toys.figures import figures_of
from analyze.toys.reading import Reading
from analyze.toys.view import View
from train.configfile import load_config, to_toml
from train.errors import BadInput
from train.files import write_atomic
from train.toys.arms.store import arms_directory
from train.toys.config import ToyConfig
from train.toys.listing import SHIPPED
from train.toys.runs import ToyRun


@dataclass(frozen=True)
class Page:
    """Everything that the template prints about one toy."""

    name: str
    view: View
    verdicts: tuple[Verdict, ...]
    expectations: Table
    doubts: tuple[str, ...]
    instances: Table
    figures: tuple[Figure, ...]
    arms: ArmsPage | None
    """The section on arms; None for a toy without arms."""
    toml: str
    commands: tuple[str, ...]
    """They make the run and its page again."""
    versions: str

    @classmethod
    def of(cls, name: str, run: ToyRun) -> "Page":
        """The page of one toy; see `write_pages`."""
        view = View(Reading(run))
        verdicts, comparison = judge(view.all), ArmComparison.of(run)
        return cls(
            name=name,
            view=view,
            verdicts=tuple(verdicts),
            expectations=expectations(verdicts),
            doubts=tuple(doubts(view, verdicts)),
            instances=instance_table(view),
            figures=tuple(figures_of(view.all)),
            arms=None if comparison is None else arms_page(view, comparison),
            toml=to_toml(run.config),
            commands=commands(name, run),
            versions=versions(),
        )

    @property
    def config(self) -> ToyConfig:
        """As the toy ran."""
        return self.view.run.config

    @property
    def result(self) -> str:
        """The numbers behind the verdicts, in a line."""
        numbers = (
            f"{each.expectation.says} ({each.expectation.measure} {each.best:.3g}, expected {bounds(each.expectation)})"
            for each in self.verdicts
        )
        return "; ".join(numbers) or "nothing to check"

    @property
    def verdict(self) -> str:
        """Such as `held`, or `2 held, 1 unclear`."""
        words = [each.word for each in self.verdicts]
        present = {word: words.count(word) for word in ("held", "did not hold", "unclear") if word in words}
        if len(present) == 1:
            return words[0]
        return ", ".join(f"{n} {word}" for word, n in present.items()) or "–"

    @property
    def summary(self) -> dict[str, Any]:
        """The page's numbers, for programs: <name>.json."""
        run, about = self.view.run, self.config.about
        good = run.good.sum(axis=1).tolist()
        words = ("title", "problem", "source", "question", "expectation", "outcome")
        instances = [
            {
                **{key: run.instances[key][i] for key in self.view.swept},
                "best": float(run.best_losses[i]),
                "median": float(np.median(run.losses[i])),
                "naive": run.naive[i].loss,
                "constant": run.naive[i].constant_loss,
                "within_10_percent": good[i],
            }
            for i in range(run.n_inst)
        ]
        return {
            "name": self.name,
            **{key: getattr(about, key) for key in words},
            "manifest_sha256": run.hash,
            "seed": run.config.fit.seed,
            "replicas": run.n_rep,
            "seconds": run.seconds,
            "verdicts": [_verdict_numbers(each) for each in self.verdicts],
            "instances": instances,
            "doubts": list(self.doubts),
            "commands": list(self.commands),
        } | ({"arms": self.arms.numbers} if self.arms else {})


def _verdict_numbers(verdict: Verdict) -> dict[str, Any]:
    expected = verdict.expectation
    return {
        "says": expected.says,
        "verdict": verdict.word,
        **{key: getattr(expected, key) for key in ("measure", "where", "minus", "at_least", "at_most")},
        "best": _finite(verdict.best),
        "replicas": [_finite(value) for value in verdict.values.tolist()],
        "good": int(verdict.good.sum()),
        "good_satisfying": verdict.n_good_satisfying,
        "satisfying": int(verdict.satisfies.sum()),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def write_pages(directories: Sequence[Path], out: Path) -> list[Path]:
    """Write <out>/<name>.html, <name>.json and <name>/figures/*.svg of every toy, index.html and experiments.md.

    A toy with arms has them on its page, and their tables in <name>-arms.md.

    Args:
        directories: finished toys; a directory's name is the page's.

    Returns:
        The pages, index.html last.

    Raises:
        BadInput: no directory; something that is not a finished toy, or is damaged; two of one name; an arm
            that is missing or damaged; an [[expect]] whose measure is not known or does not apply.
    """
    directories = without_arms(directories)
    names = [directory.resolve().name for directory in directories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"two toys are named {twice[0]!r}, so that one page would replace the other; rename one")
    pages = []
    for name, directory in zip(names, directories):
        page = Page.of(name, ToyRun.load(directory))
        figures = out / name / "figures"
        figures.mkdir(parents=True, exist_ok=True)
        for figure in (*page.figures, *([page.arms.figure] if page.arms else [])):
            write_atomic(figures / f"{figure.name}.svg", figure.svg.encode())
        write_atomic(out / f"{name}.json", json.dumps(page.summary, indent=2, allow_nan=False).encode() + b"\n")
        if page.arms:
            write_atomic(out / f"{name}-arms.md", page.arms.markdown().encode())
        write_atomic(out / f"{name}.html", render("toy.html.j2", page=page).encode())
        pages.append(page)
    write_atomic(out / "experiments.md", experiments(pages).encode())
    write_atomic(out / "index.html", render("toys.html.j2", pages=pages, versions=versions()).encode())
    return [out / f"{name}.html" for name in [*names, "index"]]


def without_arms(directories: Sequence[Path]) -> list[Path]:
    """The toys among directories: a shell's `toy/*` also names the arms of a toy, which are on its page.

    Raises:
        BadInput: none is left.
    """
    of_arms = {arms_directory(each) for each in directories}
    toys = [each for each in directories if each.resolve() not in of_arms]
    if not toys:
        raise BadInput("no directory of a finished toy was given")
    return toys


def instance_table(view: View) -> Table:
    """Losses of every instance and its baselines."""
    run = view.run
    rows = []
    for i, good in enumerate(run.good.sum(axis=1).tolist()):
        best, naive = float(run.best_losses[i]), run.naive[i]
        ratio = f"{best / naive.loss:.3g}" if naive.loss > 0 else "–"
        losses = (best, float(np.median(run.losses[i])), naive.loss, naive.constant_loss)
        rows.append((view.name(i), *(f"{each:.4g}" for each in losses), ratio, f"{good} of {run.n_rep}"))
    unit = "cross-entropy in nats" if run.config.fit.loss == "cross_entropy" else "importance x squared error"
    return Table(
        "Losses",
        f"Mean of {unit} over samples and outputs. Naive: neurons of their own for as many outputs as they "
        "suffice for, the best constant for the rest; only below it is there a gain from superposition. Good: "
        "replicas whose loss is within 10 % of the lowest, or within a thousandth of the constants' loss from it.",
        ("instance", "best", "median", "naive", "constants", "best / naive", "good"),
        tuple(rows),
    )


def expectations(verdicts: Sequence[Verdict]) -> Table:
    """Every [[expect]] with what was found."""
    rows = []
    for each in verdicts:
        expected = each.expectation
        where = ", ".join(f"{name} = {value:g}" for name, value in expected.where.items())
        if expected.minus is not None:
            where += " less " + ", ".join(f"{name} = {value:g}" for name, value in expected.minus.items())
        measured = (expected.measure, where or "–", bounds(expected), f"{each.best:.4g}")
        rows.append((expected.says, each.word, *measured, each.of_good, each.of_all))
    return Table(
        "Expectations",
        "Found: the replica of lowest loss. Held: it lies within the bounds, and so do at least half of the good "
        "replicas. Did not hold: neither. Unclear: one of the two.",
        ("expected", "verdict", "measure", "instance", "bounds", "found", "of good replicas", "of all"),
        tuple(rows),
    )


def commands(name: str, run: ToyRun) -> tuple[str, ...]:
    """What makes the run and its page again: from the shipped file where it is that one, else from the run's own."""
    shipped = SHIPPED / f"{name}.toml"
    is_shipped = shipped.is_file() and _setting(load_config(ToyConfig, shipped, [])) == _setting(run.config)
    config = f"configs/toy/{name}.toml" if is_shipped else f"{run.directory}/toy.toml"
    again = f"checkpoints/toy/{name}" if is_shipped else f"checkpoints/toy/{name}-again"
    return (f"polysem toy {config}{'' if is_shipped else f' --out {again}'}", f"polysem toy-pages {again}")


def _setting(config: ToyConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"about", "expect", "verdict"})


def experiments(pages: Sequence[Page]) -> str:
    """A Markdown table, one row an experiment: what was asked, expected and found."""
    headers = ("experiment", "problem", "question", "expectation", "result", "replicas", "verdict", "command")
    lines = ["| " + " | ".join(headers) + " |", "| " + " | ".join(["---"] * len(headers)) + " |"]
    for page in pages:
        about = page.config.about
        cells = (
            f"[{_cell(about.title)}]({quote(page.name)}.html)",
            _cell(about.problem) or "–",
            _cell(about.question),
            _cell(about.expectation),
            _cell(f"{about.outcome} ({page.result})" if about.outcome else page.result),
            str(page.config.fit.replicas),
            page.verdict,
            f"`{visible(page.commands[0])}`",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that stays one cell, and means itself, in a Markdown table."""
    return "".join(f"\\{char}" if char in "|`<>[]*_\\" else char for char in visible(" ".join(text.split())))
