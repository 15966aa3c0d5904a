"""Quotation marks and brackets in prose: what stands inside, and just outside."""

from analyze.labels.base import Pattern, pattern_family

_QUOTED = (
    Pattern(
        "inside double quotation marks", r'"(?P<at>[^"\n]*)"?', True, note="in prose, from mark to mark on one line"
    ),
    Pattern("an opening double quotation mark", r'(?P<at>")[^"\n]*"?', True),
    Pattern("a closing double quotation mark", r'"[^"\n]*(?P<at>")', True),
    Pattern("inside curly quotation marks", r"“(?P<at>[^”\n]*)", True),
    Pattern("inside single quotation marks", r"(?<!\w)['‘](?P<at>[^'’\n]+)(?=['’](?!\w))", False),
    Pattern("inside backticks", r"`(?P<at>[^`\n]*)`?", True),
    Pattern("inside guillemets", r"«(?P<at>[^»\n]*)", True),
    Pattern("a word right before a bracket", r"(?<![^\W_])[^\W_]++(?= ?\()", False),
    Pattern("in the first word inside round brackets", r"\((?P<at>[^\W_]+)", True),
    Pattern("in the last word inside round brackets", r"(?<![^\W_])[^\W_]++(?=\))", False),
)

FAMILY = pattern_family("quotation marks", _QUOTED, prose_only=True)
