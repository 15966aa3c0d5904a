"""A document, and what bounds the memory that reading takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What bounds the memory of preparing; of two that suffice, the ids are equal."""

    block_bytes: int = 2**20
    """Of a file that is read at a time."""
    json_line_bytes: int = 2**24
    """Of the longest .jsonl line, CSV cell or table value: an endless line must not fill the memory."""
    batch_chars: int = 2**20
    """Of documents that are tokenized at a time."""
    shard_chars: int = 2**26
    """A shard of tokens ends with the document with which it has so many characters. Other shards hold the same ids in
    other files."""


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    text: str
    title: str
    """Title of an article, or path (and line) of a file."""
    topic: str | None = None
    group: str | None = None
    """Documents of one group fall on the same side of the fit / eval split; None: the text decides alone."""
    language: object = None
    """What the config's `language_field` holds; not always text."""
