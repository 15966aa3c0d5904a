"""Texts in other encodings than UTF-8: decoded by their mark or their source's `encoding`, or named with what helps."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.train.data.test_prepare import config, stories, texts_of
from train.data.config import SourceConfig
from train.data.corpora import Decoder, Limits, read_documents, source_files
from train.data.prepare import prepare
from train.errors import BadInput

TEXT = "People sat\r\nand \N{LATIN SMALL LETTER E WITH ACUTE}\N{GRINNING FACE} waited. " * 3
MARKED = {"utf-8-sig": "utf-8-sig", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be", "utf-32-le": "utf-32-le"}
MARKED["utf-32-be"] = "utf-32-be"


def read(path: Path, block: int = 2**20, replace: bool = False, encoding: str = "utf-8") -> list[str]:
    source = SourceConfig(kind="files", weight=1.0, paths=(str(path),), encoding=encoding)
    documents = read_documents(source, source_files(source), Decoder(replace), Limits(block_bytes=block))
    return [document.text for document in documents]


def marked(text: str, encoding: str) -> bytes:
    return text.encode(encoding) if encoding == "utf-8-sig" else f"\ufeff{text}".encode(encoding)


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("said", ["utf-8", "cp1252", "utf-16-le"])
def test_a_byte_order_mark_decides(tmp_path: Path, encoding: str, said: str) -> None:
    (tmp_path / "a.txt").write_bytes(marked(TEXT, encoding))
    assert read(tmp_path / "a.txt", encoding=said) == [TEXT.replace("\r\n", "\n")]
    lines = "".join(json.dumps({"text": f"{i} {TEXT}"}, ensure_ascii=False) + "\r\n" for i in range(50))
    (tmp_path / "a.jsonl").write_bytes(marked(lines, encoding))
    for block in (7, 2**20):
        assert read(tmp_path / "a.jsonl", block, encoding=said)[49] == "49 " + TEXT.replace("\r\n", "\n")
    (tmp_path / "large.txt").write_bytes(marked(TEXT * 400, encoding))
    large = "".join(read(tmp_path / "large.txt", 7, encoding=said))
    assert large.replace("\n", "") == (TEXT * 400).replace("\r\n", "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("ending", ["txt", "jsonl"])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("said", ["utf-8", "latin-1", "utf-16"])
def test_what_looks_like_a_wide_encoding_is_named_and_the_advice_works(
    tmp_path: Path, encoding: str, ending: str, replace: bool, said: str
) -> None:
    text = "Plain words of an unmarked file, \N{LATIN SMALL LETTER E WITH ACUTE} too."
    path = tmp_path / f"a.{ending}"
    path.write_bytes((text if ending == "txt" else json.dumps({"text": text}) + "\n").encode(encoding))
    with pytest.raises(BadInput, match=f"{path.name}: .*set encoding") as failure:
        read(path, replace=replace, encoding=said)
    assert "invalid_utf8" not in str(failure.value)
    found = re.search('encoding = "(.*?)"', str(failure.value))
    assert found is not None
    assert read(path, replace=replace, encoding=found[1]) == [text]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1252", "caf\xe9 \u20ac"), ("shift_jis", "\u65e5\u672c\u8a9e"), ("gb18030", "\u4e2d\u6587")],
)
def test_a_source_says_its_encoding(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "a.txt").write_bytes((text * 9000).encode(encoding))
    assert "".join(read(tmp_path / "a.txt", 7, encoding=encoding)) == text * 9000
    with pytest.raises(BadInput, match=r"not UTF-8 at byte \d+ .*name what it is in on its source"):
        read(tmp_path / "a.txt")
    with pytest.raises(BadInput, match="it is in another encoding; name it"):
        read(tmp_path / "a.txt", replace=True)


@pytest.mark.parametrize("name", ["rot13", "hex", "utf-9", "idna", "unicode_escape", "", "a\0b"])
def test_what_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="encoding"):
        SourceConfig(kind="files", weight=1.0, paths=("a",), encoding=name)


def test_what_was_left_out_replaced_and_met_is_said_and_kept(tmp_path: Path) -> None:
    lines = [{"text": story} for story in stories(200)]
    odd = [{"text": "a\0b\0"}, {"text": None}, {"text": None}, {"text": " "}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, *odd]))
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(b'{"text": "bad \xff"}\n')
    wanted = config(SourceConfig(kind="files", weight=1.0, paths=(str(tmp_path / "a.jsonl"),)), invalid_utf8="replace")
    first = prepare(wanted, tmp_path / "out")
    again = prepare(wanted, tmp_path / "out")
    for result in (first, again):
        said = "\n".join(result.notes())
        assert "1 bytes or surrogates that are no text were replaced" in said
        assert "1 blank documents were left out" in said
        assert "2 lines of JSON whose text is null were left out" in said
        assert "2 NUL characters were kept, the first in " + str(tmp_path / "a.jsonl:201") in said
    assert again.found
    assert again.record == first.record
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    plain = prepare(config(SourceConfig(kind="files", weight=1.0, paths=(str(tmp_path / "b.jsonl"),))), tmp_path / "b")
    assert not [line for line in plain.notes() if "replaced" in line or "left out" in line or "NUL" in line]


def test_a_corpus_of_utf16_files_is_that_of_its_text(tmp_path: Path) -> None:
    texts = stories(100)
    for folder, encoding in (("wide", "utf-16"), ("plain", "utf-8")):
        (tmp_path / folder).mkdir()
        for number, text in enumerate(texts):
            (tmp_path / folder / f"{number}.TXT").write_bytes(text.encode(encoding))
    read_back = [
        texts_of(prepare(config(SourceConfig(kind="files", weight=1.0, paths=(f"{path}/*.TXT",))), path / "out"))
        for path in (tmp_path / "wide", tmp_path / "plain")
    ]
    assert read_back[0] == read_back[1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "utf-16-le"])
def test_an_empty_file_is_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert read(tmp_path / "a.txt", encoding=encoding) == [""]
    assert read(tmp_path / "a.jsonl", encoding=encoding) == []
