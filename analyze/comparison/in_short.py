"""A comparison in a few columns, as a study prints it at its end; comparison.md beside it has all tables."""

from pathlib import Path

from analyze.comparison.results import Place
from analyze.nulls import shown_nulls
from analyze.scores import SCORES
from analyze.scores.validity import may_lead, neurons_called
from analyze.tables import Table, count, number, percent
from train.errors import BadInput
from train.parquet import read_parquet

FILE = "comparison.parquet"


def in_short(results: Path) -> str:
    """Of every variant the loss, the first primary score's share beside what chance gives, and how many neurons.

    Raises:
        BadInput: no comparison.parquet there, or one of a score that is not known here.
    """
    rows = read_parquet(results / FILE).to_dicts()
    name = str(rows[0]["primaries"]).split(" ", maxsplit=1)[0]
    if name not in SCORES or (verdict := SCORES[name].verdict) is None:
        raise BadInput(f"{results / FILE}: column 'primaries' names {name!r}, which is no score with a verdict")
    nulls = [null for null in shown_nulls() if f"{name}_{null.name}_share" in rows[0]]
    table = Table.of(
        "",
        "",
        [
            [
                ("variant", f"{row['variant']} {Place(row['layer'], row['hook'])}"),
                ("loss", number(row["eval_loss"], 3)),
                ("share %", percent(row[f"{name}_mono_share"])),
                *((f"{null.title} %", percent(row[f"{name}_{null.name}_share"])) for null in nulls),
                ("neurons, once", f"{count(row[f'{name}_mono_once'])} of {count(row['n_neurons'])}"),
            ]
            for row in rows
        ],
    )
    called = f"Per cent of judged neurons that {SCORES[name].title} calls {neurons_called(name, verdict.called)}"
    passed = "" if may_lead(name) else " (it has not passed on planted neurons: this describes, it does not count)"
    return f"{called}{passed},\nbeside what chance gives:\n\n{table.markdown()}"
