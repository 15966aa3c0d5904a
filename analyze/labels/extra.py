"""The user's own labels: a table of spans, or a few lines of Python.

A table (.csv, .jsonl or .parquet) has the columns

    label       the name
    document    its index among the held-out documents, or the sha256 of its text (documents.parquet has both)
    start stop  in characters (Unicode code points) of the document's text, decoded; `stop` is the first after them

A .py file is run, and every family that it makes is added:

    import re
    from analyze.labels.bank import Passage, label_family

    @label_family("flowers", truth="exact", causal=False)
    def flowers(passage: Passage):
        for match in re.finditer(r"\\b(rose|tulip)s?\\b", passage.text):
            yield "a flower", match.start(), match.end()
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from analyze.labels.base import TRUTHS, Family, Label, Labelled, Truth
from analyze.text.stream import Passage, Stream
from train.errors import BadInput, did_you_mean, is_text
from train.parquet import read_parquet
from train.textfiles import Decoder, csv_table, json_lines

COLUMNS = ("label", "document", "start", "stop")
KINDS = (".csv", ".jsonl", ".parquet", ".py")
LONGEST_NAME = 200

Row = dict[str, Any]
UserSpans = Callable[[Passage], Iterable[tuple[str, int, int]]]


def label_family(
    name: str, *, truth: str = "rule", causal: bool = False, note: str = ""
) -> Callable[[UserSpans], Family]:
    """Make a family of labels out of a function of a `Passage` that yields (label, start, stop) in characters.

    Args:
        name: of the family.
        truth: "exact", "rule" or "tagger".
        causal: whether every label is a function of the text up to the end of its token. Nobody checks it.

    Raises:
        BadInput: no such truth.
    """
    if truth not in TRUTHS:
        raise BadInput(f"family {name!r}: truth {truth!r} is not known{did_you_mean(truth, list(TRUTHS))}")

    about = (name, cast(Truth, truth), causal, note)

    def decorate(spans: UserSpans) -> Family:
        return Family(name, lambda stream: _of_function(stream, spans, *about))

    return decorate


def extra_families(path: Path | str) -> tuple[Family, ...]:
    """The families of one of the user's files.

    Raises:
        BadInput: not there, of another kind, cannot be read or run, or empty. Spans that do not fit
            the text are an error later, when the labels are read from it.
    """
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        hint = (
            f"; write an object a line: jq -c '.[]' {str(path)!r} > new.jsonl" if path.suffix.lower() == ".json" else ""
        )
        raise BadInput(f"{path}: labels are read from {', '.join(KINDS)}{hint}")
    if not path.is_file():
        raise BadInput(f"{path}: no such file")
    if path.suffix.lower() == ".py":
        return _python(path)
    rows = _rows(path)
    if not rows:
        raise BadInput(f"{path}: no spans in it")
    return (Family(str(path), lambda stream: _of_rows(stream, path, rows)),)


def _python(path: Path) -> tuple[Family, ...]:
    spec = importlib.util.spec_from_file_location(f"labels_of_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BadInput as failure:
        raise BadInput(f"{path}: {failure}") from failure
    except Exception as failure:  # whatever the user's code may raise
        raise BadInput(f"{path}: cannot be run ({type(failure).__name__}: {failure})") from failure
    families = [value for value in vars(module).values() if isinstance(value, Family)]
    if not families:
        raise BadInput(f'{path}: makes no family; put @label_family("NAME") before a function that yields spans')
    return tuple(Family(f"{path}: {family.name}", _named(family, path)) for family in families)


def _named(family: Family, path: Path) -> Callable[[Stream], Labelled]:
    """The family's `find`, whose failures name the file."""

    def find(stream: Stream) -> Labelled:
        try:
            return list(family.find(stream))
        except Exception as failure:  # whatever the user's code may raise
            reason = str(failure) if isinstance(failure, BadInput) else f"{type(failure).__name__}: {failure}"
            raise BadInput(f"{path}: family {family.name!r}: {reason}") from failure

    return find


def _of_function(stream: Stream, spans: UserSpans, family: str, truth: Truth, causal: bool, note: str) -> Labelled:
    by_label: dict[str, list[tuple[int, int, int]]] = {}
    for passage in stream.passages:
        for name, start, stop in spans(passage):
            place = f"label {name!r}, document {passage.index}"
            _check_name(name, place)
            _check_span(start, stop, passage, place)
            by_label.setdefault(name, []).append((passage.index, int(start), int(stop)))
    if not by_label:
        raise BadInput("yields no spans on this text")
    for name in sorted(by_label):
        yield Label(name, family, truth, causal, note), stream.positions_of(np.array(by_label[name], np.int64))


def _rows(path: Path) -> list[Row]:
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return list(_json_rows(path))
    if kind == ".csv":
        names, rows = csv_table(path)
        _check_columns(path, 0, names)
        return cast(list[Row], rows)
    table = read_parquet(path)
    _check_columns(path, 0, table.columns)
    return table.rows(named=True)


def _json_rows(path: Path) -> Iterator[Row]:
    for number, row in json_lines(path, str(path), Decoder()):
        _check_columns(path, number, list(row))
        yield row


def _check_columns(path: Path, number: int, names: list[str]) -> None:
    where = f"{path}: row {number}" if number else str(path)
    for column in COLUMNS:
        if column not in names:
            raise BadInput(f"{where}: column {column!r} is missing; columns are {', '.join(COLUMNS)}")
    for name in names:
        if name not in COLUMNS:
            raise BadInput(f"{where}: column {name!r} is not known{did_you_mean(name, list(COLUMNS))}")


def _of_rows(stream: Stream, path: Path, rows: list[Row]) -> Labelled:
    by_hash = {digest: index for index, digest in enumerate(stream.hashes)}
    by_label: dict[str, list[tuple[int, int, int]]] = {}
    for number, row in enumerate(rows, start=1):
        place = f"{path}: row {number}"
        _check_name(row["label"], f"{place}, key 'label'")
        passage = stream.passages[_document(row["document"], by_hash, len(stream.hashes), f"{place}, key 'document'")]
        start, stop = (_integer(row[key], f"{place}, key {key!r}") for key in ("start", "stop"))
        _check_span(start, stop, passage, place)
        by_label.setdefault(row["label"], []).append((passage.index, start, stop))
    for name in sorted(by_label):
        label = Label(name, path.stem, "rule", False, f"spans of {path.name}")
        yield label, stream.positions_of(np.array(by_label[name], np.int64))


def _check_name(name: Any, place: str) -> None:
    if not isinstance(name, str) or not name.strip():
        raise BadInput(f"{place}: {name!r} is no name of a label")
    if name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME or not is_text(name):
        raise BadInput(f"{place}: a name is one line of at most {LONGEST_NAME} signs without blanks around it")


def _check_span(start: Any, stop: Any, passage: Passage, place: str) -> None:
    if not all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in (start, stop)):
        raise BadInput(f"{place}: start {start!r} and stop {stop!r} must be integers")
    if start >= stop:
        raise BadInput(f"{place}: start {start} is not before stop {stop}: no text between them")
    if start < 0 or stop > len(passage.text):
        raise BadInput(
            f"{place}: {start} to {stop} lies outside the text of document {passage.index}, "
            f"which has {len(passage.text)} characters"
        )


def _integer(value: Any, place: str) -> int:
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadInput(f"{place}: {value!r} is no integer")


def _document(value: Any, by_hash: dict[str, int], n_documents: int, place: str) -> int:
    if isinstance(value, str) and value in by_hash:
        return by_hash[value]
    is_hash = isinstance(value, str) and len(value) == 64
    if not is_hash and 0 <= (index := _integer(value, place)) < n_documents:
        return index
    raise BadInput(f"{place}: {value!r} is none of the {n_documents} held-out documents (their index or sha256)")
