"""Every score in a table: what it is, what it costs, its null, its measured validity and its known failures."""

from analyze.scores import SCORES
from analyze.scores.validity import validity_line
from analyze.tables import Table


def score_list() -> Table:
    """One row a score, in the order of their numbers."""
    rows = []
    for name, score in SCORES.items():
        optional = ", optional" if score.optional else ""
        validity = validity_line(name).removeprefix("Validity: ")
        about = (score.about.definition, score.about.cost, score.about.null, validity, score.about.fails)
        rows.append((f"{score.number} {name}{optional}", *about))
    return Table(
        "Scores of neurons",
        "Cost: CPU seconds per 256 neurons and 190 k tokens, one thread of an Intel Xeon with AVX-512. Every score is "
        "also compared with the untrained network and with nulls made from the same layer. Validity: AUROC of one "
        "planted feature against several, on features that no score was tuned on.",
        ("score", "definition", "cost, s", "its own null", "validity", "known failures"),
        tuple(rows),
    )
