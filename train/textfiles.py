"""The one reader of the user's text files: plain text, JSON lines, CSV and TOML, in whatever Unicode they are."""

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from shlex import quote
from typing import Any

from train.compressed import file_blocks
from train.errors import BadInput, is_text

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_HEAD_BYTES = 1024
"""Of a file's beginning, by which its encoding is told."""
_UNMARKED = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}
"""Encodings that need a mark -> one that does not."""
_NO_ENCODINGS = ("idna", "punycode", "undefined", "raw-unicode-escape", "unicode-escape", "mbcs", "oem")
MOST_REPLACED = 0.1
"""Share of a file's characters: where more are no text, the file is in another encoding."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_MARK = "polysem.mark"
codecs.register_error(_MARK, lambda error: ("\udfff", error.end) if isinstance(error, UnicodeDecodeError) else ("?", 0))


def with_home(path: str) -> str:
    """`~/x` of a TOML file, where no shell puts the home directory in, as a path; a folder `~` that is there wins."""
    first = path.split("/", 1)[0]
    return os.path.expanduser(path) if first.startswith("~") and not os.path.lexists(first) else path


def check_encoding(name: str) -> str:
    """`name`, if Python reads text in this encoding.

    Raises:
        ValueError: it does not.
    """
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        raise ValueError("no encoding of this name; such are utf-8, utf-16-le, cp1252 and gb18030") from None
    is_text = getattr(found, "_is_text_encoding", True) and found.name.replace("_", "-") not in _NO_ENCODINGS
    if not is_text or found.incrementaldecoder is None:
        raise ValueError("not an encoding of text; such are utf-8, utf-16-le, cp1252 and gb18030")
    return name


class Decoder:
    """Bytes to text, always in the same way: a byte order mark decides and goes, CR LF as LF, everything else kept.

    Args:
        replace: write U+FFFD for invalid bytes and lone surrogates, and count them in `n_replaced`; otherwise raise
            BadInput with the place.
        encoding: of bytes that begin with no mark.
        skip: have readers leave out documents that cannot be used, and count them in `left_out`, instead of raising.
    """

    def __init__(self, replace: bool = False, encoding: str = "utf-8", skip: bool = False) -> None:
        self.replace, self.encoding, self.skip = replace, encoding, skip
        self.n_replaced = self.n_nul = self.n_null = 0
        self.first_nul = ""
        """The first file with a NUL in it."""
        self.left_out: dict[str, int] = {}
        """Reason -> how many documents could not be used."""

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Count documents that cannot be used."""
        self.left_out[reason] = self.left_out.get(reason, 0) + count

    def decode(self, data: bytes, path: str, offset: int = 0) -> str:
        """Text of the bytes at `offset` of the file `path`."""
        return "".join(self.stream(iter([data]), path, offset))

    def stream(self, blocks: Iterator[bytes], path: str, offset: int = 0) -> Iterator[str]:
        """Text of a file's consecutive blocks; characters and line ends may straddle them."""
        encoding = self.encoding
        if offset == 0:
            head = b""
            while len(head) < _HEAD_BYTES and (block := next(blocks, b"")):
                head += block
            # An empty file is in any encoding, and says so by no mark.
            encoding, skip = self._encoding_of(head, path) if head else ("utf-8", 0)
            offset, blocks = skip, chain([head[skip:]] if head[skip:] else [], blocks)
        name = codecs.lookup(encoding).name
        decoder = codecs.getincrementaldecoder(encoding)(_MARK if self.replace else "strict")
        carry, n_chars, n_bad = "", 0, 0
        while True:
            block = next(blocks, b"")
            final, pending = not block, len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final)
                if not self.replace and name != "utf-8" and (found := _SURROGATES.search(text)):
                    raise BadInput(f"{path}: a lone surrogate {found.group()!r}, which is no text; mend the file")
            except UnicodeDecodeError as failure:
                place = offset - pending + failure.start
                raise BadInput(
                    f"{path}: not {name.upper()} at byte {place} ({failure.reason}); mend the file or name what it is "
                    f'in on its source, such as encoding = "{"utf-8" if name != "utf-8" else "cp1252"}"; where only '
                    'a few bytes are wrong, invalid_utf8 = "replace" writes U+FFFD for them'
                ) from None
            offset += len(block)
            if self.replace:
                text, n_here = _SURROGATES.subn("\ufffd", text)
                self.n_replaced, n_bad = self.n_replaced + n_here, n_bad + n_here
            if n_nul := text.count("\0"):
                self.n_nul, self.first_nul = self.n_nul + n_nul, self.first_nul or path
            n_chars += len(text)
            text = carry + text
            carry = "\r" if text.endswith("\r") and not final else ""
            yield text[: len(text) - len(carry)].replace("\r\n", "\n")
            if final:
                break
        if n_bad > max(MOST_REPLACED * n_chars, 60):
            raise BadInput(
                f"{path}: {n_bad} of {n_chars} characters are not {name.upper()}: it is in another encoding; name it "
                'on its source, such as encoding = "cp1252"'
            )

    def _encoding_of(self, head: bytes, path: str) -> tuple[str, int]:
        """What a file that begins with `head` is in, and how many bytes its mark takes."""
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                return encoding, len(mark)
        name, likely = codecs.lookup(self.encoding).name, _looks_like(head)
        if not name.startswith(("utf-16", "utf-32")):
            if likely:
                raise BadInput(f'{path}: looks like {likely.upper()}; set encoding = "{likely}" on its source')
        elif name in _UNMARKED:
            how = likely or _UNMARKED[name]
            raise BadInput(f'{path}: {name.upper()} without a byte order mark; set encoding = "{how}" on its source')
        elif likely and likely != name:
            raise BadInput(f'{path}: looks like {likely.upper()}, not {name.upper()}; set encoding = "{likely}"')
        return self.encoding, 0

    def clean(self, text: str, place: str) -> str:
        """A string from JSON, whose escapes can spell lone surrogates."""
        # The encoder is many times quicker than a search for what it refuses.
        text, n_surrogates = (text, 0) if is_text(text) else _SURROGATES.subn("\ufffd", text)
        if n_surrogates and not self.replace:
            raise BadInput(f'{place}: a lone surrogate, which is no text; set invalid_utf8 = "replace"')
        self.n_replaced += n_surrogates
        if n_nul := text.count("\0"):
            self.n_nul, self.first_nul = self.n_nul + n_nul, self.first_nul or place
        return text.replace("\r\n", "\n")


def _looks_like(head: bytes) -> str | None:
    """The wide encoding in which most of what these bytes spell is Latin, if there is one."""
    n_units = len(head) // 4
    if n_units < 2:
        return None
    is_nul = [head[at : 4 * n_units : 4].count(0) / n_units for at in range(4)]
    if min(is_nul[1:]) > 0.9 and is_nul[0] < 0.1:
        return "utf-32-le"
    if min(is_nul[:3]) > 0.9 and is_nul[3] < 0.1:
        return "utf-32-be"
    even, odd = (is_nul[0] + is_nul[2]) / 2, (is_nul[1] + is_nul[3]) / 2
    if odd > 0.3 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.3 and odd < 0.1 else None


def read_text(path: Path) -> str:
    """A whole file as text.

    Raises:
        BadInput: not there, not readable, not text in UTF-8, nor in another Unicode encoding that its mark names.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except OSError as failure:
        raise BadInput(f"{path}: cannot be read ({failure.strerror})") from None
    try:
        return Decoder().decode(data, str(path))
    except BadInput:
        raise BadInput(f"{path}: not UTF-8 text; save it as UTF-8") from None


def csv_table(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """The columns of a CSV and its rows; an empty cell is None. Blank lines and commas at the ends of lines do no harm;
    form feeds are dropped.

    Raises:
        BadInput: see `read_text`; no first line of names, a name twice, a row with more cells, a quote that never ends.
    """
    text = read_text(path).replace("\f", "")
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as failure:
        raise BadInput(f"{path}: cannot be read ({failure})") from None
    head, *rows = [cells for cells in lines if any(map(str.strip, cells))] or [[]]
    names = _without_empty_end([name.strip() for name in head])
    if not names:
        raise BadInput(f"{path}: cannot be read (there is no line with the names of columns)")
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{path}: column {name!r} stands twice")
    table = []
    for number, row in enumerate(rows, start=1):
        cells = _without_empty_end(row)
        if len(cells) > len(names):
            raise BadInput(f"{path}: row {number}: {len(cells)} cells where there are {len(names)} columns")
        table.append(dict(zip_longest(names, (cell or None for cell in cells))))
    return names, table


def _without_empty_end(cells: list[str]) -> list[str]:
    return cells[: max((at for at, cell in enumerate(cells, start=1) if cell), default=0)]


def json_lines(
    path: Path, name: str, decoder: Decoder, most_bytes: int = 2**24, block_bytes: int = 2**20
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines with their line numbers, one line in memory at a time; blank lines go.

    Args:
        name: what messages call the file.
        most_bytes: of the longest line.

    Raises:
        BadInput: a line that is no JSON object or names a key twice, or a file that is one JSON array.
        OSError: it cannot be read.
    """
    texts = decoder.stream(file_blocks(path, name, block_bytes), name)
    for number, line in enumerate(_lines(texts, name, most_bytes), start=1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            value = json.loads(line, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as failure:
            if number == 1 and line.lstrip().startswith("["):
                raise BadInput(f"{place}: {_array(name)}") from None
            raise BadInput(f"{place}: not valid JSON ({failure})") from None
        if isinstance(value, list):
            raise BadInput(f"{place}: {_array(name)}")
        if not isinstance(value, dict):
            raise BadInput(f"{place}: {type(value).__name__} where an object is needed, such as {{...}}")
        yield number, value


def _array(name: str) -> str:
    how = f"jq -c '.[]' {quote(name)} > new.jsonl"
    return f"a JSON array where every line must be an object; write an item a line: {how}"


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its pairs, for `json.loads`.

    Raises:
        ValueError: a key stands twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValueError(f"key {twice!r} stands twice in one object")
    return values


def _lines(texts: Iterator[str], name: str, most_bytes: int) -> Iterator[str]:
    """Text cut at line feeds alone: JSON strings may hold every other line end."""
    parts: list[str] = []
    n_chars, number = 0, 1
    for text in texts:
        *whole, rest = text.split("\n")
        for line in whole:
            line, parts, n_chars = "".join([*parts, line]), [], 0
            _require_short(line, name, number, most_bytes)
            yield line
            number += 1
        parts.append(rest)
        n_chars += len(rest)
        if n_chars > most_bytes:
            _require_short("".join(parts), name, number, most_bytes)
    if n_chars:
        line = "".join(parts)
        _require_short(line, name, number, most_bytes)
        yield line


def _require_short(line: str, name: str, number: int, most_bytes: int) -> None:
    if len(line) > most_bytes or (4 * len(line) > most_bytes and len(line.encode("utf-8", "replace")) > most_bytes):
        raise BadInput(f"{name}:{number}: longer than {most_bytes} bytes, which no document may be")
