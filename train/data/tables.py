"""Documents of tables: Parquet, CSV, and whatever else `datasets` gives as Arrow; nested columns by path."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.compressed import file_blocks
from train.data.document import Document, Limits
from train.errors import BadInput
from train.textfiles import Decoder

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 256
"""Of a table that are read at a time."""


def parquet_documents(
    path: Path, name: str, field: str, language_field: str | None, decoder: Decoder, limits: Limits
) -> Iterator[Document]:
    """The documents of a Parquet file, one a row, called `name:row` from 1.

    Raises:
        BadInput: not Parquet, a damaged one, no column `field`, or one that holds no text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_rows = 0
    try:
        with pq.ParquetFile(pa.OSFile(str(path))) as file:
            roots = {_root(field, file.schema_arrow.names), _root(language_field or "", file.schema_arrow.names)}
            _require(file.schema_arrow, field, name)
            for batch in file.iter_batches(ROWS, columns=[root for root in roots if root is not None]):
                table = pa.Table.from_batches([batch])
                for number, text, language in texts(table, field, language_field, name, decoder, limits):
                    yield Document(text, f"{name}:{n_rows + number + 1}", language=language)
                n_rows += batch.num_rows
    except (pa.ArrowException, OSError) as failure:
        if isinstance(failure, OSError) and failure.errno is not None:
            raise
        raise BadInput(f"{name}: not a readable parquet file ({failure})") from None


def shard_documents(path: Path) -> Iterator[Document]:
    """The documents of a shard that `train.data.hub` wrote.

    Raises:
        BadInput: it is not a whole one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.OSFile(str(path))) as file:
            for batch in file.iter_batches(ROWS):
                for text, title, language in zip(*(batch[name].to_pylist() for name in ("text", "title", "language"))):
                    yield Document(text, title, language=language)
    except (pa.ArrowException, KeyError) as failure:
        raise BadInput(f"{path}: not a readable shard ({failure}); remove {path.parent} and prepare again") from None


def texts(
    table: "pa.Table", field: str, language_field: str | None, name: str, decoder: Decoder, limits: Limits
) -> Iterator[tuple[int, str, str | None]]:
    """Row, text and language of the rows that can be used; what is null, too long or no UTF-8 is counted and left out.

    Args:
        decoder: counts; with its `replace`, bytes that are no UTF-8 become U+FFFD instead.

    Raises:
        BadInput: no column `field`, or one that holds no text.
    """
    import pyarrow as pa

    _require(table.schema, field, name)
    column = _column(table, field)
    assert column is not None
    # As bytes: Arrow does not check that text is UTF-8, and of one wrong value everything would be lost.
    values = column.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
    said = _column(table, language_field) if language_field else None
    languages = [None] * len(values) if said is None else said.to_pylist()
    for number, (value, language) in enumerate(zip(values, languages)):
        if value is None:
            decoder.n_null += 1
        elif len(value) > limits.json_line_bytes:
            decoder.leave_out("over length")
        else:
            try:
                text = value.decode("utf-8", "replace" if decoder.replace else "strict")
            except UnicodeDecodeError:
                decoder.leave_out("invalid UTF-8")
                continue
            if decoder.replace and "\ufffd" in text:
                decoder.n_replaced += text.count("\ufffd") - value.count(b"\xef\xbf\xbd")
            yield number, decoder.clean(text, name), language if isinstance(language, str) else None


def at_path(value: dict[str, Any], field: str) -> tuple[bool, Any]:
    """Whether an object has `field`, and what it holds: a key of this very name, else the path of keys it spells."""
    if field in value:
        return True, value[field]
    head, dot, rest = field.partition(".")
    while dot:
        if isinstance(below := value.get(head), dict):
            found = at_path(below, rest)
            if found[0]:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return False, None


def csv_documents(
    path: Path, name: str, field: str, language_field: str | None, decoder: Decoder, limits: Limits
) -> Iterator[Document]:
    """The documents of a CSV with a line of column names, one a row, called `name:line`.

    Raises:
        BadInput: no CSV, no column `field`, a row with more cells than there are columns, a cell over the limit.
        OSError: it cannot be read.
    """
    before = csv.field_size_limit(limits.json_line_bytes)
    rows = csv.reader(_lines(path, name, decoder, limits.block_bytes), strict=True)
    try:
        names = [column.strip() for column in next(rows, [])]
        if field not in names:
            raise BadInput(
                f"{name}: column {field!r} is missing; set field to the column that holds the text{_of(names)}"
            )
        at = names.index(field)
        at_language = names.index(language_field) if language_field in names else None
        for row in rows:
            if not any(row):
                continue
            place = f"{name}:{rows.line_num}"
            if len(row) > len(names):
                if decoder.skip:
                    decoder.leave_out("more cells than columns")
                    continue
                raise BadInput(f"{place}: {len(row)} cells where there are {len(names)} columns")
            language = row[at_language] if at_language is not None and at_language < len(row) else None
            yield Document(row[at] if at < len(row) else "", place, language=language)
    except csv.Error as failure:
        raise BadInput(f"{name}:{rows.line_num}: cannot be read as CSV ({failure})") from None
    finally:
        csv.field_size_limit(before)


def _lines(path: Path, name: str, decoder: Decoder, block_bytes: int) -> Iterator[str]:
    rest = ""
    for text in decoder.stream(file_blocks(path, name, block_bytes), name):
        *whole, rest = (rest + text).split("\n")
        yield from (f"{line}\n" for line in whole)
    if rest:
        yield rest


def _root(field: str, names: list[str]) -> str | None:
    """The column in which `field` lies: of this very name, else the longest that begins its path."""
    if field in names:
        return field
    return max((name for name in names if field.startswith(f"{name}.")), key=len, default=None)


def _column(table: "pa.Table", field: str) -> "pa.ChunkedArray | None":
    import pyarrow as pa
    from pyarrow import compute

    if (root := _root(field, table.column_names)) is None:
        return None
    column, rest = table[root], field[len(root) + 1 :]
    while rest:
        if not pa.types.is_struct(column.type):
            return None
        inside = [column.type.field(i).name for i in range(column.type.num_fields)]
        if (part := _root(rest, inside)) is None:
            return None
        column = compute.struct_field(column, [part])  # pyright: ignore[reportAttributeAccessIssue]
        rest = rest[len(part) + 1 :]
    return column


def _require(schema: "pa.Schema", field: str, name: str) -> None:
    import pyarrow as pa

    column = _column(schema.empty_table(), field)
    hint = _of(list(_text_columns(schema)))
    if column is None:
        raise BadInput(f"{name}: column {field!r} is missing; set field to the column that holds the text{hint}")
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (_is_text(kind) or pa.types.is_null(kind)):
        raise BadInput(f"{name}: column {field!r} holds {kind} where text is needed; set field to another column{hint}")


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _text_columns(fields: Any, before: str = "") -> Iterator[str]:
    """The paths of the columns that hold text."""
    import pyarrow as pa

    for each in fields:
        if pa.types.is_struct(each.type):
            yield from _text_columns([each.type.field(i) for i in range(each.type.num_fields)], f"{before}{each.name}.")
        elif _is_text(each.type):
            yield before + each.name


def _of(names: list[str]) -> str:
    return f" (there are {', '.join(map(repr, names[:8]))})" if names else ""
