"""4.43: how polysemantic the neurons of a model are that is read layer by layer, from the scores of its layers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from analyze.problems.base import Finding, Measured, Measurement, Rule
from analyze.problems.table_problem import TableProblem
from analyze.problems.verdict import judge
from train.errors import BadInput

LEAST_JUDGED = 30
"""Neurons of a layer that the score must have judged."""


def answer(problem: TableProblem, places: Sequence[Path]) -> Finding:
    """Every layer's share of judged neurons that K_eff calls polysemantic."""
    return judge(problem, [each for place in places for each in _layers(place, problem)])


def _layers(place: Path, problem: TableProblem) -> Iterator[Measured]:
    from analyze.scores.store import load_scores

    try:
        scores = load_scores(place)
    except BadInput as failure:
        if not list(place.rglob("L*.mid")):
            raise BadInput(f"{place}: no layers here; `{problem.written_by}` writes them") from None
        why = f"its layers have no scores ({failure})"
        yield Measured(str(place), place.name, 0, 0, "", Measurement.impossible(why))
        return
    if "k_eff_mono" not in scores.columns:
        raise BadInput(f"{place}: scored without k_eff, which problem {problem.name} goes by")
    trained = scores.filter(scores["null"] == "none")
    for (run, layer), rows in trained.group_by(["run", "layer"], maintain_order=True):
        judged = rows["k_eff_mono"].drop_nulls().to_numpy()
        if len(judged) < LEAST_JUDGED:
            measurement = Measurement.impossible(f"K_eff judges {len(judged)} of {len(rows)} neurons: too little text")
        else:
            measurement = Measurement(float(1 - judged.mean()), details={"judged": float(len(judged))})
        yield Measured(f"{run} L{layer}", str(run), int(str(layer)), 0, "", measurement)


ANSWERED = TableProblem(
    name="4.43",
    reads="",
    written_by="polysem collect hf:DIR --stream",
    rule=Rule(
        says="yes (most are polysemantic) if more than half of the neurons that K_eff judges answer to more than 1.5 "
        "effective rules, over the whole interval over three or more layers; no if the whole interval lies below half",
        least=0.5,
        against_untrained=False,
        unit="layer",
    ),
    statistic="share of judged neurons with K_eff above 1.5, layer by layer",
    null="none: one model, whose layers are its only repetitions",
    answer=answer,
    doubts=(
        "A model of this shape with random weights answers nothing: see that the weights are the published ones.",
        "Layers of one model are no seeds.",
    ),
)
