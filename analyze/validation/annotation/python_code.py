"""Features of Python code from the interpreter's own `ast` and `tokenize`: nodes, depth, arguments, names, tokens.

Another version of Python may read the same file in another way, so what was read is kept in python_labels.parquet, by
the sha256 of each document's text, with a hash in python_labels.toml. Documents that are not in the file are read by
the Python at hand.
"""

import ast
import builtins
import io
import keyword
import sys
import tokenize
import tomllib
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import polars as pl

from analyze.text.stream import Passage, Stream
from analyze.validation.annotation.base import Annotated
from train.errors import BadInput
from train.files import canonical_json
from train.parquet import read_parquet, write_parquet

STORED = Path(__file__).with_name("python_labels.parquet")
STORED_HASH = STORED.with_suffix(".toml")
DEEPEST = 14
_BUILTIN = frozenset(dir(builtins))


class Read(NamedTuple):
    """A stretch of a file that has a feature."""

    kind: str
    family: str
    name: str
    start: int
    stop: int


def python_annotations(stream: Stream) -> Iterator[Annotated]:
    """Every feature of the Python documents of a stream; none of those that do not parse.

    Raises:
        BadInput: python_labels.parquet is not the file that was published.
    """
    known = stored()
    for passage in stream.passages:
        if not passage.is_python:
            continue
        stretches = known[passage.sha256] if passage.sha256 in known else read_python(passage.text)
        for kind, family, name, start, stop in stretches:
            yield Annotated(kind, family, name, passage.index, start, stop)


def read_python(text: str) -> list[Read]:
    """The features of a file or of an indented piece of one; none where it does not parse.

    A piece that begins indented is read below as many `if 1:` as make its first line fit.
    """
    first = next((line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")), "")
    indent = len(first) - len(first.lstrip(" "))
    above = "".join(" " * width + "if 1:\n" for width in range(0, indent, 4))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in the file
            tree = ast.parse(above + text)
        tokens = list(tokenize.generate_tokens(io.StringIO(above + text).readline))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
        return []
    places = _Places(above + text)
    stretches = {*_tokens(tokens, places), *_nodes(tree, places)}
    moved = (read._replace(start=read.start - len(above), stop=read.stop - len(above)) for read in stretches)
    return sorted((read for read in moved if read.start >= 0), key=lambda read: (read.start, read.stop, read.name))


class _Places:
    """(line, column) as characters of the text; `ast` counts columns in bytes, `tokenize` in characters."""

    def __init__(self, text: str) -> None:
        self.lines = [line if line.endswith("\n") else line + "\n" for line in text.split("\n")]
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def of_token(self, place: tuple[int, int]) -> int:
        return self.starts[min(place[0] - 1, len(self.starts) - 1)] + place[1]

    def of_node(self, line: int, column: int) -> int:
        before = self.lines[line - 1].encode()[:column]
        return self.starts[line - 1] + len(before.decode(errors="ignore"))

    def node(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.excepthandler) -> tuple[int, int]:
        start = self.of_node(node.lineno, node.col_offset)
        return start, self.of_node(node.end_lineno or node.lineno, node.end_col_offset or 0)


def _tokens(tokens: list[tokenize.TokenInfo], places: _Places) -> Iterator[Read]:
    """By the type of a token, and by its type and that of the token before it."""
    before = ""
    for token in tokens:
        if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        name = tokenize.tok_name[token.exact_type]
        if token.type == tokenize.NAME and keyword.iskeyword(token.string):
            name = "KEYWORD"
        elif token.type == tokenize.STRING:
            name = "LONG STRING" if token.string.lstrip("rbufRBUF").startswith(('"""', "'''")) else "STRING"
        start, stop = places.of_token(token.start), places.of_token(token.end)
        yield Read("token type", f"token {name}", f"a token of type {name}", start, stop)
        if before:
            yield Read("token after a type", f"{before} {name}", f"{name} right after {before}", start, stop)
        before = name


def _nodes(tree: ast.Module, places: _Places) -> Iterator[Read]:
    """By walking the tree: what node a name or constant stands in, how deep, as which argument, and defined where."""
    scopes: list[set[str]] = [set()]
    parameters: list[set[str]] = [set()]
    imported: set[str] = set()
    defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}

    def leaf(node: ast.expr, parents: list[ast.AST]) -> Iterator[Read]:
        start, stop = places.node(node)
        parent = parents[-1] if parents else tree
        role = type(parent).__name__
        yield Read("node of the syntax tree", f"in {role}", f"a leaf of {role}", start, stop)
        if len(parents) > 1:
            above = type(parents[-2]).__name__
            yield Read("node of the syntax tree", f"{role} in {above}", f"a leaf of {role} in {above}", start, stop)
        depth = sum(isinstance(one, (ast.expr, ast.stmt)) for one in parents)
        if depth <= DEEPEST:
            yield Read("depth", f"depth {depth}", f"at depth {depth} of the tree", start, stop)
        blocks = sum(isinstance(one, (ast.For, ast.While, ast.If, ast.With, ast.Try)) for one in parents)
        kind = "Name" if isinstance(node, ast.Name) else "Constant"
        yield Read("depth", f"{kind} in {blocks} blocks", f"a {kind} inside {blocks} blocks", start, stop)

    def name(node: ast.Name) -> Iterator[Read]:
        start, stop = places.node(node)
        if isinstance(node.ctx, ast.Store):
            again = node.id in scopes[-1]
            what = "set again" if again else "set for the first time"
            scopes[-1].add(node.id)
        elif node.id in parameters[-1]:
            what = "of a parameter"
        elif node.id in scopes[-1]:
            what = "set before in this function"
        elif node.id in imported:
            what = "imported in this file"
        elif node.id in defined:
            what = "defined by this file"
        elif any(node.id in scope for scope in scopes[:-1]):
            what = "set in an outer scope"
        elif node.id in _BUILTIN:
            what = "built in"
        else:
            what = "of unknown origin"
        yield Read("origin of a name", f"name {what}", f"a name {what}", start, stop)

    def walk(node: ast.AST, parents: list[ast.AST]) -> Iterator[Read]:
        if isinstance(node, (ast.Name, ast.Constant)):
            yield from leaf(node, parents)
        if isinstance(node, ast.Name):
            yield from name(node)
        if isinstance(node, ast.Call):
            for index, argument in enumerate(node.args):
                start, stop = places.node(argument)
                place = str(index + 1) if index < 3 else "4 or later"
                yield Read("argument", f"argument {place}", f"the end of argument {place}", start, stop)
                if index + 1 == len(node.args) and index:
                    yield Read("argument", "last argument", "the end of the last of several arguments", start, stop)
            for given in node.keywords:
                start, stop = places.node(given)
                yield Read("argument", "keyword argument", "the end of a keyword argument", start, stop)
                if given.arg:
                    yield Read("argument", "keyword", "the keyword of an argument", start, start + len(given.arg))
        if isinstance(node, ast.arg):
            start, _ = places.node(node)
            yield Read("argument", "parameter", "a parameter's name", start, start + len(node.arg))
        if isinstance(node, ast.Attribute):
            _, stop = places.node(node)
            where = "called" if parents and isinstance(parents[-1], ast.Call) and parents[-1].func is node else "read"
            of = "self" if isinstance(node.value, ast.Name) and node.value.id == "self" else "an object"
            what = f"attribute of {of}, {where}"
            yield Read("origin of a name", what, f"an {what}", stop - len(node.attr), stop)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imported.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            own = node.args
            every = [*own.posonlyargs, *own.args, *own.kwonlyargs, *filter(None, (own.vararg, own.kwarg))]
            for default in [*own.defaults, *filter(None, own.kw_defaults)]:
                yield Read("argument", "default", "the end of a parameter's default", *places.node(default))
            scopes.append(set())
            parameters.append({argument.arg for argument in every})
            yield from children(node, parents)
            scopes.pop()
            parameters.pop()
        else:
            yield from children(node, parents)

    def children(node: ast.AST, parents: list[ast.AST]) -> Iterator[Read]:
        ordered: Iterable[ast.AST] = ast.iter_child_nodes(node)
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            ordered = sorted(ordered, key=lambda child: child is not node.value)  # the value is read before it is set
        for child in ordered:
            yield from walk(child, [*parents, node])

    yield from children(tree, [])


@lru_cache(maxsize=1)
def stored() -> dict[str, list[Read]]:
    """What was read and kept: sha256 of a document -> its features; nothing where there is no file.

    Raises:
        BadInput: the file is not the one whose hash stands beside it.
    """
    if not STORED.is_file():
        return {}
    published = tomllib.loads(STORED_HASH.read_text(encoding="utf-8"))
    table = read_parquet(STORED)
    if labels_hash(table) != published["hash"]:
        raise BadInput(f"{STORED}: not the labels whose hash {STORED_HASH.name} has; take both files from the release")
    known: dict[str, list[Read]] = {}
    for document, *read in table.iter_rows():
        known.setdefault(document, []).append(Read(*read))
    return known


def labels_hash(table: pl.DataFrame) -> str:
    """sha256 of the rows of labels."""
    return sha256(canonical_json([list(row) for row in table.iter_rows()])).hexdigest()


def read_all(passages: Iterable[Passage]) -> pl.DataFrame:
    """The features of Python documents as a table: document (sha256), kind, family, name, start, stop."""
    rows = [(passage.sha256, *read) for passage in passages if passage.is_python for read in read_python(passage.text)]
    text = dict.fromkeys(("document", "kind", "family", "name"), pl.String)
    return pl.DataFrame(sorted(rows), schema=text | {"start": pl.Int32, "stop": pl.Int32}, orient="row")


def store(passages: Iterable[Passage]) -> str:
    """Read documents with the Python at hand, keep the labels, and return their hash."""
    table = read_all(passages)
    write_parquet(table, STORED)
    version = ".".join(map(str, sys.version_info[:3]))
    STORED_HASH.write_text(
        f"# Labels of python_labels.parquet, read by `ast` and `tokenize`; `annotation.python_code.store` wrote both.\n"
        f'hash = "{labels_hash(table)}"\npython = "{version}"\ndocuments = {table["document"].n_unique()}\n',
        encoding="utf-8",
    )
    stored.cache_clear()
    return labels_hash(table)
