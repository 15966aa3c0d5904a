"""docs/toys.md from results: what every toy shows, in two sentences and a figure, with the tables behind it.

The page's prose stays; what stands between `<!-- made: NAME -->` and `<!-- end: NAME -->` is written anew, and so are
the figures beside the page.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, look, name_lines, svg_of
from analyze.problems.answers import estimate
from analyze.problems.base import Finding
from analyze.problems.catalogue import Entry, entries
from analyze.tables import Table, number, plain
from analyze.toys.measures import MEASURES
from analyze.toys.programs.known_table import MAX_BYTES, known_told
from analyze.toys.verdicts.record import answered
from train.configfile import read_toml
from train.errors import BadInput
from train.files import read_json, write_atomic
from train.parquet import read_parquet
from train.textfiles import read_text
from train.toys.experiment import About
from train.toys.listing import about_of, shipped_configs

TOYS = [f"4.{number}" for number in range(1, 21)]
"""The problems that toys answer."""
MOST_LINES = 12
"""Variants in a figure of replicas."""
DOTS_APART = 60
"""Dots that lie side by side over the width of a figure."""
MARKED = re.compile(r"(<!-- made: (?P<name>[a-z-]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


@dataclass(frozen=True)
class Sources:
    """Where results lie, and where the page does."""

    toys: Path
    """What `toy-pages` and `toy-known` wrote."""
    problems: Path
    """What `toy-pages` and `toy-trial` wrote of problems."""
    page: Path

    @property
    def figures(self) -> Path:
        """Of the page: docs/toys beside docs/toys.md."""
        return self.page.with_suffix("")


def tell(sources: Sources) -> Path:
    """Write the page's parts that are made from results.

    Raises:
        BadInput: a page without a mark, or with one that names no part; results that cannot be read.
    """
    text = read_text(sources.page)
    named = [match["name"] for match in MARKED.finditer(text)]
    for name in named:
        if name not in PARTS:
            raise BadInput(f"{sources.page}: <!-- made: {name} --> is no part; there are {', '.join(PARTS)}")
    if not named:
        raise BadInput(f"{sources.page}: has no <!-- made: NAME --> ... <!-- end: NAME --> to write between")
    made = {name: PARTS[name](sources) for name in named}
    text = MARKED.sub(lambda match: f"{match[1]}\n{made[match['name']].strip()}\n\n{match[3]}", text)
    write_atomic(sources.page, text.encode())
    return sources.page


def problems(sources: Sources) -> str:
    """A section a problem from 4.1 to 4.20."""
    abouts = {path.stem: about_of(path) for path in shipped_configs()}
    known = entries()
    return "\n\n".join(_problem(sources, known[name], abouts) for name in TOYS)


def _problem(sources: Sources, entry: Entry, abouts: dict[str, About]) -> str:
    found = answered(entry.name, sources.problems)
    verdict, _ = entry.finding(sources.problems)
    title = f"### {entry.name} {entry.title} ({verdict.verdict})\n\n{entry.asks}"
    if not found:
        return f"{title} Not asked yet; `polysem toy {entry.name}` asks it."
    leading = next((each for each in found if each[0].verdict == verdict.verdict), found[0])
    name = str(leading[1]["toy"])
    told = [(str(facts["toy"]), _of_toy(finding, facts, abouts)) for finding, facts in found]
    if len(told) == 1:
        lines = [title, told[0][1]]
    else:
        words = ", ".join(f"`{facts['toy']}` {finding.verdict}" for finding, facts in found)
        lines = [title, f"**{verdict.verdict}**: {words}."]
        lines.append("\n".join(f"- `{toy}`. {says}" for toy, says in told))
    if figure := _figure(sources, entry.name, name, leading[1]):
        lines.append(figure)
    return "\n\n".join(lines)


def _of_toy(finding: Finding, facts: dict[str, Any], abouts: dict[str, About]) -> str:
    """The first sentence of a toy's outcome, and what its rule made of it."""
    about = abouts.get(str(facts["toy"]))
    sentences = [first_sentence(about.outcome)] if about and about.outcome else []
    return " ".join([*sentences, by_rule(finding, facts)])


def by_rule(finding: Finding, facts: dict[str, Any]) -> str:
    """What the rule made of a toy, with the numbers of its leading variant and the verdicts of the others."""
    able = [each for each in finding.variants if each.n]
    if not able:
        return f"By its rule not answerable: {finding.sentence}"
    first = next((each for each in able if each.verdict == finding.verdict), able[0])
    others = [each.verdict for each in finding.variants if each is not first]
    where = first.variant.partition(", ")[2]
    of_first = f" at {where}: {first.verdict}" if others and where else ""
    counted = ", ".join(f"{others.count(word)} {word}" for word in dict.fromkeys(others))
    more = f"{of_first}; other variants: {counted}" if others else ""
    return (
        f"By its rule **{finding.verdict}**: {in_words(facts['statistic'])} is {estimate(first.statistic)}, "
        f"{number(first.null.mean, 3)} under the null ({first.n} replicas{more})."
    )


def in_words(statistic: str) -> str:
    """What a statistic is; a measure's own words for its name, up to where they explain its range."""
    name = statistic.split(",", maxsplit=1)[0]
    if name not in MEASURES:
        return statistic
    says = re.split(r"[:;]\s|(?<=[a-z)\d])\.\s+(?=[A-Z])", MEASURES[name].says.rstrip("."), maxsplit=1)[0]
    return f"{says} (`{name}`)"


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence."""
    return re.split(r"(?<=[a-z)\d]\.)\s+(?=[A-Z])", " ".join(text.split()), maxsplit=1)[0]


def _figure(sources: Sources, problem: str, toy: str, facts: dict[str, Any]) -> str:
    """The figure of a problem, beside the page: the toy's own, else its replicas beside their null."""
    place = sources.problems / problem / "toys" / toy
    own = facts.get("figures", {})
    if own:
        name, (alt, _) = next(iter(own.items()))
        svg = (place / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    else:
        alt = f"{facts['statistic']} of every replica of {toy}, and under the null"
        svg = replicas_drawn(read_parquet(place / "replicas.parquet"), str(facts["statistic"]))
    sources.figures.mkdir(parents=True, exist_ok=True)
    write_atomic(sources.figures / f"{problem}.svg", svg.encode())
    return f"![{plain(alt)}]({sources.figures.name}/{problem}.svg)"


def replicas_drawn(table: pl.DataFrame, statistic: str) -> str:
    """A dot a replica and a tick for the mean of its null, a line a variant (at most 12); an SVG."""
    from matplotlib.figure import Figure as Canvas

    variants = table["variant"].unique(maintain_order=True).to_list()[:MOST_LINES]
    with look():
        canvas = Canvas(figsize=(6.5, 1.1 + 0.28 * len(variants)), layout="constrained")
        axes = canvas.subplots()
        shown = table.filter(pl.col("variant").is_in(variants))
        both = pl.concat([shown["null"], shown["statistic"]]).drop_nans().to_numpy()
        near = float(np.ptp(both)) / DOTS_APART if len(both) else 0.0
        for line, variant in enumerate(variants):
            own = shown.filter(pl.col("variant") == variant)
            labels = (None, None) if line else ("under the null", "replicas")
            axes.plot(own["null"], [line] * own.height, "|", color=FAINT, ms=16, label=labels[0])
            rows = line + side_by_side(own["statistic"].to_numpy(), near)
            axes.plot(own["statistic"], rows, "o", color=COLOURS[0], ms=3, alpha=0.8, label=labels[1])
        name_lines(axes, [variant.partition(", ")[2][:60] or variant for variant in variants])
        axes.set_xlabel(statistic if len(statistic) <= 60 else "statistic")
        canvas.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
        return svg_of(canvas)


def side_by_side(values: Float[ndarray, " replica"], near: float) -> Float[ndarray, " replica"]:
    """How far from its line each dot lies, so that replicas of the same value are seen side by side: -.4 to .4."""
    places = np.round(values / near) if near > 0 else np.zeros(len(values))
    offsets = np.zeros(len(values))
    for place in np.unique(places[~np.isnan(places)]):
        (these,) = np.nonzero(places == place)
        offsets[these] = (np.arange(len(these)) - (len(these) - 1) / 2) * min(0.1, 0.8 / len(these))
    return offsets


def verdicts(sources: Sources) -> str:
    """The long table: every toy, every variant."""
    rows = []
    for problem in TOYS:
        for finding, facts in answered(problem, sources.problems):
            for each in finding.variants:
                why = f": {each.why}" if each.why else ""
                rows.append(
                    [
                        ("problem", problem),
                        ("variant", each.variant),
                        ("verdict", each.verdict + why),
                        ("statistic", estimate(each.statistic)),
                        ("null", number(each.null.mean, 3)),
                        ("effect", estimate(each.effect)),
                        ("replicas", str(each.n)),
                        ("power", number(each.power, 3)),
                        ("command", f"`{facts['command']}`"),
                    ]
                )
    return Table.of("", "", rows).markdown().replace("\\`", "`") if rows else "Nothing has been run."


def experiments(sources: Sources) -> str:
    """Shipped toys without a rule, which reproduce what was published: question, outcome, figure, command."""
    lines = []
    for path in shipped_configs():
        values, name = read_toml(path), path.stem
        if "verdict" in values or "program" in values:
            continue
        about, summary, counted = values["about"], sources.toys / f"{name}.json", ""
        if summary.is_file():
            words = [each["verdict"] for each in read_json(summary, MAX_BYTES)["verdicts"]]
            counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words)) + "; "
        figure = sources.figures / f"{name}.svg"
        title = f"[{about['title']}]({sources.figures.name}/{name}.svg)" if figure.is_file() else about["title"]
        said = " ".join(f"{about['question']} {about.get('outcome', '')}".split())
        lines.append(f"- **{title}**: {said} ({counted}`polysem toy {name}`)")
    return "\n".join(lines)


def known(sources: Sources) -> str:
    """The table of published results, and below it why some did not hold and what differs from what was published."""
    path = sources.toys / "known.json"
    if not path.is_file():
        return "Not compared yet: `polysem toy-known`."
    return known_told(read_json(path, MAX_BYTES)).replace("\\`", "`")


def trials(sources: Sources) -> str:
    """The table of rules tried on cases of known truth."""
    path = sources.problems / "toy-trials.md"
    return path.read_text(encoding="utf-8") if path.is_file() else "Not tried yet: `polysem toy-trial`."


PARTS: dict[str, Callable[[Sources], str]] = {
    "problems": problems,
    "verdicts": verdicts,
    "experiments": experiments,
    "known": known,
    "trials": trials,
}
"""What a page may have made."""
