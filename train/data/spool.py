"""The documents of all sources on their way into prepared data: which are kept, their order, and their side."""

import hashlib
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from train.data.content import CONTENTS, Content
from train.data.corpora import Document
from train.data.encode import Documents, checked_text
from train.parquet import read_parquet, write_parquet

_ARRAYS = {"offset": "Q", "n_bytes": "Q", "n_chars": "Q", "source": "H", "order": "Q", "is_eval": "B", "content": "B"}
_DIGEST = [f"digest{part}" for part in range(4)]
"""The columns of a sha256: four numbers of 64 bits."""


@dataclass
class Spool:
    """The documents of all sources: texts in a file on disk, all that chooses among them in memory."""

    path: Path
    """Of the texts."""
    handle: BinaryIO
    eval_share: float
    drop_duplicates: bool
    n_duplicates: int = 0
    n_empty: int = 0
    offset: array = field(default_factory=lambda: array("Q"))
    n_bytes: array = field(default_factory=lambda: array("Q"))
    n_chars: array = field(default_factory=lambda: array("Q"))
    source: array = field(default_factory=lambda: array("H"))
    order: array = field(default_factory=lambda: array("Q"))
    is_eval: array = field(default_factory=lambda: array("B"))
    digests: bytearray = field(default_factory=bytearray)
    content: array = field(default_factory=lambda: array("B"))
    titles: list[str] = field(default_factory=list)
    topics: list[str | None] = field(default_factory=list)
    seen: dict[bytes, bool] = field(default_factory=dict)
    end: int = 0
    unflushed: bool = False

    def add(self, source: int, document: Document, content: Content) -> None:
        """Add a document, unless it is blank or (where the config drops duplicates) a copy."""
        stripped = document.text.strip()
        if not stripped:
            self.n_empty += 1
            return
        data = document.text.encode()
        digest = hashlib.sha256(data).digest()
        whole = len(stripped) == len(document.text)
        key = digest if whole else hashlib.sha256(stripped.encode()).digest()
        is_eval = self.seen.get(key)
        if is_eval is not None:
            self.n_duplicates += 1
            if self.drop_duplicates:
                return
        else:
            group = key if document.group is None else document.group.encode()
            is_eval = _hash64(b"split", group) / 2**64 < self.eval_share
            # A copy falls on the side of the first, whatever file it comes from.
            self.seen[key] = is_eval
        self.handle.write(data)
        self.unflushed = True
        self.offset.append(self.end)
        self.end += len(data)
        self.n_bytes.append(len(data))
        self.n_chars.append(len(document.text))
        self.source.append(source)
        self.order.append(_hash64(b"order", key))
        self.is_eval.append(is_eval)
        self.digests += digest
        self.content.append(CONTENTS.index(content))
        self.titles.append(document.title)
        self.topics.append(document.topic)

    def text(self, index: int) -> str:
        """The text of a document.

        Raises:
            Damaged: the file was changed since.
        """
        self.flush()
        digest = bytes(self.digests[32 * index : 32 * index + 32])
        return checked_text(self.path, self.handle.fileno(), self.offset[index], self.n_bytes[index], digest)

    def flush(self) -> None:
        """Let other readers of the file see every text."""
        if self.unflushed:
            self.handle.flush()
            self.unflushed = False

    def documents(self, chosen: np.ndarray) -> Documents:
        """Where these documents lie, for whoever encodes them."""
        self.flush()
        columns = {name: np.array(getattr(self, name))[chosen] for name in ("offset", "n_bytes", "n_chars", "is_eval")}
        digests = np.frombuffer(self.digests, np.uint8).reshape(-1, 32)[chosen].tobytes()
        return Documents(self.path, **columns, digests=digests)

    def save(self, path: Path) -> None:
        """Write down all but the texts, for a later start."""
        columns = {name: np.array(getattr(self, name)) for name in _ARRAYS}
        digests = np.frombuffer(self.digests, "<u8").reshape(-1, 4)
        columns |= {name: digests[:, part] for part, name in enumerate(_DIGEST)}
        texts = {"title": pl.Series(self.titles, dtype=pl.String), "topic": pl.Series(self.topics, dtype=pl.String)}
        write_parquet(pl.DataFrame({**columns, **texts}), path)

    def restore(self, path: Path) -> None:
        """Take what an earlier start wrote with `save`; the texts lie in the file already."""
        table = read_parquet(path)
        for name, kind in _ARRAYS.items():
            setattr(self, name, array(kind, table[name].to_numpy().tobytes()))
        self.digests = bytearray(np.ascontiguousarray(table.select(_DIGEST).to_numpy(), "<u8").tobytes())
        self.titles, self.topics = table["title"].to_list(), table["topic"].to_list()
        self.end = int(table["n_bytes"].sum())

    def sha256(self, index: int) -> str:
        """Hex digest of a document's text."""
        return self.digests[32 * index : 32 * index + 32].hex()


def _hash64(purpose: bytes, key: bytes) -> int:
    """64 bits of a hash: choices made with different purposes are independent."""
    return int.from_bytes(hashlib.sha256(b"polysem " + purpose + b"\0" + key).digest()[:8], "big")
