"""Markup, placeholders and operators."""

from analyze.labels.base import Pattern, pattern_family

_MARKUP = (
    Pattern("a command after a backslash", r"\\(?P<at>[A-Za-z]+)", True, "exact", r"\alpha, \n"),
    Pattern("in a tag of HTML or XML", r"</?[A-Za-z][^<>\n]*>", False),
    Pattern("in a mathematical formula between dollar signs", r"\$(?P<at>[^$\n]+)\$", False),
    Pattern("in a role or directive (:func:)", r"(?<![a-z:]):[a-z][a-z:]*:(?=`)", False),
    Pattern("in the target of a role (:func:`x`)", r"(?<![a-z:]):[a-z][a-z:]*:`(?P<at>[^`\n]*)", True),
    Pattern("in a Markdown link's address", r"\]\((?P<at>[^()\s]+)\)", False),
    Pattern("after a Python prompt (>>>)", r"^[ \t]*>>> (?P<at>.*)$", True, "exact"),
    Pattern("in a format field or placeholder", r"%[-+0-9.]*[sdifrxeg]\b|\{[\w.!:\[\]]*\}", False),
    Pattern(
        "an operator of comparison or equality", r"(?<![-<>=!+*/:])(?:==|!=|<=|>=|≤|≥|≠|≈)(?![<>=])", False, "exact"
    ),
    Pattern(
        "an operator of arithmetic between operands",
        r"(?<=[\w)\]]) [-+*/×÷] (?=[\w(\[])|(?<=[\w)\]])[+*/×÷](?=[\w(\[])",
        False,
    ),
)

FAMILY = pattern_family("markup and operators", _MARKUP)
