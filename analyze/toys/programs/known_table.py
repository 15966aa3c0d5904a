"""Train the set-ups of published results, compare, and write the table of them."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analyze.problems.store import finite
from analyze.tables import Table, number
from analyze.toys.programs.known import KNOWN, Compared
from train.errors import BadInput, did_you_mean
from train.files import read_json, write_atomic
from train.shipped import CONFIGS
from train.toys.programs.config import load_program
from train.toys.programs.run import run_program

MAX_BYTES = 1_000_000


def reproduce(
    names: Sequence[str], checkpoints: Path, out: Path, *, only_table: bool = False, say: Callable[[str], None] = print
) -> Path:
    """Train what is missing of these results, compare each with what was published, write OUT/known.md and known.json.

    Args:
        names: of `KNOWN`; none, or "all", for every one. Results compared before stay in the table.
        checkpoints: where programs lie; a stopped one goes on.
        only_table: write the table from known.json again without training.

    Raises:
        BadInput: no such result; a directory that holds something else.
        EnvironmentProblem, Diverged, Stopped: see `run_program`.
    """
    chosen = list(KNOWN) if not names or "all" in names else list(dict.fromkeys(names))
    for name in chosen:
        if name not in KNOWN:
            raise BadInput(f"{name}: there is no such published result{did_you_mean(name, list(KNOWN))}")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "known.json"
    for name in [] if only_table else chosen:
        config, compare, source = KNOWN[name]
        run, _ = run_program(load_program(CONFIGS / "toy" / f"{config}.toml"), checkpoints / Path(config).name)
        compared = compare(run)
        records = _records(path)  # read late: another process may have compared something meanwhile
        records[name] = {
            "source": source,
            "seconds": run.seconds,
            "command": f"polysem toy-known {name}",
            "compared": [_record(each) for each in compared],
        }
        write_atomic(path, json.dumps(records, indent=1, allow_nan=False).encode() + b"\n")
        for each in compared:
            say(f"{name}: {each.result}: {_estimate(_record(each))}, {each.published}: {_word(each.held)}")
    write_atomic(out / "known.md", known_table(_records(path)).markdown().encode() + b"\n")
    say(f"wrote {out / 'known.md'}")
    return out / "known.md"


def _records(path: Path) -> dict[str, Any]:
    return read_json(path, MAX_BYTES) if path.is_file() else {}


def known_table(records: dict[str, Any]) -> Table:
    """A row a published figure, in the order of `KNOWN`."""
    return Table.of(
        "Published results",
        "",
        [
            [
                ("result", each["result"]),
                ("published", each["published"]),
                ("ours", _estimate(each)),
                ("n", str(each["n"])),
                ("rule", each["rule"]),
                ("held", _word(each["held"])),
                ("source", records[name]["source"]),
                ("likely reason", "" if each["held"] else each.get("why", "")),
                ("note", each["note"]),
                ("command", records[name]["command"]),
            ]
            for name in KNOWN
            if name in records
            for each in records[name]["compared"]
        ],
    )


def known_told(records: dict[str, Any]) -> str:
    """For a page: a narrow table, then a line for each figure that did not hold or was measured otherwise."""
    rows, reasons, differences = [], [], defaultdict[str, list[str]](list)
    for name in KNOWN:
        for each in records[name]["compared"] if name in records else []:
            source, result = records[name]["source"], each["result"]
            rows.append(
                [
                    ("result", result),
                    ("published", f"{each['published']}, {source}"),
                    ("ours", f"{_estimate(each)}, n = {each['n']}"),
                    ("held", f"{_word(each['held'])}: {each['rule']}"),
                    ("command", f"`{records[name]['command']}`"),
                ]
            )
            if not each["held"]:
                reasons.append(f"- **{_sentence(result)}**: {each.get('why') or Compared.why}.")
            if each["note"]:
                differences[each["note"]].append(result)
    parts = [Table.of("", "", rows).markdown()]
    if reasons:
        parts.append("What did not hold, and the likely reason:\n\n" + "\n".join(reasons))
    if differences:
        lines = [f"- {_sentence('; '.join(results))}: {note}." for note, results in differences.items()]
        parts.append("What differs from the published set-ups:\n\n" + "\n".join(lines))
    return "\n\n".join(part.strip() for part in parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _record(each: Compared) -> dict[str, Any]:
    ours = each.ours
    return {
        "result": each.result,
        "published": each.published,
        "mean": finite(ours.mean),
        "low": finite(ours.low),
        "high": finite(ours.high),
        "n": ours.n,
        "rule": each.rule,
        "held": each.held,
        "note": each.note,
        "why": "" if each.held else each.why,
    }


def _estimate(each: dict[str, Any]) -> str:
    interval = "" if each["low"] is None else f" [{number(each['low'], 3)}, {number(each['high'], 3)}]"
    return f"{number(each['mean'], 3)}{interval}"


def _word(held: bool) -> str:
    return "held" if held else "did not hold"
