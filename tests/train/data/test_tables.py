"""Text in tables and packed files: Parquet, CSV, .gz and .zst, folders; nested columns; what cannot be used."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.data.config import SourceConfig
from train.data.corpora import LIMITS, Document, Limits, read_documents, source_files
from train.errors import BadInput
from train.textfiles import Decoder


def read(*paths: Path, decoder: Decoder | None = None, limits: Limits = LIMITS, **keys: Any) -> list[Document]:
    source = SourceConfig(kind="files", weight=1, paths=tuple(map(str, paths)), **keys)
    return list(read_documents(source, source_files(source), decoder or Decoder(), limits))


def texts(*paths: Path, **keys: Any) -> list[str]:
    return [document.text for document in read(*paths, **keys)]


def zst(path: Path, data: bytes) -> Path:
    with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as file:
        file.write(data)
    return path


def gz(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data))
    return path


def test_packed_json_lines_read_as_plain_ones_do(tmp_path: Path) -> None:
    data = "".join(json.dumps({"text": f"story {i} \n" * 50}) + "\n" for i in range(400)).encode()
    (tmp_path / "a.jsonl").write_bytes(data)
    gz(tmp_path / "b.jsonl.GZ", data)
    gz(tmp_path / "c.json.gz", data)
    zst(tmp_path / "d.jsonl.zst", data)
    plain = texts(tmp_path / "a.jsonl")
    assert len(plain) == 400
    for name in ("b.jsonl.GZ", "c.json.gz", "d.jsonl.zst"):
        assert texts(tmp_path / name) == texts(tmp_path / name, limits=Limits(block_bytes=777)) == plain


@pytest.mark.parametrize("size", [3, 40_000])
def test_packed_text_is_cut_as_plain_text_is(tmp_path: Path, size: int) -> None:
    data = ("A line of prose that goes on.\n\n" * size).encode()
    (tmp_path / "a.txt").write_bytes(data)
    zst(tmp_path / "a.txt.zst", data)
    gz(tmp_path / "a.txt.gz", data)
    assert texts(tmp_path / "a.txt") == texts(tmp_path / "a.txt.zst") == texts(tmp_path / "a.txt.gz")


def test_a_packed_file_that_is_cut_short_or_is_none_is_one_line(tmp_path: Path) -> None:
    data = "".join(json.dumps({"text": f"story {i * i}"}) + "\n" for i in range(20_000)).encode()
    whole = gz(tmp_path / "a.jsonl.gz", data).read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"a\.jsonl\.gz: not a whole \.gz file"):
        texts(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(BadInput, match=r"a\.jsonl\.gz: not a whole \.gz file"):
        texts(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.jsonl.zst").write_bytes(b"plain text, not packed")
    with pytest.raises(BadInput, match=r"a\.jsonl\.zst: not a whole \.zst file"):
        texts(tmp_path / "a.jsonl.zst")


def test_a_nested_key_is_found_by_its_path_and_a_key_of_that_very_name_first(tmp_path: Path) -> None:
    lines = [{"meta": {"text": "below"}}, {"meta.text": "by name", "meta": {"text": "below"}}, {"meta": {"text": None}}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    decoder = Decoder()
    assert texts(tmp_path / "a.jsonl", field="meta.text", decoder=decoder) == ["below", "by name"]
    assert decoder.n_null == 1
    with pytest.raises(BadInput, match=r"a\.jsonl:1: key 'meta\.body' is missing"):
        texts(tmp_path / "a.jsonl", field="meta.body")


def test_parquet_gives_a_document_a_row_with_nested_columns_and_counts_what_it_cannot_use(tmp_path: Path) -> None:
    binary = pa.array([b"good \xc3\xa9", b"bad \xff", None, b"x" * 200, b"last"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 5, binary.buffers())
    meta = pa.StructArray.from_arrays([text, pa.array(["python", "en", "en", "en", None])], ["text", "lang"])
    pq.write_table(pa.table({"meta": meta, "n": range(5)}), tmp_path / "a.parquet")
    keys: dict[str, Any] = {"field": "meta.text", "language_field": "meta.lang", "limits": Limits(json_line_bytes=100)}
    decoder = Decoder()
    documents = read(tmp_path / "a.parquet", decoder=decoder, **keys)
    name = str(tmp_path / "a.parquet")
    assert [(each.text, each.title, each.language) for each in documents] == [
        ("good \u00e9", f"{name}:1", "python"),
        ("last", f"{name}:5", None),
    ]
    assert (decoder.n_null, decoder.left_out) == (1, {"invalid UTF-8": 1, "over length": 1})
    replacing = Decoder(replace=True)
    assert [each.text for each in read(tmp_path / "a.parquet", decoder=replacing, **keys)][1] == "bad \ufffd"
    assert replacing.n_replaced == 1


def test_parquet_without_the_column_or_with_numbers_in_it_or_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [1, 2], "meta": [{"body": "x"}, {"body": "y"}]}), path)
    with pytest.raises(BadInput, match=r"a\.parquet: column 'text' is missing; .*there are 'meta\.body'"):
        texts(path)
    with pytest.raises(BadInput, match=r"a\.parquet: column 'n' holds int64 where text is needed"):
        texts(path, field="n")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match=r"a\.parquet: not a readable parquet file"):
        texts(path, field="meta.body")


def test_csv_gives_a_document_a_row(tmp_path: Path) -> None:
    data = b'id,text,lang\r\n1,"two\r\nlines, and a ""quote""",en\n\n2,plain,python\n3\n'
    (tmp_path / "a.csv").write_bytes(data)
    gz(tmp_path / "b.csv.gz", data)
    for name, block in (("a.csv", 5), ("b.csv.gz", 2**20)):
        documents = read(tmp_path / name, limits=Limits(block_bytes=block), language_field="lang")
        assert [document.text for document in documents] == ['two\nlines, and a "quote"', "plain", ""]
        assert [document.language for document in documents] == ["en", "python", None]
    with pytest.raises(BadInput, match=r"a\.csv: column 'body' is missing; .*\(there are 'id', 'text', 'lang'\)"):
        texts(tmp_path / "a.csv", field="body")
    (tmp_path / "a.csv").write_text("text,n\nx,1,2\n")
    with pytest.raises(BadInput, match=r"a\.csv:2: 3 cells where there are 2 columns"):
        texts(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text(f"text\n{'x' * 200}\n")
    with pytest.raises(BadInput, match=r"a\.csv:2: cannot be read as CSV \(field larger"):
        texts(tmp_path / "a.csv", limits=Limits(json_line_bytes=100))


def test_a_folder_stands_for_all_files_in_it_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.txt").write_text("one")
    gz(tmp_path / "in" / "b.jsonl.gz", b'{"text": "two"}\n')
    (tmp_path / "in" / "c.png").write_bytes(b"no text")
    assert sorted(texts(tmp_path / "in")) == ["one", "two"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no file matches"):
        texts(tmp_path / "empty")
