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
from analyze.toys.arms import Trial
from analyze.toys.arms_page import TrialPage, trial_page
from analyze.toys.doubts import doubts
from analyze.toys.figures import figures_of
from analyze.toys.reading import Reading
from analyze.toys.verdicts import Verdict, bounds, judge
from analyze.toys.view import View
from train.configfile import load_config, to_toml
from train.errors import BadInput
from train.files import write_atomic
from train.toys.arms.store import arms_directory
from train.toys.config import ToyConfig
from train.toys.listing import SHIPPED
from train.toys.runs import ToyRun

FOLDED = 24
"""Above so many instances their table is folded."""


@dataclass(frozen=True)
class Page:
    """Everything the template prints about one toy."""

    name: str
    config: ToyConfig
    size: str
    verdicts: tuple[Verdict, ...]
    expectations: Table
    words: tuple[str, ...]
    """The verdict of each row of `expectations`."""
    doubts: tuple[str, ...]
    instances: Table
    is_folded: bool
    figures: tuple[Figure, ...]
    arms: TrialPage | None
    """What became of the networks under each treatment; None for a toy without arms."""
    toml: str
    commands: tuple[str, ...]
    provenance: str
    versions: str
    summary: dict[str, Any]
    """As <name>.json has it."""

    @property
    def result(self) -> str:
        """The numbers behind the verdicts, in a line."""
        found = (
            f"{each.expectation.says} ({each.expectation.measure} {each.best:.3g}, expected {bounds(each.expectation)})"
            for each in self.verdicts
        )
        return "; ".join(found) or "nothing to check"

    @property
    def verdict(self) -> str:
        """Such as `held`, or `2 held, 1 unclear`."""
        words = [each.word for each in self.verdicts]
        counts = [(word, words.count(word)) for word in ("held", "did not hold", "unclear")]
        present = [(word, n) for word, n in counts if n]
        if len(present) == 1:
            return present[0][0]
        return ", ".join(f"{n} {word}" for word, n in present) or "–"


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
    # A shell's `toy/*` names the arms of a toy beside it; they are on its page.
    beside = {arms_directory(each) for each in directories}
    directories = [each for each in directories if each.resolve() not in beside]
    if not directories:
        raise BadInput("no directory of a finished toy was given")
    names = [directory.resolve().name for directory in directories]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput(f"two toys are named {twice[0]!r}, so that one page would replace the other; rename one")
    pages = []
    for name, directory in zip(names, directories):
        page = page_of(name, ToyRun.load(directory))
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


def page_of(name: str, run: ToyRun) -> Page:
    """What the page of one toy says; see `write_pages`."""
    reading = Reading(run)
    view = View(reading)
    verdicts = judge(reading)
    table = instance_table(view)
    doubted = doubts(view, verdicts)
    settings = run.config.fit
    made = commands(name, run)
    trial = Trial.of(run)
    arms = None if trial is None else trial_page(view, trial)
    replicas = f"{run.n_rep} replica{'s' * (run.n_rep > 1)}"
    return Page(
        name=name,
        config=run.config,
        size=(
            f"{_size(run.config)}; {run.n_inst} instance{'s' * (run.n_inst > 1)} x {replicas}, "
            f"{settings.steps:,} steps of {settings.batch:,} samples"
        ),
        verdicts=tuple(verdicts),
        expectations=expectations(view, verdicts),
        words=tuple(each.word for each in verdicts),
        doubts=tuple(doubted),
        instances=table,
        is_folded=run.n_inst > FOLDED,
        figures=tuple(figures_of(reading)),
        arms=arms,
        toml=to_toml(run.config),
        commands=made,
        provenance=(
            f"Seed {settings.seed}; replicas differ in their initial weights"
            f"{' alone (they see the same samples)' if settings.data == 'shared' else ' and their samples'}; losses on "
            f"{settings.eval_samples:,} samples that no replica was trained on; trained in {run.seconds:,.0f} s; "
            f"sha256 of the run's manifest: {run.hash}."
        ),
        versions=versions(),
        summary=summary(name, view, verdicts, doubted, made) | ({"arms": arms.numbers} if arms else {}),
    )


def _size(config: ToyConfig) -> str:
    network = config.network
    hidden = " and ".join(map(str, network.hidden))
    unit = "dimensions" if network.kind == "bottleneck" else "neurons"
    return f"{config.features.n} features, {hidden} hidden {unit} ({network.kind} model, {network.output} output)"


def instance_table(view: View) -> Table:
    """Losses of every instance beside its baselines."""
    run = view.run
    rows = []
    for i, good in enumerate(run.good.sum(axis=1).tolist()):
        best, naive = float(run.best_losses[i]), run.naive[i]
        ratio = f"{best / naive.loss:.3g}" if naive.loss > 0 else "–"
        losses = (best, float(np.median(run.losses[i])), naive.loss, naive.constant_loss)
        rows.append(
            (view.title(i) or "the one instance", *(f"{each:.4g}" for each in losses), ratio, f"{good} of {run.n_rep}")
        )
    unit = "cross-entropy in nats" if run.config.fit.loss == "cross_entropy" else "importance x squared error"
    return Table(
        "Losses",
        f"Mean of {unit} over samples and outputs. Naive: neurons of their own for as many outputs as they "
        "suffice for, the best constant for the rest; only below it is there a gain from superposition. Good: "
        "replicas whose loss is within 10 % of the lowest, or within a thousandth of the constants' loss from it.",
        ("instance", "best", "median", "naive", "constants", "best / naive", "good"),
        tuple(rows),
    )


def expectations(view: View, verdicts: Sequence[Verdict]) -> Table:
    """Every [[expect]] with what was found."""
    rows = []
    for each in verdicts:
        expected = each.expectation
        where = ", ".join(f"{name} = {value:g}" for name, value in expected.where.items())
        if expected.minus is not None:
            where += " less " + ", ".join(f"{name} = {value:g}" for name, value in expected.minus.items())
        rows.append(
            (
                expected.says,
                each.word,
                expected.measure,
                where or "–",
                bounds(expected),
                f"{each.best:.4g}",
                f"{int((each.satisfies & each.good).sum())} of {int(each.good.sum())}",
                f"{int(each.satisfies.sum())} of {len(each.values)}",
            )
        )
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
    if shipped.is_file() and _asks_the_same(load_config(ToyConfig, shipped, []), run.config):
        return (
            f"python -m train toy configs/toy/{name}.toml",
            f"python -m analyze toys checkpoints/toy/{name}",
        )
    return (
        f"python -m train toy {run.directory}/toy.toml --out checkpoints/toy/{name}-again",
        f"python -m analyze toys checkpoints/toy/{name}-again",
    )


def _asks_the_same(one: ToyConfig, other: ToyConfig) -> bool:
    words = {"about", "expect"}
    return one.model_dump(exclude=words) == other.model_dump(exclude=words)


def summary(
    name: str, view: View, verdicts: Sequence[Verdict], doubted: Sequence[str], made: Sequence[str]
) -> dict[str, Any]:
    """The page's numbers, for programs."""
    run, about = view.run, view.run.config.about
    good = run.good.sum(axis=1).tolist()
    return {
        "name": name,
        **{key: getattr(about, key) for key in ("title", "problem", "source", "question", "expectation", "outcome")},
        "manifest_sha256": run.hash,
        "seed": run.config.fit.seed,
        "replicas": run.n_rep,
        "seconds": run.seconds,
        "verdicts": [
            {
                "says": each.expectation.says,
                "verdict": each.word,
                "measure": each.expectation.measure,
                "where": each.expectation.where,
                "minus": each.expectation.minus,
                "at_least": each.expectation.at_least,
                "at_most": each.expectation.at_most,
                "best": _finite(each.best),
                "replicas": [_finite(value) for value in each.values.tolist()],
                "good": int(each.good.sum()),
                "good_satisfying": int((each.satisfies & each.good).sum()),
                "satisfying": int(each.satisfies.sum()),
            }
            for each in verdicts
        ],
        "instances": [
            {
                **{key: run.instances[key][i] for key in view.swept},
                "best": float(run.best_losses[i]),
                "median": float(np.median(run.losses[i])),
                "naive": run.naive[i].loss,
                "constant": run.naive[i].constant_loss,
                "within_10_percent": good[i],
            }
            for i in range(run.n_inst)
        ],
        "doubts": list(doubted),
        "commands": list(made),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


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
