"""Whether a text is code or prose, by a small linear model of its lines and words; "unknown" where it is not sure.

Markup (Markdown, HTML, wikitext, tables, handles and tags) is no evidence of code. The third class of the model, lists
and settings (JSON, TOML, YAML, CSV), is neither, so "unknown" is right for it. Fitted by benchmarks/content.py.
"""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from train.data.content import Content

MOST_CHARS = 16_000
"""So much of a text decides."""
WIDTH, LONGEST_LINE = 80, 2_000
FEWEST_WORDS = 4
SURE_CODE, SURE_PROSE = 0.8, 0.7
"""Probabilities from which on a text is called code or prose."""
MODEL = Path(__file__).with_suffix(".json")

_FUNCTION = (
    "the of and to in is was that on with as are by from at it an be this his were which has had have its "
    "their or he she they you le la les des de du et est une un dans en pour par sur que qui il au el los "
    "las y es con se del al su lo como fue son der die das und ist den von zu mit ein eine dem auf für "
    "nicht auch sich wurde di che per della sono o os em um uma não"
)
_FUNCTION_WORDS = frozenset(_FUNCTION.split())
_WORD = re.compile(r"[^\W\d_]+")
_TARGET = (
    r"^\s*(?:const |let |var |my |local )?[$@%]?[A-Za-z_][\w.\[\]'\"$]*(?:, ?\w+)*\s*"
    r"(?::\s?[\w\[\], .|]+)?"
)
_KEYWORDS = (
    *(r"(?:async )?def \w+\(", r"class \w+.*[:{]", r"return\b(?! to)", r"import [\w.]+", r"from [\w.]+ import"),
    *(r"(?:el)?if .*(?:[:{]|then)$", r"if \(", r"for \(", r"for \w+(?:, ?\w+)* in .*:$", r"while .*[:{]$"),
    *("try:$", r"except\b.*:$", r"raise \w+", r"yield\b", "with .*:$", r"else:?$", r"else \{", r"\} else", "pass$"),
    *("assert ", r"@\w+", r"function\b", r"var \w", r"const \w", r"let \w+ =", "export "),
    *(r"#\s?(?:include|define|if|ifdef|ifndef|endif)", "static ", "public ", "private ", "void ", "int ", "struct "),
    *("typedef ", "namespace ", "template ?<", "using ", r"SELECT\b", r"CREATE\b", "INSERT INTO"),
    *(r"my [$@%(]", r"sub \w+", "local ", "fi$", "done$", r"package [\w:]+;", r"use [\w:]+"),
)
_LINES = {
    "statement ends": r"[;{}]$|\)\s*:$|[(\[]$|^[)}\]][);,]*$",
    "ends in a comma": r",$",
    "assignment": _TARGET + r"(?:=|\+=|-=|:=)\s*[^=\s]",
    "spaced assignment": _TARGET + r" (?:=|\+=|-=|:=) [^=\s]",
    "keyword": rf"^\s*(?:{'|'.join(_KEYWORDS)})",
    "comment": r"^\s*(?://|/\*|\*/|\* |--\s|#!|;;)",
    "hash comment": r"^\s+# \S|^# \S.*[a-z]\b",
    "prompt": r"^\s*(?:>>> |\.\.\. )",
    "docstring mark": r'"""|' + r"'''",
    "parameter of a docstring": r"^\s*(?::(?:param|return|type|rtype|raises)|\w+ : \S|"
    r"(?:Parameters|Returns|Examples|Args|Raises|Notes|See Also|References):?$)",
    "indented by four": r"^(?:    |\t)",
    "indented": r"^\s",
    "heading": r"^#{1,6} \S|^[=~^*+\"-]{4,}$",
    "item": r"^\s*(?:[-*•] |\d+[.)] )",
    "table row": r"^\s*\|.*\|\s*$|^\+[-=+]+\+$",
    "key": r"^\s*[-]?\s*[\"']?[\w.$/-]+[\"']?\s*:(?:\s|$)",
    "setting": r"^\s*[\w.-]+\s*=\s*(?:[\"'\[{]|\d|true|false)",
    "section of settings": r"^\[+[\w.\" -]+\]+$",
    "begins with a quote": r"^\s*[\"']",
    "sentence": r"^[\W\d]*[A-Z]?[^\s].*\w[.!?][\"')*_]*(?:\s|$)",
    "long": r".{160}",
}
_COUNTS = {
    "call": r"\w\((?!s\))",
    "dotted call": r"\b[A-Za-z_]\w*\.[A-Za-z_]\w*\(",
    "snake case": r"\b[A-Za-z]+_[A-Za-z_]+|\b_[a-z]\w*",
    "camel case": r"\b[a-z]+[A-Z][a-z]+\w*",
    "operator": r"[=!]=|->|::|&&|\|\||\+=|=>|\$\{?\w|\bself\.|\bthis\.",
    "semicolon at the end": r";\s*\n",
    "string": r"[(\[=,{] ?[bfru]?[\"']",
    "sentence mark": r"[a-z)][.!?][\"')]*\s+[A-Z]",
    "comma and space": r"[a-z], [a-z]",
    "number": r"\b\d+(?:\.\d+)?\b",
    "tag": r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>",
    "link": r"https?://|\]\(|`_|@[A-Za-z]",
    "backtick": r"`[^`\n]+`",
    "fence": r"(?m)^\s*```|^\.\. [\w-]+::",
    "tokenised": r" @-@ | <unk> | [.,;] ",
    "brace": r"[{}]",
    "non-ASCII letter": r"[^\W\d_a-zA-Z]",
}
FEATURES = (
    *(f"lines: {name}" for name in _LINES),
    *(f"count: {name}" for name in _COUNTS),
    *("function words", "letters", "lower case", "words a line"),
)
_COMPILED_LINES = tuple(re.compile(regex) for regex in _LINES.values())
_COMPILED_COUNTS = tuple(re.compile(regex) for regex in _COUNTS.values())


def features(text: str) -> Float[ndarray, "f"]:
    """What FEATURES names: square roots of shares of lines and of rates a word, drawn to zero in short texts."""
    text = text[:MOST_CHARS]
    lines = [line.rstrip()[:LONGEST_LINE] for line in text.split("\n") if line.strip()]
    words = _WORD.findall(text)
    # A paragraph on one line weighs as many lines as it would fill.
    n_lines, n_words = 1 + sum(1 + len(line) // WIDTH for line in lines), len(words) + 10
    of_lines = [sum(regex.search(line) is not None for line in lines) / n_lines for regex in _COMPILED_LINES]
    counts = [min(sum(1 for _ in regex.finditer(text)) / n_words, 1) for regex in _COMPILED_COUNTS]
    visible = len(text) - sum(map(text.count, " \n\t\r")) + 1
    rest = [
        sum(word.lower() in _FUNCTION_WORDS for word in words) / n_words,
        (sum(map(len, words)) / visible) ** 2,
        (sum(word.islower() for word in words) / n_words) ** 2,
        min(n_words / n_lines, 30) ** 2 / 900,
    ]
    return np.sqrt(np.array([*of_lines, *counts, *rest]))


@cache
def _model() -> tuple[Float[ndarray, "2 f"], Float[ndarray, "2"]]:
    """Weights and intercepts of code, prose; neither stands at zero."""
    said = json.loads(MODEL.read_text(encoding="utf-8"))
    weights = np.array([[said[each][name] for name in FEATURES] for each in ("code", "prose")])
    return weights, np.array([said[each]["intercept"] for each in ("code", "prose")])


def classify(text: str) -> Content:
    """What a text is by itself: "code" or "prose" where the model is that sure, else "unknown"."""
    if len(_WORD.findall(text[:MOST_CHARS])) < FEWEST_WORDS:
        return "unknown"
    weights, intercepts = _model()
    odds = np.exp(np.clip(weights @ features(text) + intercepts, -50, 50))
    code, prose = (odds / (1 + odds.sum())).tolist()
    return "code" if code >= SURE_CODE else "prose" if prose >= SURE_PROSE else "unknown"
