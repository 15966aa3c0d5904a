"""Strings with a form of their own: addresses, file names, encodings, identifiers."""

from analyze.labels.base import Pattern, pattern_family

_B64 = r"A-Za-z0-9+/"

_ENCODED = (
    Pattern(
        "in a URL after its scheme", r"\b(?:https?|ftp)://(?P<at>[^\s<>\"`]+)", True, note='up to a blank, < > " or `'
    ),
    Pattern("the scheme of a URL", r"\b(?:https?|ftp)(?=://)", False),
    Pattern("in a domain name", r"(?<![\w.-])(?:[A-Za-z0-9-]++\.)+(?:com|org|net|edu|gov|io|uk|de|fr)\b", False),
    Pattern("in an e-mail address", r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+\b", False),
    Pattern(
        "in a file path",
        r"(?<![\w/:.-])(?:\.{0,2}/)?(?:[\w.-]++/){2,}[\w.-]*|(?<![\w/.-])/(?:[\w.-]++/)+[\w.-]+",
        False,
    ),
    Pattern(
        "in a file name",
        r"(?<![\w/.-])[\w-]++\.(?:py|txt|csv|json|html?|md|pdf|png|jpg|xml|toml|ya?ml|sh|c|h|js)\b",
        False,
    ),
    Pattern("in a hexadecimal number after 0x", r"\b0[xX](?P<at>[0-9a-fA-F]+)", True, "exact"),
    Pattern(
        "in a hexadecimal string",
        r"(?<![\w])(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])(?:[0-9a-f]{8,}|[0-9A-F]{8,})(?!\w)",
        False,
        note="eight signs or more in one case, with a digit and a letter",
    ),
    Pattern("in a UUID", r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", False),
    Pattern(
        "in a base64 string",
        rf"(?<![{_B64}=])(?=[{_B64}]*[a-z])(?=[{_B64}]*[A-Z])(?=[{_B64}]*[0-9+/])(?:[{_B64}]{{4}}){{4,}}"
        rf"(?:[{_B64}]{{2}}==|[{_B64}]{{3}}=)?(?![{_B64}=])",
        False,
        note="sixteen signs or more, small and capital letters and a digit, in whole groups of four",
    ),
    Pattern("in an IP address", r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])", False),
    Pattern("in a hashtag or mention", r"(?<!\w)[#@][A-Za-z]\w+", False),
    Pattern("in a chemical formula", r"\b(?=[A-Za-z]*[0-9])(?:[A-Z][a-z]?[0-9]*){2,}\b", False),
    Pattern("in an ISBN, ISSN or DOI", r"\b(?:ISBN|ISSN|doi:?|DOI:?)[ :]?[0-9][0-9Xx./-]+", False),
)

FAMILY = pattern_family("encodings and addresses", _ENCODED)
