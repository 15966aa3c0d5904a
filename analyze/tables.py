"""A table of text for people, and how a count, a number and a per cent are written in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan


@dataclass(frozen=True)
class Table:
    """A table of ready-made text; the first column names the row."""

    title: str
    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, title: str, caption: str, rows: Iterable[Sequence[tuple[str, str]]]) -> "Table":
        """A table of rows whose cells each come with their heading; all rows have the same headings."""
        rows = list(rows)
        headers = tuple(heading for heading, _ in rows[0]) if rows else ()
        return cls(title, caption, headers, tuple(tuple(text for _, text in row) for row in rows))

    def markdown(self) -> str:
        """A pipe table padded so that it also lines up in a terminal; numbers stand to the right."""
        cells = [[plain(cell) for cell in row] for row in (self.headers, *self.rows)]
        widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(self.headers))]

        def line(row: Sequence[str]) -> str:
            texts = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
            return f"| {' | '.join(texts)} |"

        rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join([line(cells[0]), f"| {' | '.join(rule)} |", *map(line, cells[1:])])


def plain(text: str) -> str:
    """Text that can break neither a table's row nor a reader's terminal."""
    return "".join(f"\\{char}" if char in "|`<>" else char for char in visible(text))


def visible(text: str) -> str:
    """Text whose controls and bidi marks, which steer rather than show, are \\u escapes."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def count(value: float | int | None) -> str:
    """51200 -> `51,200`; a mean of counts below 100 keeps one decimal where it is not whole; a dash for None or NaN."""
    if value is None or isnan(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.1f}"


def number(value: float | int | None, digits: int = 2) -> str:
    """A figure with fixed decimals; an en dash for None or NaN."""
    return "–" if value is None or isnan(value) else f"{value:.{digits}f}"


def percent(value: float | int | None, signed: bool = False) -> str:
    """0.084 -> `8.4`: per cent, without the sign, for a column that says so; an en dash for None or NaN."""
    if value is None or isnan(value):
        return "–"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
