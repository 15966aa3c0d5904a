"""Which figures a toy's page shows; those of its numbers: what each is made from and how to read it."""

from collections.abc import Callable

import numpy as np

from analyze.figures import Figure
from analyze.toys import charts, progress
from analyze.toys.expectations import limits
from analyze.toys.geometry import PLATEAUS, dimensionality, dimensionality_star
from analyze.toys.measures import MEASURES
from analyze.toys.phase import STRATEGIES, boundary, observed_strategy, predicted_strategies
from analyze.toys.reading import Reading
from analyze.toys.view import View
from analyze.toys.weight_figures import arrow_figure, gram_figure, kind_figure, neuron_figure
from train.toys.measures import has_phase_diagram

FRACTIONS = {"square_antiprism": "3/8", "pentagon": "2/5", "antipodal": "1/2", "triangle": "2/3", "tetrahedron": "3/4"}


def figures_of(reading: Reading) -> list[Figure]:
    """Every figure that applies to a run, in the order of reading."""
    view = View(reading)
    makers: tuple[Callable[[View], Figure | None], ...] = (
        measure_figure,
        phase_figure,
        replica_figure,
        arrow_figure,
        gram_figure,
        dimensionality_figure,
        neuron_figure,
        kind_figure,
        learning_figure,
        curve_figure,
        active_figure,
    )
    return [figure for make in makers if (figure := make(view)) is not None]


def measure_figure(view: View) -> Figure | None:
    """The measures that [[expect]] names, over all instances."""
    run, expected = view.run, view.run.config.expect
    if not expected:
        return None
    names = list(dict.fromkeys(each.measure for each in expected))
    places = [run.config.instance_of(each.where) for each in expected]
    shown = view.chosen(18, places)
    panels = []
    for name in names:
        values = MEASURES[name](view.all)[shown]
        bounds = tuple(
            (shown.index(place), *limits(each))
            for each, place in zip(expected, places)
            if each.measure == name and each.minus is None
        )
        best = values[np.arange(len(shown)), run.best[shown]]
        panels.append(charts.Panel(title=name, values=values, best=best, good=run.good[shown], bounds=bounds))
    replicas = f", dots are all {run.n_rep} replicas (dark: good ones)" if run.n_rep > 1 else ""
    return Figure(
        "measures",
        charts.measures([view.short(i) for i in shown], panels, view.label),
        f"Measures {', '.join(names)} over {view.label}",
        f"What was expected, over all instances: the diamond is the replica of lowest loss{replicas}, green bands the "
        "bounds of single expectations; a bound on a difference of instances has no band. "
        f"{view.some(shown, '', '. ')}{' '.join(f'{name}: {MEASURES[name].says}' for name in names)}",
    )


def phase_figure(view: View) -> Figure | None:
    """The phase diagram, where the theory applies."""
    run = view.run
    if set(view.swept) != {"probability", "importance_last"} or not all(map(has_phase_diagram, view.all.configs)):
        return None
    rows, columns = run.config.sweep.probability, run.config.sweep.importance_last
    observed, predicted = (np.full((len(rows), len(columns)), -1) for _ in range(2))
    for i, (values, config) in enumerate(zip(run.instances.iter_rows(named=True), view.all.configs)):
        cell = rows.index(values["probability"]), columns.index(values["importance_last"])
        strategy = observed_strategy(view.best.weight[i, 0])
        observed[cell] = -1 if strategy is None else strategy
        # Where strategies cost the same, the observed one, if it is among them.
        cheapest = predicted_strategies(config)
        predicted[cell] = strategy if strategy in cheapest else cheapest[0]
    across = np.geomspace(min(columns), max(columns), 13)
    n = run.config.features.n
    border = np.array([boundary(float(importance), min(rows) / 2, max(rows), n) for importance in across])
    return Figure(
        "phases",
        charts.phases(rows, columns, observed, predicted, (across, border), STRATEGIES[: 3 if n == 2 else 4]),
        "Strategy for the last feature over probability and importance, in theory and as trained",
        "What becomes of the last feature: left, the strategy of lowest loss by numerical integration; right, what the "
        f"replica of lowest loss of {run.n_rep} did in each cell. Dashed: where the theory's strategies change, the "
        "same lines on both sides. Sparser features lie higher.",
    )


def replica_figure(view: View) -> Figure:
    """Final losses of all replicas and the baselines."""
    run, shown = view.run, view.chosen(24)
    titles = [view.short(i) for i in shown]
    return Figure(
        "replicas",
        charts.replicas(titles, run.losses[shown], run.naive_losses[shown], run.constant_losses[shown], view.label),
        f"Final loss of {run.n_rep} replicas over {view.label}, with naive and constant baselines",
        "Final loss of every initialisation, from best to worst: only below the orange line, what the network reaches "
        "without superposition, has superposition gained anything; a column of dots that is not level says that "
        f"the initialisation decides the result.{view.some(shown)}",
    )


def dimensionality_figure(view: View) -> Figure | None:
    """D of every feature and D* over what is swept."""
    run = view.run
    if not run.config.network.is_tied or len(view.swept) != 1 or run.n_inst < 3:
        return None
    x, label = run.instances[view.swept[0]].to_numpy().astype(np.float64), view.label
    if view.swept[0] == "probability" and x.min() > 0:
        x, label = 1 / x, "1 / p: one over the probability of a feature (sparser to the right)"
    is_log = bool(x.min() > 0 and x.max() > 5 * x.min())
    sizes, star = (of(view.best.weight[:, 0]).numpy() for of in (dimensionality, dimensionality_star))
    known = {FRACTIONS.get(name, f"{level:g}"): level for name, level in PLATEAUS.items()}
    return Figure(
        "dimensionality",
        charts.dimensionality(x, sizes, star, known, label, is_log),
        f"Dimensionality of every feature over {label}, with D* and the plateaus of regular geometries",
        "How much of a dimension each feature has: 1 alone, 1/2 in an antipodal pair, 2/5 in a pentagon, 0 not held; "
        "features of one instance are spread sideways by their index. Orange: hidden dimensions over |W|², "
        f"where it lies on the scale. {view.which(range(run.n_inst))}",
    )


def learning_figure(view: View) -> Figure | None:
    """Losses, dimensionalities and paths over training."""
    run = view.run
    if not run.config.network.is_tied or not run.snapshots:
        return None
    shown = view.chosen(4)
    return Figure(
        "learning",
        progress.learning(view, shown),
        "Loss and dimensionality of every feature over training steps",
        "Black: the loss of replica 0, whose features stand to the right (grey: other replicas). Features that swap "
        f"their geometry for a better one make the loss fall in jumps between plateaus.{view.some(shown)}",
    )


def curve_figure(view: View) -> Figure:
    """Loss curves of single instances."""
    run, shown = view.run, view.chosen(9)
    band = f", band: from the best to the worst of {run.n_rep} replicas" if run.n_rep > 1 else ""
    return Figure(
        "curves",
        progress.loss_curves(view, shown),
        "Loss over training steps of every instance",
        f"Loss on held-out samples during training (line: the replica that ends lowest{band}): a line that still falls "
        f"at the right has not settled.{view.some(shown)}",
    )


def active_figure(view: View) -> Figure | None:
    """Loss by the number of features active at once."""
    if view.run.config.fit.loss != "mse":
        return None
    shown = view.chosen(9)
    split = view.best.split
    losses = split.loss[shown, 0]
    if np.isfinite(losses).sum(axis=1).max() < 2 and len(shown) == 1:
        return None
    return Figure(
        "active",
        charts.active([view.short(i) for i in shown], losses, split.samples[shown], view.label),
        "Loss by the number of active features, and how often each number occurs",
        "Where the loss comes from: with one feature active all error is alternating interference (a feature taken for "
        f"another), with several simultaneous interference adds to it. {view.which(shown)}",
    )
