"""Packed token files: rows are a pure function of integers, and a damaged file is an error."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Int, UInt64
from torch import Tensor

from train.data.shards import SPLITS, TokenShards, token_dtype
from train.data.tokenizer import BOS_ID
from train.errors import BadInput, Damaged
from train.files import MANIFEST, manifest_hash, read_manifest, verify
from train.hashes import sha256_file
from train.parquet import read_parquet

FORMAT_VERSION = 1
SHARDED_VERSION = 2
"""Of data with several shards a split, which older versions of this program do not read."""

_U = np.uint64
_GOLDEN = _U(0x9E3779B97F4A7C15)
_N_ROUNDS = 8


def read_data_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a directory that `train prepare` wrote.

    Raises:
        BadInput: no data directory, or one of another format version.
    """
    manifest = read_manifest(directory)
    if manifest.get("kind") != "data":
        raise BadInput(f"{directory}: holds {manifest.get('kind')!r} where prepared data is needed")
    version = manifest.get("format_version")
    if version not in (FORMAT_VERSION, SHARDED_VERSION):
        raise BadInput(
            f"{directory}: format version {version} where this program reads {FORMAT_VERSION} and {SHARDED_VERSION}; "
            "prepare it again"
        )
    return manifest


@dataclass(frozen=True, eq=False)
class TokenFile:
    """One split of a data directory.

    Row i is BOS and then stream[i * n_ctx : (i + 1) * n_ctx]; an incomplete last row is left out. A model reads
    row[:-1] and predicts row[1:]. There is no state, so rows depend on the arguments alone.
    """

    directory: Path
    split: str
    n_ctx: int
    d_vocab: int
    n_tokens: int
    tokenizer_sha256: str
    data_hash: str
    shards: TokenShards
    """The files that hold the stream."""
    _verified: list[int] = field(default_factory=list, init=False, repr=False)
    """When each file had last been written (ns) as it was hashed; none: hashes do not matter."""

    @classmethod
    def open(
        cls, directory: str | Path, split: str = "fit", n_ctx: int | None = None, check_hashes: bool = True
    ) -> "TokenFile":
        """Open a split; sizes, counts and the tokenizer must be those of the manifest.

        Args:
            n_ctx: tokens in a row; default: as prepared.
            check_hashes: hash every file of the directory, once a process; ids that were changed to others that are
                as good show in nothing else.

        Raises:
            BadInput: anything that does not fit.
        """
        directory = Path(directory)
        if split not in SPLITS:
            raise BadInput(f"{directory}: no split {split!r}; there are fit and eval")
        try:
            manifest = read_data_manifest(directory)
        except BadInput as failure:
            if (directory / MANIFEST).is_file():
                raise
            raise BadInput(f"{failure}; `polysem prepare` makes a data directory") from None
        try:
            n_tokens, d_vocab = int(manifest["n_tokens"][split]), int(manifest["d_vocab"])
            counts = tuple(map(int, manifest["shards"][split])) if "shards" in manifest else (n_tokens,)
            tokens = cls(
                directory=directory,
                split=split,
                n_ctx=int(manifest["n_ctx"] if n_ctx is None else n_ctx),
                d_vocab=d_vocab,
                n_tokens=n_tokens,
                tokenizer_sha256=str(manifest["tokenizer_sha256"]),
                data_hash=manifest_hash(directory),
                shards=TokenShards(directory, split, counts, d_vocab),
            )
        except (KeyError, TypeError, ValueError) as failure:
            raise BadInput(f"{directory}/MANIFEST.json: wrong or missing {failure}") from None
        if sum(counts) != n_tokens or min(counts, default=-1) < 0:
            raise BadInput(
                f"{directory}/MANIFEST.json: shards of {sum(counts)} {split} tokens where there are {n_tokens}"
            )
        if tokens.n_ctx < 1:
            raise BadInput(f"n_ctx: {tokens.n_ctx} must be at least 1")
        if not tokens.n_rows:
            raise BadInput(f"{directory}: {tokens.n_tokens} {split} tokens are no row of n_ctx = {tokens.n_ctx}")
        tokenizer = directory / "tokenizer.json"
        if not tokenizer.is_file():
            raise BadInput(f"{tokenizer}: not there")
        if sha256_file(tokenizer) != tokens.tokenizer_sha256:
            raise Damaged(f"{tokenizer}: not the tokenizer of these tokens: its hash is not the manifest's")
        written = tokens.shards.written()
        if check_hashes:
            verify(directory)
            tokens._verified.extend(written)
        return tokens

    @property
    def n_rows(self) -> int:
        """Rows of the split, an incomplete last one left out."""
        return self.n_tokens // self.n_ctx

    def rows(self, seed: int, step: int, batch: int) -> Int[Tensor, "batch row"]:
        """The `batch` training rows [batch, n_ctx + 1] of a step, shuffled anew each epoch."""
        return self.rows_at(seed, step * batch, batch)

    def rows_at(self, seed: int, first: int, count: int) -> Int[Tensor, "count row"]:
        """Training rows `first` to `first + count` of the endless sequence of epochs: [count, n_ctx + 1]."""
        self._require_unchanged()
        counter = np.arange(first, first + count)
        epoch, within = counter // self.n_rows, (counter % self.n_rows).astype(np.uint64)
        order = np.empty(count, dtype=np.int64)
        for number in np.unique(epoch):
            of_epoch = epoch == number
            order[of_epoch] = permuted(within[of_epoch], self.n_rows, seed, int(number)).astype(np.int64)
        rows = np.empty((count, self.n_ctx), dtype=token_dtype(self.d_vocab))
        for row, index in zip(rows, order.tolist()):
            row[:] = self.shards.read(index * self.n_ctx, self.n_ctx)
        return self._with_bos(rows)

    def plain_rows(self, first: int, count: int) -> Int[Tensor, "count row"]:
        """Rows in the stream's order, for evaluation and scoring: [count, n_ctx + 1].

        Raises:
            BadInput: rows that are not there.
        """
        self._check_rows(first, count)
        self._require_unchanged()
        stream = self.shards.read(first * self.n_ctx, count * self.n_ctx)
        return self._with_bos(stream.reshape(count, self.n_ctx))

    def stream(self, first: int, count: int) -> np.ndarray:
        """Tokens `first` to `first + count` as they lie on disk: [count], uint16 or uint32.

        Raises:
            BadInput: outside of the stream, a file cut short, an id outside of the vocabulary.
        """
        if first < 0 or count < 0 or first + count > self.n_tokens:
            raise BadInput(f"{self._name}: no tokens {first} to {first + count}; there are {self.n_tokens}")
        self._require_unchanged()
        stream = self.shards.read(first, count)
        self._check_ids(stream)
        return stream

    def documents(self) -> pl.DataFrame:
        """The documents of this split in the stream's order."""
        return self._documents

    def document_of_rows(self, first: int, count: int) -> Int[np.ndarray, "count row"]:
        """Index of the document at each position of `plain_rows(first, count)`; -1 at every BOS."""
        self._check_rows(first, count)
        positions = np.arange(first * self.n_ctx, (first + count) * self.n_ctx)
        starts, lengths = self._extents
        document = np.searchsorted(starts, positions, side="right") - 1
        inside = positions - starts[document] < lengths[document]
        of_rows = np.full((count, self.n_ctx + 1), -1, dtype=np.int32)
        of_rows[:, 1:] = np.where(inside, document, -1).reshape(count, self.n_ctx)
        return of_rows

    def document_of_targets(self, first: int, count: int) -> Int[np.ndarray, "count n_ctx"]:
        """Index of the document of each token that `plain_rows(first, count)` predict, its separator included."""
        self._check_rows(first, count)
        positions = np.arange(first * self.n_ctx, (first + count) * self.n_ctx)
        return (np.searchsorted(self._extents[0], positions, side="right") - 1).reshape(count, self.n_ctx)

    @cached_property
    def _documents(self) -> pl.DataFrame:
        return read_parquet(self.directory / "documents.parquet").filter(pl.col("split") == self.split)

    @cached_property
    def _extents(self) -> tuple[np.ndarray, np.ndarray]:
        table = self._documents
        return table["start"].to_numpy().astype(np.int64), table["length"].to_numpy().astype(np.int64)

    def _check_rows(self, first: int, count: int) -> None:
        if first < 0 or count < 0 or first + count > self.n_rows:
            raise BadInput(f"{self._name}: no rows {first} to {first + count}; there are {self.n_rows}")

    def _require_unchanged(self) -> None:
        self.shards.require_unchanged(self._verified)

    @property
    def _name(self) -> Path:
        """The stream, for messages."""
        return self.directory / f"tokens-{self.split}.bin"

    def _check_ids(self, ids: np.ndarray) -> None:
        if ids.size and int(ids.max()) >= self.d_vocab:
            raise BadInput(f"{self._name}: token id {ids.max()} where the vocabulary ends at {self.d_vocab}")

    def _with_bos(self, rows: np.ndarray) -> Tensor:
        self._check_ids(rows)
        full = torch.full((rows.shape[0], self.n_ctx + 1), BOS_ID, dtype=torch.int64)
        full[:, 1:] = torch.from_numpy(rows.astype(np.int64))
        return full


def permuted(indices: UInt64[np.ndarray, " k"], n: int, seed: int, epoch: int) -> UInt64[np.ndarray, " k"]:
    """Where a permutation of range(n), chosen by (seed, epoch), sends each index.

    A balanced Feistel network over the smallest 4^h >= n numbers: in each of 8 rounds (left, right) of h bits
    becomes (right, left xor f(right)), f the splitmix64 finaliser of right plus the round's key. Where the
    image is n or more the network is applied again (cycle walking; less than 4 times on average), which
    leaves a permutation of range(n). Integers alone, so it is the same with every library and machine, and
    any index costs the same as the first.
    Source: Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002), section 5 and cycle walking.
    """
    half = _U(max(1, ((n - 1).bit_length() + 1) // 2))
    mask = (_U(1) << half) - _U(1)
    keys = _round_keys(seed, epoch)
    images = indices.copy()
    outside = np.arange(images.size)
    while outside.size:
        left, right = images[outside] >> half, images[outside] & mask
        for key in keys:
            left, right = right, left ^ (_splitmix(right + key) & mask)
        images[outside] = (left << half) | right
        outside = outside[images[outside] >= _U(n)]
    return images


def _round_keys(seed: int, epoch: int) -> UInt64[np.ndarray, " rounds"]:
    start = np.array([seed % 2**64], dtype=np.uint64)
    base = _splitmix(_splitmix(start + _GOLDEN) + np.array([epoch % 2**64], dtype=np.uint64))
    return _splitmix(base + _GOLDEN * np.arange(1, _N_ROUNDS + 1, dtype=np.uint64))


def _splitmix(x: UInt64[np.ndarray, " k"]) -> UInt64[np.ndarray, " k"]:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014); arithmetic modulo 2^64."""
    x = (x ^ (x >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U(27))) * _U(0x94D049BB133111EB)
    return x ^ (x >> _U(31))
