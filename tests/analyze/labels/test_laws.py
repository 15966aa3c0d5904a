"""What holds of every label on any text: sorted places inside documents, and no look ahead where none is allowed."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyze.labels.base import TRUTHS
from analyze.labels.families import FAMILIES
from analyze.text.stream import Stream
from tests.analyze.labels.texts import all_labels, stream_of

WORDS = (
    " the The of and a in is was US Mr Dr J U.S. e.g. iPhone McDonald don't it's O'Brien snake_case CONST_A __init__ "
    "CamelCase well-known XIV May June 2019 1990s 19th 3.14 1,234 -5 1/2 12:30 5 km 10% $5 0x1F 1e-5 10.0.0.1 "
    "https://a.b/c?d=1 me@x.org /usr/lib/x.py #tag H2O YWJjZGVmZ2hpamtsbW5vcHFy def class return if elif else: for "
    "while import from self print( f(x) x=1 x==1 x[0] {a:b} lambda yield async with try: except raise assert @dec "
    "-> ** * += := ... >>> \\alpha \\n <b> </b> &amp; [a](b) :func:`x` `code` ==== ----"
)
PIECES = (
    *WORDS.split(),
    *(f" {word}" for word in WORDS.split()),
    *" \n\t.,:;!?'\"()[]{}#\\/=-+*&%$@^|~`_<>0123456789aexrfb",
    *(
        "\n\n",
        "    ",
        "        ",
        "\n    ",
        "\r\n",
        '"""',
        "'''",
        "``",
        '""',
        "''",
        "\\\n",
        "“",
        "”",
        "‘",
        "’",
        "«",
        "»",
        "–",
        "—",
    ),
    *(
        "é",
        "É",
        "ñandú",
        "日本",
        "αβ",
        "Ж",
        "עב",
        "🙂",
        "👩‍🚀",
        "ʃ",
        "½",
        "≤",
        "→",
        "ﬁ",
        "İ",
        "ß",
        "\u2028",
        "\x0c",
        "\x00",
        "\u202e",
    ),
    *(
        "def f(a, b=1, *c: int, **d) -> int:\n    return a\n",
        'class A(B):\n    """Doc."""\n\n',
        "@x\ndef y(",
        "async def z():",
    ),
    *(
        "x = 1",
        "y += 2",
        "for i in x:",
        "if a:\n",
        "else:\n",
        "# note",
        "from a import b as c",
        " # it's",
        "f'{x}'",
        "r'\\'",
    ),
)
BROKEN = (b"\xff", b"\xc3", b"\xa9", b"\xe6\x97", b"\xa5", b"\xf0\x9f", b"\x99\x82", b"\x80\x80", b"\xed\xa0\x80")
PATHS = (None, "a.py", "a/b.py:1", "a/b.py:120", "notes.md:7", "Title")

a_piece = st.one_of(
    st.sampled_from([piece.encode() for piece in PIECES]),
    st.sampled_from([bytes([byte]) for byte in range(256)]),
    st.sampled_from(BROKEN),
    st.text(max_size=3).map(lambda text: text.encode("utf-8", "replace")).filter(bool),
)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """A text as tokens, cut wherever it may be."""
    ends = sorted({min(place, len(text)) for place in places} | {len(text)} - {0})
    return [text[start:stop] for start, stop in zip([0, *ends], ends) if stop > start]


documents = st.one_of(
    st.lists(a_piece, max_size=25),
    st.tuples(st.lists(a_piece, min_size=1, max_size=25), st.lists(st.integers(1, 120), max_size=40)).map(
        lambda both: cut(b"".join(both[0]), both[1])
    ),
)
TRAINING = [["the", " word", " of", " the", " a", " of", " the", " def", " x"]]
quick = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
slowly = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])


def text_stream(pieces: list[bytes], path: str | None, whole: list[bytes]) -> Stream:
    """One document behind another, with the vocabulary of the whole one."""
    return stream_of([["a", " b"], pieces], paths=[None, path], n_ctx=16, training=TRAINING, more=whole)


def whole_ends(pieces: list[bytes]) -> list[int]:
    """How many tokens may be kept so that the text does not end amid a character."""
    text = b"".join(pieces)
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    return [n + 1 for n, end in enumerate(ends) if end == len(text) or text[end] & 0xC0 != 0x80]


def check_does_not_look_ahead(pieces: list[bytes], path: str | None, chosen: int) -> None:
    ends = whole_ends(pieces)
    if not ends:
        return
    n = ends[chosen % len(ends)]
    whole = all_labels(text_stream(pieces, path, pieces))
    part = {label.name: positions for label, positions in all_labels(text_stream(pieces[:n], path, pieces)).items()}
    for label, positions in whole.items():
        if label.causal:
            np.testing.assert_array_equal(
                positions[positions < 3 + n],
                part[label.name],
                err_msg=f"{label.family}: {label.name!r} looks ahead of {pieces[:n]!r} to {pieces[n:]!r}",
            )


@quick
@given(documents, st.sampled_from(PATHS), st.integers(0, 10**6))
def test_a_causal_label_does_not_change_when_the_text_after_a_token_does(
    pieces: list[bytes], path: str | None, chosen: int
):
    check_does_not_look_ahead(pieces, path, chosen)


@pytest.mark.slow
@slowly
@given(documents, st.sampled_from(PATHS), st.integers(0, 10**6))
def test_a_causal_label_does_not_look_ahead_in_a_great_many_texts(pieces: list[bytes], path: str | None, chosen: int):
    check_does_not_look_ahead(pieces, path, chosen)


@quick
@given(st.lists(documents, max_size=4), st.sampled_from(PATHS))
def test_a_labels_tokens_are_sorted_unique_and_inside_documents(several: list[list[bytes]], path: str | None):
    stream = stream_of(several, paths=[path] * len(several), n_ctx=16, training=TRAINING)
    found = all_labels(stream)
    for label, positions in found.items():
        assert (np.diff(positions) > 0).all(), label
        assert (stream.document[positions] >= 0).all(), label
        assert (stream.ids[positions] != 0).all(), label


def test_every_label_says_what_it_is_and_has_a_name_of_its_own():
    labels = list(all_labels(text_stream([b"a"], None, [])))
    assert len(labels) >= 400
    assert len({label.name for label in labels}) == len(labels)
    assert all(label.truth in TRUTHS and label.family and label.name == label.name.strip() for label in labels)
    assert sum(label.causal for label in labels) > 150
    assert len(FAMILIES) >= 20
