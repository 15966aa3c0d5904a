"""Looks at single models that others trained: one file a model, in OUT/4.23/looks/, and a line of each on the page."""

from pathlib import Path

from analyze.tables import number
from train.errors import BadInput
from train.files import read_json

MAX_BYTES = 5_000_000
HEAD = """One model has no seeds, so these are looks and no verdicts; what the rule would say of it alone is named. An
instruct model was trained on more than text, and 4-bit weights are rounded, which may move a dimension or two."""


def looks(out: Path) -> list[str]:
    """A line of Markdown for every look under a directory of findings, by the model's name.

    Raises:
        BadInput: a file that is none.
    """
    return [_line(path) for path in sorted(out.glob("*/looks/*.json"))]


def _line(path: Path) -> str:
    record = read_json(path, MAX_BYTES)
    problem = path.parts[-3]
    try:
        model = str(record["model"])
        if record["why_not"]:
            return f"- **{problem}** {model}: not answerable: {record['why_not']}."
        details = record["details"]
        chance = number(sum(record["null"]) / len(record["null"]), 3)
        return (
            f"- **{problem}** {model}: after {details['indirect object likelier, share']:.0%} of sentences the "
            f"indirect object is likelier than the subject. Before layer {details['layer']:.0f} of its "
            f"{details['d_model']:.0f} dimensions {details['dimensions for 90 %']:.0f}, of the "
            f"{details['dimensions of the differences']:.0f} in which two sentences differ, turn 90 % of the answer: "
            f"{number(record['statistic'], 3)} against {chance} of random ones. By the rule, this model alone: "
            f"{record['by the rule, this model alone']}."
        )
    except (KeyError, TypeError, ZeroDivisionError, ValueError) as failure:
        raise BadInput(f"{path}: not a look at a model ({failure})") from None
