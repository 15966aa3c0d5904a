"""The reliability curve of the headline: what share of neurons with some P do have one feature?"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from analyze.figures import COLOURS, FAINT, look, svg_of
from analyze.headline.judge import reliability
from analyze.statistics import wilson


def reliability_curve(
    sets: dict[str, tuple[Float[ndarray, " n"], Bool[ndarray, " n"], Float[ndarray, " n"]]],
    one_from: float,
    several_to: float,
) -> str:
    """A line for each set of neurons: share of one feature against mean P, with 95 % intervals (Wilson), as SVG.

    Args:
        sets: P, whether each neuron has one feature, and its weight, by what the line is to be called.
    """
    from matplotlib.figure import Figure

    with look():
        figure = Figure(figsize=(4.6, 4.2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
        axes.text(0.13, 0.2, "calibrated", color=FAINT, fontsize=9, rotation=43)
        for limit, text in ((several_to, "several"), (one_from, "one")):
            axes.axvline(limit, color=FAINT, linewidth=0.8, linestyle=(0, (1.5, 1.5)))
            axes.text(limit, 1.02, text, color=FAINT, fontsize=9, ha="center")
        for colour, (name, (p, one, weight)) in zip(COLOURS, sets.items()):
            found = reliability(p, one, weight)
            mean, share, n = (np.array(values, np.float64) for values in zip(*found))
            ends = np.array([wilson(each * size, size) for each, size in zip(share, n)]).T
            axes.errorbar(
                mean, share, np.abs(ends - share), color=colour, marker="o", markersize=4, linewidth=1.5, label=name
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean P(one feature)", ylabel="share that has one feature")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0.06, 1.0))
        return svg_of(figure)
