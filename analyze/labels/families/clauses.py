"""Words of prose next to commas, colons, dashes and full stops; lists of three."""

from analyze.labels.base import Pattern, pattern_family

_CLAUSES = (
    Pattern("in the word after a comma", r", (?P<at>[^\W_]+)", True, "exact"),
    Pattern("in the word before a comma", r"(?<![^\W_])[^\W_]++(?=,)", False, "exact"),
    Pattern("in the word after a colon or semicolon", r"[:;] (?P<at>[^\W_]+)", True, "exact"),
    Pattern("in the word after a dash between blanks", r" [-–—] (?P<at>[^\W_]+)", True, "exact"),
    Pattern("in the word before a full stop", r"(?<![^\W_])[^\W_]++(?=\.)", False, "exact"),
    Pattern(
        "in a list of three joined by commas and a last and or or",
        r"(?<!\w)(?<!, )(?:\w++, )+\w++,? (?:and|or) \w+",
        False,
    ),
)

FAMILY = pattern_family("clauses", _CLAUSES, prose_only=True)
