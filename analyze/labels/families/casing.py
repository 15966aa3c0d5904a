"""Words by their letters: capitals, hyphens and apostrophes, the ways that names are written in code."""

from analyze.labels.base import Pattern, pattern_family

_U, _L = "A-ZÀ-ÖØ-Þ", "a-zß-öø-ÿ"

_CASING = (
    Pattern("in a word that begins with a capital", rf"(?<![^\W\d_])[{_U}][^\W\d_]*", True, "exact"),
    Pattern(
        "in a word in capitals alone, two letters or more", rf"(?<![^\W\d_])[{_U}]{{2,}}(?![^\W\d_])", False, "exact"
    ),
    Pattern("in a word of one capital alone", rf"(?<![^\W\d_])[{_U}](?![^\W\d_])", False, "exact"),
    Pattern("in a capitalised word after a lower-case word", rf"(?<=[{_L}] )[{_U}][^\W\d_]*", True, "exact"),
    Pattern(
        "in the second or later of capitalised words in succession",
        rf"(?:(?<![^\W\d_])[{_U}][{_L}]+ )(?P<at>[{_U}][^\W\d_]*(?: [{_U}][^\W\d_]*)*)",
        True,
        "exact",
    ),
    Pattern(
        "in a word with a capital after a small letter", rf"(?<![^\W\d_])[^\W\d_]*[{_L}][{_U}][^\W\d_]*", False, "exact"
    ),
    Pattern("in a word of small letters alone", rf"(?<![^\W\d_])[{_L}]+(?![^\W\d_])", False, "exact"),
    Pattern("in an abbreviation with full stops (U.S.)", r"\b(?:[A-Za-z]\.){2,}", False),
    Pattern("in an initial (J.)", rf"(?<![^\W_.])[{_U}]\.(?= [{_U}])", False),
    Pattern(
        "in a Roman numeral",
        r"\b(?=[IVXLCDM]{2,}\b)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\b",
        False,
        note="two letters or more",
    ),
    Pattern("in the part of a word after a hyphen", r"(?<=[^\W\d_]-)[^\W\d_]+", True, "exact"),
    Pattern("in the part of a word before a hyphen", r"(?<![^\W\d_])[^\W\d_]++(?=-[^\W\d_])", False, "exact"),
    Pattern("in what follows an apostrophe within a word", r"(?<=[^\W\d_]['’])[^\W\d_]+", True, "exact"),
    Pattern("in a possessive or contracted 's", r"(?<=[^\W\d_])['’]s\b", False),
    Pattern("in a snake_case name", r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", False, "exact"),
    Pattern("in a CONSTANT_CASE name", r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", False, "exact"),
    Pattern("in a CamelCase name", r"\b(?:[A-Z][a-z0-9]+){2,}\b", False, "exact"),
    Pattern("in a __dunder__ name", r"\b__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__\b", False, "exact"),
    Pattern("in the part of a name after an underscore", r"(?<=_)[A-Za-z0-9]+", True, "exact"),
    Pattern("in letters directly after a digit", r"(?<=[0-9])[^\W\d_]+", True, "exact"),
)

FAMILY = pattern_family("casing", _CASING)
