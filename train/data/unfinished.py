"""A preparation on its way: what was read, the tokenizer and the shards of tokens, each found again after a kill.

All of it lies in `.preparing-NAME` beside the directory that is made, and goes with it into place or is removed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from train.data.encode import Encoded
from train.data.shards import SPLITS, token_dtype
from train.data.spool import Spool
from train.errors import BadInput, Damaged
from train.files import (
    LOCK,
    MAX_MANIFEST_BYTES,
    canonical_json,
    clear_leftovers,
    discard,
    locked,
    read_json,
    write_atomic,
)
from train.filesystem import fsync_path
from train.hashes import Hashed, hashed, sha256_file

_INPUTS, _TEXTS, _TABLE, _READ, _TOKENIZER = "inputs.json", "texts", "documents.parquet", "read.json", "tokenizer.json"
_LENGTHS = "lengths"
_BLOCK = 2**22


@dataclass(frozen=True)
class Shard:
    """A finished shard: the tokens of its documents, and the file of each split."""

    lengths: Int[np.ndarray, " documents"]
    """Tokens of each document, without its separator."""
    n_tokens: dict[str, int]
    """Of each split, separators included."""
    files: dict[str, Path]
    hashes: dict[str, Hashed]


@dataclass
class Unfinished:
    """The directory, and what of it an earlier start had finished."""

    directory: Path
    n_found: int = 0
    """Shards that an earlier start had finished."""

    def read(self, spool: Callable[[Path, Any], Spool], fill: Callable[[Spool], dict[str, Any]]) -> tuple[Spool, Any]:
        """What the sources hold; read by `fill` unless an earlier start came to their end.

        Args:
            spool: makes one of the path and the open file of its texts.
            fill: reads the sources into it; returns what it counted, JSON.

        Raises:
            Damaged: what the earlier start wrote was changed since.
        """
        texts, table, record = (self.directory / name for name in (_TEXTS, _TABLE, _READ))
        if not record.is_file():
            self.clear()
            made = spool(texts, texts.open("w+b"))
            facts = {"counts": fill(made), "n_duplicates": made.n_duplicates, "n_empty": made.n_empty}
            made.flush()
            made.seen.clear()
            made.save(table)
            for path in (texts, table):
                fsync_path(path)
            write_atomic(record, canonical_json({**facts, "table": sha256_file(table), "bytes": made.end}))
            return made, facts["counts"]
        facts = read_json(record, MAX_MANIFEST_BYTES)
        if not table.is_file() or sha256_file(table) != facts["table"]:
            raise Damaged(f"{table}: does not match its hash; remove {self.directory} and prepare again")
        if not texts.is_file() or texts.stat().st_size != facts["bytes"]:
            raise Damaged(f"{texts}: not what was read from the sources; remove {self.directory} and prepare again")
        made = spool(texts, texts.open("rb"))
        made.restore(table)
        made.n_duplicates, made.n_empty = facts["n_duplicates"], facts["n_empty"]
        return made, facts["counts"]

    def tokenizer(self, fit: Callable[[Path], None]) -> tuple[Path, str]:
        """The tokenizer.json and its hash; written by `fit` unless an earlier start did.

        Raises:
            Damaged: it was changed since.
        """
        path, record = self.directory / _TOKENIZER, self.directory / f"{_TOKENIZER}.sha256"
        if not record.is_file():
            fit(path)
            fsync_path(path)
            write_atomic(record, sha256_file(path).encode())
        digest = record.read_text()
        if not path.is_file() or sha256_file(path) != digest:
            raise Damaged(f"{path}: does not match its hash; remove {self.directory} and prepare again")
        return path, digest

    def has(self, number: int) -> bool:
        """Whether an earlier start finished shard `number`."""
        return self._file(number, "json").is_file()

    def shard(self, number: int) -> Shard | None:
        """Shard `number`, if an earlier start finished it.

        Raises:
            Damaged: it does not match its hash.
        """
        record = self._file(number, "json")
        if not self.has(number):
            return None
        facts, hashes = read_json(record, MAX_MANIFEST_BYTES), {}
        for what in (*SPLITS, _LENGTHS):
            path = self._file(number, what)
            hashes[what] = hashed(path) if path.is_file() else None
            if hashes[what] is None or hashes[what].sha256 != facts["sha256"][what]:
                raise Damaged(f"{path}: this shard does not match its hash; remove {record} and prepare it again")
        self.n_found += 1
        lengths = np.fromfile(self._file(number, _LENGTHS), "<i8")
        return Shard(lengths, facts["n_tokens"], self._files(number), {split: hashes[split] for split in SPLITS})

    def aside(self, number: int) -> dict[str, Path]:
        """Where a shard is written before it is finished, a file a split."""
        return {split: self.directory / f".{number:06d}-{split}-{os.getpid()}" for split in SPLITS}

    def finish(self, number: int, encoded: Encoded, aside: dict[str, Path]) -> Shard:
        """Put a shard that was written aside into place; its record comes last."""
        files, hashes = self._files(number), {}
        for split in SPLITS:
            fsync_path(aside[split])
            hashes[split] = Hashed.of(aside[split], encoded.sha256[split])
            aside[split].rename(files[split])
        lengths = encoded.lengths.astype("<i8")
        write_atomic(self._file(number, _LENGTHS), lengths.tobytes())
        digests = {**encoded.sha256, _LENGTHS: sha256_file(self._file(number, _LENGTHS))}
        write_atomic(self._file(number, "json"), canonical_json({"n_tokens": encoded.n_tokens, "sha256": digests}))
        return Shard(lengths, encoded.n_tokens, files, hashes)

    def cut(self, shard: Shard, n_documents: int, is_eval: np.ndarray, d_vocab: int) -> Shard:
        """The first documents of a shard, in files of their own."""
        lengths, files, hashes, n_tokens = shard.lengths[:n_documents], {}, {}, {}
        for number, split in enumerate(SPLITS):
            n_tokens[split] = int((lengths[is_eval[:n_documents] == number] + 1).sum())
            files[split] = self.directory / f"cut-{split}"
            left = n_tokens[split] * token_dtype(d_vocab).itemsize
            with shard.files[split].open("rb") as whole, files[split].open("wb") as part:
                while left:
                    left -= part.write(whole.read(min(left, _BLOCK)))
            hashes[split] = hashed(files[split])
        return Shard(lengths, n_tokens, files, hashes)

    def clear(self) -> None:
        """Remove everything but the inputs."""
        for path in self.directory.iterdir():
            if path.name not in (_INPUTS, LOCK):
                discard(path)

    def _file(self, number: int, what: str) -> Path:
        return self.directory / f"{number:06d}{'.' if what == 'json' else '-'}{what}"

    def _files(self, number: int) -> dict[str, Path]:
        return {split: self._file(number, split) for split in SPLITS}


@contextmanager
def unfinished(out: Path, inputs: dict[str, Any]) -> Iterator[Unfinished]:
    """The directory of a preparation of `out`, for one process at a time.

    What an earlier start with the same inputs left is kept; of other inputs, removed. When the block ends well, or with
    text that cannot be used, nothing is left; after a stop, a full disk or a kill the same command goes on.

    Args:
        inputs: JSON; all that what is prepared depends on.

    Raises:
        BadInput: another process prepares `out`.
    """
    directory = out.parent / f".preparing-{out.name}"
    with locked(directory):
        clear_leftovers(out)
        work, record, text = Unfinished(directory), directory / _INPUTS, canonical_json(inputs)
        if not record.is_file() or record.read_bytes() != text:
            record.unlink(missing_ok=True)
            work.clear()
            write_atomic(record, text)
        try:
            yield work
        except BadInput as failure:
            if not isinstance(failure, Damaged):
                discard(directory)
            raise
        discard(directory)
