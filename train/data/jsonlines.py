"""Documents of JSON lines: the text at a key or a path of keys, one line in memory at a time."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from train.compressed import file_blocks
from train.data.document import Document, Limits
from train.data.tables import at_path
from train.errors import BadInput
from train.textfiles import Decoder, json_lines, unique_keys


def json_documents(
    path: Path, name: str, field: str, language_field: str | None, decoder: Decoder, limits: Limits
) -> Iterator[Document]:
    """The documents of a file, one a line, called `name:line`; a line whose text is null is counted.

    With the decoder's `skip`, lines that cannot be used are counted by reason: over length, invalid UTF-8, no JSON
    object, no such key, not a string, a lone surrogate.

    Raises:
        BadInput: a line that cannot be used (with its place), unless they are skipped.
        OSError: it cannot be read.
    """
    if decoder.skip and _is_utf8(path, name, decoder):
        lines = _usable_objects(path, name, decoder, limits)
    else:
        lines = json_lines(path, name, decoder, limits.json_line_bytes, limits.block_bytes)
    for number, value in lines:
        place = f"{name}:{number}"
        there, text = at_path(value, field)
        if there and text is None:
            decoder.n_null += 1
        elif isinstance(text, str):
            language = at_path(value, language_field)[1] if language_field else None
            try:
                text = decoder.clean(text, place)
            except BadInput:
                if not decoder.skip:
                    raise
                decoder.leave_out("a lone surrogate")
                continue
            yield Document(text, place, language=language)
        elif decoder.skip:
            decoder.leave_out("not a string" if there else f"no key {field!r}")
        elif not there:
            raise BadInput(f"{place}: key {field!r} is missing; set field to the key that holds the text{_keys(value)}")
        else:
            what = "an array of objects" if isinstance(text, list) and text and isinstance(text[0], dict) else None
            raise BadInput(
                f"{place}: key {field!r} holds {what or type(text).__name__} where text is needed; set field to the "
                f'key that holds the text{_keys(value)}, or write the text into one key a line; or unusable = "skip"'
            )


def _is_utf8(path: Path, name: str, decoder: Decoder) -> bool:
    """Whether a file is in UTF-8, whose lines can be told apart before they are decoded."""
    head = next(file_blocks(path, name, 4), b"")
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
    return not wide and codecs.lookup(decoder.encoding).name == "utf-8"


def _keys(value: dict[str, Any]) -> str:
    """The keys of an object that hold text, as a hint."""
    held = [key for key, each in value.items() if isinstance(each, str)]
    return f" (text is in {', '.join(map(repr, held[:5]))})" if held else ""


def _usable_objects(path: Path, name: str, decoder: Decoder, limits: Limits) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file in UTF-8 with their line numbers; other lines are counted by reason."""
    for number, line in enumerate(_byte_lines(path, name, limits), start=1):
        if line is None:
            decoder.leave_out("over length")
            continue
        try:
            text = decoder.decode(line, f"{name}:{number}", offset=1 if number > 1 else 0)
        except BadInput:
            decoder.leave_out("invalid UTF-8")
            continue
        if not text.strip():
            continue
        try:
            value = json.loads(text, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            yield number, value
        else:
            decoder.leave_out("no JSON object")


def _byte_lines(path: Path, name: str, limits: Limits) -> Iterator[bytes | None]:
    """The lines of a file; None for one that is longer than a document may be, which is never held whole."""
    parts: list[bytes] = []
    size = 0
    for block in file_blocks(path, name, limits.block_bytes):
        *whole, rest = block.split(b"\n")
        for end in whole:
            size += len(end)
            yield None if size > limits.json_line_bytes else b"".join([*parts, end])
            parts, size = [], 0
        size += len(rest)
        parts = [*parts, rest] if size <= limits.json_line_bytes else []
    if size:
        yield None if size > limits.json_line_bytes else b"".join(parts)
