"""What the report is made of: parts, found by their files, that each make a section of the page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from analyze.comparison.comparison import Comparison
from analyze.figures import Figure, Styles
from analyze.tables import Table


@dataclass(frozen=True)
class Study:
    """What parts are made from."""

    results: Path
    comparison: Comparison
    styles: Styles
    data: tuple[Path, ...] = ()
    """Where to look first for the text, if it has moved."""


@dataclass(frozen=True)
class Paragraph:
    """Plain text, which the page escapes."""

    text: str
    kind: str = ""
    """A class of report.css, such as "note"."""


@dataclass(frozen=True)
class Bullets:
    """Sentences as a list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """Words and what they mean."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Folded:
    """Tables that open on a click."""

    tables: tuple[Table, ...]


Block = Paragraph | Bullets | Terms | Folded | Figure | Table | Markup
"""What a section is put together from; Markup is HTML of the part's own template (`analyze.html.render`)."""


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    anchor: str
    """Its address on the page."""
    title: str
    """Empty: it stands in the foot of the page, without a heading."""
    link: str
    """Its words in the navigation; empty: not there."""
    blocks: tuple[Block, ...]

    @property
    def figures(self) -> list[Figure]:
        """Those that also become files."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    @property
    def named_blocks(self) -> list[tuple[str, Block]]:
        """The blocks behind the name of their kind, for the template."""
        return [(type(block).__name__, block) for block in self.blocks]


@dataclass(frozen=True)
class Part:
    """A part of the report: the PART of its module."""

    name: str
    order: int
    """Its place on the page; the first stands at the top, the last in the foot."""
    make: Callable[[Study], Section | None]
    """None where there is nothing to show."""
