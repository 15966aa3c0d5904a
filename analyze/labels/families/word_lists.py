"""Words that belong together: closed classes of English and small word lists (word_lists.toml), in any case."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from analyze.labels.base import Span, declared, span_family
from analyze.text.stream import Passage

_LISTS: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_LABELS = declared("word lists", "rule", False, *_LISTS, note="a word of a fixed list, in any case")
_BY_WORD: dict[str, list[str]] = {}
for _name, _words in _LISTS.items():
    for _word in dict.fromkeys(_words.lower().split()):
        _BY_WORD.setdefault(_word, []).append(_name)
_WORD = re.compile(r"(?<![\w'’])[A-Za-z]+(?!\w)")


def _spans(passage: Passage) -> Iterator[Span]:
    for match in _WORD.finditer(passage.text):
        for name in _BY_WORD.get(match.group().lower(), ()):
            yield Span(name, *match.span())


FAMILY = span_family(_LABELS, _spans)
