"""Numbers: what they count, years and dates, the parts of a number."""

from analyze.labels.base import Pattern, pattern_family

_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.?"
)
_DAY = r"(?:[12][0-9]|3[01]|0?[1-9])"
_YEAR = r"(?:1[0-9]{3}|20[0-9]{2})"
_START = r"(?<![\w.,])"
_END = r"(?!\w|[.,][0-9])"
_UNIT = (
    r"(?:km2|km|kg|cm|mm|nm|ft|mi|lb|mph|GHz|MHz|Hz|kHz|GB|MB|eV|miles?|met(?:re|er)s?|kilomet(?:re|er)s?|feet|foot|inch(?:es)?"
    r"|kilograms?|grams?|tonnes?|tons|pounds|acres?|hectares?|°[CFNSEW]?|degrees|years?|months|days|hours|minutes|seconds)"
)

_PATTERNS = (
    Pattern("in a year", rf"{_START}{_YEAR}(?!\w|[.,][0-9]|\.?\s?%)", False, note="1000 to 2099, standing alone"),
    Pattern("the last two digits of a year after 19 or 20", r"(?<![\w.,])(?:19|20)(?P<at>[0-9]{2})(?![0-9])", False),
    Pattern("in a decade (1990s)", rf"{_START}[12][0-9]{{2}}0['’]?s\b", False),
    Pattern("in a year or number right after a month", rf"\b{_MONTH} (?P<at>[0-9]+)", True),
    Pattern(
        "in a date",
        rf"\b(?:{_DAY}(?:st|nd|rd|th)? {_MONTH}(?:,? {_YEAR})?|{_MONTH} {_DAY}(?:st|nd|rd|th)?(?:, {_YEAR})?"
        rf"|{_MONTH} {_YEAR}|{_YEAR}-[01][0-9]-[0-3][0-9])\b",
        False,
    ),
    Pattern("in the day of a date", rf"\b(?P<at>{_DAY})(?:st|nd|rd|th)? (?={_MONTH}\b)", False),
    Pattern("in a number after a range's dash", r"(?<=[0-9][-–—])[0-9]+", True, "exact"),
    Pattern("in a range of years", rf"\b{_YEAR} ?[-–—] ?(?:{_YEAR}|[0-9]{{2}})\b", False),
    Pattern("in a percentage", r"(?<![0-9])(?<![0-9][.,])[0-9]++(?:[.,][0-9]++)* ?(?:%|per ?cent\b)", False),
    Pattern("in an amount of money", r"(?:US|A|C)?[$€£¥] ?[0-9]+(?:[.,][0-9]+)*", False),
    Pattern("in a number before a unit", rf"(?<![0-9])(?<![0-9][.,])[0-9]++(?:[.,][0-9]++)*(?=[ -]?{_UNIT}\b)", False),
    Pattern("in a unit after a number", rf"[0-9][ -]?(?P<at>{_UNIT})(?!\w)", False),
    Pattern("in an ordinal number (19th)", r"\b[0-9]+(?:st|nd|rd|th)\b", False, "exact"),
    Pattern("in a time of day (12:30)", r"(?<![\w:.])[012]?[0-9]:[0-5][0-9](?::[0-5][0-9])?(?![\w:])", False),
    Pattern("digits after a decimal point", r"(?<=[0-9]\.)[0-9]+", True, "exact"),
    Pattern("digits after a comma within a number", r"(?<=[0-9],)[0-9]+", True, "exact"),
    Pattern("digits after a minus sign", r"(?<![\w)\]][-−])(?<=[-−])[0-9]+", True, "exact"),
    Pattern("digits after a slash", r"(?<=[0-9]/)[0-9]+", True, "exact"),
    Pattern("digits right after an opening bracket", r"(?<=[(\[{])[0-9]+", True, "exact"),
    Pattern("digits within a name", r"(?<=[A-Za-z_])[0-9]+", True, "exact", "x1, sha256"),
    Pattern("in a number with an exponent (1e-5)", r"(?<![\w.])[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+\b", False, "exact"),
    Pattern("in a version number (1.2.3)", r"(?<![\w.])v?[0-9]+(?:\.[0-9]+){2,}(?!\w)", False),
)

FAMILY = pattern_family("numbers", _PATTERNS)
