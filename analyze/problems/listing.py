"""All 45 problems as `polysem problems` prints them: what was found here, and what the project has published."""

from pathlib import Path

from analyze.problems.answers import Answer, answer_of
from analyze.problems.catalogue import Entry, entries
from analyze.problems.published import PAGE, published


def listed(out: Path) -> str:
    """A few lines a problem, after one on where its verdicts come from."""
    known = published()
    answered = {each.name: answer_of(each, *each.finding(out)) for each in entries().values()}
    own = sum(bool(answer.in_words) for answer in answered.values())
    head = (
        f"Of your own runs: {own or 'no'} finding{'' if own == 1 else 's'} in {out}. "
        f"Published: the verdicts of {PAGE}, from the project's own runs; the last line of a problem asks it anew."
    )
    lines = [line for each in entries().values() for line in _of_problem(each, answered[each.name], known)]
    return "\n".join([head, "", *lines])


def _of_problem(entry: Entry, own: Answer, known: dict[str, Answer]) -> list[str]:
    theirs = known.get(entry.name)
    published_too = f"; published: {theirs.verdict}" if theirs else ""
    lines = [f"{entry.name:<5} {entry.level or '-'}  {entry.title} [{own.verdict}{published_too}]", entry.asks]
    if own.in_words:
        lines.append(f"{own.verdict}: {own.in_words}")
    if theirs and theirs.in_words:
        lines.append(f"published: {theirs.verdict}: {theirs.in_words}")
    lines.append(entry.ask or "cannot be asked yet")
    return [lines[0], *(f"         {line}" for line in lines[1:])]
