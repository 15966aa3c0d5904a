"""One shard of tokens: consecutive documents, encoded, a file a split. What worker processes run; it needs no torch."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from train.data.shards import SPLITS, token_dtype
from train.data.tokenizer import BOS_ID, load_tokenizer
from train.errors import Damaged

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

AHEAD = 2
"""Batches that are encoded while another is written."""


@dataclass(frozen=True)
class Documents:
    """Where the documents of a shard lie among the texts that were read."""

    texts: Path
    offset: np.ndarray
    n_bytes: np.ndarray
    n_chars: np.ndarray
    is_eval: np.ndarray
    digests: bytes
    """sha256 of each text, 32 bytes."""

    def text(self, handle: int, index: int) -> str:
        """The text of a document.

        Raises:
            Damaged: it is not the one that was read.
        """
        return checked_text(
            self.texts,
            handle,
            int(self.offset[index]),
            int(self.n_bytes[index]),
            self.digests[32 * index : 32 * index + 32],
        )


def checked_text(texts: Path, handle: int, offset: int, n_bytes: int, digest: bytes) -> str:
    """The text at `offset` of the open file `texts`, whose hash is `digest`.

    Raises:
        Damaged: it is another one.
    """
    data = os.pread(handle, n_bytes, offset)
    if hashlib.sha256(data).digest() != digest:
        raise Damaged(f"{texts}: not what was read from the sources; remove {texts.parent} and prepare again")
    return data.decode()


@dataclass(frozen=True)
class Encoded:
    """What `encode` wrote."""

    lengths: Int[np.ndarray, " documents"]
    """Tokens of each document, without its separator; fewer documents than asked for where the budget ended it."""
    n_tokens: dict[str, int]
    """Of each split, separators included."""
    sha256: dict[str, str]


def encode(
    documents: Documents,
    tokenizer: tuple[Path, str],
    files: dict[str, Path],
    batch_chars: int,
    most_tokens: int | None,
    done: Callable[[int], object] = lambda n_chars: None,
) -> Encoded:
    """Write each document's tokens and a separator into the file of its split.

    Args:
        tokenizer: a tokenizer.json and its hash.
        files: split -> the file to write.
        batch_chars: characters that are encoded at a time.
        most_tokens: end with the document with which there are so many training tokens.
        done: takes the characters of each document written.

    Raises:
        Damaged: a text is not the one that was read.
    """
    encoder = _tokenizer(*tokenizer)
    dtype, lengths, n_fit = token_dtype(encoder.get_vocab_size()), [], 0
    hashes, n_tokens = {split: hashlib.sha256() for split in SPLITS}, dict.fromkeys(SPLITS, 0)
    with ExitStack() as stack:
        handle = os.open(documents.texts, os.O_RDONLY)
        stack.callback(os.close, handle)
        streams = {split: stack.enter_context(files[split].open("wb")) for split in SPLITS}
        for batch, encodings in _encoded(documents, handle, encoder, batch_chars):
            for index, encoding in zip(batch, encodings):
                ids = encoding.ids
                split = SPLITS[documents.is_eval[index]]
                data = np.array([*ids, BOS_ID], dtype).tobytes()
                streams[split].write(data)
                hashes[split].update(data)
                lengths.append(len(ids))
                n_tokens[split] += len(ids) + 1
                done(int(documents.n_chars[index]))
                n_fit = n_tokens[SPLITS[0]]
                if most_tokens is not None and n_fit >= most_tokens:
                    break
            if most_tokens is not None and n_fit >= most_tokens:
                break
    digests = {split: each.hexdigest() for split, each in hashes.items()}
    return Encoded(np.array(lengths, dtype=np.int64), n_tokens, digests)


@lru_cache(1)
def _tokenizer(path: Path, sha256: str) -> "Tokenizer":
    """Kept from shard to shard; the hash tells it from another one that had the same path before."""
    return load_tokenizer(path)


def _encoded(
    documents: Documents, handle: int, tokenizer: "Tokenizer", batch_chars: int
) -> Iterator[tuple[list[int], list["Encoding"]]]:
    """Each batch and its encodings. The library encodes the next batch on its own threads while the last is written."""

    def encoded(batch: list[int]) -> tuple[list[int], list["Encoding"]]:
        texts = [documents.text(handle, index) for index in batch]
        return batch, tokenizer.encode_batch_fast(texts, add_special_tokens=False)

    with ThreadPoolExecutor(1) as pool:
        ahead: deque[Future[tuple[list[int], list[Encoding]]]] = deque()
        for batch in _batches(documents.n_chars, batch_chars):
            ahead.append(pool.submit(encoded, batch))
            if len(ahead) > AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _batches(n_chars: np.ndarray, least_chars: int) -> Iterator[list[int]]:
    """The documents, so many at a time that they have `least_chars` together."""
    batch, total = [], 0
    for index, count in enumerate(n_chars.tolist()):
        batch.append(index)
        total += count
        if total >= least_chars:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
