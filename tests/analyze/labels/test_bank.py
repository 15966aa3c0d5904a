"""The bank: looking labels up, as matrices, how they overlap, the user's own, the command."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analyze.labels import bank as bank_module
from analyze.labels.bank import Label, LabelBank, bank_of, bank_on, label_family
from analyze.labels.families import speech
from analyze.labels.table import bank_table, labels
from analyze.text.stream import stream_of
from tests.analyze.activations.synthetic import N_CTX, sampled_tokens, write_data
from tests.analyze.scores.scoring import activations_of
from train.data.tokens import TokenFile
from train.errors import BadInput, EnvironmentProblem

OWN = """
import re
from analyze.labels.bank import Passage, label_family

@label_family("flowers", truth="exact", causal=True, note="by name")
def flowers(passage: Passage):
    for match in re.finditer("river", passage.text):
        yield "a river", match.start(), match.end()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    directory = write_data(tmp_path_factory.mktemp("labels") / "data", n_documents=9)
    return TokenFile.open(directory, split="eval")


def bank(*positions: list[int], n: int = 20) -> LabelBank:
    names = [Label(f"label {index}", "made-up", "exact", True) for index in range(len(positions))]
    return LabelBank(tuple(names), tuple(np.array(one, np.int64) for one in positions), n)


def test_a_bank_is_made_once_for_its_data(data: TokenFile):
    found = bank_on(data)
    assert bank_on(TokenFile.open(data.directory, split="fit")) is found
    assert found.n_stream == data.n_tokens
    assert len(found) > 400
    assert found.labels[found.index("a comma")].family == "token classes"
    tokens = sampled_tokens(data.directory)
    assert bank_of(activations_of(np.zeros((len(tokens), 1)), data.directory, tokens)) is found


def test_the_separators_and_nothing_else_lie_outside_of_documents(data: TokenFile):
    stream = stream_of(data)
    ids = data.stream(0, data.n_tokens)
    np.testing.assert_array_equal(stream.document >= 0, ids != 0)
    np.testing.assert_array_equal(stream.row_position[:N_CTX], np.arange(1, N_CTX + 1))
    documents = data.documents()
    for passage, n_chars in zip(stream.passages, documents["n_chars"].to_list()):
        assert len(passage.text) == n_chars
        assert len(passage.last_character) == documents["length"][passage.index]


def test_a_matrix_has_a_row_for_each_position_asked_for():
    some = bank([1, 3, 5], [], [3, 19])
    wanted = np.array([3, 19, 3, 0])
    expected = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(some.matrix(wanted).toarray(), expected)
    np.testing.assert_array_equal(some.dense(wanted), expected > 0)
    assert some.matrix(wanted).dtype == np.float64
    with pytest.raises(BadInput, match="positions 0 to 19"):
        some.matrix(np.array([20]))


def test_overlaps_are_shares_of_tokens():
    iou, inside = bank([0, 1, 2, 3], [2, 3], [3, 4], []).overlaps(np.arange(20))
    np.testing.assert_allclose(iou[0], [1, 0.5, 0.2, 0])
    np.testing.assert_allclose(inside[0], [1, 0.5, 0.25, 0])
    np.testing.assert_allclose(inside[1], [1, 1, 0.5, 0])
    np.testing.assert_allclose(iou[3], 0)
    part = bank([0, 1, 2, 3], [2, 3]).overlaps(np.array([2, 3]))
    np.testing.assert_allclose(part.iou, 1)


def test_pairs_are_equal_nested_or_overlapping():
    found = bank([0, 1, 2, 3], [2, 3], [2, 3], [3, 4, 5], [4, 5, 6], [9]).related(np.arange(20), 0.5)
    rows = [(row[0][-1], row[1][-1], row[2], round(row[3], 2)) for row in found.rows()]
    assert rows == [
        ("1", "2", "equal", 1.0),
        ("1", "0", "nested", 0.5),
        ("2", "0", "nested", 0.5),
        ("3", "4", "overlapping", 0.5),
    ]


def test_an_unknown_label_gets_the_nearest_as_a_suggestion(data: TokenFile):
    with pytest.raises(BadInput, match=r"label 'a coma' is not in the bank; did you mean 'a comma'\?"):
        bank_on(data).index("a coma")
    with pytest.raises(BadInput, match="polysem labels"):
        bank_on(data).index("zzzzzz")


def test_a_part_of_speech_asked_for_without_its_package_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(speech, "PACKAGE", "no-such-package")
    directory = write_data(tmp_path / "data", n_documents=5)
    found = bank_on(TokenFile.open(directory, split="eval"))
    with pytest.raises(EnvironmentProblem, match=r"pip install 'polysem\[labels\]'"):
        found.index("a word tagged as a noun")
    assert len(re.findall("left out", labels(directory))) == 1


def test_activations_of_other_data_are_refused(data: TokenFile, tmp_path: Path):
    tokens = sampled_tokens(data.directory)
    acts = activations_of(np.zeros((len(tokens), 1)), data.directory, tokens)
    meta = type(acts.meta)(**(vars(acts.meta) | {"data_hash": "other"}))
    with pytest.raises(BadInput, match="not the data that the activations were collected on"):
        bank_of(type(acts)(**(vars(acts) | {"meta": meta})))


def test_a_few_lines_of_python_add_a_family(data: TokenFile, tmp_path: Path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    extended = bank_on(data, [path])
    label = extended.labels[-1]
    assert label == Label("a river", "flowers", "exact", True, "by name")
    stream = stream_of(data)
    rivers = sum(passage.text.count("river") for passage in stream.passages)
    said = b"".join(stream.vocabulary.pieces[token] for token in stream.ids[extended.positions[-1]].tolist())
    assert said.count(b"river") == rivers > 0
    assert len(extended) == len(bank_on(data)) + 1
    path.write_text(OWN.replace("a river", "a stream"))
    assert bank_on(data, [path]).names[-1] == "a stream"


def test_spans_are_read_from_every_kind_of_table(data: TokenFile, tmp_path: Path):
    stream = stream_of(data)
    digest = data.documents()["sha256"][3]
    # Every document of this data has the same hash; a table names documents by their index.
    rows = [{"label": "the start", "document": index, "start": 0, "stop": 4} for index in (0, 3)]
    assert digest
    table = pl.DataFrame(rows)
    table.write_csv(tmp_path / "own.csv")
    table.write_parquet(tmp_path / "own.parquet")
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = [
        int(stream.starts[index]) + token for index in (0, 3) for token in stream.passages[index].tokens_of(0, 4)
    ]
    for kind in ("csv", "parquet", "jsonl"):
        found = bank_on(data, [tmp_path / f"own.{kind}"])
        assert found.positions[found.index("the start")].tolist() == expected
        assert found.labels[-1].truth == "rule"


HEAD = "label,document,start,stop\n"
REFUSED = {
    "row 2: 2 to 100000 lies outside the text of document 0, which has": f"{HEAD}a,0,0,2\na,0,2,100000\n",
    r"row 1: -1 to 2 lies outside": f"{HEAD}a,0,-1,2\n",
    "row 1: start 5 is not before stop 5": f"{HEAD}a,0,5,5\n",
    "row 1, key 'document': '9' is none of the 9 held-out documents": f"{HEAD}a,9,0,2\n",
    "row 1, key 'document': 'abc' is no integer": f"{HEAD}a,abc,0,2\n",
    f"row 1, key 'document': '{'f' * 64}' is none of the 9": f"{HEAD}a,{'f' * 64},0,2\n",
    "row 1, key 'start': 'x' is no integer": f"{HEAD}a,0,x,2\n",
    "row 1, key 'stop': None is no integer": f"{HEAD}a,0,0,\n",
    "row 1, key 'label': None is no name of a label": f"{HEAD},0,0,2\n",
    "row 1, key 'label': '  ' is no name of a label": f"{HEAD}  ,0,0,2\n",
    "column 'stop' is missing": "label,document,start\na,0,0\n",
    "column 'colour' is not known": "label,document,start,stop,colour\na,0,0,1,red\n",
    "label 'a comma' is there already, in family 'token classes'": f"{HEAD}a comma,0,0,2\n",
    "no spans in it": HEAD,
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_table_that_does_not_fit_is_refused_with_file_row_and_key(said: str, data: TokenFile, tmp_path: Path):
    path = tmp_path / "own.csv"
    path.write_text(REFUSED[said])
    with pytest.raises(BadInput, match=re.escape(said)) as failure:
        bank_on(data, [path])
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "CSV", "JSONL"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_spans_may_have_a_mark_and_blank_lines(kind: str, encoding: str, data: TokenFile, tmp_path: Path):
    text = f"{HEAD[:-1]},\r\nmine,0,0,20,\r\n\r\n"
    if kind.lower() == "jsonl":
        text = '{"label": "mine", "document": 0, "start": 0, "stop": 20}\r\n\r\n \n'
    (tmp_path / f"own.{kind}").write_bytes(text.encode(encoding))
    found = bank_on(data, [tmp_path / f"own.{kind}"])
    assert len(found.positions[found.index("mine")]) == len(stream_of(data).passages[0].tokens_of(0, 20)) > 0


def test_files_without_labels_are_refused(data: TokenFile, tmp_path: Path):
    for name, text, said in (
        ("own.txt", "x", "labels are read from"),
        ("own.jsonl", "{", "own.jsonl:1: not valid JSON"),
        ("own.jsonl", "[1]", "own.jsonl:1: a JSON array where every line must be an object"),
        ("own.json", "[]", "labels are read from .csv, .jsonl, .parquet, .py; write an object a line: jq -c"),
        ("own.jsonl", '{"label": "a"}', "row 1: column 'document' is missing"),
        ("own.parquet", "x", "not a readable parquet file"),
        ("own.csv", "", "cannot be read"),
        ("own.py", "x = (", "cannot be run"),
        ("own.py", "x = 1", "makes no family"),
        ("own.py", OWN.replace("match.end()", "10**9"), "family 'flowers': label 'a river', document 0: "),
        ("own.py", OWN.replace("match.end()", "str(match)"), "must be integers"),
        ("own.py", OWN.replace("re.finditer", "re.nothing"), "AttributeError"),
        ("own.py", OWN.replace('"exact"', '"sure"'), "truth 'sure' is not known"),
        ("own.py", OWN.replace('re.finditer("river"', 're.finditer("zzz"'), "yields no spans"),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(BadInput, match=re.escape(said)):
            bank_on(data, [path])
    with pytest.raises(BadInput, match="no such file"):
        bank_on(data, [tmp_path / "gone.csv"])


def test_a_family_is_also_made_in_place(data: TokenFile):
    @label_family("first letters")
    def first(passage):
        yield "a document's first letter", 0, 1

    ((label, where),) = first.find(stream_of(data))
    assert label.truth == "rule"
    assert len(where) <= len(data.documents())


def test_the_command_prints_every_label_and_writes_them(data: TokenFile, tmp_path: Path):
    said = labels(data.directory, (), tmp_path / "out")
    found = bank_on(data)
    assert all(name in said for name in found.names)
    assert f"{len(found)} labels in" in said
    table = pl.read_parquet(tmp_path / "out" / "labels.parquet")
    assert table["name"].to_list() == list(found.names)
    np.testing.assert_array_equal(table["positions"][3].to_numpy(), found.positions[3])
    assert table["tokens"].to_list() == found.n_tokens.tolist()


def test_a_label_is_nested_in_the_smallest_that_holds_it():
    some = bank([0, 1, 2, 3, 4], [1, 2, 3], [2], [9])
    table = bank_table(some, np.repeat([0, 1], 10))
    assert table["nested_in"].to_list() == [None, "label 0", "label 1", None]
    assert table["documents"].to_list() == [1, 1, 1, 1]
    assert table["share"].to_list() == [0.25, 0.15, 0.05, 0.05]


def test_labels_do_not_depend_on_the_process(data: TokenFile):
    first = bank_on(data)
    bank_module._own.cache_clear()
    bank_module._bank.cache_clear()
    again = bank_on(data)
    assert again is not first
    assert again.labels == first.labels
    assert all(np.array_equal(one, other) for one, other in zip(again.positions, first.positions))
