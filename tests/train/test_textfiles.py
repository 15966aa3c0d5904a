"""The readers of the user's files: marks, blank lines, line ends and wrong shapes, one format after the other."""

import json
import shlex
from pathlib import Path

import pytest

from train.config import RunConfig
from train.configfile import load_config, parse_overrides, read_toml, to_toml, validate
from train.data.config import DataConfig, SourceConfig
from train.data.corpora import Decoder, read_documents, source_files
from train.errors import BadInput
from train.textfiles import csv_table, json_lines

RUN = """data = "data/mine"
[model]
act = "relu"
d_model = 64
n_heads = 4
n_ctx = 256
[optim]
lr = 1e-3
[train]
tokens = 3_000_000
"""
ENCODED = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


def objects(path: Path) -> list[tuple[int, dict]]:
    return list(json_lines(path, str(path), Decoder(), block_bytes=5))


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_format_passes_with_a_mark_and_windows_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_bytes(text.replace("\n", end).encode(encoding))
        return tmp_path / name

    assert load_config(RunConfig, write("a.toml", RUN)).train.tokens == 3_000_000
    assert objects(write("a.jsonl", '{"a": 1}\n{"a": "\u2028x"}\n')) == [(1, {"a": 1}), (2, {"a": "\u2028x"})]
    assert csv_table(write("a.csv", "a,b\n1,x\n")) == (["a", "b"], [{"a": "1", "b": "x"}])


@pytest.mark.parametrize("blank", ["\n", "\n\n", " \t\n", "\f\n", "\f"])
def test_blank_lines_and_form_feeds_do_no_harm(tmp_path: Path, blank: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{blank}{{"a": 1}}\n{blank}{{"a": 2}}\n{blank}'.replace("\f{", "\f\n{"))
    assert [value for _, value in objects(tmp_path / "a.jsonl")] == [{"a": 1}, {"a": 2}]
    (tmp_path / "a.csv").write_text(f"a,b\n{blank}1,x\n2,\n{blank}")
    assert csv_table(tmp_path / "a.csv")[1] == [{"a": "1", "b": "x"}, {"a": "2", "b": None}]


def test_commas_at_the_ends_of_lines_do_no_harm_and_more_cells_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text in ("a, b,\n1,x,\n", "a,b\n1,x,,\n,,\n", 'a,b,,\n"1","x"\n'):
        path.write_text(text)
        assert csv_table(path) == (["a", "b"], [{"a": "1", "b": "x"}])
    for text, said in (
        ("a,b\n1,2\n1,2,3\n", "row 2: 3 cells where there are 2 columns"),
        ("a,b,a\n", "column 'a' stands twice"),
        ("", "no line with the names of columns"),
        ('a,b\n"1,2\n', "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(BadInput, match=said):
            csv_table(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"text": "a"},\n{"text": "b"}]', r"1: a JSON array where every line must be an object; .*jq -c '\.\[\]'"),
        ('[{"text": "a"}, {"text": "b"}]', r"1: a JSON array where every line must be an object"),
        ('{"text": "a"}\n\n{"text": "a", "text": "b"}', "3: .*key 'text' stands twice"),
        ('{"text": {"x": 1, "x": 2}}', "1: .*key 'x' stands twice"),
        ('{"text": "a"}\n"b"', "2: str where an object is needed"),
        ('{"text": "a"}\n{"text"', "2: not valid JSON"),
    ],
)
def test_json_lines_of_a_wrong_shape_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(BadInput, match=rf"a\.jsonl:{said}"):
        objects(tmp_path / "a.jsonl")


def test_a_column_of_objects_names_where_the_text_may_be(tmp_path: Path) -> None:
    line = {"messages": [{"role": "user", "content": "hi"}], "summary": "a greeting", "text": None}
    (tmp_path / "a.jsonl").write_text(json.dumps(line) + "\n")

    def texts(field: str) -> list[str]:
        source = SourceConfig(kind="files", weight=1.0, paths=(str(tmp_path / "a.jsonl"),), field=field)
        return [document.text for document in read_documents(source, source_files(source), Decoder())]

    with pytest.raises(BadInput, match=r"'messages' holds an array of objects .*; set field .* \(text is in 'summary'"):
        texts("messages")
    with pytest.raises(BadInput, match=r"key 'nope' is missing; set field .* \(text is in 'summary'"):
        texts("nope")
    assert texts("summary") == ["a greeting"]
    assert texts("text") == []
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(BadInput, match=r"\.json where \.jsonl is needed .* jq -c"):
        source_files(SourceConfig(kind="files", weight=1.0, paths=(str(tmp_path / "a.json"),)))


@pytest.mark.parametrize("name", ["a.TXT", "a.Txt", "b.JSONL", "b.Jsonl"])
def test_endings_may_be_capitals(tmp_path: Path, name: str) -> None:
    text = "some text" if name[0] == "a" else '{"text": "some text"}'
    (tmp_path / name).write_text(text)
    source = SourceConfig(kind="files", weight=1.0, paths=(f"{tmp_path}/*",))
    assert [each.text for each in read_documents(source, source_files(source), Decoder())] == ["some text"]


def test_home_directories_in_a_file_and_folders_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "ho[m]e", tmp_path / "here"
    monkeypatch.setenv("HOME", str(home))
    here.mkdir()
    monkeypatch.chdir(here)

    def fill(place: Path) -> None:
        place.mkdir()
        (place / "x.txt").write_text(place.name)

    def texts(pattern: str) -> list[tuple[str, str]]:
        source = SourceConfig(kind="files", weight=1.0, paths=(pattern,))
        return [(each.title, each.text) for each in read_documents(source, source_files(source), Decoder())]

    fill(home)
    values = read_toml(_written(here / "run.toml", RUN))
    assert texts("~/*.txt") == texts("~/x.txt") == [("~/x.txt", home.name)]
    assert validate(RunConfig, values | {"data": "~/d"}, "x").data == str(home / "d")
    assert validate(RunConfig, values | {"data": "./~/d"}, "x").data == "./~/d"
    fill(here / "~")
    assert texts("~/*.txt") == texts("*/x.txt") == [("~/x.txt", "~")]
    assert texts("./~/*.txt") == [("./~/x.txt", "~")]
    assert validate(RunConfig, values | {"data": "~/d"}, "x").data == "~/d"


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("written", ["3e6", "3000000.0", "3_000_000", "+3.0e+06"])
def test_whole_floats_are_integers_where_a_key_takes_integers(tmp_path: Path, written: str) -> None:
    path = _written(tmp_path / "a.toml", RUN.replace("3_000_000", written))
    plain = load_config(RunConfig, _written(tmp_path / "b.toml", RUN))
    assert to_toml(load_config(RunConfig, path)) == to_toml(plain)
    assert to_toml(load_config(RunConfig, tmp_path / "b.toml", ["--train.tokens", written])) == to_toml(plain)
    assert parse_overrides(["--model.widths", "[2e2]"]) == {"model": {"widths": [200.0]}}
    wide = load_config(RunConfig, tmp_path / "b.toml", ["--model.widths", "[2e2]", "--optim.lr", "1"])
    assert wide.model is not None
    assert (wide.model.widths, wide.optim.lr) == ((200,), 1.0)


@pytest.mark.parametrize("written", ["3.5", "1e-3", "inf", "nan", "1e300", "true", '"3e6"'])
def test_other_numbers_are_refused_with_the_key(tmp_path: Path, written: str) -> None:
    path = _written(tmp_path / "a.toml", RUN.replace("3_000_000", written))
    with pytest.raises(BadInput, match=r"train\.tokens: .*got "):
        load_config(RunConfig, path)


def test_the_cases_of_the_issue(tmp_path: Path) -> None:
    smoke = "\ufeff# a comment\nname = 'smoke'\n[[sources]]\nkind = 'python'\nweight = 1.0\n"
    assert load_config(DataConfig, _written(tmp_path / "data.toml", smoke)).name == "smoke"
    for text in ('{"a": 1}\n\n', '\ufeff{"a": 1}\n'):
        assert objects(_written(tmp_path / "spans.jsonl", text)) == [(1, {"a": 1})]


def test_the_advice_for_an_array_quotes_any_name_for_the_shell(tmp_path: Path) -> None:
    name = str(tmp_path / "it's $HOME.jsonl")
    Path(name).write_text('[{"text": "a"}, {"text": "b"}]')
    with pytest.raises(BadInput) as failure:
        list(json_lines(Path(name), name, Decoder()))
    words = shlex.split(str(failure.value).partition("a line: ")[2])
    assert words == ["jq", "-c", ".[]", name, ">", "new.jsonl"]
