"""The Python scanner gives the standard library's tokens on whole files."""

import io
import sys
import tokenize
from pathlib import Path

import networkx
import numpy as np
import pytest

from analyze.labels.python_scanner import BUILTINS, KEYWORDS, scan
from analyze.text.stream import Passage

KINDS = {
    tokenize.NAME: "name",
    tokenize.NUMBER: "number",
    tokenize.STRING: "string",
    tokenize.COMMENT: "comment",
    tokenize.OP: "op",
    tokenize.NEWLINE: "newline",
    tokenize.NL: "nl",
}
FILES = sorted(Path(networkx.__file__).parent.glob("classes/*.py"))
AWKWARD = (
    "x = 1_000 + 0xFF + 1e-5j + .5 + 5.\nif x != 2 : y //= 3 ; z: int = (a :=\n  4)\n"
    "s = rb'a\\'b' + R\"c\" + '''d'e\n''' 'f' \"\"\n@a.b\nasync def f(*, a, **k) -> [...]: pass\n"
    "q = a \\\n  + b # c\n\n\t# d\nλ = ß\n"
)


def passage(text: str, path: str | None = None) -> Passage:
    return Passage(text, np.zeros(0, np.int64), 0, path_or_title=path)


def standard(text: str) -> list[tuple[str, str, int]]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        (KINDS[token.type], token.string, starts[token.start[0] - 1] + token.start[1])
        for token in found
        if token.type in KINDS and token.string
    ]


@pytest.mark.parametrize("text", [AWKWARD, *(path.read_text(encoding="utf-8") for path in FILES[:6])])
def test_tokens_of_a_whole_file_are_those_of_the_standard_library(text: str):
    if sys.version_info >= (3, 12) and any(mark in text for mark in ("f'", 'f"')):
        pytest.skip("from 3.12 on the standard library takes f-strings apart")
    assert [(token.kind, token.text, token.start) for token in scan(passage(text)).tokens] == standard(text)


def test_names_are_distinguished_from_keywords_and_builtins_as_in_python():
    import builtins
    import keyword

    assert set(keyword.kwlist) == KEYWORDS
    assert {name for name in BUILTINS if not hasattr(builtins, name)} == set()


def test_a_piece_is_known_from_the_first_line_that_must_be_code():
    for line in ("def f(", "    async def g(", "class A:", "class A(", "@x.y\n    def "):
        text = f"and so on.\n{line}x"
        assert scan(passage(text, "a.py:7")).known == len(text) - 1, line
        assert scan(passage(text, "a.py:1")).known == 0
        assert scan(passage(text, "a.py")).known == 0
    for line in ("defined as f(x)", "class of graphs", "@ home\ndef", "return x"):
        assert scan(passage(line, "a.py:7")) == scan(passage("", "a.py:7")).__class__((), len(line))


def test_depth_column_and_first_tokens_are_kept():
    tokens = scan(passage("f(\n  a)\n\tif x: y\n")).tokens
    assert [(token.text, token.depth) for token in tokens if token.kind == "op"] == [("(", 1), (")", 1), (":", 0)]
    assert [(token.text, token.column) for token in tokens if token.first] == [("f", 0), ("if", 8)]
