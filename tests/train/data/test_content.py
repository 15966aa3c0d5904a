"""What a document is: said by the config, a language column, a name; else made out from its text, or unknown."""

# The texts stand as they are.
# ruff: noqa: E501

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import polars as pl
import pytest

from train.data.classify import FEATURES, classify, features
from train.data.config import DataConfig, SourceConfig
from train.data.content import Content, content_by_language, content_by_name
from train.data.corpora import Document, content_of, python_pieces
from train.data.page import documents_page
from train.data.prepare import prepare
from train.errors import BadInput

PROSE = {
    "WikiText": " = Valkyria Chronicles = \n \n The game began development in 2010 , carrying over a large portion of the work "
    "done on an earlier game , and is a third @-@ person role @-@ playing title . <unk> returned as the composer of "
    'the score ( with help ) . \n \n = = Plot = = \n \n The player takes the part of a penal unit , the " <unk> " . \n',
    "tweet": "RT @some_user: The new bridge over the river is open at last!! #bridge #opening_day https://t.co/a8Xf31 @Mayor_42",
    "chat": "[10:12] <anna_k> did you see the match last night? :)\n[10:13] <Bob> yes it was awful, they lost by 3 goals ;-)\n"
    "[10:13] <xX_dan_Xx> lol @Bob you always say that\n[10:14] <anna_k> the second half was better (a bit)\n",
    "HTML": '<div class="intro"><p>The <b>river</b> rises in the hills to the north of the town and flows into the sea.</p>\n'
    '<p>It is <a href="/wiki/Long_river">one of the longest</a> in the country, and was a border for many years.</p></div>\n',
    "questions": "Q: How many books has she (by June)? A: (4)\nQ: What is the name of the river in the story? A: (2)\n"
    "Q: Which of these was the first to arrive at the house? A: (1)\n",
    "Markdown": "# The guide\n\nThis is a *short* guide to the `walk` along the coast. It has **three** parts:\n\n"
    "- the [beach](https://a.example/beach), which is best in spring;\n- the cliffs (take care!)\n- and the old harbour.\n\n"
    "> It was the most beautiful place that we had seen.\n",
    "French": "La rivière prend sa source dans les collines au nord de la ville et se jette dans la mer. Elle est longue de 40 km.",
    "plain": "The river (in the north) flows past the city, they say. Nobody knows how it was found.",
}
CODE = {
    "Python": "def total(rows, *, key=None):\n    seen = {}\n    for row in rows:\n        seen[row[key]] = row\n    return sum(seen.values())\n",
    "docstring": 'def degree_of(graph, node):\n    """Return the degree of a node in the graph.\n\n    The degree is the number of edges that '
    "meet the node. A loop counts\n    twice, as is usual in the books on the matter.\n\n    Parameters\n    ----------\n    graph : Graph\n"
    "        The graph to look at.\n    node : node\n        A node in the graph.\n\n    Returns\n    -------\n    int\n        Its degree.\n"
    '    """\n    return len(graph.adj[node])\n',
    "JavaScript": "const fs = require('fs');\nfunction read(path, done) {\n  fs.readFile(path, (error, data) => {\n    if (error) throw error;\n"
    "    done(data.toString());\n  });\n}\nmodule.exports = { read };\n",
    "C header": "#ifndef LIST_H\n#define LIST_H\n#include <stddef.h>\nstruct list { struct list *next; void *item; };\n"
    "struct list *list_push(struct list *head, void *item);\nsize_t list_length(const struct list *head);\n#endif\n",
    "shell": '#!/bin/sh\nset -e\nfor file in "$@"; do\n  if [ -f "$file" ]; then\n    cp "$file" "$OUT/$(basename "$file")"\n  fi\ndone\n',
}
NEITHER = {
    "empty": "",
    "blank": " \n\t\n",
    "signs": "---- ==== {} ;;",
    "JSON": '{\n  "name": "thing",\n  "version": "1.0.3",\n  "files": ["a", "b"],\n  "private": true,\n  "deps": {\n    "left": "^2.0.0"\n  }\n}\n',
    "CSV": "name,year,value\nalpha,1990,3.5\nbeta,1991,4.25\ngamma,1992,5.0\ndelta,1993,7.5\n",
}


@pytest.mark.parametrize("kind", PROSE)
def test_prose_with_markup_is_no_code(kind: str):
    assert classify(PROSE[kind]) == "prose"


@pytest.mark.parametrize("kind", CODE)
def test_code_needs_no_name(kind: str):
    assert classify(CODE[kind]) == "code"


@pytest.mark.parametrize("kind", NEITHER)
def test_what_is_neither_is_unknown(kind: str):
    assert classify(NEITHER[kind]) == "unknown"


def test_a_table_of_words_is_no_code():
    rows = "".join(f"| river {i} | {i * 7} | in the north of the land |\n" for i in range(12))
    assert classify("| name | km | where |\n| --- | ---: | :--- |\n" + rows) != "code"


@pytest.mark.parametrize(("n_prose", "n_code", "never"), [(60, 1, "code"), (1, 8, "prose"), (1, 2, "prose")])
def test_a_mixture_is_never_called_what_little_of_it_is(n_prose: int, n_code: int, never: Content):
    for prose in (PROSE["plain"], PROSE["Markdown"], PROSE["HTML"]):
        for code in (CODE["JavaScript"], CODE["Python"], CODE["shell"]):
            assert classify(f"{prose}\n\n" * n_prose + code * n_code) != never


def test_the_pieces_of_a_python_file_are_code_without_its_name():
    pieces = [piece for _, piece in python_pieces(Path(json.__file__).read_text(encoding="utf-8"))]
    called = [classify(piece) for piece in pieces]
    assert len(called) > 5
    assert "prose" not in called
    assert called.count("code") >= 0.9 * len(called)


def test_features_are_finite_and_named_once_however_odd_the_text():
    for text in ("", "\0", "\n" * 10, "a" * 100_000, "(" * 50_000, "\ud7ff\U0001f600 " * 5_000, " " * 100_000 + "x"):
        found = features(text)
        assert found.shape == (len(FEATURES),)
        assert ((found >= 0) & (found < 50)).all()
    assert len(set(FEATURES)) == len(FEATURES)


LANGUAGES: tuple[tuple[object, Content], ...] = (
    *(
        (name, "code")
        for name in ("python", "Python", "C++", "c#", ".js", "TypeScript", "Objective-C", "Jupyter Notebook", "PERL ")
    ),
    *(
        (name, "prose")
        for name in ("markdown", "en", "english", "EN", "en-US", "pt_BR", "Norwegian", "reStructuredText", "zh-Hans")
    ),
    *((name, "unknown") for name in ("json", "", "klingon", None, 3, ["python"], "html")),
)


@pytest.mark.parametrize(("language", "content"), LANGUAGES)
def test_a_language_is_code_or_prose_or_says_nothing(language: object, content: Content):
    assert content_by_language(language) == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a/b.py:120", "code"),
        ("A.SQL", "code"),
        ("read.md", "prose"),
        ("a.txt", "unknown"),
        ("py", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_ending_says_what_a_file_is(name: str | None, content: Content):
    assert content_by_name(name) == content


def test_the_config_wins_over_language_and_language_over_the_text():
    document = Document(PROSE["plain"], "a.jsonl:1", language="python")
    said = {"kind": "files", "weight": 1, "paths": ("a.jsonl",), "language_field": "lang"}
    assert content_of(document, SourceConfig(**said, content="prose")) == "prose"
    assert content_of(document, SourceConfig(**said, content="code")) == "code"
    assert content_of(document, SourceConfig(**said)) == "code"
    assert content_of(Document(PROSE["plain"], "a.jsonl:1", language="klingon"), SourceConfig(**said)) == "prose"


def prepared(tmp_path: Path, lines: Sequence[Mapping[str, object]], **keys: object) -> pl.DataFrame:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    source = SourceConfig.model_validate({"kind": "files", "weight": 1, "paths": (str(path),)} | keys)
    data = DataConfig(name="t", sources=(source,), d_vocab=300, n_ctx=8, eval_share=0.5, allow_more_held_out=True)
    result = prepare(data, tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "documents.parquet")
    counted = dict(table["content"].value_counts().iter_rows())
    assert {name: n for name, n in result.facts["sources"][0]["content"].items() if n} == counted
    return (
        table.select("path_or_title", "content")
        .with_columns(line=pl.col("path_or_title").str.extract(r":(\d+)$").cast(int))
        .sort("line")
    )


def test_a_language_column_is_read_line_by_line_and_the_text_decides_where_it_is_silent(tmp_path: Path):
    prose, code, neither = PROSE["plain"], CODE["JavaScript"], NEITHER["CSV"]
    lines = [
        {"text": f"{text}\n{n}", "lang": lang}
        for n, (text, lang) in enumerate(
            [
                (prose, "python"),
                (code, "en"),
                (prose, "C++"),
                (code, None),
                (prose, ["x"]),
                (neither, "csv"),
                (prose, "markdown"),
            ]
        )
    ]
    lines += [{"text": f"{prose}\nlast"}]
    found = prepared(tmp_path, lines, language_field="lang")["content"].to_list()
    assert found == ["code", "prose", "code", "code", "prose", "unknown", "prose", "prose"]


def test_without_names_each_text_is_taken_for_what_it_reads_like(tmp_path: Path):
    lines = [{"text": text} for text in (*PROSE.values(), *CODE.values(), NEITHER["JSON"], NEITHER["CSV"])]
    found = prepared(tmp_path, lines)["content"].to_list()
    assert found == ["prose"] * len(PROSE) + ["code"] * len(CODE) + ["unknown"] * 2


HOSTILE = "<script>alert(1)</script> & the river of the town was in the \u202enorth of it, as they say.\n"


def test_a_page_shows_counts_and_samples_of_every_content_escaped_and_leaves_the_data_as_they_are(tmp_path: Path):
    prepared(tmp_path, [{"text": text} for text in (HOSTILE, PROSE["plain"], CODE["shell"], NEITHER["CSV"])])
    data, out = tmp_path / "out", tmp_path / "page.html"
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    said = documents_page(data, out)
    page = out.read_text(encoding="utf-8")
    assert [line.strip() for line in said.splitlines()[1:]] == ["files: 1 code", "files: 2 prose", "files: 1 unknown"]
    assert "<tr><td>files</td><td>1</td><td>2</td><td>1</td></tr>" in page
    assert all(escape(text.strip()) in page for text in (PROSE["plain"], CODE["shell"], NEITHER["CSV"]))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; the river" in page
    assert "\\u202enorth" in page
    assert not re.search(r"<script|https?://|src=|href=|\u202e", page)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["out/page.html", "out", "nowhere/page.html"])
def test_the_page_lies_outside_of_the_sealed_data(tmp_path: Path, place: str):
    prepared(tmp_path, [{"text": text} for text in (*PROSE.values(), *CODE.values())])
    with pytest.raises(BadInput, match="not a place for the page"):
        documents_page(tmp_path / "out", tmp_path / place)
    assert not (tmp_path / place).is_file()


def test_preparing_says_what_files_were_taken_for(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    texts = [*PROSE.values(), *CODE.values(), NEITHER["CSV"]]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    source = SourceConfig(kind="files", weight=1, paths=(str(path),))
    keys = {"d_vocab": 300, "n_ctx": 8, "eval_share": 0.5, "allow_more_held_out": True}
    result = prepare(DataConfig(name="t", sources=(source,), **keys), tmp_path / "data")
    assert any("documents of files: 5 code, 8 prose, 1 unknown;" in line for line in result.notes())
