"""States of the context where documents are code, prose, or not known to be either."""

from typing import Any

import numpy as np
import pytest

from analyze.labels.families.brackets import FAMILY as BRACKETS
from analyze.labels.families.quotation_marks import FAMILY as QUOTATION_MARKS
from analyze.labels.families.sentences import FAMILY as SENTENCES
from analyze.text.context_states import context_states
from analyze.text.stream import Stream
from tests.analyze.labels.texts import signs, stream_of
from train.data.content import CONTENTS

TEXT = 'He (or "she") went. Then\n# x = f("a")\n'
LEXED = (
    *("in code", "in prose", "inside brackets", "outside brackets", "inside quotation marks", "in a comment"),
    "at the start of a sentence",
)


def of(stream: Stream, index: int) -> dict[str, list[bool]]:
    start, length = int(stream.starts[index]), int(stream.lengths[index])
    return {name: state[start : start + length].tolist() for name, state in context_states(stream).items()}


@pytest.fixture
def stream() -> Stream:
    return stream_of([signs(TEXT)] * 3, contents=CONTENTS)


def test_an_unknown_document_is_in_no_state_that_takes_lexing(stream: Stream):
    code, prose, unknown = (of(stream, index) for index in range(3))
    for name in LEXED:
        assert not any(unknown[name]), name
        assert any(code[name]) or any(prose[name]), name
    assert unknown["at the start of a line"] == prose["at the start of a line"] == code["at the start of a line"]
    assert all(code["in code"])
    assert all(prose["in prose"])


def test_the_data_say_what_a_document_is_whatever_its_name(stream: Stream):
    said = stream_of([signs(TEXT)] * 2, paths=["a.py", "a.txt"], contents=["prose", "code"])
    assert of(said, 0)["in prose"] == [True] * len(TEXT)
    assert of(said, 1)["in code"] == [True] * len(TEXT)


def test_data_of_earlier_versions_are_read_by_source_name_and_text():
    texts = [TEXT, TEXT, "The river flows past the city, they say. Nobody knows how it was found.", "1,2\n3,4\n"]
    keywords: dict[str, Any] = {"paths": ["Title", "a/b.py:3", None, None], "contents": ()}
    stream = stream_of([signs(text) for text in texts], **keywords)
    stream = Stream(**{**vars(stream), "sources": ["wiki", "python", "files", "files"]})
    assert stream.content == ("prose", "code", "prose", "unknown")


@pytest.mark.parametrize("family", [SENTENCES, BRACKETS, QUOTATION_MARKS], ids=lambda family: family.name)
def test_labels_that_take_lexing_stand_on_no_token_of_an_unknown_document(family: Any, stream: Stream):
    start = int(stream.starts[2])
    found = [positions for _, positions in family.find(stream)]
    assert sum(len(positions) for positions in found)
    assert not any((positions >= start).any() for positions in found)


def test_no_quotation_mark_opens_a_state_beyond_its_own_document():
    stream = stream_of([signs('a "b'), signs("c d"), signs('e "f"')], contents=["prose", "unknown", "prose"])
    inside = context_states(stream)["inside quotation marks"]
    np.testing.assert_array_equal(np.flatnonzero(inside), [3, 12, 13])
