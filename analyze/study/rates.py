"""Which peak learning rate each variant takes, by a rule, and what the rate does to its neurons: table and figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analyze.figures import look, styles_of, svg_of
from analyze.tables import Table, number, percent

MOST_DEAD = 0.05
"""Share of dead neurons at which a rate is passed over."""

RULE = (
    f"The rate with the lowest held-out loss among those that leave at most {100 * MOST_DEAD:g} % of the neurons dead; "
    "one rate for all: "
    "the rate with the lowest mean loss over the variants, among those at which every variant keeps to this."
)


@dataclass(frozen=True)
class RatePoint:
    """One variant trained at one peak rate."""

    variant: str
    rate: float
    loss: float
    """Held-out, nats a token; infinite where training diverged."""
    dead: float
    """Share of all neurons."""
    firing: float
    """Share of tokens on which the median scored neuron fires."""
    share: float
    """Of judged neurons that the score says yes of, clusters of duplicates once."""
    null: float
    """The same of W_in rotated."""
    judged: float
    """Neurons with a verdict, clusters once."""

    def __str__(self) -> str:
        return (
            f"{self.variant} {self.rate:g}: loss {number(self.loss, 3)}, dead {percent(self.dead)} %, firing "
            f"{percent(self.firing)} %, called so {percent(self.share)} % of {number(self.judged, 0)} judged, "
            f"W_in rotated {percent(self.null)} %"
        )

    @property
    def allowed(self) -> bool:
        """Whether the rule may choose it."""
        return self.loss < float("inf") and self.dead <= MOST_DEAD


def best_rate(points: Sequence[RatePoint]) -> float | None:
    """The rate of one variant by RULE; None where none is allowed. Of equal losses the smaller rate."""
    allowed = [point for point in points if point.allowed]
    return min(allowed, key=lambda point: (point.loss, point.rate)).rate if allowed else None


def common_rate(points: Mapping[str, Sequence[RatePoint]]) -> float | None:
    """One rate for all variants by RULE; None where no rate is allowed for every variant."""
    rates = set.intersection(*({point.rate for point in each if point.allowed} for each in points.values()))

    def mean_loss(rate: float) -> float:
        return sum(point.loss for each in points.values() for point in each if point.rate == rate)

    return min(rates, key=lambda rate: (mean_loss(rate), rate), default=None)


def at_edge(rate: float | None, points: Sequence[RatePoint]) -> bool:
    """Whether a rate is the smallest or largest that was tried, so that a better one may lie beyond."""
    return rate in (min(point.rate for point in points), max(point.rate for point in points))


def spread_line(points: Mapping[str, Sequence[RatePoint]], score: str) -> str:
    """By how much the rate moves the share of each variant, beside how much variants differ at one rate; a sentence.

    Only rates with at most 5 % dead, at which a share exists.
    """
    allowed = {name: [point for point in each if point.allowed and point.judged] for name, each in points.items()}
    allowed = {name: each for name, each in allowed.items() if each}
    if not allowed:
        return f"No rate was tried at which {score} may be compared."
    by_rate: dict[float, list[RatePoint]] = {}
    for each in allowed.values():
        for point in each:
            by_rate.setdefault(point.rate, []).append(point)
    moved = ", ".join(f"{name} {_range(each)}" for name, each in allowed.items())
    between = ", ".join(f"{_range(each)} at {rate:g}" for rate, each in sorted(by_rate.items()) if len(each) > 1)
    across = f" Across variants at one rate: {between}." if between else ""
    return f"Share called so by {score}, lowest to highest over these rates: {moved}.{across}"


def _range(points: Sequence[RatePoint]) -> str:
    shares = [point.share for point in points]
    return f"{percent(min(shares))} to {percent(max(shares))} %"


def rates_table(points: Mapping[str, Sequence[RatePoint]], score: str) -> Table:
    """Every variant at every rate; its chosen rate is marked."""
    rows = []
    for variant, each in points.items():
        best = best_rate(each)
        for point in sorted(each, key=lambda point: point.rate):
            mark = "" if point.rate != best else "chosen, edge of the grid" if at_edge(best, each) else "chosen"
            rows.append(
                (
                    ("variant", variant),
                    ("peak rate", f"{point.rate:g}"),
                    ("loss", number(point.loss, 3)),
                    ("dead %", percent(point.dead)),
                    ("firing %", percent(point.firing)),
                    (f"{score} called so %", percent(point.share)),
                    ("W_in rotated %", percent(point.null)),
                    ("judged", number(point.judged, 0)),
                    ("rule", mark),
                )
            )
    return Table.of("Every rate", "", rows)


def rates_figure(points: Mapping[str, Sequence[RatePoint]], score: str) -> str:
    """An SVG of four panels over the rate: the share with its null, dead share, firing rate, loss."""
    from matplotlib.figure import Figure

    panels = (
        (f"Called so by {score}, % of judged (dotted: W_in rotated)", lambda point: 100 * point.share),
        ("Dead, % of neurons", lambda point: 100 * point.dead),
        ("Median firing rate, % of tokens", lambda point: 100 * point.firing),
        ("Held-out loss, nats a token", lambda point: point.loss),
    )
    styles = styles_of(list(points))
    with look():
        figure = Figure(figsize=(10, 7), layout="constrained")
        for axes, (title, value) in zip(figure.subplots(2, 2).flat, panels):
            for variant, each in points.items():
                line = [point for point in sorted(each, key=lambda point: point.rate) if point.loss < float("inf")]
                x, style = [point.rate for point in line], styles[variant]
                axes.plot(x, [value(point) for point in line], color=style.colour, linestyle=style.dash, marker="o")
                axes.lines[-1].set_label(variant)
                if axes is figure.axes[0]:
                    null = [100 * point.null for point in line]
                    axes.plot(x, null, color=style.colour, linestyle=":", marker=".", linewidth=1)
            axes.set_xscale("log")
            rates = sorted({point.rate for each in points.values() for point in each})
            axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
            axes.minorticks_off()
            axes.set_title(title)
            axes.set_xlabel("peak learning rate")
        figure.axes[1].legend(frameon=False)
        return svg_of(figure)
