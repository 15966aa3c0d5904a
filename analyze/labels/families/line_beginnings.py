"""What a line begins or ends with: bullets, headings, rows of one sign, blanks."""

from analyze.labels.base import Pattern, pattern_family

_BEGINNINGS = (
    Pattern("in a list item after its bullet or number", r"^[ \t]*(?:[-*•+]|[0-9]{1,3}[.)])[ \t]+(?P<at>\S.*)$", True),
    Pattern("in a heading of Markdown", r"^#{1,6} (?P<at>.*)$", True),
    Pattern("in a row of a sign repeated four times or more", r"([^\w\s])\1{2}(?P<at>\1+)", True, "exact"),
    Pattern("white space at the end of a line", r"(?<![ \t])[ \t]++$", False, "exact"),
    Pattern("in two or more blanks within a line", r"(?<=\S )[ ]+", True, "exact"),
    Pattern("in the text after the first colon of a line", r"^[^:\n]*:(?P<at>.*)$", True, "exact"),
)

FAMILY = pattern_family("line beginnings", _BEGINNINGS)
