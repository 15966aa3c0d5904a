"""The report's distribution of the primary score, trained and by chance."""

from collections.abc import Iterable

import numpy as np

from analyze.comparison.summary import Called
from analyze.figures import Figure
from analyze.nulls import shown_nulls
from analyze.report.base import Part, Section, Study
from analyze.report.plots import Distribution, score_distributions
from analyze.tables import visible


def _section(study: Study) -> Section:
    title = f"Distribution of {study.comparison.primary.title}"
    return Section("scores", title, "Scores", (score_figure(study),))


def score_figure(study: Study) -> Figure:
    """The primary score of every variant, trained and of its nulls."""
    primary = study.comparison.primary
    name, title, verdict = primary.name, primary.title, primary.verdict
    distributions = []
    for row in study.comparison.rows:
        trained = _joined(each.own.called[name] for each in row.cells)
        chance = {
            null.name: _joined(
                each.nulls[null.name].called[name]
                for each in row.cells
                if null.name in each.nulls and name in each.nulls[null.name].called
            )
            for null in shown_nulls()
        }
        distributions.append(Distribution(str(row), row.variant, trained, chance))
    listed = "; ".join(
        f"{each.title}: median {np.median(each.trained):.2f}" for each in distributions if each.trained.size
    )
    # An effective number starts at 1.
    logarithmic = verdict.at_most and verdict.threshold >= 1
    scale = " (logarithmic)" if logarithmic else ""
    side = "Left" if verdict.at_most else "Right"
    return Figure(
        name.replace("_", "-"),
        score_distributions(distributions, study.styles, verdict.threshold, title, logarithmic),
        visible(f"Cumulative distribution of {title}. {listed}."),
        f"How to read it: the height of a curve is the share of judged neurons with at most this {title}{scale}. All "
        f"seeds together, duplicates counted once. {side} of the dotted line at {verdict.threshold:g} a neuron is "
        f"called {verdict.called}. Where the trained curve runs with those of its nulls, the score has shown nothing.",
    )


def _joined(called: Iterable[Called]) -> np.ndarray:
    return np.concatenate([np.empty(0), *(each.values for each in called)])


PART = Part("scores", 40, _section)
